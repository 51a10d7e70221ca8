"""The playbook's turn: look up the symptom if somebody waits for it, then let the flow plan what may begin."""

import re
from string import Template

from bot.domain.authority import BOT
from bot.domain.incident import Incident
from bot.domain.work import Again, Done, Result, Work
from bot.flows import playbook
from bot.ledger import Ledger
from bot.ports import Symptoms


class Playbooks:
    """Handles `playbook`."""

    def __init__(self, ledger: Ledger, symptoms: Symptoms) -> None:
        self._ledger = ledger
        self._symptoms = symptoms

    async def turn(self, work: Work) -> Result:
        """Advance the incident's playbook; come back when a wait is over."""
        number = work.incident or 0
        following = await self._advance(work, playbook.Advance(by=BOT, incident=number))
        if following.symptom:
            incident = await self._ledger.read(lambda rows: rows.incident(number))
            symptom = await self._persists(incident) if incident else None
            command = playbook.Advance(by=BOT, incident=number, symptom=symptom, asked=True)
            following = await self._advance(work, command)
        return Again(at=following.at) if following.at else Done()

    async def _advance(self, work: Work, command: playbook.Advance) -> playbook.Next:
        return await self._ledger.decide(playbook.advance, command, holding=work)

    async def _persists(self, incident: Incident) -> bool | None:
        """Ask monitoring whether any symptom lasts; without an answer, go by the alerts that we did not cause."""
        answers = []
        for name in incident.runbooks:
            runbook = self._ledger.world.config.runbooks.get(name)
            if runbook is not None and runbook.persists:
                answers.append(await self._symptoms.persists(filled(runbook.persists, incident)))
        if any(answer is True for answer in answers) or incident.symptoms > 0:
            return True
        unsure = any(answer is None for answer in answers) or (incident.declared and not answers)
        return None if unsure else False


def filled(query: str, incident: Incident) -> str:
    """Fill `$avs` and `$not_frozen` (a regex of frozen nodes, to be used with !~) into a runbook's query."""
    frozen = "|".join(re.escape(node).replace("\\", "\\\\") for node in incident.frozen) or "(nobody)"
    return Template(query).safe_substitute(avs=incident.avs or "", not_frozen=frozen)
