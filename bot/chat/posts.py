"""What is said in channels and direct messages: one posted message for each work row, or for each person of it."""

from datetime import timedelta

from bot.chat import messages, rooms
from bot.chat.outbox import SLACK, Desk, again
from bot.domain import journal as j
from bot.domain.incident import Incident
from bot.domain.work import Dead, Done, Result, Todo, Work
from bot.flows import answer

LINK_WAIT = timedelta(seconds=5)
"""So long an announcement waits for the channel that it leads to."""


class Posts:
    """Handles `page.slack` and, of `slack.…`, `post`, `tally`, `announce`, `share`, `ask` and `watch`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def post(self, work: Work) -> Result:
        """Say one journal entry in the incident's channel."""
        incident = await self._desk.incident(work)
        written = await self._desk.written(work, work.incident)
        if incident is None or written is None:
            return Done(note="no such entry")
        if incident.channel is None:
            return rooms.not_yet(self._desk, incident, work)
        message = messages.entry(written, incident, self._desk.setting())
        return Done(note=await self._desk.post(work, incident.channel, message))

    async def tally(self, work: Work) -> Result:
        """Say what became of targets: all that was reported from the work's first entry to its last, in one message."""
        incident = await self._desk.incident(work)
        if incident is None:
            return Done(note="no such incident")
        if incident.channel is None:
            return rooms.not_yet(self._desk, incident, work)
        first, last = int(work.key.split(":")[1]), int(work.body["n"])
        entries = await self._desk.ledger.read(lambda rows: rows.entries(work.incident))
        message = messages.tally([w for w in entries if first <= w.n <= last], incident, self._desk.setting())
        # What was added since a try whose answer was lost makes it another message.
        return Done(note=await self._desk.post(work, incident.channel, message, part=str(last)))

    async def announce(self, work: Work) -> Result:
        """Tell the incidents channel of a new incident; with the way there, if its channel opens soon."""
        incident = await self._desk.incident(work)
        if incident is None:
            return Done(note="no such incident")
        now = self._desk.ledger.clock.now()
        if incident.channel is None and now < (incident.opened_at or now) + LINK_WAIT:
            return again(work, now + timedelta(seconds=0.25))
        room = await self._desk.directory.joined(self._desk.ledger.world.config.policy.incidents_channel)
        return Done(note=await self._desk.post(work, room, messages.announcement(incident, self._desk.setting())))

    async def share(self, work: Work) -> Result:
        """Pass a stakeholder status on to one channel of those who depend on us."""
        incident = await self._desk.incident(work)
        written = await self._desk.written(work, work.incident)
        if incident is None or written is None or not isinstance(written.entry, j.StatusGiven):
            return Done(note="nothing to share")
        room = await self._desk.directory.joined(str(work.body["to"]))
        message = messages.share(written, incident, written.entry, self._desk.setting())
        return Done(note=await self._desk.post(work, room, message))

    async def ask(self, work: Work) -> Result:
        """Ask one person who may agree."""
        incident = await self._desk.incident(work)
        asked = incident.approvals.get(str(work.body["approval"])) if incident else None
        if incident is None or asked is None or not asked.pending:
            return Done(note="nothing is asked any more")
        found = self._desk.ledger.world.config.team.people.get(str(work.body["person"]))
        if found is None or found.slack is None:
            return Dead(why=f"nobody with Slack may agree to {asked.verb}")
        message = messages.ask(incident, asked, self._desk.setting())
        return Done(note=await self._desk.post(work, await self._desk.directory.direct(found.slack), message))

    async def watch(self, work: Work) -> Result:
        """Tell the incidents channel of the kill switch, and have every open header say how it stands."""
        written = await self._desk.written(work, None)
        if written is None:
            return Done(note="no such entry")
        halted, live = await self._desk.ledger.read(
            lambda rows: (rows.watch().halted, rows.incidents(live_only=True, limit=200))
        )
        todo = tuple(_header_of(incident, work) for incident in live)
        await self._desk.ledger.decide(answer.say_all, answer.SayAll(by=SLACK, todo=todo))
        room = await self._desk.directory.joined(self._desk.ledger.world.config.policy.incidents_channel)
        message = messages.watch(written, self._desk.setting(), halted=halted)
        return Done(note=await self._desk.post(work, room, message))

    async def page(self, work: Work) -> Result:
        """Page one person by direct message, unless somebody has acknowledged meanwhile."""
        incident = await self._desk.incident(work)
        paged = incident.pages.get(str(work.body["page"])) if incident else None
        if incident is None or paged is None or not incident.calls(paged):
            return Done(note="nobody needs to be paged any more")
        person = str(work.body["person"])
        found = self._desk.ledger.world.config.team.people.get(person)
        if found is None or found.slack is None:
            return Dead(why=f"{person} has no Slack account in team.yaml and was not paged there")
        room = await self._desk.directory.direct(found.slack)
        return Done(note=await self._desk.post(work, room, messages.page(incident, paged, self._desk.setting())))


def _header_of(incident: Incident, work: Work) -> Todo:
    lane, key = f"slack:{incident.id}", f"{work.key}:{incident.id}:header"
    merge = f"header:{incident.id}"
    return Todo(key=key, kind="slack.header", incident=incident.number, lane=lane, merge=merge, priority=4)
