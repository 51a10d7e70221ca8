"""An honest export verifies, with our verifier and with the commands of its own VERIFY.md; a bad one is not written."""

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.domain.checkpoint import CheckpointError
from bot.domain.leaf import JournalRecord, LeafError
from bot.domain.merkle import MerkleError
from bot.errors import Invalid, NotFound
from bot.vault import pack as form
from bot.vault.folder import Damaged
from bot.vault.verify import verify_folder


def test_an_honest_folder_verifies(story: Any, pack: Path) -> None:
    report = verify_folder(pack, vkey=story.vkey)
    assert report.lines() == [f"{pack}: verified: 9 records, 3 items"]
    assert report.ok
    assert report.first is None


def test_without_a_key_from_elsewhere_the_report_says_so(story: Any, pack: Path) -> None:
    report = verify_folder(pack)
    assert report.ok
    assert report.notes == (
        f"the key was taken from the folder itself: compare it with a copy from elsewhere: {story.vkey}",
    )


def test_a_malformed_key_is_the_callers_mistake(pack: Path) -> None:
    with pytest.raises(CheckpointError):
        verify_folder(pack, vkey="nonsense")


def test_progress_ends_at_the_whole(pack: Path) -> None:
    told: list[tuple[int, int]] = []
    verify_folder(pack, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == sum(path.stat().st_size for path in pack.rglob("*") if path.is_file())


def test_the_folder_has_exactly_the_documented_layout(story: Any, pack: Path) -> None:
    names = sorted(hashlib.sha256(content).hexdigest() for content in story_items(story))
    found = sorted(str(path.relative_to(pack)) for path in pack.rglob("*") if path.is_file())
    assert found == sorted([*form.PLAIN, *(f"items/{name}" for name in names)])
    manifest = json.loads((pack / "MANIFEST.json").read_text())
    assert manifest["records"] == {"count": 9, "first": 1, "last": 9}
    assert manifest["files"].keys() == {*found} - {"MANIFEST.json"}
    for name, entry in manifest["files"].items():
        content = (pack / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def story_items(story: Any) -> list[bytes]:
    return [story.vault.read(name) for name in story.vault.all()]


def test_custody_is_what_the_records_say(pack: Path) -> None:
    custody = json.loads((pack / "items.json").read_text())
    assert [entry["item"] for entry in custody["items"]] == ["ev-1", "ev-2", "ev-3"]
    first = custody["items"][0]
    assert first["collector"] == "bot"
    assert first["clock"] == "system, offset unknown"
    assert (first["record"], first["leaf"], first["redacted"]) == (3, 4, [])


def test_a_redacted_folder_verifies_and_hides(story: Any, tmp_path: Path) -> None:
    hidden = frozenset({"by", "body.text", "body.reason", "body.source"})
    target = story.export(tmp_path / "redacted", redact=lambda _record: hidden)
    report = verify_folder(target, vkey=story.vkey)
    assert report.ok, report.lines()
    assert report.notes == ("18 fields are redacted; their commitments are in the log",)
    everything = b"".join(path.read_bytes() for path in target.rglob("*") if path.is_file())
    for secret in ("équivocation", "op-1.example", "second", "panel"):
        assert secret.encode() not in everything
    custody = json.loads((target / "items.json").read_text())
    assert custody["items"][0]["redacted"] == ["source", "reason"]


@pytest.mark.parametrize("field", ["body.sha256", "body.size", "body.item", "body.records", "body.items"])
def test_what_verification_needs_is_never_redacted(story: Any, tmp_path: Path, field: str) -> None:
    with pytest.raises(Invalid, match="cannot be redacted"):
        story.export(tmp_path / "out", redact=lambda _record: frozenset({field}))


@pytest.mark.parametrize("field", ["kind", "n"])
def test_the_envelope_is_never_redacted(story: Any, tmp_path: Path, field: str) -> None:
    with pytest.raises(LeafError, match="cannot be redacted"):
        story.export(tmp_path / "out", redact=lambda _record: frozenset({field}))


# ---- the stranger's way ----------------------------------------------------------------------------------------------


def stranger(pack: Path) -> list[subprocess.CompletedProcess[str]]:
    """Do what VERIFY.md says: its shell blocks with sh, its Python alone, without this project on the path."""
    text = (pack / "VERIFY.md").read_text()
    fence = r"```python\n(.*?)```"
    python = re.findall(fence, text, re.DOTALL)
    shell = "\n".join(line[4:] for line in re.sub(fence, "", text, flags=re.DOTALL).splitlines() if line[:4] == "    ")
    blocks = re.split(r"\n(?=T=|for f)", shell)
    results = [run(["bash", "-euc", block], pack) for block in blocks]
    return [*results, *(run([sys.executable, "-I", "-c", block], pack) for block in python)]


def run(command: list[str], pack: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=pack, capture_output=True, text=True)


@pytest.mark.peer("openssl")
def test_a_stranger_verifies_with_public_tools_only(story: Any, pack: Path) -> None:
    key, signature, items, records = stranger(pack)
    assert key.stdout == f"{story.vkey}\n"
    assert signature.stdout == "Signature Verified Successfully\n", signature.stderr
    assert items.returncode == 0
    assert items.stdout.count(": OK\n") == 3
    assert records.stdout == "all records and items verified\n", records.stderr


@pytest.mark.peer("openssl")
def test_a_stranger_finds_what_was_altered(pack: Path) -> None:
    for name, place in [("checkpoint.txt", 22), ("records.jsonl", 400)]:
        path = pack / name
        path.chmod(0o600)
        raw = bytearray(path.read_bytes())
        raw[place] ^= 1
        path.write_bytes(raw)
    item = next((pack / "items").iterdir())
    item.chmod(0o600)
    item.write_bytes(b"another")
    _, signature, items, records = stranger(pack)
    assert signature.returncode != 0
    assert items.returncode != 0
    assert records.returncode != 0


def test_this_versions_guide_is_a_known_one() -> None:
    assert hashlib.sha256(form.guide()).hexdigest() in form.GUIDES


# ---- what is not written ---------------------------------------------------------------------------------------------


def test_a_taken_target_is_refused_and_left_alone(story: Any, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_text("mine")
    with pytest.raises(Invalid, match="not an empty folder"):
        story.export(taken)
    assert os.listdir(taken) == ["mine"]
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Invalid, match="symbolic link"):
        story.export(link)
    plain = tmp_path / "plain"
    plain.write_text("")
    with pytest.raises(Invalid, match="not an empty folder"):
        story.export(plain)


def test_an_empty_folder_may_be_there(story: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert verify_folder(story.export(tmp_path / "empty")).ok


def without_last(proven: list[Any]) -> list[Any]:
    return proven[:-1]


def without_first(proven: list[Any]) -> list[Any]:
    return proven[1:]


def of_nothing(_proven: list[Any]) -> list[Any]:
    return []


def unsequenced(proven: list[tuple[JournalRecord, Any]]) -> list[Any]:
    return [(replace(proven[0][0], leaf=None), proven[0][1]), *proven[1:]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_last, "the last record of an export is EvidenceExported, not IncidentResolved"),
        (without_first, "inc-7 record 1 is expected"),
        (of_nothing, "not missing"),
        (unsequenced, "is not in the log yet"),
    ],
)
def test_a_broken_stream_is_not_exported(story: Any, tmp_path: Path, change: Any, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        story.export(tmp_path / "out", records=change(story.proven("inc-7")))
    assert says in str(caught.value)
    report = verify_folder(tmp_path / "out")
    assert "the file is missing" in "\n".join(report.lines())


def test_an_altered_row_is_not_exported(story: Any, tmp_path: Path) -> None:
    proven = story.proven("inc-7")
    proven[1] = (replace(proven[1][0], body={"role": "ic", "person": "eve"}), proven[1][1])
    with pytest.raises(MerkleError):
        story.export(tmp_path / "out", records=proven)


def test_a_wrong_count_is_not_exported(story: Any, tmp_path: Path) -> None:
    rewrite(story, -2, records=8)
    with pytest.raises(Invalid, match="counts 8 records"):
        story.export(tmp_path / "out")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"item": ""}, "it names no item"),
        ({"sha256": "X" * 64}, "the hash of ev-1 is not 64 lower-case hex digits"),
        ({"size": -1}, "the size of ev-1 is not a number of bytes"),
        ({"size": True}, "the size of ev-1 is not a number of bytes"),
    ],
)
def test_malformed_custody_is_not_exported(story: Any, tmp_path: Path, body: Any, says: str) -> None:
    rewrite(story, 4, **body)
    with pytest.raises(Invalid, match=says):
        story.export(tmp_path / "out")


def test_one_item_id_for_two_contents_is_not_exported(story: Any, tmp_path: Path) -> None:
    rewrite(story, 6, item="ev-1")
    with pytest.raises(Invalid, match="ev-1 stands for two contents"):
        story.export(tmp_path / "out")


def test_items_that_were_not_kept_are_not_exported(story: Any, tmp_path: Path) -> None:
    for items in (["0" * 64], "none", []):
        rewrite(story, -2, items=items)
        with pytest.raises(Invalid, match="the items it lists are not those kept before it"):
            story.export(tmp_path / repr(items)[:5])


def test_a_record_with_a_wrong_size_is_exported_as_it_is_and_named(story: Any, tmp_path: Path) -> None:
    rewrite(story, 4, size=7)
    report = verify_folder(story.export(tmp_path / "out"), vkey=story.vkey)
    assert "ev-1 has 19 bytes, but records.jsonl line 3 (inc-7 record 3, EvidenceKept) says 7" in str(report.first)


def rewrite(story: Any, place: int, **body: Any) -> None:
    """Journal another body in a record's place, honestly hashed and signed."""
    row = replace(story.records[place], body={**story.records[place].body, **body})
    story.records[place] = replace(row, hash=row.computed_hash())
    story.checkpoints.append(story.sign(len(story.records)))


def test_a_missing_or_damaged_blob_is_not_exported(story: Any, tmp_path: Path) -> None:
    name = next(iter(story.vault.all()))
    blob = tmp_path / "vault" / "blobs" / name[:2] / name[2:]
    blob.chmod(0o600)
    blob.write_bytes(b"another")
    with pytest.raises(Damaged):
        story.export(tmp_path / "one")
    blob.unlink()
    with pytest.raises(NotFound):
        story.export(tmp_path / "two")


def test_a_checkpoint_of_another_key_is_refused(story: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        story.export(tmp_path / "out", checkpoint=story.checkpoints[0].replace("1\n", "2\n", 1))
