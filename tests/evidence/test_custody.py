"""Letting go, holding, rotating: on record first, and nothing goes that another record still names."""

import importlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import evidence
from bot.app import App, build, close
from bot.domain.authority import Actor
from bot.domain.journal import EvidenceExpired, EvidenceKept
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.errors import Invalid, Misconfigured, NotFound, Refused
from bot.flows import custody, intake, people, resolve
from bot.settings import Settings
from bot.steps.evidence import Where
from bot.vault.archive import verify_pack
from bot.vault.folder import Folder
from tests.evidence.conftest import ADA
from tests.fakes import FrozenClock


async def keep(app: App, incident: int, what: str, value: object) -> str:
    where = Where(incident=incident, node="n1", source="http://n1", tool="test")
    return await app.keeper.keep_json(where, what, value)


async def resolved(app: App, *numbers: int) -> None:
    for number in numbers:
        await app.ledger.decide(people.take_role, people.TakeRole(by=ADA, incident=number, role=Role.IC))
        await app.ledger.decide(resolve.resolve, resolve.Resolve(by=ADA, incident=number, summary="over"))


def blobs(app: App) -> list[Path]:
    """Return the contents on disk, made old so that they may be removed."""
    found = sorted(path for path in (app.home / "evidence" / "blobs").rglob("*") if path.is_file())
    for path in found:
        os.utime(path, (0, 0))
    return found


async def test_nothing_goes_before_its_time_or_while_held(app: App) -> None:
    await keep(app, 1, "logs", 1)
    await resolved(app, 1)
    assert await evidence.old(app) == []
    app.ledger.clock = FrozenClock(datetime.now(UTC) + timedelta(days=91))
    assert [(one.incident, one.item) for one in await evidence.old(app)] == [(1, "ev-1-1")]
    await app.ledger.decide(custody.hold, custody.Hold(by=ADA, incident=1, reason="dispute"))
    await evidence.hold_contents(app, 1, on=True)
    held = await evidence.old(app)
    assert held == []


async def test_what_expires_leaves_its_hash_and_the_vault_verifies(app: App, tmp_path: Path) -> None:
    await keep(app, 1, "logs", 1)
    await keep(app, 1, "alerts", 2)
    await resolved(app, 1)
    app.ledger.clock = FrozenClock(datetime.now(UTC) + timedelta(days=91))
    kept = blobs(app)
    items = [one for one in await evidence.old(app) if one.what == "logs"]
    assert await evidence.expire(app, items, by=ADA, reason="its time is over") == 1
    assert len(kept) == 2
    assert len(blobs(app)) == 1
    await app.sequence()
    report = await evidence.verify(app)
    assert report.ok, report.lines()
    assert "1 items have expired: their content is gone, their hashes are in the log" in report.notes
    with pytest.raises(NotFound, match="no longer kept"):
        await evidence.read(app, 1, "ev-1-1", by=ADA, reason="late")
    await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="late")
    assert [one.what for one in await evidence.old(app)] == ["alerts"]


async def test_a_content_that_another_incident_names_stays(app: App) -> None:
    await app.ledger.decide(intake.declare, intake.Declare(by=ADA, severity=Severity.SEV3, summary="another"))
    await keep(app, 1, "logs", 1)
    await keep(app, 2, "logs", 1)
    await resolved(app, 1)
    app.ledger.clock = FrozenClock(datetime.now(UTC) + timedelta(days=91))
    assert len(blobs(app)) == 1
    assert await evidence.expire(app, await evidence.old(app), by=ADA, reason="r") == 0
    assert len(blobs(app)) == 1
    await resolved(app, 2)
    assert await evidence.expire(app, await evidence.old(app), by=ADA, reason="r") == 1
    assert blobs(app) == []


async def test_a_blob_that_vanished_without_a_record_is_found(app: App) -> None:
    await keep(app, 1, "logs", 1)
    await app.sequence()
    blobs(app)[0].unlink()
    report = await evidence.verify(app)
    assert "the blob is missing. Evidence was removed" in str(report.first)


async def test_a_rotation_that_was_cut_off_is_finished_by_the_next_process(home: Path, app: App) -> None:
    old = app.keys.key.encode()
    now = app.keys.successor().encode()
    await app.ledger.decide(custody.rotate_key, custody.RotateKey(by=ADA, reason="r", was=old, now=now))
    other = build(Settings(home=home))  # ours was killed here
    other.database.start()
    try:
        await other.sequence()
        assert other.keys.key.encode() == now
        assert (await evidence.verify(other)).ok
        await keep(app, 1, "logs", 1)
        await app.sequence()  # and one that knew the old key only takes the new one
        assert app.keys.key.encode() == now
        assert (await evidence.verify(app)).ok
    finally:
        await close(other)


async def test_nothing_is_signed_by_a_key_that_the_log_does_not_name(home: Path, app: App) -> None:
    await evidence.rotate(app, by=ADA, reason="r")
    pem = home / "evidence" / "checkpoint.pem"
    pem.unlink()
    other = build(Settings(home=home))  # makes a key, which the log has never heard of
    other.database.start()
    try:
        await keep(other, 1, "logs", 1)
        with pytest.raises(Exception, match="whose private key is not in"):
            await other.sequence()
    finally:
        await close(other)


async def test_a_hold_refuses_even_who_asks_for_one_item(app: App) -> None:
    await keep(app, 1, "logs", 1)
    await resolved(app, 1)
    app.ledger.clock = FrozenClock(datetime.now(UTC) + timedelta(days=91))
    items = await evidence.old(app)
    await app.ledger.decide(custody.hold, custody.Hold(by=ADA, incident=1, reason="dispute"))
    with pytest.raises(Refused, match="under legal hold"):
        await evidence.expire(app, items, by=ADA, reason="r")
    assert len(blobs(app)) == 1


async def test_lifting_one_hold_leaves_what_another_incident_holds(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, bool]] = []
    monkeypatch.setattr(Folder, "hold", lambda self, name, on: told.append((name, on)))
    await app.ledger.decide(intake.declare, intake.Declare(by=ADA, severity=Severity.SEV3, summary="another"))
    for incident, value in ((1, "shared"), (2, "shared"), (1, "own")):
        await keep(app, incident, f"logs {value}", value)
    names = {
        e.what: e.sha256
        for e in [w.entry for w in await app.ledger.read(lambda rows: rows.entries(1))]
        if isinstance(e, EvidenceKept)
    }
    for incident in (1, 2):
        await app.ledger.decide(custody.hold, custody.Hold(by=ADA, incident=incident, reason="dispute"))
        await evidence.hold_contents(app, incident, on=True)
    await app.ledger.decide(custody.lift, custody.Lift(by=ADA, incident=1, reason="settled"))
    told.clear()
    await evidence.hold_contents(app, 1, on=False)
    assert told == [(names["logs own"], False)]


async def test_what_is_kept_again_after_it_expired_is_evidence_again(app: App, tmp_path: Path) -> None:
    assert await keep(app, 1, "logs", 1) == "ev-1-1"
    await resolved(app, 1)
    app.ledger.clock = FrozenClock(datetime.now(UTC) + timedelta(days=91))
    blobs(app)
    assert await evidence.expire(app, await evidence.old(app), by=ADA, reason="over") == 1
    assert await keep(app, 1, "logs", 1) == "ev-1-2"
    assert (await evidence.read(app, 1, "ev-1-2", by=ADA, reason="r")).item == "ev-1-2"
    with pytest.raises(NotFound, match="no longer kept"):
        await evidence.read(app, 1, "ev-1-1", by=ADA, reason="r")
    done = await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="r")
    assert done.items == 1
    assert verify_pack(tmp_path / "pack", most=10**8).ok
    blobs(app)[0].unlink()
    report = await evidence.verify(app)
    assert "the blob is missing. Evidence was removed" in str(report.first)


async def test_two_items_of_one_content_expire_together_and_are_called_expired(app: App, tmp_path: Path) -> None:
    await keep(app, 1, "logs", 1)
    await keep(app, 1, "other logs", 1)
    await resolved(app, 1)
    app.ledger.clock = FrozenClock(datetime.now(UTC) + timedelta(days=91))
    blobs(app)
    assert await evidence.expire(app, await evidence.old(app), by=ADA, reason="over") == 1
    gone = [
        w.entry for w in await app.ledger.read(lambda rows: rows.entries(1)) if isinstance(w.entry, EvidenceExpired)
    ]
    assert [e.item for e in gone] == ["ev-1-1", "ev-1-2"]
    await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="r")
    report = verify_pack(tmp_path / "pack", most=10**8)
    assert report.ok, report.lines()
    told = json.loads((tmp_path / "pack/data/pack.json").read_text())
    assert {e["content"] for e in told["logs"] + told["other"]} == {"expired"}


async def test_what_a_cut_off_expiry_left_behind_goes_the_next_time(app: App) -> None:
    await keep(app, 1, "logs", 1)
    await resolved(app, 1)
    app.ledger.clock = FrozenClock(datetime.now(UTC) + timedelta(days=91))
    items = await evidence.old(app)
    command = custody.Expire(by=ADA, incident=1, item=items[0].item, reason="over")
    await app.ledger.decide(custody.expire, command)  # and here we were killed
    assert len(blobs(app)) == 1
    assert await evidence.expire(app, [], by=ADA, reason="over") == 1
    assert blobs(app) == []


async def test_a_log_is_not_signed_on_by_a_foreign_key(home: Path, app: App) -> None:
    await app.sequence()
    (home / "evidence" / "checkpoint.pem").unlink()
    other = build(Settings(home=home))  # makes a key of its own
    other.database.start()
    try:
        await keep(other, 1, "logs", 1)
        with pytest.raises(Misconfigured, match="signed with another key"):
            await other.sequence()
    finally:
        await close(other)


async def test_who_may_not_rotate_leaves_no_key_behind(home: Path, app: App) -> None:
    with pytest.raises(Refused, match="power 'evidence'"):
        await evidence.rotate(app, by=Actor(person="eve", via="cli"), reason="r")
    assert sorted(path.name for path in (home / "evidence").glob("*.pem")) == ["checkpoint.pem"]


async def test_a_key_that_was_rotated_elsewhere_is_the_one_that_is_shown(home: Path, app: App) -> None:
    other = build(Settings(home=home))
    other.database.start()
    try:
        new = await evidence.rotate(other, by=ADA, reason="r")
    finally:
        await close(other)
    assert app.keys.key.encode() == new
    assert (await evidence.verify(app)).ok


async def test_a_rotation_in_the_middle_of_an_export_leaves_nothing_half(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_module = importlib.import_module("bot.evidence.export")
    real = export_module._sealed

    async def rotated(*given: Any) -> Any:
        await evidence.rotate(app, by=ADA, reason="just now")
        await keep(app, 1, "logs", 2)
        while await app.sequence():
            pass
        return await real(*given)

    monkeypatch.setattr(export_module, "_sealed", rotated)
    with pytest.raises(Invalid, match="rotated meanwhile"):
        await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="r")
    monkeypatch.undo()
    await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="r")
    assert verify_pack(tmp_path / "pack", most=10**8).ok


@pytest.mark.parametrize("name", ["My pack (1).zip", ".zip", "nowhere/pack", "nowhere/pack.zip"])
async def test_what_cannot_be_written_is_no_export(app: App, tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid):
        await evidence.export(app, 1, tmp_path / name, by=ADA, reason="r")
    kinds = [type(w.entry).__name__ for w in await app.ledger.read(lambda rows: rows.entries(1))]
    assert "EvidenceExported" not in kinds
