"""What is said in channels and direct messages: one posted message for each work row, or for each person of it."""

from datetime import timedelta

from bot.chat import messages, rooms
from bot.chat.outbox import Desk, again
from bot.domain import journal as j
from bot.domain.work import Dead, Done, Result, Work
from bot.flows.rules import POWER

LINK_WAIT = timedelta(seconds=5)
"""So long an announcement waits for the channel that it leads to."""


class Posts:
    """Handles `slack.post`, `slack.announce`, `slack.share`, `slack.ask`, `slack.watch` and `page.slack`."""

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
        """Pass a stakeholder status on."""
        incident = await self._desk.incident(work)
        written = await self._desk.written(work, work.incident)
        name = self._desk.ledger.world.config.policy.stakeholder_channel
        if incident is None or written is None or name is None or not isinstance(written.entry, j.StatusGiven):
            return Done(note="nothing to share")
        room = await self._desk.directory.joined(name)
        message = messages.share(written, incident, written.entry, self._desk.setting())
        return Done(note=await self._desk.post(work, room, message))

    async def ask(self, work: Work) -> Result:
        """Ask everybody who may agree, but not who asked."""
        incident = await self._desk.incident(work)
        asked = incident.approvals.get(str(work.body["approval"])) if incident else None
        if incident is None or asked is None or not asked.pending:
            return Done(note="nothing is asked any more")
        team = self._desk.ledger.world.config.team
        able = [p for p in team.holders(POWER[asked.verb]) if p != asked.requester]
        message = messages.ask(incident, asked, self._desk.setting())
        told = 0
        for person in able:
            account = team.people[person].slack
            if account is not None:
                await self._desk.post(work, await self._desk.directory.direct(account), message, part=person)
                told += 1
        return Done(note=f"{told} asked") if told else Dead(why=f"nobody with Slack may agree to {asked.verb}")

    async def watch(self, work: Work) -> Result:
        """Tell the incidents channel of the kill switch."""
        written = await self._desk.written(work, None)
        if written is None:
            return Done(note="no such entry")
        halted = await self._desk.ledger.read(lambda rows: rows.watch().halted)
        room = await self._desk.directory.joined(self._desk.ledger.world.config.policy.incidents_channel)
        message = messages.watch(written, self._desk.setting(), halted=halted)
        return Done(note=await self._desk.post(work, room, message))

    async def page(self, work: Work) -> Result:
        """Page one person by direct message, unless somebody has acknowledged meanwhile."""
        incident = await self._desk.incident(work)
        paged = incident.pages.get(str(work.body["page"])) if incident else None
        if incident is None or paged is None or paged.acknowledged or not incident.status.live:
            return Done(note="nobody needs to be paged any more")
        person = str(work.body["person"])
        found = self._desk.ledger.world.config.team.people.get(person)
        if found is None or found.slack is None:
            return Dead(why=f"{person} has no Slack account in team.yaml and was not paged there")
        room = await self._desk.directory.direct(found.slack)
        return Done(note=await self._desk.post(work, room, messages.page(incident, paged, self._desk.setting())))
