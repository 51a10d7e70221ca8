"""Slack down: the whole incident from a keyboard, with a bot that serves and without one; errors and exit codes."""

import asyncio
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import processes
from tests.processes import Bot, Fleet, Told

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3
WIDTH = 80
ALONE = "No bot is serving"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A keyboard, an operator's folder and a fleet. Nothing listens where Slack should be."""

    bot: Bot
    fleet: Fleet

    async def says(self, code: int, *words: str) -> Told:
        """Run a command that ends with `code`; errors are one line on stderr, success leaves stderr empty."""
        told = await self.bot.command(*words)
        what = f"stopsign {' '.join(words)}: exit {told.code}\n{told.out}\n{told.err}"
        assert told.code == code, what
        assert "Traceback" not in told.out + told.err, what
        if code in {USAGE, REFUSED}:
            assert len(told.err.splitlines()) == 1, what
            assert told.out == "", what
        else:
            assert told.err == "", what
        return told

    async def incident(self, *words: str) -> Told:
        """Run `stopsign incident …`, which must succeed."""
        return await self.says(DONE, "incident", *words)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Run the fleet; Ada sits at the keyboard; Slack is configured and not there."""
    async with processes.fleet(tmp_path) as fleet:
        settings = processes.slack_settings()
        yield Desk(bot=processes.write_bot(tmp_path / "home", fleet_base=fleet.base, **settings), fleet=fleet)


@pytest.mark.parametrize("serving", [False, True], ids=["the bot is down", "the bot serves"])
async def test_an_incident_from_the_keyboard(desk: Desk, serving: bool) -> None:
    async with AsyncExitStack() as stack:
        if serving:
            await stack.enter_async_context(desk.bot.serving())
        declared = await desk.incident("declare", "SEV-1", "two signatures for slot 7", "--avs", "shared-sequencer")
        assert "Declared inc-1 SEV-1" in declared.out
        assert (ALONE not in declared.out) == serving
        if not serving:  # what only reads and writes rows is the same with a bot
            await _is_seen(desk)
            await _is_steered(desk)
        await _is_frozen(desk)
        await _is_let_go_by_two(desk)
        await _is_halted_and_rearmed(desk)
        await _is_resolved(desk)
    assert "verified" in (await desk.says(DONE, "evidence", "verify")).out


async def _is_seen(desk: Desk) -> None:
    listed, shown, all_json, one_json = await asyncio.gather(
        desk.incident("list"),
        desk.incident("show", "inc-1"),
        desk.incident("list", "--json"),
        desk.incident("show", "inc-1", "--json"),
    )
    for told in (listed, shown):
        assert max(map(len, told.out.splitlines())) <= WIDTH, told.out
        assert {"inc-1", "SEV-1", "open"} <= set(told.out.split())
    (incident,) = all_json.json
    assert incident == one_json.json
    assert (incident["id"], incident["avs"], incident["acknowledged_at"]) == ("inc-1", "shared-sequencer", None)


async def _is_steered(desk: Desk) -> None:
    acknowledged, noted, told, role, _ = await asyncio.gather(
        desk.incident("ack", "inc-1"),
        desk.incident("note", "inc-1", "peers", "see", "two", "blocks", "[slot", "7]"),
        desk.incident("status", "inc-1", "we stop it"),
        desk.incident("role", "inc-1", "ops", "bo"),
        desk.says(USAGE, "incident", "sev", "inc-1", "SEV-2"),  # lowering takes a reason
    )
    assert "Ada acknowledged" in acknowledged.out
    assert "peers see two blocks [slot 7]" in noted.out
    assert "we stop it" in told.out
    assert "Ops Lead: bo" in role.out
    assert "SEV-2" in (await desk.incident("sev", "inc-1", "SEV-2", "--reason", "a scrape artefact")).out
    assert "SEV-1" in (await desk.incident("sev", "inc-1", "SEV-1", "--reason", "it is real")).out


async def _is_frozen(desk: Desk) -> None:
    assert await desk.fleet.signs("seq-05")
    frozen = await desk.incident("freeze", "inc-1", "seq-05", "--reason", "two signatures")
    assert not await desk.fleet.signs("seq-05"), f"reported:\n{frozen.out}"
    assert "proven stopped" in frozen.out
    row = next(line for line in frozen.out.splitlines() if line.startswith("seq-05"))
    assert "verified" in row
    assert len(row) <= WIDTH, row
    requests = (await desk.fleet.truth("seq-05"))["requests"]
    assert [r["status"] for r in requests if r["method"] == "PUT"] == [200], "one freeze, one request"


async def _is_let_go_by_two(desk: Desk) -> None:
    asked = await desk.incident("unfreeze", "inc-1", "seq-05", "--reason", "reverted")
    assert "waits for a second person: Bo" in asked.out
    refused = await desk.says(REFUSED, "incident", "approve", "inc-1")
    assert "a different person must agree" in refused.err
    assert not await desk.fleet.signs("seq-05")
    desk.bot.entitle("bo")  # Ada leaves the machine to Bo: the login is his now
    assert "agreed by Ada and Bo" in (await desk.incident("approve", "inc-1")).out
    assert await desk.fleet.signs("seq-05")
    desk.bot.entitle("ada")


async def _is_halted_and_rearmed(desk: Desk) -> None:
    assert "halted" in (await desk.says(DONE, "halt", "it freezes healthy nodes")).out
    halted, _ = await asyncio.gather(
        desk.says(REFUSED, "incident", "unfreeze", "inc-1", "seq-05"),
        desk.incident("freeze", "inc-1", "seq-07", "--reason", "a person may always stop"),
    )
    assert "halted" in halted.err
    assert not await desk.fleet.signs("seq-07")
    assert "a different person" in (await desk.says(DONE, "rearm")).out
    await desk.says(REFUSED, "rearm")
    desk.bot.entitle("bo")
    assert "runs again" in (await desk.says(DONE, "rearm")).out


async def _is_resolved(desk: Desk) -> None:
    refused = await desk.says(REFUSED, "incident", "resolve", "inc-1", "over")
    assert "Incident Commander" in refused.err
    desk.bot.entitle("ada")
    assert "Resolved" in (await desk.incident("resolve", "inc-1", "bad build reverted")).out
    listed, shown, timeline, postmortem = await asyncio.gather(
        desk.incident("list"),
        desk.incident("show", "inc-1", "--json"),
        desk.incident("timeline", "inc-1", "--json"),
        desk.incident("postmortem", "inc-1"),
    )
    assert "No incident is open" in listed.out
    assert shown.json["status"] == "resolved"
    assert [entry["n"] for entry in timeline.json] == list(range(1, len(timeline.json) + 1))
    assert "seq-07" in postmortem.out


async def test_a_freeze_that_fails_is_no_success(desk: Desk) -> None:
    await desk.incident("declare", "SEV-2", "a node is gone")
    told = await desk.says(FAILED, "incident", "freeze", "inc-1", "seq-04", "--wait", "5")
    assert "not in force" in " ".join(told.out.split())
    await desk.says(FAILED, "incident", "freeze", "inc-1", "seq-03", "--wait", "15")
    assert await desk.fleet.signs("seq-03")


async def test_errors_are_one_line_and_an_exit_code(desk: Desk) -> None:
    await desk.incident("declare", "SEV-2", "something odd")
    wrong = {
        ("incident", "show", "inc-9"): "no incident inc-9",
        ("incident", "show", "seven"): "is no incident id",
        ("incident", "freeze", "inc-1", "seq-99"): "no node 'seq-99'",
        ("incident", "freeze", "inc-1", "all"): "is not a target",
        ("incident", "declare", "SEV-9", "x"): "is not a severity",
        ("incident", "approve", "inc-1"): "waits for agreement",
        ("halt", " "): "Say why",
    }
    refusals = await asyncio.gather(*(desk.says(USAGE, *words) for words in wrong))
    for told, said in zip(refusals, wrong.values(), strict=True):
        assert said in told.err
    assert (await desk.bot.command("incident", "explode")).code == USAGE
    processes.write_team(desk.bot.home, logins={"ada": "somebody-else"})
    stranger = await desk.says(REFUSED, "incident", "ack", "inc-1")
    assert f"login '{pwd.getpwuid(os.getuid()).pw_name}' belongs to nobody" in stranger.err
    nowhere = await desk.bot.command("incident", "list", STOPSIGN_HOME="")
    assert (nowhere.code, len(nowhere.err.splitlines())) == (USAGE, 1)
    unknown = await desk.bot.command("incident", "list", STOPSIGN_WEBHOOK_TOKNE="x")
    assert unknown.code == USAGE
    assert "did you mean STOPSIGN_WEBHOOK_TOKEN?" in unknown.err


async def test_two_commands_at_once_are_both_done(desk: Desk) -> None:
    await desk.incident("declare", "SEV-1", "two nodes at once")
    await asyncio.gather(*(desk.incident("freeze", "inc-1", node) for node in ("seq-05", "seq-07")))
    for node in ("seq-05", "seq-07"):
        assert not await desk.fleet.signs(node)
