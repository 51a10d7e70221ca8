"""Custody: who may look at evidence, take it out, hold it and let it go; nothing young, held or open ever goes."""

from typing import Any

import pytest

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.severity import Severity
from bot.errors import Invalid, NotFound, Refused
from bot.flows import custody, intake, record, resolve
from tests.fakes import START, Room, person

ADA = person("ada")


def keep(n: int, what: str, node: str = "n1") -> record.Keep:
    return record.Keep(
        by=BOT,
        incident=1,
        sha256=f"{n:064x}",
        size=n,
        media_type="text/plain",
        what=what,
        node=node,
        source=f"http://{node}",
        tool="test",
        collected_at=START,
    )


async def with_items(spine: Room, *kinds: str) -> list[str]:
    """Open inc-1 and keep an item of each kind; return their ids."""
    await spine.decide(intake.declare, intake.Declare(by=ADA, severity=Severity.SEV2, summary="two signatures"))
    return [await spine.decide(record.keep, keep(n, what)) for n, what in enumerate(kinds, 1)]


async def resolved(spine: Room) -> None:
    await spine.decide(resolve.resolve, resolve.Resolve(by=ADA, incident=1, summary="over"))


def read(who: Any = ADA, item: str = "ev-1-1", reason: str = "the panel asks") -> custody.Read:
    return custody.Read(by=who, incident=1, item=item, reason=reason)


def expire(item: str = "ev-1-1") -> custody.Expire:
    return custody.Expire(by=ADA, incident=1, item=item, reason="its time is over")


async def test_who_reads_an_item_stands_in_the_journal_with_the_reason(spine: Room) -> None:
    await with_items(spine, "logs")
    item = await spine.decide(custody.read, read())
    assert (item.item, item.what) == ("ev-1-1", "logs")
    assert await spine.last(j.EvidenceRead) == j.EvidenceRead(
        item="ev-1-1", sha256=item.sha256, reason="the panel asks"
    )


@pytest.mark.parametrize(
    ("command", "why", "kind"),
    [
        (read(who=person("eve")), "takes the power 'evidence'", Refused),
        (read(who=person("nobody")), "not in team.yaml", Refused),
        (read(reason="  "), "Say why", Invalid),
        (read(item="ev-1-9"), "There is no item 'ev-1-9'", NotFound),
    ],
    ids=["no power", "a stranger", "no reason", "no item"],
)
async def test_who_may_not_or_says_not_why_reads_nothing(
    spine: Room, command: custody.Read, why: str, kind: type[Exception]
) -> None:
    await with_items(spine, "logs")
    with pytest.raises(kind, match=why):
        await spine.decide(custody.read, command)
    assert "EvidenceRead" not in await spine.kinds()


async def test_an_export_names_what_it_withholds_by_item_or_by_kind(spine: Room) -> None:
    await with_items(spine, "logs", "network-capture", "network-capture")
    withheld = ("ev-1-1", "network-capture")
    command = custody.Export(by=ADA, incident=1, reason="arbitration", withheld=withheld, redacted=("by",))
    number = await spine.decide(custody.export, command)
    entry = await spine.last(j.EvidenceExported)
    assert entry.records == number
    assert entry.withheld == entry.items == tuple(f"{n:064x}" for n in (1, 2, 3))
    assert entry.redacted == ("by",)
    with pytest.raises(NotFound, match="no item and no kind 'pcap'"):
        await spine.decide(custody.export, custody.Export(by=ADA, incident=1, reason="r", withheld=("pcap",)))


async def test_nothing_young_open_or_held_expires(spine: Room) -> None:
    await with_items(spine, "logs")
    with pytest.raises(Refused, match="is kept until"):
        await spine.decide(custody.expire, expire())
    spine.clock.go(days=89, hours=23)
    with pytest.raises(Refused, match="is kept until"):
        await spine.decide(custody.expire, expire())
    spine.clock.go(hours=2)
    with pytest.raises(Refused, match="is not resolved"):
        await spine.decide(custody.expire, expire())
    await resolved(spine)
    await spine.decide(custody.hold, custody.Hold(by=ADA, incident=1, reason="dispute 12"))
    with pytest.raises(Refused, match="under legal hold: dispute 12"):
        await spine.decide(custody.expire, expire())
    await spine.decide(custody.lift, custody.Lift(by=ADA, incident=1, reason="settled"))
    item = await spine.decide(custody.expire, expire())
    assert await spine.last(j.EvidenceExpired) == j.EvidenceExpired(
        item="ev-1-1", sha256=item.sha256, reason="its time is over"
    )
    await spine.decide(custody.expire, expire())
    assert (await spine.kinds()).count("EvidenceExpired") == 1
    with pytest.raises(NotFound, match="no longer kept: its time is over"):
        await spine.decide(custody.read, read())
    await spine.decide(custody.export, custody.Export(by=ADA, incident=1, reason="late"))
    assert (await spine.last(j.EvidenceExported)).withheld == ()


async def test_what_has_expired_and_is_kept_again_is_another_item(spine: Room) -> None:
    assert await with_items(spine, "logs") == [await spine.decide(record.keep, keep(1, "logs"))] == ["ev-1-1"]
    await resolved(spine)
    spine.clock.go(days=91)
    await spine.decide(custody.expire, expire())
    assert await spine.decide(record.keep, keep(1, "logs")) == "ev-1-2"
    assert await spine.decide(record.keep, keep(1, "logs")) == "ev-1-2"


async def test_the_same_content_kept_again_is_young_again(spine: Room) -> None:
    await with_items(spine, "logs")
    spine.clock.go(days=89)
    await spine.decide(record.keep, keep(1, "other logs", "n2"))
    await resolved(spine)
    spine.clock.go(days=2)
    with pytest.raises(Refused, match="is kept until"):
        await spine.decide(custody.expire, expire())


async def test_a_hold_is_placed_and_lifted_once(spine: Room) -> None:
    await with_items(spine)
    with pytest.raises(Refused, match="under no legal hold"):
        await spine.decide(custody.lift, custody.Lift(by=ADA, incident=1, reason="r"))
    for reason in ("dispute 12", "again"):
        incident = await spine.decide(custody.hold, custody.Hold(by=ADA, incident=1, reason=reason))
    assert incident.hold == "dispute 12"
    incident = await spine.decide(custody.lift, custody.Lift(by=ADA, incident=1, reason="settled"))
    assert incident.hold is None


async def test_a_key_is_rotated_from_the_one_that_reigns(spine: Room) -> None:
    def rotate(was: str, now: str) -> custody.RotateKey:
        return custody.RotateKey(by=ADA, reason="yearly", was=was, now=now)

    assert (await spine.decide(custody.rotate_key, rotate("a", "b"))).key == "b"
    with pytest.raises(Refused, match="rotated by somebody else"):
        await spine.decide(custody.rotate_key, rotate("a", "c"))
    assert (await spine.decide(custody.rotate_key, rotate("b", "c"))).key == "c"
