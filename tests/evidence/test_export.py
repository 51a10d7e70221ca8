"""From the live bot to a pack that verifies: whole, redacted, withheld, archived, over rotated keys, with anchors."""

import json
from pathlib import Path

import bagit
import pytest

from bot import evidence
from bot.app import App
from bot.domain import journal as j
from bot.domain.authority import Actor
from bot.errors import Invalid, NotFound, Refused
from bot.flows import people
from bot.steps.evidence import Where
from bot.store import anchors, sequencer
from bot.vault.archive import verify_pack
from bot.vault.redaction import Redaction
from bot.vault.report import Report
from bot.vault.signer import ORIGIN, create_key
from tests.evidence.conftest import ADA

SECRET = "10.9.8.7"


async def keep(app: App, *kinds: str) -> None:
    for what in kinds:
        where = Where(incident=1, node="n1", source=f"http://{SECRET}/{what}", tool="test")
        await app.keeper.keep_json(where, what, {"what": what})
    note = people.AddNote(by=ADA, incident=1, text="<script>alert(1)</script> & co", source="note")
    await app.ledger.decide(people.add_note, note)


def verified(path: Path, vkey: str | None = None) -> Report:
    report = verify_pack(path, most=10**8, vkey=vkey)
    assert report.ok, report.lines()
    return report


async def test_a_pack_verifies_and_is_a_bag_and_the_log_has_its_manifest(app: App, tmp_path: Path) -> None:
    await keep(app, "alerts", "signed-messages", "logs")
    done = await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="arbitration 12")
    report = verified(tmp_path / "pack", app.keys.key.encode())
    assert (report.items, report.notes) == (3, ())
    assert bagit.Bag(str(tmp_path / "pack")).validate()
    entries = [w.entry for w in await app.ledger.read(lambda rows: rows.entries(1))]
    assert entries[-1] == j.EvidenceSealed(exported=done.records, manifest=done.manifest)
    assert isinstance(entries[-2], j.EvidenceExported)
    assert entries[-2].reason == "arbitration 12"
    assert (await evidence.verify(app)).ok


async def test_what_is_for_reading_says_what_happened_and_lets_nothing_run(app: App, tmp_path: Path) -> None:
    await keep(app, "alerts")
    await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="arbitration")
    timeline = (tmp_path / "pack/data/timeline.html").read_text()
    assert "two &lt;b&gt;signatures" in timeline
    assert "<script" not in timeline
    assert "default-src 'none'" in timeline
    custody = (tmp_path / "pack/data/custody.txt").read_text()
    assert f"Source: http://{SECRET}/alerts" in custody
    assert "ada/cli  EvidenceExported: arbitration" in custody
    assert f"http://{SECRET}/alerts" in (tmp_path / "pack/data/custody.html").read_text()


async def test_what_is_redacted_or_withheld_stands_nowhere_and_the_pack_verifies(app: App, tmp_path: Path) -> None:
    await keep(app, "alerts", "logs")
    rules = Redaction.parse(["by", "EvidenceKept.source"])
    await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="public", redaction=rules, withhold=("logs",))
    report = verified(tmp_path / "pack", app.keys.key.encode())
    assert [note.split(";")[0] for note in report.notes][-1] == "1 items are withheld"
    everything = b"".join(path.read_bytes() for path in (tmp_path / "pack").rglob("*") if path.is_file())
    assert SECRET.encode() not in everything
    assert b'"ada/cli"' not in everything
    assert "not in this pack" in (tmp_path / "pack/data/custody.html").read_text()
    assert len(list((tmp_path / "pack/data/items").iterdir())) == 1
    pack = json.loads((tmp_path / "pack/data/pack.json").read_text())
    assert pack["incident"] == "inc-1"


@pytest.mark.parametrize("name", ["pack.tar.zst", "pack.zip"])
async def test_an_archive_verifies_and_nothing_is_left_beside_it(app: App, tmp_path: Path, name: str) -> None:
    await keep(app, "alerts")
    (tmp_path / "out").mkdir()
    await evidence.export(app, 1, tmp_path / "out" / name, by=ADA, reason="r")
    verified(tmp_path / "out" / name, app.keys.key.encode())
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


async def test_whoever_has_an_older_key_can_follow_to_the_new_one(app: App, tmp_path: Path) -> None:
    keys = [app.keys.key.encode()]
    for reason in ("yearly", "the laptop was lost"):
        await keep(app, f"logs {reason}")
        keys.append(await evidence.rotate(app, by=ADA, reason=reason))
    await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="r")
    for key in keys:
        verified(tmp_path / "pack", key)
    assert len(set(keys)) == 3
    assert (await evidence.verify(app)).ok
    stranger = create_key(tmp_path / "stranger.pem", ORIGIN).key.encode()
    report = verify_pack(tmp_path / "pack", most=10**8, vkey=stranger)
    assert report.first is not None
    assert "not the key that you gave" in str(report.first)


async def test_an_anchored_checkpoint_goes_into_the_pack(app: App, tmp_path: Path) -> None:
    await keep(app, "alerts")
    size = await anchored(app)
    await keep(app, "logs")
    await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="r")
    verified(tmp_path / "pack", app.keys.key.encode())
    note = (tmp_path / "pack/data/anchors" / f"partner-{size}" / "checkpoint.txt").read_text()
    assert note.splitlines()[1] == str(size)


async def test_who_may_not_or_says_not_why_exports_nothing(app: App, tmp_path: Path) -> None:
    eve = Actor(person="eve", via="cli")
    with pytest.raises(Refused, match="power 'evidence'"):
        await evidence.export(app, 1, tmp_path / "pack", by=eve, reason="r")
    with pytest.raises(Invalid, match="Say why"):
        await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason=" ")
    with pytest.raises(NotFound, match="inc-9"):
        await evidence.export(app, 9, tmp_path / "pack", by=ADA, reason="r")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("mine")
    with pytest.raises(Invalid, match="is taken"):
        await evidence.export(app, 1, tmp_path / "taken", by=ADA, reason="r")
    assert not (tmp_path / "pack").exists()
    assert "EvidenceExported" not in [
        type(w.entry).__name__ for w in await app.ledger.read(lambda rows: rows.entries(1))
    ]


async def anchored(app: App) -> int:
    """Sequence, and let a partner have the newest checkpoint; return its size."""
    await app.sequence()
    head = await app.database.reading(sequencer.head)
    assert head is not None
    row = anchors.Anchored(anchor="partner", kind="http", size=head.size, note=head.note, at=1.0, proof=b"{}")
    await app.database.writer.do(lambda connection: anchors.add(connection, row))
    return head.size


async def test_of_many_anchored_checkpoints_the_first_ones_stay_in_the_pack(app: App, tmp_path: Path) -> None:
    given = []
    for n in range(60):
        await keep(app, f"logs {n}")
        given.append(await anchored(app))
    await evidence.export(app, 1, tmp_path / "pack", by=ADA, reason="r")
    verified(tmp_path / "pack", app.keys.key.encode())
    sizes = sorted(int(path.name.rpartition("-")[2]) for path in (tmp_path / "pack/data/anchors").iterdir())
    assert (sizes[0], sizes[-1], len(sizes)) == (given[0], given[-1], 50)
