"""The running vault: every altered, missing, doubled, moved or added row, checkpoint and blob is found and named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.domain.checkpoint import Checkpoint, CheckpointError, sign_checkpoint
from bot.domain.leaf import JournalRecord

Rows = list[JournalRecord]


def test_an_honest_vault_verifies(story: Any) -> None:
    report = story.verify()
    assert report.lines() == ["log stopsign.example/ops: verified: 18 records, 3 items"]


def test_an_empty_vault_verifies(story: Any, tmp_path: Path) -> None:
    report = story.verify(records=[], checkpoints=[], blobs=type(story.vault)(tmp_path / "new"))
    assert report.ok
    assert report.notes == ()


def test_what_is_not_yet_signed_or_sequenced_is_said(story: Any) -> None:
    waiting = [replace(row, leaf=None) for row in story.records[-2:]]
    report = story.verify(records=[*story.records[:-2], *waiting], checkpoints=story.checkpoints[:-1])
    assert report.ok
    assert report.notes == ("5 leaves are not yet under a signed checkpoint", "2 records are not yet in the log")


def test_a_log_that_nobody_signed_is_a_note(story: Any) -> None:
    report = story.verify(checkpoints=[])
    assert report.ok
    assert report.notes == ("18 leaves are not yet under a signed checkpoint",)


def test_a_long_log_is_settled_at_every_checkpoint(story: Any) -> None:
    last = story.records[-1]
    for number in range(10, 2500):
        row = replace(last, n=number, leaf=len(story.records))
        story.records.append(replace(row, hash=row.computed_hash()))
    told: list[tuple[int, int]] = []
    story.checkpoints += [story.sign(size) for size in (19, 1000, 1001, len(story.records))]
    report = story.verify(progress=lambda done, total: told.append((done, total)))
    assert report.ok, report.lines()
    assert told == [(1000, 0), (2000, 0)]


def body_changed(rows: Rows) -> Rows:
    return [*rows[:2], replace(rows[2], body={**rows[2].body, "person": "eve"}), *rows[3:]]


def number_changed(rows: Rows) -> Rows:
    return [*rows[:2], replace(rows[2], n=3), *rows[3:]]


def unhashable(rows: Rows) -> Rows:
    return [*rows[:2], replace(rows[2], body={"person": float("nan")}), *rows[3:]]


def salt_changed(rows: Rows) -> Rows:
    return [*rows[:2], replace(rows[2], salt=bytes(32)), *rows[3:]]


def rewritten(rows: Rows) -> Rows:
    """Content and stored hash changed together: only the signed root tells."""
    row = body_changed(rows)[2]
    return [*rows[:2], replace(row, hash=row.computed_hash()), *rows[3:]]


def renumbered(rows: Rows) -> Rows:
    """A row dropped, and everything behind it moved up."""
    kept = [*rows[:2], *rows[3:]]
    return [replace(row, leaf=leaf) for leaf, row in enumerate(kept)]


def item_renamed(rows: Rows) -> Rows:
    return [*rows[:4], replace(rows[4], body={**rows[4].body, "sha256": "xyz"}), *rows[5:]]


ROWS: dict[str, tuple[Callable[[Rows], Rows], str]] = {
    "a body changed": (
        body_changed,
        "inc-7 record 2 (RoleTaken, leaf 2): its content does not give its stored leaf hash",
    ),
    "a salt changed": (salt_changed, "inc-7 record 2 (RoleTaken, leaf 2): its content does not give its stored"),
    "a number changed": (number_changed, "inc-7 record 3 (RoleTaken, leaf 2): record 2 is missing before it in inc-7"),
    "a body that cannot be": (
        unhashable,
        "inc-7 record 2 (RoleTaken, leaf 2): it cannot be hashed: the field 'body.person'",
    ),
    "a row rewritten with its hash": (
        rewritten,
        "checkpoint of 4 leaves: the log's leaves 1 to 3 do not give the root",
    ),
    "a row dropped": (
        lambda rows: rows[:2] + rows[3:],
        "inc-8 record 2 (NoteTaken, leaf 3): leaf 2 is missing before it",
    ),
    "three rows dropped": (
        lambda rows: rows[:2] + rows[5:],
        "(NoteTaken, leaf 5): leaves 2 to 4 are missing before it",
    ),
    "a row dropped and closed up": (renumbered, "inc-7 record 3 (EvidenceKept, leaf 3): record 2 is missing before it"),
    "a row doubled": (lambda rows: rows[:3] + rows[2:], "inc-7 record 2 (RoleTaken, leaf 2): leaf 3 was expected"),
    "two rows exchanged": (
        lambda rows: [*rows[:2], rows[3], rows[2], *rows[4:]],
        "leaf 3): leaf 2 is missing before it",
    ),
    "the end cut off": (
        lambda rows: rows[:-1],
        "checkpoint of 18 leaves: the log has only 17 leaves. The end of the log",
    ),
    "everything cut off": (lambda _rows: [], "checkpoint of 18 leaves: the log has only 0 leaves"),
    "a row behind those that wait": (
        lambda rows: [*rows[:-2], replace(rows[-2], leaf=None), replace(rows[-1], leaf=16)],
        "inc-8 record 9 (NoteTaken, leaf 16): it stands behind rows that are not in the log",
    ),
    "an item without a hash": (item_renamed, "inc-7 record 3 (EvidenceKept, leaf 4): its content does not give"),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_alteration_of_rows_is_found_and_named_first(story: Any, name: str) -> None:
    change, says = ROWS[name]
    report = story.verify(records=change(story.records))
    assert not report.ok
    assert says in str(report.first), report.lines()


def test_a_row_put_in_with_everything_moved_down_is_found_by_the_root(story: Any) -> None:
    first = story.records[0]
    forged = replace(first, incident="inc-9", n=1)
    forged = replace(forged, hash=forged.computed_hash())
    rows = [*story.records[:6], forged, *story.records[6:]]
    report = story.verify(records=[replace(row, leaf=leaf) for leaf, row in enumerate(rows)])
    assert "checkpoint of 11 leaves: the log's leaves 4 to 10 do not give the root that was signed" in str(report.first)


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_another_key_is_named(story: Any) -> None:
    other = Ed25519PrivateKey.generate()
    note = sign_checkpoint(Checkpoint(origin="stopsign.example/ops", size=4, root=bytes(32)), other)
    report = story.verify(checkpoints=[story.checkpoints[0], note, *story.checkpoints[1:]])
    assert "checkpoint 2: the note is not signed by stopsign.example/ops" in str(report.first)
    assert len(report.problems) == 1


def test_a_forked_checkpoint_is_named(story: Any) -> None:
    fork = story.signer.sign(Checkpoint(origin="stopsign.example/ops", size=18, root=bytes(32)))
    report = story.verify(checkpoints=[*story.checkpoints, fork])
    assert str(report.first) == "checkpoint of 18 leaves: two roots are signed for this size. The log was forked"
    report = story.verify(checkpoints=[*story.checkpoints[:-1], fork])
    assert "checkpoint of 18 leaves: the log's leaves 11 to 17 do not give the root" in str(report.first)


def test_a_checkpoint_that_goes_back_is_named(story: Any) -> None:
    report = story.verify(checkpoints=story.checkpoints[::-1])
    assert "checkpoint of 11 leaves: it is smaller than the one before, of 18" in str(report.first)


def test_a_checkpoint_altered_in_the_database_is_named(story: Any) -> None:
    altered = story.checkpoints[-1].replace("\n18\n", "\n17\n")
    report = story.verify(checkpoints=[*story.checkpoints[:-1], altered])
    assert "checkpoint 5: the signature of stopsign.example/ops" in str(report.first)


def test_a_malformed_key_is_the_callers_mistake(story: Any) -> None:
    with pytest.raises(CheckpointError):
        story.verify(vkey="nonsense")


# ---- blobs -----------------------------------------------------------------------------------------------------------


def blob(story: Any, number: int) -> Path:
    name = story.records[4 + 2 * number].body["sha256"]
    path: Path = story.home / "vault" / "blobs" / name[:2] / name[2:]
    path.chmod(0o600)
    return path


def test_an_altered_blob_is_named(story: Any) -> None:
    blob(story, 1).write_bytes(b"another")
    report = story.verify()
    assert "inc-7 record 4 (EvidenceKept, leaf 6): ev-2 (" in str(report.first)
    assert "the blob has another content" in str(report.first)


def test_a_missing_blob_is_named(story: Any) -> None:
    blob(story, 0).unlink()
    assert "inc-7 record 3 (EvidenceKept, leaf 4): ev-1 (" in str(story.verify().first)
    assert "the blob is missing. Evidence was removed" in str(story.verify().first)


def test_a_record_with_another_size_is_named(story: Any) -> None:
    row = replace(story.records[4], body={**story.records[4].body, "size": 1})
    story.records[4] = replace(row, hash=row.computed_hash())
    story.checkpoints = [story.sign(18)]
    assert "the blob has 19 bytes, but the record says 1. The record is wrong" in str(story.verify().first)


def test_an_evidence_record_without_a_hash_is_named(story: Any) -> None:
    story.records = item_renamed(story.records)
    assert any("the hash of ev-1 is not 64" in str(problem) for problem in story.verify().problems)


def test_a_blob_that_no_record_names_is_noted_since_a_killed_capture_leaves_one(story: Any) -> None:
    kept = story.vault.put([b"cut off"])
    report = story.verify()
    assert report.ok
    assert any(note.startswith(f"blob {kept.sha256}: no record names it") for note in report.notes)


def test_what_is_no_blob_is_named(story: Any) -> None:
    (story.home / "vault" / "blobs" / "readme").write_text("")
    assert str(story.verify().first) == "blobs/readme: this is no blob. It was added"
