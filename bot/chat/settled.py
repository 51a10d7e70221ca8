"""What was asked and is answered: messages that still carry buttons are said anew, without them."""

import re
from collections.abc import Iterator
from datetime import timedelta

from bot.chat import messages
from bot.chat.client import SlackRefused
from bot.chat.kit import Message
from bot.chat.messages import Setting
from bot.chat.outbox import SLACK, Desk, again
from bot.domain import journal as j
from bot.domain.incident import Incident
from bot.domain.work import Done, Result, Todo, Work
from bot.flows import answer

_TS = re.compile(r"\d+\.\d+")
PATIENCE = timedelta(minutes=30)
"""So long an answered question waits for its message to be posted at all."""
_GONE = frozenset({"message_not_found", "channel_not_found", "is_archived", "cant_update_message"})


class Settled:
    """Handles `slack.settle` (which messages are answered?) and `slack.resay` (say one anew)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def settle(self, work: Work) -> Result:
        """Enqueue each message that is answered by now, once for ever."""
        incident = await self._desk.incident(work)
        if incident is None:
            return Done(note="no such incident")
        entries = await self._desk.ledger.read(lambda rows: rows.entries(incident.number))
        setting = self._desk.setting()
        todo = tuple(item for w in entries for item in answered(w, incident, setting))
        await self._desk.ledger.decide(answer.say_all, answer.SayAll(by=SLACK, todo=todo))
        return Done(note=f"{len(todo)} answered so far")

    async def resay(self, work: Work) -> Result:
        """Update one message; one that was never posted, or is gone, needs nothing."""
        incident, post = await self._desk.incident(work), str(work.body["post"])
        stood = await self._desk.ledger.read(lambda rows: rows.outcome(post))
        if incident is None or stood is None:
            return Done(note="no such message")
        now = self._desk.ledger.clock.now()
        if stood.state == "ready" and now < work.due + PATIENCE:
            return again(work, now + timedelta(seconds=5))
        channel = await self._channel(incident, work)
        written = await self._desk.written(work, work.incident)
        if channel is None or written is None or not _TS.fullmatch(stood.outcome or ""):
            return Done(note="was not posted")
        message = anew(written, incident, self._desk.setting(), str(work.body["where"]))
        arguments = message.arguments() | {"channel": channel, "ts": stood.outcome}
        try:
            await self._desk.slack.call("chat.update", arguments)
        except SlackRefused as refused:
            if refused.error not in _GONE:
                raise
            return Done(note=refused.error)
        return Done(note="updated")

    async def _channel(self, incident: Incident, work: Work) -> str | None:
        config, directory = self._desk.ledger.world.config, self._desk.directory
        match work.body["where"]:
            case "channel":
                return incident.channel
            case "incidents":
                return await directory.joined(config.policy.incidents_channel)
            case person:
                found = config.team.people.get(str(person))
                return await directory.direct(found.slack) if found and found.slack else None


def answered(written: j.Written, incident: Incident, setting: Setting) -> Iterator[Todo]:
    """Yield the work of saying anew what one entry asked, for each message that it made, once it is answered."""
    where = tuple(_asked(written, incident, setting))
    if where and not any(block["type"] == "actions" for block in anew(written, incident, setting).blocks):
        for place, post in where:
            body = {"n": written.n, "post": post, "where": place}
            yield Todo(key=f"{post}:settled", kind="slack.resay", body=body, incident=incident.number, priority=6)


def _asked(written: j.Written, incident: Incident, setting: Setting) -> Iterator[tuple[str, str]]:
    """Yield where an entry put a question to people, and the key of the work that posted it."""
    stem, e = f"{incident.id}:{written.n}", written.entry
    match e:
        case j.Paged():
            yield from ((p, f"{stem}:page.slack:{p}") for p in e.people)
        case j.IncidentOpened() | j.Reopened():
            yield "incidents", f"{stem}:slack.announce"
        case j.ApprovalAsked():
            yield "channel", f"{stem}:slack.post:post"
            yield from ((p, f"{stem}:slack.ask:{p}") for p in setting.config.team.people)
        case j.TargetsHeld() | j.StatusPrompted() | j.PromptEscalated() | j.RoleAsked():
            yield "channel", f"{stem}:slack.post:post"
        case _:
            pass


def anew(written: j.Written, incident: Incident, setting: Setting, where: str = "channel") -> Message:
    """Return an entry's message as it would be said now: to one person, or in a channel."""
    match written.entry:
        case j.ApprovalAsked(approval=approval) if where != "channel" and approval in incident.approvals:
            return messages.ask(incident, incident.approvals[approval], setting)
        case j.Paged(page=page) if page in incident.pages:
            return messages.page(incident, incident.pages[page], setting)
        case j.IncidentOpened() | j.Reopened():
            return messages.announcement(incident, setting)
        case _:
            return messages.entry(written, incident, setting)
