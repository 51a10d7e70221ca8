"""A step by form: choose, read what it means, say yes. Nothing happens before that, and then exactly what was shown."""

from bot.chat import actions
from bot.domain import journal as j
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.target import State
from bot.flows import halt
from tests.chat.conftest import Stage
from tests.fakes import person


def words(view: object) -> str:
    """Return a view as text to look things up in."""
    return str(view)


async def chosen(stage: Stage, user: str, targets: list[str], *, action: str, **more: str) -> dict[str, object]:
    """Open the form of a step from the header and choose targets; return what the submission did."""
    incident = await stage.opened()
    await stage.idle()
    pressed = await stage.hands.press(user, str(incident.channel), str(incident.header), action, wait_view=True)
    assert pressed["view"]["callback_id"] == actions.CHOOSE, pressed
    fields = {"targets": {"field": targets}} | {name: {"field": value} for name, value in more.items()}
    return await stage.hands.submit(user, fields)


async def test_a_freeze_is_shown_with_its_consequence_and_happens_after_yes(stage: Stage) -> None:
    done = await chosen(stage, "U0ADA", ["s04", "s05"], action="step.form:freeze", reason="they both sign")
    told = words(done["open"])
    assert "Stops 2 of 20 signers of sequencer; 17 go on signing, quorum 14" in told  # s01 is being frozen already
    assert "about 600 duties an hour are missed" in told
    assert "s04, s05" in told
    assert not any(step.requester for step in (await stage.room.incident()).steps.values())
    await stage.hands.submit("U0ADA", {})
    incident = await stage.until(lambda i: any(step.requester for step in i.steps.values()))
    [step] = [step for step in incident.steps.values() if step.requester]
    assert (step.requester, step.targets, step.reason) == ("ada", ("s04", "s05"), "they both sign")


async def test_a_step_that_takes_two_people_says_so_before_it_asks(stage: Stage) -> None:
    done = await chosen(stage, "U0ADA", ["s01"], action="step.form", verb="unfreeze")
    assert "a second person is asked" in words(done["open"])
    await stage.hands.submit("U0ADA", {})
    incident = await stage.until(lambda i: bool(i.approvals))
    assert [a.given for a in incident.approvals.values()] == [("ada",)]
    assert "unfreeze-1" not in incident.steps


async def test_who_lacks_the_power_sees_why_in_the_form_and_it_is_written_down(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.idle()
    await stage.hands.act("join", user="U0EVE", channel=str(incident.channel))
    done = await chosen(stage, "U0EVE", ["s01"], action="step.form:freeze")
    assert "takes the power 'freeze'" in words(done["errors"])
    assert (await stage.room.last(j.CommandRefused)).command == "Request"


async def test_under_halt_a_form_starts_nothing_and_says_so(stage: Stage) -> None:
    await stage.room.decide(halt.halt, halt.Halt(by=person("bo"), reason="it hits healthy nodes"))
    done = await chosen(stage, "U0ADA", ["s01"], action="step.form", verb="rollback")
    assert "halted" in words(done["errors"])


async def test_the_header_says_that_automation_is_halted_and_has_the_way_back(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.room.decide(halt.halt, halt.Halt(by=person("bo"), reason="it hits healthy nodes"))
    await stage.idle()
    shown = words((await stage.message(str(incident.channel), str(incident.header)))["blocks"])
    assert "Automation is halted" in shown
    assert actions.REARM in shown
    assert actions.HALT_FORM not in shown


async def test_what_is_frozen_is_chosen_already_when_it_shall_sign_again(stage: Stage) -> None:
    incident = await stage.opened("s01")
    await stage.room.advance()
    await stage.run(Verb.FREEZE, State.VERIFIED)
    channel, header = str(incident.channel), str(incident.header)
    opened = await stage.hands.command("U0ADA", channel, "/incident role me ops")
    assert Role.OPS.title in words(opened["saw"])
    pressed = await stage.hands.press("U0ADA", channel, header, "step.form:freeze", wait_view=True)
    assert "initial_options" not in words(pressed["view"])  # the only suspect is frozen
    await stage.hands.act("close", user="U0ADA")


async def test_the_severity_is_raised_by_form_and_lowered_only_by_the_ic(stage: Stage) -> None:
    await stage.hands.command("U0ADA", "general", "/incident declare SEV-2 oracle it drifts")
    incident = await stage.until(lambda i: i.header is not None)
    await stage.idle()
    channel, header = str(incident.channel), str(incident.header)
    await stage.hands.press("U0BO", channel, header, actions.SEVERITY_FORM, wait_view=True)
    await stage.hands.submit("U0BO", {"severity": {"field": "SEV-1"}})
    await stage.until(lambda i: str(i.severity) == "SEV-1")
    await stage.hands.press("U0BO", channel, header, actions.SEVERITY_FORM, wait_view=True)
    done = await stage.hands.submit("U0BO", {"severity": {"field": "SEV-3"}, "reason": {"field": "was nothing"}})
    assert "Only the Incident Commander may lower" in words(done["errors"])


async def test_the_draft_for_the_team_is_not_published_by_a_slip_in_the_menu(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.idle()
    channel, header = str(incident.channel), str(incident.header)
    pressed = await stage.hands.press("U0BO", channel, header, actions.STATUS_FORM, wait_view=True)
    draft = next(b["element"]["initial_value"] for b in pressed["view"]["blocks"] if b["block_id"] == "text")
    done = await stage.hands.submit("U0BO", {"audience": {"field": "public"}, "text": {"field": draft}})
    shown = done["open"][-1]
    assert shown["submit"]["text"] == "Publish"
    assert "s01" not in str(shown["blocks"])
    assert "public" not in (await stage.room.incident()).told_at


async def test_a_command_without_targets_asks_before_it_acts(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.idle()
    typed = await stage.hands.command("U0ADA", str(incident.channel), "/incident rollback", wait_view=True)
    assert typed["view"]["callback_id"] == actions.CHOOSE
    assert not any(s.requester for s in (await stage.room.incident()).steps.values())


async def test_taking_over_the_command_is_two_clicks(stage: Stage) -> None:
    incident = await stage.opened()
    channel, header = str(incident.channel), str(incident.header)
    await stage.hands.press("U0CYN", channel, header, actions.ROLES_FORM, wait_view=True)
    await stage.hands.submit("U0CYN", {})
    assert (await stage.until(lambda i: i.roles[Role.IC] == "cyn")).roles[Role.IC] == "cyn"
