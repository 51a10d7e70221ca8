"""Channels that somebody takes away: a live incident gets another, and nothing that was to be said is lost."""

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.incident import Status
from bot.domain.playbook import Verb
from bot.domain.target import State
from bot.flows import people, record, resolve
from bot.flows.book import Command
from tests.chat.conftest import Stage
from tests.fakes import person


def note(text: str) -> Command:
    """Return a note to be posted."""
    return people.AddNote(by=person("bo"), incident=1, text=text, source="note")


async def test_a_live_incident_whose_channel_was_archived_goes_on_in_another(stage: Stage) -> None:
    first = await stage.opened()
    await stage.idle()
    await stage.hands.act("archive", user="U0ADA", channel=str(first.channel))
    await stage.room.decide(people.add_note, note("still burning"))
    second = await stage.until(lambda i: i.channel not in {None, first.channel} and i.header is not None)
    assert "still burning" in (await stage.find(str(second.channel), "still burning"))["text"]
    assert stage.buried == []


async def test_an_incident_that_is_reopened_while_its_channel_is_archived_gets_another(stage: Stage) -> None:
    incident = await stage.opened("s01")
    await stage.room.advance()
    for verb in (Verb.FREEZE, Verb.CAPTURE, Verb.ISOLATE):
        await stage.run(verb, State.VERIFIED)
        await stage.room.advance()
    for verb in (Verb.ISOLATE, Verb.COMMUNICATE):
        await stage.run(verb, State.VERIFIED)
    await stage.idle()
    await stage.room.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="over"))
    await stage.room.decide(resolve.reopen, resolve.Reopen(by=person("bo"), incident=1, reason="again"))
    archived = j.ChannelArchived(channel=str(incident.channel))
    await stage.room.decide(record.note, record.Note(by=BOT, incident=1, entry=archived))
    again = await stage.until(lambda i: i.channel not in {None, incident.channel} and i.header is not None)
    assert again.status is Status.OPEN
