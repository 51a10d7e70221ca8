"""A capture from several recorders: what one loses costs nothing of what the others keep."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from bot.domain import journal as j
from bot.domain.inventory import Endpoint, Node
from bot.domain.playbook import Verb
from bot.domain.target import State
from bot.errors import NodeBroken
from bot.ports import Item
from bot.steps.capture import Capturer
from bot.steps.evidence import Keeper, once
from bot.vault.folder import Folder
from tests.fakes import SIDECAR, Room, alert

LINE = b'{"key": "0xs01", "duty": "sequence", "slot": 7}\n'


class Good:
    """Gives what was signed."""

    traits = SIDECAR

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        yield Item(what="signed-messages", source="s01", media_type="x", chunks=once(LINE), tool="t")


class Torn:
    """Gives one item that breaks off, and one that is whole."""

    traits = SIDECAR

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        async def breaks() -> AsyncIterator[bytes]:
            yield b"half"
            raise NodeBroken("s01 hung up midway")

        yield Item(what="metrics", source="s01", media_type="x", chunks=breaks(), tool="t")
        yield Item(what="node", source="s01", media_type="x", chunks=once(b"{}"), tool="t")


class Bad:
    """Fails before it has said what it has."""

    traits = SIDECAR

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        raise self.error
        yield


class Silent:
    """No monitoring."""

    async def persists(self, query: str) -> bool | None:
        return None

    async def series(self, query: str, since: datetime, until: datetime) -> bytes | None:
        return None


class Several:
    """The recorders of every node."""

    def __init__(self, *drivers: object) -> None:
        self.drivers = drivers

    def recorders(self, node: Node) -> Sequence[tuple[Endpoint, object]]:
        return [(Endpoint(driver="x", url=f"http://127.0.0.1:{n}"), one) for n, one in enumerate(self.drivers)]


async def captured(spine: Room, folder: Path, *drivers: object) -> tuple[State | None, list[str], list[str]]:
    """Capture s01; return its state, what was kept of it and what was told to be missing."""
    await spine.receive(alert(signer="s01"))
    await spine.advance()
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await spine.advance()
    (work,) = await spine.due("step.capture")
    await Capturer(spine.ledger, Several(*drivers), Keeper(spine.ledger, Folder(folder)), Silent()).step(work)
    entries = [w.entry for w in await spine.journal()]
    kept = [e.what for e in entries if isinstance(e, j.EvidenceKept) and e.node == "s01"]
    lost = [e.what for e in entries if isinstance(e, j.EvidenceMissing) and e.node == "s01"]
    return (await spine.incident()).state(Verb.CAPTURE, "s01"), kept, lost


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), NodeBroken("no"), ValueError("a slip")])
async def test_a_recorder_that_fails_takes_nothing_from_the_others(
    spine: Room, tmp_path: Path, error: Exception
) -> None:
    state, kept, lost = await captured(spine, tmp_path, Bad(error), Good(), Torn())
    assert state is State.VERIFIED
    assert sorted(kept) == ["node", "signed-messages"]
    assert sorted(lost) == ["its records", "metrics"]
    assert (await spine.incident()).highest == {"block:0xs01": 7}


async def test_without_what_was_signed_a_capture_has_failed_however_much_was_kept(spine: Room, tmp_path: Path) -> None:
    state, kept, _ = await captured(spine, tmp_path, Torn())
    assert (state, kept) == (State.FAILED, ["node"])
