"""After the fire: handing over, actions, notes that change, reopening, closing, and who was turned away."""

from datetime import date
from typing import Any

import pytest

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.incident import Status
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.domain.work import Done
from bot.errors import Invalid, NotFound, Refused
from bot.flows import actions, approve, halt, intake, people, record, resolve, respond
from tests.fakes import Room, alert, person


async def declared(spine: Room, severity: Severity = Severity.SEV1, who: str = "ada") -> None:
    await spine.decide(intake.declare, intake.Declare(by=person(who), severity=severity, summary="two signatures"))


async def resolved(spine: Room) -> None:
    await spine.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="bad build reverted"))


def add(who: str, text: str, **more: Any) -> actions.AddAction:
    return actions.AddAction(by=person(who), incident=1, text=text, **more)


async def note(spine: Room, text: str, source: str = "slack:C1/1.2") -> None:
    command = people.AddNote(by=person("ada"), incident=1, text=text, source=source)
    await spine.decide(people.add_note, command)


async def changed(spine: Room, text: str | None, source: str = "slack:C1/1.2") -> bool:
    command = people.ChangeNote(by=BOT, incident=1, source=source, text=text)
    answer: bool = await spine.decide(people.change_note, command)
    return answer


# ---- handing over


async def test_handing_over_moves_every_role_one_holds_and_keeps_what_was_said(spine: Room) -> None:
    await declared(spine)
    await spine.decide(people.take_role, people.TakeRole(by=person("ada"), incident=1, role=Role.OPS))
    command = people.HandOver(by=person("ada"), incident=1, person="eve", text="watch seq-03")
    incident = await spine.decide(people.hand_over, command)
    assert incident.roles == {Role.IC: "eve", Role.COMMS: "bo", Role.OPS: "eve", Role.EVIDENCE: "dan"}
    assert (await spine.last(j.NoteAdded)).text == "watch seq-03"


@pytest.mark.parametrize(("who", "to", "why"), [("eve", "bo", "no role"), ("ada", "ada", "somebody else")])
async def test_what_cannot_be_handed_over(spine: Room, who: str, to: str, why: str) -> None:
    await declared(spine)
    with pytest.raises((Refused, Invalid), match=why):
        await spine.decide(people.hand_over, people.HandOver(by=person(who), incident=1, person=to))


# ---- actions


async def test_an_action_has_an_owner_and_is_done_once(spine: Room) -> None:
    await declared(spine)
    await spine.decide(actions.add, add("ada", "rotate the key", owner="bo", due_on=date(2026, 12, 1)))
    await spine.decide(actions.add, add("ada", "rotate the key", owner="bo"))
    done = actions.FinishAction(by=person("bo"), incident=1, action="act-1")
    await spine.decide(actions.finish, done)
    incident = await spine.decide(actions.finish, done)
    assert [(a.owner, a.due_on, a.done_by) for a in incident.actions.values()] == [("bo", "2026-12-01", "bo")]
    assert (await spine.kinds()).count("ActionDone") == 1


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (add("ada", " "), "what is to be done"),
        (add("ada", "x" * 501), "at most 500"),
        (add("ada", "x", owner="zoe"), "nobody called 'zoe'"),
        (add("ada", "x", due_on=date(2026, 11, 19)), "is over"),
    ],
    ids=["without words", "too long", "an owner nobody knows", "due yesterday"],
)
async def test_an_action_that_makes_no_sense_is_not_added(spine: Room, command: actions.AddAction, why: str) -> None:
    await declared(spine)
    with pytest.raises(Invalid, match=why):
        await spine.decide(actions.add, command)
    assert not (await spine.incident()).actions


async def test_an_unknown_action_cannot_be_done(spine: Room) -> None:
    await declared(spine)
    with pytest.raises(NotFound, match="no action 'act-9'"):
        await spine.decide(actions.finish, actions.FinishAction(by=person("ada"), incident=1, action="act-9"))


async def test_what_is_frozen_after_the_end_has_an_owner(spine: Room) -> None:
    await declared(spine)
    await resolved(spine)
    command = respond.Request(by=person("bo"), incident=1, verb=Verb.FREEZE, targets=("s01",))
    await spine.decide(respond.request, command)
    assert [(a.owner, "s01" in a.text) for a in (await spine.incident()).actions.values()] == [("bo", True)]


# ---- notes


async def test_an_edit_and_a_deletion_of_a_noted_message_are_written_once_each_and_the_note_stays(spine: Room) -> None:
    await declared(spine)
    await note(spine, "seq-03 restarted")
    assert await changed(spine, "seq-03 restarted") is False
    assert await changed(spine, "seq-03 did not restart") is True
    assert await changed(spine, "seq-03 did not restart") is False
    assert await changed(spine, None) is True
    assert await changed(spine, None) is False
    told = [w.entry for w in await spine.journal() if isinstance(w.entry, j.NoteAdded | j.NoteChanged)]
    assert [e.text for e in told] == ["seq-03 restarted", "seq-03 did not restart", None]


async def test_a_message_that_nobody_noted_leaves_no_trace(spine: Room) -> None:
    await declared(spine)
    assert await changed(spine, "idle talk", source="slack:C1/9.9") is False


# ---- the end and back


async def test_a_second_resolution_with_other_words_is_refused_and_with_the_same_is_nothing(spine: Room) -> None:
    await declared(spine)
    await resolved(spine)
    await resolved(spine)
    with pytest.raises(Refused, match="resolved already"):
        await spine.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="something else"))
    assert (await spine.kinds()).count("Resolved") == 1


async def test_reopening_starts_the_clocks_and_calls_people_again(spine: Room) -> None:
    await declared(spine)
    await spine.decide(people.acknowledge, people.Acknowledge(by=person("ada"), incident=1))
    await resolved(spine)
    spine.clock.go(hours=30)
    await spine.due("clock")
    reopen = resolve.Reopen(by=person("bo"), incident=1, reason="the second signer is back")
    incident = await spine.decide(resolve.reopen, reopen)
    assert (incident.status, incident.resolved_at, incident.acknowledged_at) == (Status.OPEN, None, None)
    assert incident.severity_since == spine.clock.now()
    assert (await spine.last(j.Paged)).people == ("ada", "bo", "cyn", "dan", "eve")
    spine.clock.go(minutes=15)
    assert {w.body["audience"] for w in await spine.due("clock")} == {"internal", "stakeholders"}


async def test_an_incident_is_not_reopened_beside_an_open_one_for_the_same_cause(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    for verb in (Verb.FREEZE, Verb.CAPTURE, Verb.ISOLATE):
        await spine.advance()
        await spine.run(verb, State.VERIFIED)
    ic = (await spine.incident()).roles[Role.IC]
    await spine.decide(resolve.resolve, resolve.Resolve(by=person(ic), incident=1, summary="over"))
    spine.clock.go(hours=2)
    await spine.receive(alert(signer="s01", start="2026-11-20T04:59:00Z"))
    with pytest.raises(Refused, match="inc-2 is open for the same cause"):
        await spine.decide(resolve.reopen, resolve.Reopen(by=person("bo"), incident=1, reason="again"))


async def test_closing_waits_for_the_draft_and_archives_the_channel_later(spine: Room) -> None:
    await declared(spine)
    close = resolve.Close(by=person("bo"), incident=1)
    with pytest.raises(Refused, match="`resolve` it first"):
        await spine.decide(resolve.close, close)
    await resolved(spine)
    with pytest.raises(Refused, match="draft is not written"):
        await spine.decide(resolve.close, close)
    await spine.decide(record.drafted, record.Drafted(by=BOT, incident=1, item="ev-1-1", sha256="0" * 64))
    assert (await spine.decide(resolve.close, close)).status is Status.CLOSED
    assert (await spine.decide(resolve.close, close)).status is Status.CLOSED
    spine.clock.go(days=6.9)
    assert not await spine.due("slack.archive")
    spine.clock.go(days=0.2)
    assert len(await spine.due("slack.archive")) == 1


async def test_a_reopened_incident_whose_channel_was_archived_gets_a_new_one(spine: Room) -> None:
    await declared(spine)
    for entry in (j.ChannelOpened(channel="C1", name="inc-1-x"), j.HeaderPosted(ts="1.2")):
        await spine.decide(record.note, record.Note(by=BOT, incident=1, entry=entry))
    await resolved(spine)
    while works := await spine.due("slack.channel", "slack.header", "slack.post", "slack.invite"):
        for work in works:
            await spine.claims.finish(work, Done())
    await spine.decide(record.note, record.Note(by=BOT, incident=1, entry=j.ChannelArchived(channel="C1")))
    assert (await spine.incident()).channel is None
    await spine.decide(resolve.reopen, resolve.Reopen(by=person("bo"), incident=1, reason="again"))
    assert len(await spine.due("slack.channel")) == 1


# ---- turned away


async def test_who_has_no_standing_is_written_down_with_the_account(spine: Room) -> None:
    await declared(spine)
    for number in (1, None):
        away = people.TurnAway(by=BOT, incident=number, account="U0EVIL", command="freeze", reason="not in team.yaml")
        await spine.decide(people.turn_away, away)
        assert (await spine.last(j.CommandRefused, number)).account == "U0EVIL"


async def test_a_refusal_that_is_about_no_incident_stands_in_the_watch(spine: Room) -> None:
    with pytest.raises(Refused):
        await spine.decide(halt.halt, halt.Halt(by=person("eve"), reason="because"))
    assert (await spine.last(j.CommandRefused, None)).command == "Halt"


async def test_the_approval_of_another_incident_is_refused_and_written_down(spine: Room) -> None:
    await declared(spine)
    await declared(spine, who="bo")
    ask = respond.Request(by=person("cyn"), incident=2, verb=Verb.UNFREEZE, targets=("s01",))
    asked = await spine.decide(respond.request, ask)
    with pytest.raises(Refused, match="another incident"):
        await spine.decide(approve.approve, approve.Approve(by=person("ada"), incident=1, approval=asked.approval))
    assert (await spine.last(j.CommandRefused)).command == "Approve"


async def test_naming_the_verb_tells_two_waiting_requests_apart(spine: Room) -> None:
    await declared(spine)
    for verb, name in ((Verb.UNFREEZE, "s01"), (Verb.UNFREEZE, "s02")):
        await spine.decide(respond.request, respond.Request(by=person("cyn"), incident=1, verb=verb, targets=(name,)))
    entry = j.TargetsHeld(verb=Verb.ROLLBACK, targets=("s03",), reason="the symptom persists")
    await spine.decide(record.note, record.Note(by=BOT, incident=1, entry=entry))
    agree = approve.Approve(by=person("ada"), incident=1, verb=Verb.ROLLBACK)
    assert "Rollback of s03" in (await spine.decide(approve.approve, agree)).text
