"""An honest pack verifies, is a bag, and says what the records say; a bad one is not written."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import bagit
import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.domain.checkpoint import CheckpointError, sign_checkpoint, sign_note
from bot.domain.leaf import JournalRecord
from bot.domain.merkle import MerkleError
from bot.errors import Invalid, NotFound
from bot.vault import links
from bot.vault import pack as form
from bot.vault.export import seal
from bot.vault.folder import Damaged
from bot.vault.keys import both
from bot.vault.pack import Anchored
from bot.vault.readings import Interchange, Release
from bot.vault.redaction import Redaction
from bot.vault.signer import CheckpointSigner
from bot.vault.verify import verify_folder
from tests.vault.conftest import ITEMS, KEY, OLDER, ORIGIN, RICH, ROOT, START, Story
from tests.vault.tampering import there

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "evidence-pack-1.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def table(pack: Path) -> Any:
    """Return `pack.json`, which must follow its schema."""
    whole = json.loads((pack / "data/pack.json").read_text())
    VALIDATOR.validate(whole)
    return whole


def test_an_honest_pack_verifies(rich: Any, pack: Path, authority: Any) -> None:
    report = verify_folder(pack, vkey=rich.vkey, roots=authority.roots.read_bytes())
    assert report.lines()[0] == f"{pack}: verified: 14 records, 5 items"
    assert report.first is None
    assert report.notes[0].startswith("data/anchors/tsa-8/: an authority that you trust says that it existed at 20")
    assert report.notes[1:] == ("0 items are withheld, 1 have expired; their hashes are in the log",)


def test_a_plain_pack_has_no_folders_that_it_does_not_need(story: Any, tmp_path: Path) -> None:
    target = story.export(tmp_path / "out", documents=lambda _records: {})
    assert verify_folder(target, vkey=story.vkey).lines() == [f"{target}: verified: 9 records, 3 items"]
    assert sorted(path.name for path in (target / "data").iterdir()) == [
        *("checkpoint.txt", "items", "pack.json", "records.jsonl", "vkey.txt"),
    ]
    assert bagit.Bag(str(target)).validate()


def test_without_a_key_from_elsewhere_the_report_says_so(story: Any, tmp_path: Path) -> None:
    report = verify_folder(story.export(tmp_path / "out"))
    assert report.ok
    assert report.notes == (
        f"the key was taken from the pack itself: compare it with a copy from elsewhere: {story.vkey}",
    )


@pytest.mark.parametrize(("place", "times"), [(0, 2), (1, 1)])
def test_an_older_key_leads_to_the_present_one(rich: Any, pack: Path, place: int, times: int) -> None:
    report = verify_folder(pack, vkey=CheckpointSigner(ORIGIN, OLDER[place]).key.encode())
    assert report.ok, report.lines()
    assert report.notes[0].startswith(f"the key that you gave is an older one: the log's key was changed {times} times")


def test_without_roots_a_timestamp_is_said_to_be_unchecked(rich: Any, pack: Path) -> None:
    notes = verify_folder(pack, vkey=rich.vkey).notes
    assert "its signature was not checked, since no roots were given" in notes[0]


def test_another_authoritys_roots_do_not_do(rich: Any, pack: Path, tmp_path: Path) -> None:
    from tests.vault.conftest import Authority

    other = tmp_path / "other"
    other.mkdir()
    roots = Authority(other).roots.read_bytes()
    first = verify_folder(pack, vkey=rich.vkey, roots=roots).first
    assert "data/anchors/tsa-8/token.tsr: the timestamp does not verify: its chain does not lead to" in str(first)


def test_a_malformed_key_is_the_callers_mistake(pack: Path) -> None:
    with pytest.raises(CheckpointError):
        verify_folder(pack, vkey="nonsense")


def test_progress_tells_each_byte_once(pack: Path) -> None:
    told: list[tuple[int, int]] = []
    verify_folder(pack, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] == sum(len(content) for content in there(pack).values())


def test_it_is_a_bag_with_the_documented_layout(pack: Path) -> None:
    bag = bagit.Bag(str(pack))
    assert bag.validate()
    assert bag.version_info == (1, 0)
    assert bag.info["External-Identifier"] == "inc-7"
    assert bag.info["Bagging-Date"] == "2026-03-14"
    assert bag.info["Stopsign-Pack"] == "evidence-pack/1"
    items = [f"data/items/{hashlib.sha256(content).hexdigest()}" for content in RICH[:4]]
    anchors = ["anchor.json", "checkpoint.txt", "consistency.txt"]
    assert set(there(pack)) == {
        *form.NEVER_ABSENT,
        *items,
        *(f"data/{name}" for name in form.DOCUMENTS),
        *(f"data/keys/{n}/{name}.txt" for n in (1, 2) for name in ("vkey", "checkpoint", "consistency")),
        *(f"data/anchors/tsa-8/{name}" for name in (*anchors, "token.tsr")),
        *(f"data/anchors/{one}/{name}" for one in ("host-20", "room-28") for name in (*anchors, "proof.json")),
    }


def test_two_exports_of_the_same_records_are_the_same_bytes(rich: Any, pack: Path, tmp_path: Path) -> None:
    assert there(rich.export(tmp_path / "again")) == there(pack)


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_the_table_says_what_the_records_and_the_items_say(pack: Path) -> None:
    whole = table(pack)
    first = whole["signed_messages"][0]
    assert (first["item"], first["record"], first["leaf"], first["redacted"]) == ("ev-1", 3, 4, [])
    assert first["clock"] == "system, offset unknown"
    assert first["window"] == {"from": "2026-03-14T14:54:30.000000Z", "to": "2026-03-14T15:09:30.000000Z"}
    assert whole["client"][0]["release"] == {
        "version": "1.2.3",
        "build_hash": "sha256:b1",
        "config_checksum": "sha256:c1",
    }
    chain = {"interchange_format_version": "5", "genesis_validators_root": ROOT}
    assert whole["slashing_protection"][0]["interchange"] == chain
    assert [entry["item"] for entry in whole["network_captures"]] == ["ev-4"]
    assert [entry["content"] for entry in whole["logs"]] == ["expired"]
    assert whole["missing"][0]["reason"] == "no answer within 5 s"
    assert whole["findings"][0]["items"] == ["ev-1"]
    assert [(entry["entry"], entry["by"]) for entry in whole["access"]] == [
        ("EvidenceRead", "bot"),
        ("EvidenceExported", "bot"),
    ]
    assert whole["records"]["count"] == 14


def test_withheld_items_are_absent_and_named(rich: Any, tmp_path: Path) -> None:
    name = hashlib.sha256(RICH[2]).hexdigest()
    rich.last(withheld=[name])
    target = rich.export(tmp_path / "out")
    report = verify_folder(target, vkey=rich.vkey)
    assert report.ok, report.lines()
    assert report.notes[-1] == "1 items are withheld, 1 have expired; their hashes are in the log"
    assert not (target / "data/items" / name).exists()
    whole = table(target)
    assert whole["withheld"] == [name]
    assert (whole["slashing_protection"][0]["content"], whole["slashing_protection"][0]["interchange"]) == (
        "withheld",
        None,
    )
    (target / "data/items" / name).write_bytes(RICH[2])
    first = verify_folder(target, vkey=rich.vkey).first
    assert "ev-3 is here, but the records say that it was withheld or has expired" in str(first)


def test_what_was_not_kept_cannot_be_withheld(rich: Any, tmp_path: Path) -> None:
    rich.last(withheld=["0" * 64])
    with pytest.raises(Invalid, match="which was not kept"):
        rich.export(tmp_path / "out")


def test_the_schema_refuses_what_is_no_pack(pack: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    whole = table(pack)
    for change in ({"schema": "evidence-pack/2"}, {"more": 1}, {"withheld": ["x"]}, {"peers": [{"item": "ev-1"}]}):
        assert not VALIDATOR.is_valid(whole | change), change
    for name in whole:
        assert not VALIDATOR.is_valid({key: value for key, value in whole.items() if key != name}), name
    whole["client"][0]["marks"] = {}
    assert not VALIDATOR.is_valid(whole)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (RICH[2], {"interchange_format_version": "5", "genesis_validators_root": ROOT}),
        (b'{"data":[],"metadata":{"x":{"genesis_validators_root":"0x1"}}}', None),
        (b'{"data":[{"metadata":{"genesis_validators_root":"0x1","interchange_format_version":"5"}}]}', None),
        (b'{"data":[],"metadata":{"interchange_format_version":5,"genesis_validators_root":"0x1"}}', None),
        (RICH[2][:40], None),
        (b"x" + RICH[2], None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
        (b"[1,2]", None),
    ],
    ids=["whole", "nested", "elsewhere", "a number", "cut", "no JSON", "empty", "no text", "deep", "a list"],
)
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_an_interchange_is_read_as_it_streams_by(content: bytes, expected: Any, step: int) -> None:
    reading = Interchange()
    for start in range(0, min(len(content), 5000), step):
        reading.feed(content[start : start + step])
    assert reading.result() == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"version":"1","build_hash":"b","config_checksum":null}', ("1", "b", None)),
        (b'{"before":{"version":"1"},"after":{"version":"2"},"wanted":"b"}', ("2", None, None)),
        (b'{"current":{"version":"3"},"previous":null}', ("3", None, None)),
        (b'{"current":null}', None),
        (b'{"version":"\\ud800"}', None),
        (b"[]", None),
        (b"nonsense", None),
        (b'{"version":"' + b"1" * (1 << 17) + b'"}', None),
    ],
    ids=["flat", "rollback", "releases", "null", "no text", "a list", "no JSON", "too long"],
)
def test_a_release_is_read_out_of_what_a_node_says(content: bytes, expected: Any) -> None:
    reading = Release()
    for start in range(0, len(content), 100):
        reading.feed(content[start : start + 100])
    names = ("version", "build_hash", "config_checksum")
    assert reading.result() == (None if expected is None else dict(zip(names, expected, strict=True)))


# ---- redaction -------------------------------------------------------------------------------------------------------


def test_a_redacted_pack_verifies_and_hides(rich: Any, tmp_path: Path) -> None:
    target = rich.export(tmp_path / "out", redact=("by", "body.text", "body.reason", "EvidenceKept.source"))
    report = verify_folder(target, vkey=rich.vkey)
    assert report.ok, report.lines()
    assert bagit.Bag(str(target)).validate()
    whole = table(target)
    everything = b"".join(there(target).values())
    for secret in ("équivocation", "op-1.example", "second", "no answer", "ada/cli"):
        assert secret.encode() not in everything, secret
    assert whole["redactions"] == ["EvidenceKept.source", "body.reason", "body.text", "by"]
    first = whole["signed_messages"][0]
    assert (first["redacted"], first["source"], first["by"]) == (["by", "reason", "source"], None, None)
    assert (whole["findings"][0]["text"], whole["missing"][0]["reason"]) == (None, None)
    assert any("fields are redacted; their commitments are in the log" in note for note in report.notes)


def test_a_rule_for_one_kind_leaves_the_others_alone(rich: Any, tmp_path: Path) -> None:
    whole = table(rich.export(tmp_path / "out", redact=("EvidenceKept.reason",)))
    assert whole["signed_messages"][0]["reason"] is None
    assert whole["missing"][0]["reason"] == "no answer within 5 s"


def test_what_is_hidden_is_what_the_log_says(rich: Any, tmp_path: Path) -> None:
    rich.last(redacted=["by"])
    with pytest.raises(Invalid, match="says that by is redacted, but nothing is"):
        rich.export(tmp_path / "out")
    with pytest.raises(Invalid, match=r"says that by is redacted, but body\.text is"):
        rich.export(tmp_path / "more", redaction=Redaction.parse(["body.text"]))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("n", "n can never be redacted: the order of the records hangs on it"),
        ("kind", "kind can never be redacted"),
        ("EvidenceKept.at", "at can never be redacted"),
        ("EvidenceKept.sha256", "EvidenceKept.sha256 can never be redacted: without it the pack cannot be checked"),
        ("EvidenceSealed.manifest", "can never be redacted"),
        ("body.exported", "can never be redacted"),
        ("EvidenceKpt.source", "there is no kind of record EvidenceKpt; is it EvidenceKept?"),
        ("EvidenceKept.sauce", "a record of kind EvidenceKept has no field sauce; is it source?"),
        ("body.nonsens", "any kind of record has no field nonsens"),
        ("note", "'note' is no rule: write by, body.FIELD or KIND.FIELD"),
        ("", "'' is no rule"),
        ("EvidenceKept.", "is no rule"),
        ("a.b.c", "is no rule"),
        ("body.text ; x", "is no rule"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_a_sentence(rule: str, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        Redaction.parse(["by", rule])
    assert says in str(caught.value)


def test_rules_are_kept_once_and_sorted() -> None:
    parsed = Redaction.parse([" by", "EvidenceKept.source ", "body.item", "by"])
    assert parsed.rules == ("EvidenceKept.source", "body.item", "by")
    assert parsed.of("EvidenceKept", ["by", "body.item", "body.source"]) == {"by", "body.source"}
    assert parsed.of("EvidenceRead", ["by", "body.item", "body.source"]) == {"by", "body.item"}
    assert Redaction.parse(["EvidenceKept.by"]).of("EvidenceRead", ["by"]) == set()


# ---- the seal --------------------------------------------------------------------------------------------------------


def test_an_export_without_its_seal_is_unfinished_and_says_so(rich: Any, tmp_path: Path) -> None:
    rich.prepare(tmp_path / "out")
    first = verify_folder(tmp_path / "out", vkey=rich.vkey).first
    assert str(first) == "seal: the pack has no seal. The export did not finish, or the seal was taken off"
    (tmp_path / "empty").mkdir()
    assert "the pack has neither manifest nor seal" in str(verify_folder(tmp_path / "empty").first)


def another_manifest(parts: dict[str, Any]) -> dict[str, Any]:
    text = form.manifest_text("inc-7", "0" * 64)
    return {"note": sign_note(text, ORIGIN, KEY)}


def another_key(parts: dict[str, Any]) -> dict[str, Any]:
    text = parts["note"].rpartition("\n\n")[0] + "\n"
    return {"note": sign_note(text, ORIGIN, Ed25519PrivateKey.generate())}


def unproven(parts: dict[str, Any]) -> dict[str, Any]:
    return {"proof": parts["proof"][:-1]}


def unsequenced(parts: dict[str, Any]) -> dict[str, Any]:
    return {"record": replace(parts["record"], leaf=None)}


def inconsistent(parts: dict[str, Any]) -> dict[str, Any]:
    return {"consistency": ()}


@pytest.mark.parametrize("change", [another_manifest, another_key, unproven, unsequenced, inconsistent])
def test_what_is_no_seal_is_not_put_under_a_pack(rich: Any, tmp_path: Path, change: Any) -> None:
    prepared = rich.prepare(tmp_path / "out")
    parts = rich.sealing(prepared)
    with pytest.raises((CheckpointError, MerkleError, Invalid)):
        seal(tmp_path / "out", prepared, **(parts | change(parts)))
    assert not (tmp_path / "out" / "seal").exists()


def test_the_seal_of_another_export_is_refused(rich: Any, tmp_path: Path) -> None:
    prepared = rich.prepare(tmp_path / "out")
    for changed, says in ((replace(prepared, exported=13), "of record 14, not 13"), (prepared, "")):
        parts = rich.sealing(prepared) | {"note": sign_note(changed.text, ORIGIN, KEY)}
        if says:
            with pytest.raises(Invalid, match=says):
                seal(tmp_path / "out", changed, **parts)
        else:
            seal(tmp_path / "out", changed, **parts)
    assert verify_folder(tmp_path / "out", vkey=rich.vkey).ok


def test_a_seal_comes_after_what_it_seals() -> None:
    values = {"kind": "EvidenceSealed", "incident": "inc-7", "body.exported": 14, "body.manifest": "m", "n": 15}
    links.sealed(values, "inc-7", 14, "m")
    with pytest.raises(Invalid, match="it stands before the end of the export that it seals"):
        links.sealed(values | {"n": 14}, "inc-7", 14, "m")


def test_a_seal_whose_tree_both_keys_signed_keeps_one_signature(rich: Any, tmp_path: Path) -> None:
    """A rotation may fall between export and seal: the note has more signatures then."""
    prepared = rich.prepare(tmp_path / "out")
    parts = rich.sealing(prepared)
    text = parts["checkpoint"].rpartition("\n\n")[0] + "\n"
    twice = both(parts["checkpoint"], sign_note(text, ORIGIN, OLDER[0]))
    seal(tmp_path / "out", prepared, **(parts | {"checkpoint": twice}))
    assert verify_folder(tmp_path / "out", vkey=rich.vkey).ok


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


def not_sequenced(proven: list[tuple[JournalRecord, Any]]) -> list[Any]:
    return [(replace(proven[0][0], leaf=None), proven[0][1]), *proven[1:]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_last, "the last record of an export is EvidenceExported, not IncidentResolved"),
        (without_first, "inc-7 record 1 is expected"),
        (of_nothing, "not missing"),
        (not_sequenced, "is not in the log yet"),
    ],
)
def test_a_broken_stream_is_not_exported(story: Any, tmp_path: Path, change: Any, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        story.export(tmp_path / "out", records=change(story.proven("inc-7")))
    assert says in str(caught.value)
    assert "The export did not finish" in str(verify_folder(tmp_path / "out").first)


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
    assert "ev-1 has 19 bytes, but data/records.jsonl line 3 (inc-7 record 3, EvidenceKept) says 7" in str(report.first)


def rewrite(story: Any, place: int, **body: Any) -> None:
    """Journal another body in a record's place, honestly hashed and signed."""
    row = replace(story.records[place], body={**story.records[place].body, **body})
    story.records[place] = replace(row, hash=row.computed_hash())
    story.checkpoints.append(story.sign(len(story.records)))


def test_one_content_under_two_items_expires_with_the_last(story: Any, tmp_path: Path) -> None:
    """Both items name one blob; while one of them is held, its content is in the pack."""
    rewrite(story, 8, **{})
    expired = {"item": "ev-1", "sha256": hashlib.sha256(ITEMS[0]).hexdigest(), "reason": "x"}
    twin = {**story.records[4].body, "item": "ev-9"}
    for place, kind, body in ((8, "EvidenceKept", twin), (12, "EvidenceExpired", expired)):
        row = replace(story.records[place], kind=kind, body=body)
        story.records[place] = replace(row, hash=row.computed_hash())
    story.last(records=9)
    target = story.export(tmp_path / "out")
    assert verify_folder(target, vkey=story.vkey).ok
    assert (target / "data/items" / expired["sha256"]).exists()


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


def test_another_name_for_a_document_is_refused(story: Any, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is no document of a pack"):
        story.export(tmp_path / "out", documents=lambda _records: {"../x": b""})


def anchored(story: Story, **changes: Any) -> Anchored:
    whole: dict[str, Any] = {"name": "host", "kind": "http", "size": 4, "note": story.sign(4), "at": START}
    return Anchored(**(whole | {"proof": b"{}", "consistency": story.consistency(4)} | changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "../host"}, "has no name that a pack can hold"),
        ({"name": "Host"}, "has no name that a pack can hold"),
        ({"kind": "a b"}, "has no name that a pack can hold"),
        ({"size": 5}, "has 4 leaves, not 5"),
        ({"consistency": ()}, "consistency proof is empty|does not begin"),
        ({"note": "nonsense"}, "the note is not"),
    ],
    ids=["a path", "capitals", "a kind with a space", "another size", "no proof", "no note"],
)
def test_an_anchor_that_does_not_hold_is_refused(story: Any, tmp_path: Path, changes: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        story.export(tmp_path / "out", anchors=[anchored(story, **changes)])


def test_a_rotation_that_does_not_lead_here_is_refused(rich: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not signed by"):
        rich.export(tmp_path / "one", keys=rich.keys[:1])
    with pytest.raises(MerkleError):
        rich.export(tmp_path / "two", keys=[replace(one, consistency=()) for one in rich.keys])


def test_a_signed_manifest_is_never_taken_for_a_checkpoint(rich: Any, tmp_path: Path) -> None:
    prepared = rich.prepare(tmp_path / "out")
    note = sign_note(prepared.text, ORIGIN, KEY)
    with pytest.raises(CheckpointError, match="the tree size 'inc-7' is not a decimal number"):
        rich.export(tmp_path / "two", checkpoint=note)
    point = sign_checkpoint(prepared.checkpoint, KEY)
    assert point.split("\n")[0] != note.split("\n")[0]
    with pytest.raises(CheckpointError, match="is not about this manifest"):
        seal(tmp_path / "out", prepared, **(rich.sealing(prepared) | {"note": point}))
