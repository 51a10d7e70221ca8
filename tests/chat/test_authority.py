"""Who is refused: each gets an answer that only they see, nothing happens, and the journal says so."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.chat import actions
from bot.domain import journal as j
from bot.domain.playbook import Verb
from bot.domain.target import State
from bot.flows import respond
from tests.chat.conftest import Stage
from tests.fakes import person


async def refused(stage: Stage, number: int | None, why: str) -> j.CommandRefused:
    """Return the refusal with these words once it is written down."""
    async with asyncio.timeout(8):
        while True:
            entries = [w.entry for w in await stage.room.journal(number)]
            found = [e for e in entries if isinstance(e, j.CommandRefused) and why in e.reason]
            if found:
                return found[-1]
            await asyncio.sleep(0.03)


async def asked(stage: Stage, who: str = "ada", number: int = 1) -> str:
    """Let somebody ask for an unfreeze of s01; return the approval's id."""
    command = respond.Request(by=person(who), incident=number, verb=Verb.UNFREEZE, targets=("s01",))
    done = await stage.room.decide(respond.request, command)
    return str(done.approval)


async def frozen(stage: Stage) -> str:
    """Open an incident with s01 frozen; return its channel."""
    incident = await stage.opened("s01")
    await stage.room.advance()
    await stage.run(Verb.FREEZE, State.VERIFIED)
    await stage.idle()
    return str(incident.channel)


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("U0MALLORY", "not in team.yaml"),
        ("U0GUEST", "Guests may not"),
        ("U0OUT", "another workspace"),
    ],
    ids=["nobody knows them", "a guest", "somebody of another workspace"],
)
async def test_who_has_no_standing_is_written_down_in_the_incident_with_their_account(
    stage: Stage, user: str, why: str
) -> None:
    channel = str((await stage.opened()).channel)
    await stage.idle()
    await stage.hands.act("invite", user="U0ADA", channel=channel, who=user)
    answer = await stage.hands.command(user, channel, "/incident freeze s01")
    assert why in str(answer["saw"])
    told = await refused(stage, 1, why)
    assert (told.account, told.command) == (user, "/incident")


async def test_an_outsider_s_press_is_refused_and_the_button_is_named(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.idle()
    channel = str(incident.channel)
    await stage.hands.act("invite", user="U0ADA", channel=channel, who="U0OUT")
    await stage.hands.press("U0OUT", channel, str(incident.header), "step.form:freeze")
    await stage.told("U0OUT", "another workspace")
    assert (await refused(stage, 1, "another workspace")).command == actions.STEP_FORM


async def test_outside_an_incident_it_stands_in_the_watch_and_only_once_a_minute(stage: Stage) -> None:
    for _ in range(5):
        await stage.hands.command("U0MALLORY", "general", "/incident halt now")
    assert (await refused(stage, None, "not in team.yaml")).account == "U0MALLORY"
    await stage.idle()
    assert (await stage.room.kinds(None)).count("CommandRefused") == 1


async def test_nobody_agrees_to_their_own_request(stage: Stage) -> None:
    channel = await frozen(stage)
    await asked(stage)
    await stage.hands.command("U0ADA", channel, "/incident approve")
    await refused(stage, 1, "a different person must agree")


async def test_a_request_is_agreed_to_once(stage: Stage) -> None:
    channel = await frozen(stage)
    await asked(stage)
    message = await stage.find(channel, "asks a second person")
    await stage.hands.press("U0BO", channel, message["ts"], actions.APPROVE)
    await stage.until(lambda i: "unfreeze-1" in i.steps)
    await stage.hands.press("U0CYN", channel, message["ts"], actions.APPROVE)
    await stage.told("U0CYN", "That request is over")
    await refused(stage, 1, "That request is over")
    assert [s for s in (await stage.room.incident()).steps if s.startswith("unfreeze")] == ["unfreeze-1"]


async def test_a_request_whose_time_is_over_is_not_agreed_to(stage: Stage) -> None:
    world = stage.room.ledger.world
    short = replace(world.config, policy=replace(world.config.policy, request_lives=timedelta(seconds=0.2)))
    channel = await frozen(stage)
    stage.room.ledger.world = replace(world, config=short)
    await asked(stage)
    message = await stage.find(channel, "asks a second person")
    await asyncio.sleep(0.3)
    await stage.hands.press("U0BO", channel, message["ts"], actions.APPROVE)
    await refused(stage, 1, "expired")


async def test_a_request_whose_targets_changed_in_the_inventory_is_not_agreed_to(stage: Stage) -> None:
    channel = await frozen(stage)
    await asked(stage)
    message = await stage.find(channel, "asks a second person")
    world = stage.room.ledger.world
    nodes = world.config.inventory.nodes
    other = {**nodes, "s01": replace(nodes["s01"], keys=("0xanother",))}
    inventory = replace(world.config.inventory, nodes=other)
    stage.room.ledger.world = replace(world, config=replace(world.config, inventory=inventory))
    await stage.hands.press("U0BO", channel, message["ts"], actions.APPROVE)
    await refused(stage, 1, "have changed in the inventory")


async def test_who_may_not_agree_may_not_reject_either(stage: Stage) -> None:
    channel = await frozen(stage)
    await asked(stage)
    message = await stage.find(channel, "asks a second person")
    await stage.hands.act("join", user="U0EVE", channel=channel)
    for action in (actions.APPROVE, actions.REJECT):
        await stage.hands.press("U0EVE", channel, message["ts"], action)
    await refused(stage, 1, "takes the power 'unfreeze'")
    [waiting] = (await stage.room.incident()).approvals.values()
    assert waiting.pending
