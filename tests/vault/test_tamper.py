"""Whatever is done to an evidence folder is found, and the first message names it; also after the forger has made
MANIFEST.json and items.json fit again."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.checkpoint import Checkpoint, sign_checkpoint, verifier_of
from bot.domain.leaf import canonical
from bot.vault import pack as form
from bot.vault.verify import verify_folder

Tamper = Callable[[Path], object]
FORGER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def lines(pack: Path) -> list[bytes]:
    return (pack / "records.jsonl").read_bytes().splitlines(keepends=True)


def relined(change: Callable[[list[bytes]], list[bytes]]) -> Tamper:
    return lambda pack: (pack / "records.jsonl").write_bytes(b"".join(change(lines(pack))))


def recorded(number: int, change: Callable[[Any], object]) -> Tamper:
    """Change one shown record and spell it canonically again."""

    def tamper(pack: Path) -> None:
        all_lines = lines(pack)
        shown = json.loads(all_lines[number - 1])
        change(shown)
        all_lines[number - 1] = (canonical(shown) + "\n").encode()
        (pack / "records.jsonl").write_bytes(b"".join(all_lines))

    return tamper


def valued(number: int, name: str, value: Any) -> Tamper:
    return recorded(number, lambda shown: shown["fields"][name].update(value=value))


def replaced(name: str, old: str, new: str) -> Tamper:
    def tamper(pack: Path) -> None:
        text = (pack / name).read_text()
        assert old in text
        (pack / name).write_text(text.replace(old, new, 1))

    return tamper


def item(pack: Path, number: int) -> Path:
    custody = json.loads((pack / "items.json").read_text())["items"]
    path = pack / "items" / str(custody[number - 1]["sha256"])
    path.chmod(0o600)
    return path


def swap_items(pack: Path) -> None:
    one, two = item(pack, 1), item(pack, 2)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def link_item(pack: Path) -> None:
    path = item(pack, 1)
    shutil.copy(path, pack.parent / "copy")
    path.unlink()
    path.symlink_to(pack.parent / "copy")


def link_items(pack: Path) -> None:
    (pack / "items").rename(pack.parent / "moved")
    (pack / "items").symlink_to(pack.parent / "moved")


def link_records(pack: Path) -> None:
    (pack / "records.jsonl").rename(pack.parent / "moved")
    (pack / "records.jsonl").symlink_to(pack.parent / "moved")


def folder_for_item(pack: Path) -> None:
    item(pack, 1).unlink()
    (pack / "items" / ("1" * 64)).mkdir()


def without(name: str) -> Tamper:
    return lambda pack: (pack / name).unlink()


def manifest(change: Callable[[Any], object]) -> Tamper:
    return lambda pack: manifested(pack, change)


def other_key(pack: Path) -> None:
    (pack / "vkey.txt").write_text(verifier_of("stopsign.example/ops", FORGER).encode() + "\n")


def forged_checkpoint(pack: Path) -> None:
    other_key(pack)
    note = (pack / "checkpoint.txt").read_text()
    (pack / "checkpoint.txt").write_text(sign_checkpoint(Checkpoint.parse(note.rpartition("\n\n")[0] + "\n"), FORGER))


def fifo(pack: Path) -> None:
    os.mkfifo(pack / "items" / ("0" * 64))


def reproof(shown: Any) -> None:
    shown["proof"] = shown["proof"][::-1]


def double_name(pack: Path) -> None:
    relined(lambda rows: [rows[0].replace(b'"redacted":{}', b'"redacted":{},"redacted":{}'), *rows[1:]])(pack)


def deep(pack: Path) -> None:
    relined(lambda rows: [b"[" * 100_000 + b"]" * 100_000 + b"\n", *rows[1:]])(pack)


TAMPERS: dict[str, tuple[Tamper, str]] = {
    # records
    "a value flipped": (
        valued(2, "body.person", "eve"),
        "records.jsonl line 2 (inc-7 record 2, RoleTaken): its content is not in the log",
    ),
    "a time moved": (
        valued(7, "at", "2026-03-14T15:09:27.000000Z"),
        "line 7 (inc-7 record 7, StepFinished): its content is not in the log",
    ),
    "an author changed": (
        valued(7, "by", "eve"),
        "line 7 (inc-7 record 7, StepFinished): its content is not in the log",
    ),
    "a number changed": (valued(5, "n", 6), "line 5 (inc-7 record 6, NoteTaken): its content is not in the log"),
    "a salt changed": (
        recorded(5, lambda shown: shown["fields"]["by"].update(salt="0" * 64)),
        "line 5 (inc-7 record 5, NoteTaken): its content",
    ),
    "a field added": (
        recorded(5, lambda shown: shown["fields"].update({"body.x": {"salt": "0" * 64, "value": 1}})),
        "line 5 (inc-7 record 5, NoteTaken): its content",
    ),
    "a field dropped": (
        recorded(5, lambda shown: shown["fields"].pop("body.text")),
        "line 5 (inc-7 record 5, NoteTaken): its content",
    ),
    "an envelope field dropped": (
        recorded(5, lambda shown: shown["fields"].pop("at")),
        "line 5: this is not a record: the record has no field 'at'",
    ),
    "a commitment forged": (
        recorded(5, lambda shown: shown["redacted"].update({"body.text": shown["fields"].pop("body.text")["salt"]})),
        "line 5 (inc-7 record 5, NoteTaken): its content",
    ),
    "a leaf number changed": (
        recorded(5, lambda shown: shown.update(leaf=9)),
        "line 5 (inc-7 record 5, NoteTaken): its content",
    ),
    "a leaf number beyond the tree": (
        recorded(5, lambda shown: shown.update(leaf=99)),
        "line 5 (inc-7 record 5, NoteTaken): its content is not in the log under the checkpoint: there is no leaf 99",
    ),
    "a proof turned round": (recorded(5, reproof), "line 5 (inc-7 record 5, NoteTaken): its content is not in the log"),
    "a proof cut": (
        recorded(5, lambda shown: shown["proof"].pop()),
        "its content is not in the log under the checkpoint: the inclusion proof is too short",
    ),
    "a proof of nonsense": (
        recorded(5, lambda shown: shown["proof"].append("x")),
        "line 5: this is not a record: a hash of `proof`",
    ),
    "a proof without end": (
        recorded(5, lambda shown: shown.update(proof=["0" * 64] * 65)),
        "line 5: this is not a record: `leaf`",
    ),
    "a record of another shape": (
        recorded(5, lambda shown: shown.update(more=1)),
        "line 5: this is not a record: it has not exactly",
    ),
    "a record dropped": (
        relined(lambda rows: rows[:4] + rows[5:]),
        "records.jsonl line 5: record 5 is missing here. Something was left out",
    ),
    "two records dropped": (
        relined(lambda rows: rows[:1] + rows[3:]),
        "records.jsonl line 2: records 2 to 3 are missing here",
    ),
    "the first record dropped": (relined(lambda rows: rows[1:]), "records.jsonl line 1: record 1 is missing here"),
    "an item's record dropped": (
        relined(lambda rows: rows[:5] + rows[6:]),
        "records.jsonl line 6: record 6 is missing here",
    ),
    "a record doubled": (
        relined(lambda rows: rows[:5] + rows[4:]),
        "records.jsonl line 6: record 5 stands here a second time",
    ),
    "two records exchanged": (
        relined(lambda rows: [*rows[:3], rows[4], rows[3], *rows[5:]]),
        "records.jsonl line 4: record 5 stands where record 4 belongs. The order was changed",
    ),
    "the order turned round": (
        relined(lambda rows: rows[::-1]),
        "records.jsonl line 1: record 9 stands where record 1 belongs",
    ),
    "a record moved to the end": (
        relined(lambda rows: [*rows[:2], *rows[3:], rows[2]]),
        "records.jsonl line 3: record 4 stands where record 3 belongs",
    ),
    "a forged record put in": (
        relined(lambda rows: [*rows[:4], rows[4].replace(b"first", b"worst"), *rows[4:]]),
        "line 5 (inc-7 record 5, NoteTaken): its content is not in the log",
    ),
    "a line of nonsense put in": (
        relined(lambda rows: [*rows[:4], b"nonsense\n", *rows[4:]]),
        "line 5: this is not a record: it is not JSON",
    ),
    "an empty line put in": (
        relined(lambda rows: [*rows[:4], b"\n", *rows[4:]]),
        "line 5: this is not a record: it is not JSON",
    ),
    "a line that is no text": (
        relined(lambda rows: [*rows[:4], b"\xff\n", *rows[4:]]),
        "line 5: this is not a record: it is not UTF-8",
    ),
    "a line nested without end": (deep, "line 1: this is not a record: it is nested too deeply"),
    "a number that is none": (
        relined(lambda rows: [*rows[:4], b"NaN\n", *rows[4:]]),
        "line 5: this is not a record: NaN is not JSON",
    ),
    "a name twice in an object": (double_name, "line 1: this is not a record: a name stands twice"),
    "a space put in": (
        relined(lambda rows: [rows[0].replace(b":", b": ", 1), *rows[1:]]),
        "line 1: this is not a record: it is not spelled as canonical JSON",
    ),
    "the last newline cut": (
        relined(lambda rows: [*rows[:-1], rows[-1][:-1]]),
        "line 9: this is not a record: it is not spelled as canonical JSON",
    ),
    "the last record cut": (
        relined(lambda rows: rows[:-1]),
        "records.jsonl: the last record is IncidentResolved, not EvidenceExported. The end of the incident was cut off",
    ),
    "half the records cut": (
        relined(lambda rows: rows[:4]),
        "records.jsonl: the last record is EvidenceKept, not EvidenceExported",
    ),
    "all records cut": (relined(lambda _rows: []), "records.jsonl: the last record is missing"),
    "cut in the middle of a line": (relined(lambda rows: [*rows[:4], rows[4][:50]]), "line 5: this is not a record"),
    "the count changed": (
        valued(9, "body.records", 8),
        "line 9 (inc-7 record 9, EvidenceExported): its content is not in the log",
    ),
    # items
    "an item flipped": (
        lambda pack: item(pack, 2).write_bytes(b"client 1.2.4\n"),
        ": the content of ev-2 is not what records.jsonl line 4 (inc-7 record 4, EvidenceKept) names",
    ),
    "an item cut": (lambda pack: item(pack, 3).write_bytes(b"\x00"), ": the content of ev-3 is not what"),
    "an item emptied": (lambda pack: item(pack, 3).write_bytes(b""), ": the content of ev-3 is not what"),
    "an item missing": (
        lambda pack: item(pack, 2).unlink(),
        ": ev-2, which records.jsonl line 4 (inc-7 record 4, EvidenceKept) names, is missing. Evidence was left out",
    ),
    "all items missing": (
        lambda pack: shutil.rmtree(pack / "items"),
        ": ev-1, which records.jsonl line 3 (inc-7 record 3, EvidenceKept) names, is missing",
    ),
    "two items exchanged": (swap_items, " is not what records.jsonl line "),
    "an item added": (
        lambda pack: (pack / "items" / hashlib.sha256(b"x").hexdigest()).write_bytes(b"x"),
        "items/2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881: no record names this item",
    ),
    "an item linked": (link_item, ": it is a symbolic link"),
    "all items linked": (link_items, "items: it is a symbolic link"),
    "a pipe among the items": (fifo, f"items/{'0' * 64}: it is not a plain file"),
    "a folder in an item's place": (folder_for_item, f"items/{'1' * 64}: it is not a plain file"),
    # files
    "a file added": (
        lambda pack: (pack / "extra.txt").write_text("x"),
        "extra.txt: it is not part of an evidence folder. It was put in after the export",
    ),
    "a hidden file added": (
        lambda pack: (pack / ".hidden").write_text("x"),
        ".hidden: it is not part of an evidence folder",
    ),
    "a folder added": (lambda pack: (pack / "more").mkdir(), "more: it is not a plain file"),
    "a file added to the items": (
        lambda pack: (pack / "items" / "readme").write_text("x"),
        "items/readme: it is not part of an evidence folder",
    ),
    "a name in capitals": (
        lambda pack: (pack / "Records.jsonl").write_text("x"),
        "Records.jsonl: its name differs from records.jsonl only in case",
    ),
    "the items in capitals": (lambda pack: (pack / "ITEMS").mkdir(), "ITEMS: its name differs from items only in case"),
    "an item in capitals": (lambda pack: (pack / "items" / ("A" * 64)).write_text("x"), "only in case"),
    "a name of control characters": (
        lambda pack: (pack / "a\x1b[2Jb\n").write_text("x"),
        "'a\\x1b[2Jb\\n': it is not part of",
    ),
    "a name that is no text": (
        lambda pack: open(os.fsencode(pack) + b"/\xff", "w").close(),
        "'\\udcff': it is not part of",
    ),
    "a name of 250 characters": (lambda pack: (pack / ("n" * 250)).write_text("x"), "n: it is not part of"),
    "the records linked": (link_records, "records.jsonl: it is a symbolic link"),
    **{f"{name} missing": (without(name), f"{name}: the file is missing") for name in sorted(form.PLAIN)},
    # key and checkpoint
    "the key exchanged": (other_key, "vkey.txt: it holds"),
    "the key spoiled": (replaced("vkey.txt", "+", "-"), "vkey.txt: the key"),
    "key and checkpoint forged": (forged_checkpoint, "vkey.txt: it holds"),
    "the tree size changed": (
        replaced("checkpoint.txt", "\n18\n", "\n17\n"),
        "checkpoint.txt: the signature of stopsign.example/ops",
    ),
    "the origin changed": (
        replaced("checkpoint.txt", "stopsign", "stopsigm"),
        "checkpoint.txt: the signature of stopsign.example/ops",
    ),
    "the signature cut": (replaced("checkpoint.txt", "\n— ", "\n"), "checkpoint.txt: the signature line"),
    "the checkpoint emptied": (
        lambda pack: (pack / "checkpoint.txt").write_text(""),
        "checkpoint.txt: a checkpoint is three lines",
    ),
    "the checkpoint no text": (
        lambda pack: (pack / "checkpoint.txt").write_bytes(b"\xff"),
        "checkpoint.txt: it is not UTF-8 text",
    ),
    # what is derived
    "custody changed": (
        replaced("items.json", '"collector": "bot"', '"collector": "eve"'),
        "items.json: it is not what the records say: items 1 collector is 'eve', not 'bot'",
    ),
    "custody dropped": (
        lambda pack: (pack / "items.json").write_text("{}\n"),
        "items.json: it is not what the records say: format is there, but not listed",
    ),
    "custody spoiled": (
        lambda pack: (pack / "items.json").write_text("{"),
        "items.json: it is not what the records say: it is not JSON",
    ),
    "custody respaced": (
        lambda pack: (pack / "items.json").write_text((pack / "items.json").read_text() + "\n"),
        "items.json: it is not what the records say: it is spelled differently",
    ),
    "the guide changed": (
        replaced("VERIFY.md", "openssl", "opensss"),
        "VERIFY.md: its text is none that Stopsign ever wrote",
    ),
}

MANIFEST_TAMPERS: dict[str, tuple[Tamper, str]] = {
    "a file unlisted": (
        manifest(lambda whole: whole["files"].pop("VERIFY.md")),
        "files VERIFY.md is there, but not listed",
    ),
    "a file listed that is not there": (
        manifest(lambda whole: whole["files"].update({"items/x": {}})),
        "files items/x is listed, but is not there",
    ),
    "a file outside listed": (
        manifest(lambda whole: whole["files"].update({"../../etc/passwd": {}})),
        "files ../../etc/passwd is listed",
    ),
    "a count changed": (manifest(lambda whole: whole["records"].update(count=8)), "records count is 8, not 9"),
    "a hash changed": (
        manifest(lambda whole: whole["files"]["vkey.txt"].update(sha256="0" * 64)),
        "files vkey.txt sha256 is",
    ),
    "a size of another type": (manifest(lambda whole: whole.update(items=3.0)), "items is 3.0, not 3"),
    "another incident": (manifest(lambda whole: whole.update(incident="inc-8")), "incident is 'inc-8', not 'inc-7'"),
}


def manifested(pack: Path, change: Callable[[Any], object]) -> None:
    whole = json.loads((pack / "MANIFEST.json").read_text())
    change(whole)
    (pack / "MANIFEST.json").write_text(form.pretty(whole))


def make_fit(pack: Path) -> None:
    """Do what a forger with our format at hand would do last: recompute MANIFEST.json over what is there now."""
    if not (pack / "MANIFEST.json").exists():
        return
    found = {
        str(path.relative_to(pack)): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in pack.rglob("*")
        if path.is_file() and path.name != "MANIFEST.json" and path.name.isprintable()
    }
    count = len(lines(pack)) if (pack / "records.jsonl").is_file() else 0
    manifested(pack, lambda whole: whole.update(files=found, records={"count": count, "first": 1, "last": count}))


@pytest.mark.parametrize("fitted", [False, True], ids=["plain", "manifest made to fit"])
@pytest.mark.parametrize("name", TAMPERS)
def test_every_tampering_is_found_and_named_first(story: Any, pack: Path, name: str, fitted: bool) -> None:
    tamper, says = TAMPERS[name]
    tamper(pack)
    if fitted:
        make_fit(pack)
    report = verify_folder(pack, vkey=story.vkey)
    assert not report.ok
    assert says in str(report.first), report.lines()
    assert report.lines()[0].startswith(f"{pack}: NOT intact: ")


@pytest.mark.parametrize("name", MANIFEST_TAMPERS)
def test_every_lie_of_the_manifest_is_found(story: Any, pack: Path, name: str) -> None:
    tamper, says = MANIFEST_TAMPERS[name]
    tamper(pack)
    report = verify_folder(pack, vkey=story.vkey)
    assert len(report.problems) == 1
    assert f"MANIFEST.json: it does not describe this folder: {says}" in str(report.first)


def test_without_the_key_from_elsewhere_a_forged_signature_is_all_that_passes(story: Any, pack: Path) -> None:
    forged_checkpoint(pack)
    make_fit(pack)
    report = verify_folder(pack)
    assert report.ok
    assert "compare it with a copy from elsewhere" in report.notes[0]


def test_all_that_is_wrong_is_listed(story: Any, pack: Path) -> None:
    TAMPERS["a file added"][0](pack)
    TAMPERS["a value flipped"][0](pack)
    TAMPERS["an item missing"][0](pack)
    report = verify_folder(pack, vkey=story.vkey)
    assert [problem.where.split(" ")[0].split("/")[0] for problem in report.problems] == [
        "extra.txt",
        "records.jsonl",
        "items",
        "MANIFEST.json",
    ]


def test_a_record_of_another_incident_does_not_pass(story: Any, pack: Path, tmp_path: Path) -> None:
    record, proof = story.proven("inc-8")[4]
    shown = form.shown_record(record, proof, frozenset())
    relined(lambda rows: [*rows[:4], form.line_of(shown).encode(), *rows[5:]])(pack)
    first = verify_folder(pack, vkey=story.vkey).first
    assert "line 5 (inc-8 record 5, NoteTaken): it does not belong to inc-7" in str(first)


def test_an_older_checkpoint_does_not_cover_the_records(story: Any, pack: Path) -> None:
    (pack / "checkpoint.txt").write_text(story.checkpoints[3])
    make_fit(pack)
    first = verify_folder(pack, vkey=story.vkey).first
    assert "line 1 (inc-7 record 1, IncidentOpened): its content is not in the log under the checkpoint" in str(first)


@pytest.mark.parametrize("depth", [*range(880, 1000, 3), 100_000])
def test_no_depth_of_nesting_breaks_the_verifier(story: Any, pack: Path, depth: int) -> None:
    (pack / "MANIFEST.json").write_text('{"format":' + "[" * depth + "]" * depth + "}")
    assert "MANIFEST.json: it does not describe this folder" in str(verify_folder(pack, vkey=story.vkey).first)


def test_without_any_key_the_rest_is_still_checked(pack: Path) -> None:
    (pack / "vkey.txt").unlink()
    TAMPERS["a value flipped"][0](pack)
    wheres = [problem.where for problem in verify_folder(pack).problems]
    assert wheres == ["vkey.txt", "records.jsonl line 2 (inc-7 record 2, RoleTaken)", "MANIFEST.json"]


@pytest.mark.parametrize("kind", ["nowhere", "file", "link", "empty"])
def test_what_is_no_folder_is_no_evidence(pack: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "file":
        path.write_text("")
    if kind == "link":
        path.symlink_to(pack)
    if kind == "empty":
        path.mkdir()
    report = verify_folder(path)
    assert not report.ok
    assert ("cannot be read as a folder" in str(report.first)) == (kind != "empty")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_can_be_changed_anywhere(story: Any, pack: Path, data: st.DataObject) -> None:
    paths = sorted(path for path in pack.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(paths))
    old = path.read_bytes()
    place = data.draw(st.integers(0, len(old) - 1))
    new = data.draw(st.sampled_from(["flip", "drop", "insert", "cut"]))
    byte = bytes([data.draw(st.integers(0, 255).filter(lambda value: value != old[place]))])
    changed = {
        "flip": old[:place] + byte + old[place + 1 :],
        "drop": old[:place] + old[place + 1 :],
        "insert": old[:place] + byte + old[place:],
        "cut": old[:place],
    }[new]
    path.chmod(0o600)
    path.write_bytes(changed)
    try:
        assert not verify_folder(pack, vkey=story.vkey).ok
    finally:
        path.write_bytes(old)
