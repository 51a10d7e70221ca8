"""Communicate: the holding statement, facts only, drafted from the incident."""

from bot.domain.authority import BOT
from bot.domain.journal import NoteAdded
from bot.domain.work import Done, Result, Work
from bot.flows import outcomes, record, respond, status
from bot.ledger import Ledger
from bot.render import documents


class Communicator:
    """Handles `step.communicate`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def step(self, work: Work) -> Result:
        """Give the holding statement to the stakeholders, once."""
        assert work.incident is not None  # steps always belong to an incident
        step = str(work.body["step"])
        go = await self._ledger.decide(
            respond.begin, respond.Begin(by=BOT, incident=work.incident, step=step), holding=work
        )
        if go.off is not None:
            return Done(note=go.off)
        if not status.channels(self._ledger.world.config, go.incident):
            why = "No channel is set for stakeholders (policy.yaml, inventory.yaml): nobody outside was told."
            entry = NoteAdded(text=why, source="stopsign")
            await self._ledger.decide(record.note, record.Note(by=BOT, incident=work.incident, entry=entry))
        elif status.STAKEHOLDERS not in go.incident.told_at:
            text = documents.holding_statement(go.incident, self._ledger.world.config, self._ledger.clock.now())
            command = status.GiveStatus(by=BOT, incident=work.incident, text=text, audience=status.STAKEHOLDERS)
            await self._ledger.decide(status.give, command, holding=work)
        await self._ledger.decide(
            outcomes.finish, outcomes.Finish(by=BOT, incident=work.incident, step=step), holding=work
        )
        return Done()
