"""The home tab: within Slack's limits whatever the night is like, and everything on it works."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.chat import actions
from bot.chat.home import card, change, home, stranger
from bot.chat.homes import FOLLOWED, Homes
from bot.chat.kit import Json
from bot.chat.seals import Seals
from bot.domain import journal as j
from bot.domain.authority import BOT, Actor
from bot.domain.incident import Approval, Incident, Prompt, Status
from bot.domain.playbook import Needs, Verb
from bot.domain.policy import Policy
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State, Track
from bot.domain.team import Shift
from bot.domain.watch import Rearm, Watch
from bot.domain.work import Work
from bot.flows import halt, people, record
from bot.practice.workspace.limits import view_problems
from tests.chat.conftest import Stage
from tests.fakes import config

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
SEALS = Seals("a secret")
CONFIG = config()
EVIL = "<!channel> <@U0ADA> <http://evil|good> *bold* \u202eevil " + "x" * 3000


def an_incident(number: int, text: str = "two signatures for slot 7", **more: Any) -> Incident:
    """Return an incident that waits for agreement, for a decision and for a status."""
    asked = Approval(
        id="approval-1",
        verb=Verb.UNFREEZE,
        targets=("s01",),
        parameters={},
        digest="",
        needs=Needs.TWO,
        requester="ada",
        given=("ada",),
        reason=text,
        asked_at=NOW,
        expires_at=NOW + timedelta(minutes=30),
    )
    held = Track(state=State.HELD, step="freeze-1", since=NOW, detail=text)
    prompt = Prompt(id="internal-1", audience="internal", marks=("15 min",), due_at=NOW, asked=("bo",))
    given: dict[str, Any] = {
        "summary": text,
        "avs": "sequencer",
        "severity": Severity.SEV1,
        "opened_at": NOW - timedelta(minutes=75),
        "suspects": ("s01", "s02"),
        "tracks": {Verb.FREEZE: {"s02": held}},
        "approvals": {"approval-1": asked},
        "prompts": {"internal-1": prompt},
        "channel": f"C{number:04}",
        "roles": {Role.IC: "bo", Role.OPS: "bo"},
    }
    return Incident(number=number, **{**given, **more})


def shown(
    who: str, *incidents: Incident, watch: Watch | None = None, behind: str = "", url: str | None = "https://s.example"
) -> Json:
    """Return somebody's home, held to Slack's limits and to what outside text may do."""
    person = CONFIG.team.people[who]
    view = home(person, incidents, watch or Watch(), CONFIG, NOW, SEALS, url, behind=behind)
    assert view_problems(view, kinds=("home",)) == []
    ids = action_ids(view)
    assert len(ids) == len(set(ids))
    assert "\u202e" not in str(view)
    for block in view["blocks"]:
        if block["type"] in {"section", "context"}:
            assert "<!channel" not in str(block)
            assert "<@" not in str(block)
    return view


def elements(view: Json) -> list[Json]:
    """Return all buttons."""
    return [e for block in view["blocks"] if block["type"] == "actions" for e in block["elements"]]


def action_ids(view: Json) -> list[str]:
    """Return the action ids of all buttons."""
    return [str(element["action_id"]) for element in elements(view)]


def heads(view: Json) -> list[str]:
    """Return the headlines."""
    return [str(block["text"]["text"]) for block in view["blocks"] if block["type"] == "header"]


# ---- the view


def test_a_quiet_night_says_so_and_can_be_ended() -> None:
    view = shown("bo")
    assert heads(view) == ["🌙 Nothing is open", "On call", "SEV-1: the first 15 minutes"]
    assert action_ids(view) == [actions.DECLARE_FORM, actions.LINK]
    assert action_ids(shown("bo", url=None)) == [actions.DECLARE_FORM]


def test_what_waits_for_whoever_looks_comes_first_with_its_buttons() -> None:
    view = shown("bo", an_incident(7))
    assert heads(view)[:4] == ["🔴 1 open", "Waits for you", "Waits for anybody", "Open incidents"]
    assert [i for i in action_ids(view) if i.startswith("approval.")] == [
        "approval.give:7.approval-1",
        "approval.reject:7.approval-1",
    ]
    assert {"status.form:7.internal-1", "step.held:freeze:7"} <= set(action_ids(view))
    by_id = {e["action_id"]: e for e in elements(view)}
    assert SEALS.open(actions.APPROVE, by_id["approval.give:7.approval-1"]["value"]) == ("7", "approval-1")
    assert SEALS.open(actions.HELD, by_id["step.held:freeze:7"]["value"]) == ("7", "freeze", "s02")
    assert SEALS.open(actions.STATUS_FORM, by_id["status.form:7.internal-1"]["value"]) == ("7", "internal-1")
    assert "you are Incident Commander and Ops Lead" in str(view)
    assert "for 1 h 15 min" in str(view)
    assert "{'type': 'channel', 'channel_id': 'C0007'}" in str(view)


@pytest.mark.parametrize(
    ("who", "agrees", "decides"), [("ada", False, True), ("bo", True, True), ("eve", False, False)]
)
def test_nobody_is_offered_what_they_may_not(who: str, agrees: bool, decides: bool) -> None:
    ids = action_ids(shown(who, an_incident(7)))
    assert any(i.startswith(actions.APPROVE) for i in ids) is agrees
    assert any(i.startswith(actions.HELD) for i in ids) is decides
    assert "is held" in str(shown(who, an_incident(7)))


def test_what_is_over_waits_for_nobody_but_agreement_to_unfreeze_does() -> None:
    view = shown("bo", an_incident(7, status=Status.RESOLVED))
    assert heads(view)[:2] == ["🌙 Nothing is open", "Waits for you"]
    assert not any(i.startswith((actions.HELD, actions.STATUS_FORM)) for i in action_ids(view))
    late = replace(next(iter(an_incident(7).approvals.values())), expires_at=NOW)
    assert "Waits for you" not in heads(
        shown("bo", an_incident(7, status=Status.RESOLVED, approvals={"approval-1": late}))
    )


def test_a_halt_is_told_above_everything_and_can_be_ended_by_two() -> None:
    watch = Watch(version=3, halted_at=NOW, halted_by="cyn", halted_why=EVIL)
    view = shown("bo", an_incident(7), watch=watch)
    assert "Automation is halted" in str(view["blocks"][1])
    assert SEALS.open(actions.REARM, elements(view)[0]["value"]) == ("3",)
    assert "Ask to re-arm" in elements(view)[0]["text"]["text"]
    asked = replace(watch, rearm=Rearm(approval="r", person="cyn", expires_at=NOW + timedelta(minutes=1)))
    assert "Agree to re-arm" in elements(shown("bo", watch=asked))[0]["text"]["text"]


def test_that_slack_is_behind_is_told() -> None:
    assert "42 messages wait" in str(shown("bo", behind="Slack is behind: 42 messages wait")["blocks"][1])


def test_a_hundred_blocks_are_enough_for_any_night() -> None:
    many = [an_incident(n, EVIL, severity=list(Severity)[n % 3], avs=EVIL[:80], roles={}) for n in range(1, 301)]
    watch = Watch(version=3, halted_at=NOW, halted_by="cyn", halted_why=EVIL)
    view = shown("bo", *many, watch=watch, behind="Slack is behind")
    assert len(view["blocks"]) <= 100
    assert "and 288 more: 88 SEV-1, 100 SEV-2, 100 SEV-3" in str(view)
    assert "and 294 more requests wait for you" in str(view)
    assert heads(view)[0] == "🔴 300 open"
    assert heads(view)[-1] == "SEV-1: the first 15 minutes"


def test_the_worst_and_oldest_come_first() -> None:
    found = [an_incident(3, severity=Severity.SEV3), an_incident(9), an_incident(5)]
    text = str(shown("eve", *found))
    open_ones = text[text.index("Open incidents") :]
    assert open_ones.index("inc-5") < open_ones.index("inc-9") < open_ones.index("inc-3")


def test_who_is_on_call_is_named_and_not_called() -> None:
    text = str(shown("bo"))
    assert "*Incident Commander*\\nAda" in text
    assert "Ada → Bo → Cyn → Dan" in text


def test_the_next_shift_is_known() -> None:
    # 2026-11-20 is a Friday; hour 99 of the week is Friday 03:00.
    team = replace(
        CONFIG.team, shifts=(Shift(start=0, end=104, people=("ada",)), Shift(start=104, end=0, people=("bo", "cyn")))
    )
    assert change(team, NOW + timedelta(minutes=20)) == (NOW + timedelta(hours=5), ("bo", "cyn"))
    assert change(CONFIG.team, NOW) is None
    kolkata = replace(team, timezone="Asia/Kolkata")
    found = change(kolkata, NOW)
    assert found is not None
    assert (found[0], found[1]) == (datetime(2026, 11, 22, 18, 30, tzinfo=UTC), ("ada",))


def test_an_hour_without_anybody_is_told() -> None:
    alone = replace(CONFIG, team=replace(CONFIG.team, shifts=()))
    view = home(alone.team.people["bo"], (), Watch(), alone, NOW, SEALS, None)
    assert "nobody on call" in str(view)


def test_the_card_has_the_policys_own_times_and_the_commands() -> None:
    chosen = replace(CONFIG, policy=Policy(symptom_wait=timedelta(minutes=8)))
    text = card(chosen, "/inc")
    assert "after 8 min" in text
    assert "at 15 min, 30 min, 1 h" in text
    assert text.count("`/inc ") >= 8
    assert len(text) < 3000


def test_a_stranger_sees_nothing_of_ours() -> None:
    view = stranger("You are not in team.yaml <!channel>")
    assert view_problems(view, kinds=("home",)) == []
    assert "&lt;!channel&gt;" in str(view)


# ---- in a workspace


async def looked(stage: Stage, user: str, words: str) -> Json:
    """Return somebody's home once it has these words."""
    state = await stage.hands.until(lambda s: words in str(s["homes"].get(user)))
    return dict(state["homes"][user])


async def test_opening_it_shows_what_is_open_and_it_follows(stage: Stage) -> None:
    await stage.hands.act("home", user="U0BO")
    await looked(stage, "U0BO", "Nothing is open")
    incident = await stage.opened()
    view = await looked(stage, "U0BO", "Open incidents")
    assert "inc-1" in str(view)
    command = people.TakeRole(by=Actor(person="bo", via="cli"), incident=1, role=Role.OPS)
    await stage.room.decide(people.take_role, command)
    followed = await looked(stage, "U0BO", "you are Comms Lead and Ops Lead")
    assert str(incident.channel) in str(followed)
    assert "U0CYN" not in (await stage.hands.state())["homes"]


@pytest.mark.parametrize(
    ("user", "why"), [("U0MALLORY", "not in team.yaml"), ("U0GUEST", "Guests may not"), ("U0OUT", "another workspace")]
)
async def test_who_does_not_belong_gets_a_plain_home(stage: Stage, user: str, why: str) -> None:
    await stage.opened()
    await stage.hands.act("home", user=user)
    view = await looked(stage, user, why)
    assert "inc-1" not in str(view)
    assert elements(view) == []


async def test_only_the_home_tab_is_published(stage: Stage) -> None:
    await stage.hands.act("home", user="U0BO", tab="messages")
    await stage.hands.act("home", user="U0CYN")
    await looked(stage, "U0CYN", "Nothing is open")
    assert [call["args"]["user_id"] for call in await stage.hands.calls("views.publish")] == ["U0CYN"]


async def test_an_incident_is_declared_from_it_and_the_answer_comes_by_message(stage: Stage) -> None:
    await stage.hands.act("home", user="U0BO")
    view = await looked(stage, "U0BO", "Nothing is open")
    pressed = await stage.hands.press("U0BO", "", "", actions.DECLARE_FORM, view_id=view["id"], wait_view=True)
    assert pressed["view"]["callback_id"] == actions.DECLARE
    done = await stage.hands.submit("U0BO", {"summary": {"field": "the oracle lies"}, "severity": {"field": "SEV-1"}})
    assert done["ok"], done
    assert await stage.find(await stage.direct("U0BO"), "inc-1 is open")
    assert "the oracle lies" in str(await looked(stage, "U0BO", "Open incidents"))


async def test_a_halt_is_ended_from_it(stage: Stage) -> None:
    await stage.room.decide(halt.halt, halt.Halt(by=Actor(person="cyn", via="cli"), reason="it harms"))
    await stage.hands.act("home", user="U0BO")
    view = await looked(stage, "U0BO", "Automation is halted")
    await stage.hands.press("U0BO", "", "", actions.REARM, view_id=view["id"])
    assert await stage.find(await stage.direct("U0BO"), "a different person")
    assert "Agree to re-arm" in str(await looked(stage, "U0BO", "Agree to re-arm"))


async def test_what_is_held_is_frozen_from_it(stage: Stage) -> None:
    await stage.hands.act("home", user="U0BO")
    await stage.opened("s01", "s02", "s03")
    await stage.room.advance()
    view = await looked(stage, "U0BO", "is held")
    await stage.hands.press("U0BO", "", "", "step.held:freeze:1", view_id=view["id"])
    incident = await stage.until(lambda i: "freeze-2" in i.steps)
    assert incident.steps["freeze-2"].targets == ("s02", "s03")


async def test_a_home_that_slack_does_not_show_is_given_up_quietly(stage: Stage) -> None:
    work = Work(
        id=1,
        key="home:x",
        kind="slack.home",
        body={"user": "U0NOBODY"},
        incident=None,
        fence=1,
        attempt=1,
        due=datetime.now(UTC),
    )
    await stage.hands.act("home", user="U0BO")
    await looked(stage, "U0BO", "Nothing is open")
    result = await stage.chat.handlers["slack.home"](work)
    assert "user_not_found" in str(result)


async def test_many_changes_are_few_publications(stage: Stage) -> None:
    await stage.hands.act("home", user="U0BO")
    await stage.opened()
    await stage.idle()
    before = len(await stage.hands.calls("views.publish"))
    for severity in (Severity.SEV1, Severity.SEV1):
        entry = j.SeverityChanged(was=severity, now=severity, reason="x")
        await stage.room.decide(record.note, record.Note(by=BOT, incident=1, entry=entry))
    await asyncio.sleep(1.2)
    await stage.idle()
    assert 1 <= len(await stage.hands.calls("views.publish")) - before <= 2


async def test_few_homes_are_followed() -> None:
    class Nothing:
        """A desk that is never used."""

    homes = Homes(Nothing(), command="/incident")  # type: ignore[arg-type]
    for n in range(FOLLOWED + 50):
        homes._follow(f"U{n}")
    homes._follow("U100")
    assert len(homes._opened) == FOLLOWED
    assert list(homes._opened)[-1] == "U100"
    assert "U0" not in homes._opened
