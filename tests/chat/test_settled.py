"""What was asked and answered no longer carries buttons, wherever it was said."""

import asyncio

from bot.chat import actions
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.target import State
from bot.flows import people
from tests.chat.conftest import Stage
from tests.fakes import person


async def settled(stage: Stage, channel: str, words: str) -> dict[str, object]:
    """Return the message with these words once it has no buttons any more."""
    async with asyncio.timeout(8):
        while True:
            found = await stage.find(channel, words)
            if not any(block["type"] == "actions" for block in found["blocks"]):
                return found
            await asyncio.sleep(0.05)


async def test_a_page_of_somebody_else_says_who_is_on_it(stage: Stage) -> None:
    await stage.opened()
    direct = await stage.direct("U0CYN")
    assert "actions" in str((await stage.find(direct, "PAGE"))["blocks"])
    await stage.room.decide(people.acknowledge, people.Acknowledge(by=person("bo"), incident=1))
    await settled(stage, direct, "acknowledged by Bo")


async def test_the_announcement_loses_its_button_once_somebody_is_on_it(stage: Stage) -> None:
    await stage.opened()
    assert actions.INCIDENT_ACK in str((await stage.find("incidents", "SEV-1 inc-1"))["blocks"])
    await stage.room.decide(people.acknowledge, people.Acknowledge(by=person("bo"), incident=1))
    await settled(stage, "incidents", "SEV-1 inc-1")


async def test_a_request_that_was_agreed_to_says_by_whom_in_the_channel_and_in_every_direct_message(
    stage: Stage,
) -> None:
    incident = await stage.opened("s01")
    await stage.room.advance()
    await stage.run(Verb.FREEZE, State.VERIFIED)
    channel = str(incident.channel)
    await stage.hands.command("U0ADA", channel, "/incident unfreeze s01 the key is safe")
    asked = await stage.find(await stage.direct("U0BO"), "waits for you")
    await stage.find(await stage.direct("U0CYN"), "waits for you")
    await stage.hands.press("U0BO", await stage.direct("U0BO"), asked["ts"], actions.APPROVE)
    for user in ("U0BO", "U0CYN"):
        await settled(stage, await stage.direct(user), "agreed by Ada and Bo")
    await settled(stage, channel, "asks a second person to agree")


async def test_a_held_step_that_was_decided_keeps_its_words_and_loses_its_button(stage: Stage) -> None:
    incident = await stage.opened("s01", "s02", "s03")
    await stage.room.advance()
    channel = str(incident.channel)
    await stage.find(channel, "waits for a person")
    await stage.hands.command("U0ADA", channel, "/incident freeze s02 s03")
    await settled(stage, channel, "waits for a person")


async def test_a_message_is_said_anew_once_only(stage: Stage) -> None:
    await stage.opened()
    await stage.room.decide(people.acknowledge, people.Acknowledge(by=person("bo"), incident=1))
    await settled(stage, await stage.direct("U0CYN"), "acknowledged by Bo")
    await stage.idle()
    before = len(await stage.hands.calls("chat.update"))
    note = people.AddNote(by=person("bo"), incident=1, text="x", source="note")
    await stage.room.decide(people.add_note, note)
    await stage.room.decide(people.take_role, people.TakeRole(by=person("bo"), incident=1, role=Role.IC))
    await stage.idle()
    updated = (await stage.hands.calls("chat.update"))[before:]
    incident = await stage.room.incident()
    assert {c["args"]["ts"] for c in updated} == {incident.header}
