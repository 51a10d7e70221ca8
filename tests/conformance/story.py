"""A whole night in the practice workspace, so that there is something to check when these tests run alone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from bot.chat import actions
from bot.domain.authority import BOT
from bot.domain.playbook import Verb
from bot.domain.target import State
from bot.flows import record
from tests.chat.conftest import Stage, staged


async def night(folder: Path) -> None:
    """Play it: an alert, a freeze decided by button, a status by form, an approval, notes, a halt, and refusals."""
    async with staged(folder) as stage:
        await stage.hands.act("home", user="U0BO")
        channel = await _alarm(stage)
        await _freeze(stage, channel)
        await _people(stage, channel)
        await _end(stage, channel)
        await _refused(stage, channel)
        assert stage.buried == []


async def _alarm(stage: Stage) -> str:
    incident = await stage.opened("s01", "s02", "s03")
    await stage.idle()
    direct = await stage.direct("U0BO")
    page = await stage.find(direct, "PAGE")
    await stage.hands.press("U0BO", direct, page["ts"], actions.PAGE_ACK)
    return str(incident.channel)


async def _freeze(stage: Stage, channel: str) -> None:
    await stage.room.advance()
    incident = await stage.until(lambda i: i.state(Verb.FREEZE, "s02") is State.HELD)
    await stage.idle()
    await stage.hands.press("U0ADA", channel, str(incident.header), f"{actions.HELD}:freeze")
    await stage.until(lambda i: "freeze-2" in i.steps)
    await stage.run(Verb.FREEZE, State.VERIFIED)


async def _people(stage: Stage, channel: str) -> None:
    header = str((await stage.room.incident()).header)
    await _form(stage, channel, header, actions.STATUS_FORM, {"audience": "stakeholders", "text": "Three are stopped."})
    await _step(stage, channel, header)
    await _form(stage, channel, header, actions.ROLES_FORM, {"role": "ops", "person": "eve"})
    for text in ("unfreeze s01 the key is safe", "note the gateway is back", "list", "timeline", "show", "help", "fog"):
        await stage.hands.command("U0ADA", channel, f"/incident {text}")
    said = await stage.hands.say("U0BO", channel, "restarted at 03:12")
    await stage.hands.act("react", user="U0ADA", channel=channel, ts=said["ts"], name="pushpin")
    direct = await stage.direct("U0BO")
    asked = await stage.find(direct, "waits for you")
    await stage.hands.press("U0BO", direct, asked["ts"], actions.APPROVE)
    await stage.until(lambda i: "unfreeze-1" in i.steps)


async def _step(stage: Stage, channel: str, ts: str) -> None:
    """Choose a target, and read what that would mean: the second form takes the first one's place."""
    opened = await stage.hands.press("U0ADA", channel, ts, f"{actions.STEP_FORM}:freeze", wait_view=True)
    assert opened["view"]
    chosen = {actions.TARGETS: {actions.FIELD: ["s04"]}, actions.REASON: {actions.FIELD: "it signs too"}}
    assert (await stage.hands.submit("U0ADA", chosen))["open"]
    assert (await stage.hands.submit("U0ADA", {}))["ok"]


async def _end(stage: Stage, channel: str) -> None:
    header = str((await stage.room.incident()).header)
    opened = await stage.hands.press("U0EVE", channel, header, actions.RESOLVE_FORM, wait_view=True)
    assert opened["view"]
    assert (await stage.hands.submit("U0EVE", {"summary": {"field": "it is over"}}))["errors"]
    await stage.room.decide(record.drafted, record.Drafted(by=BOT, incident=1, item="ev-1-1", sha256="0" * 64))
    await stage.hands.command("U0ADA", "incidents", "/incident halt the freeze hits healthy nodes")
    told = await stage.find("incidents", "healthy nodes")
    for user in ("U0ADA", "U0BO"):
        await stage.hands.press(user, "incidents", told["ts"], actions.REARM)
    await stage.told("U0BO", "runs again")
    await stage.find("incidents", "re-armed")
    async with asyncio.timeout(10):
        while not any(message["files"] for message in await stage.hands.messages(channel)):
            await asyncio.sleep(0.05)


async def _refused(stage: Stage, channel: str) -> None:
    """Ask for what Slack refuses, in calls that are well formed: the errors that the bot lives with."""
    web = stage.chat.slack._web  # past the bot's own pace, which these are no test of
    incident = await stage.room.incident()
    name, header, gone = str(incident.channel_name), str(incident.header), "1700000000.000001"
    for method, arguments in (
        ("conversations.create", {"name": name}),
        ("conversations.history", {"channel": "C0NOWHERE"}),
        ("conversations.info", {"channel": "C0NOWHERE"}),
        ("conversations.invite", {"channel": channel, "users": "U0ADA"}),
        ("conversations.invite", {"channel": channel, "users": "U0STOPSIGN"}),
        ("conversations.invite", {"channel": channel, "users": "U0NOBODY"}),
        ("conversations.join", {"channel": "C0NOWHERE"}),
        ("conversations.open", {"users": "U0NOBODY"}),
        ("conversations.setTopic", {"channel": "C0NOWHERE", "topic": "x"}),
        ("chat.postMessage", {"channel": "C0NOWHERE", "text": "Nobody hears this."}),
        ("chat.update", {"channel": channel, "ts": gone, "text": "Nobody sees this."}),
        ("pins.add", {"channel": channel, "timestamp": header}),
        ("pins.add", {"channel": channel, "timestamp": gone}),
        ("users.info", {"user": "U0NOBODY"}),
    ):
        with pytest.raises(SlackApiError):
            await getattr(web, method.replace(".", "_"))(**arguments)


async def _form(stage: Stage, channel: str, ts: str, action: str, values: dict[str, Any]) -> None:
    opened = await stage.hands.press("U0ADA", channel, ts, action, wait_view=True)
    assert opened["view"]
    done = await stage.hands.submit("U0ADA", {block: {actions.FIELD: value} for block, value in values.items()})
    assert done["ok"], done
