"""Anchored checkpoints: what is added is found, the newest by anchor, all by size."""

from dataclasses import replace

from bot.store import anchors
from bot.store.anchors import Anchored
from tests.fakes import Room

ONE = Anchored(anchor="tsa", kind="rfc3161", size=3, note="three\n", at=1_795_000_000.25, proof=b"\x30\x00\xff")


async def test_an_anchor_that_has_nothing_has_no_newest(spine: Room) -> None:
    assert await spine.database.reading(lambda c: anchors.newest(c, "tsa")) is None
    assert await spine.database.reading(anchors.all_of) == ()


async def test_what_was_anchored_is_found_by_anchor_and_by_size(spine: Room) -> None:
    kept = [
        replace(ONE, size=9, note="nine\n"),
        ONE,
        replace(ONE, anchor="mirror", kind="http", size=5, proof=b"{}"),
        replace(ONE, size=9, note="nine again\n"),
    ]
    for anchored in kept:
        await spine.database.writer.do(lambda c, a=anchored: anchors.add(c, a))  # type: ignore[misc]
    assert await spine.database.reading(lambda c: anchors.newest(c, "tsa")) == kept[0]
    assert await spine.database.reading(lambda c: anchors.newest(c, "mirror")) == kept[2]
    assert await spine.database.reading(anchors.all_of) == (kept[1], kept[2], kept[0], kept[3])
    assert await spine.database.reading(lambda c: anchors.all_of(c, up_to_size=5)) == (kept[1], kept[2])
    assert await spine.database.reading(lambda c: anchors.all_of(c, up_to_size=2)) == ()
