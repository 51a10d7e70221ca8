"""A text that somebody else than a flow wants to post: by name, or where the open incidents are."""

from types import SimpleNamespace
from typing import Any

import pytest

from bot.chat import Chat
from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.severity import Severity
from bot.flows import intake, record
from tests.fakes import Room, person


class Slack:
    """Takes what is posted."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    async def call(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        assert method == "chat.postMessage"
        self.said.append((arguments["channel"], arguments["text"]))
        return {"ok": True, "ts": f"{len(self.said)}.0"}

    async def joined(self, name: str) -> str:
        return f"C-{name}"


@pytest.mark.parametrize("opened", [0, 1, 2])
async def test_a_checkpoint_is_posted_in_the_channels_of_open_incidents(spine: Room, opened: int) -> None:
    slack: Any = Slack()
    front: Any = SimpleNamespace(ledger=spine.ledger)
    chat = Chat(asgi=None, handlers={}, slack=slack, front=front, directory=slack)
    for number in range(1, opened + 1):
        await spine.decide(
            intake.declare, intake.Declare(by=person("ada"), severity=Severity.SEV2, summary=f"fire {number}")
        )
        entry = j.ChannelOpened(channel=f"C{number}", name=f"inc-{number}")
        await spine.decide(record.note, record.Note(by=BOT, incident=number, entry=entry))
    assert await chat.post("incident", "a checkpoint") == "1.0"
    assert {room for room, _ in slack.said} == ({f"C{n}" for n in range(1, opened + 1)} or {"C-incidents"})
    await chat.post("ops", "another")
    assert slack.said[-1] == ("C-ops", "another")
