"""Which incident a channel belongs to."""

import re

from bot.domain.incident import Incident
from bot.ledger import Ledger
from bot.ports import Rows

_NAMED = re.compile(r"inc-(\d{1,9})(?:-|$)", re.ASCII)
SEARCHED = 200


class Places:
    """Finds the incident of a channel; a channel never changes its incident, so answers are kept."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, int] = {}

    async def incident_of(self, channel: str, name: str = "") -> int | None:
        """Return the number of the incident whose channel this is; `name`, if known, saves a search."""
        if channel not in self._known:
            found = await self._ledger.read(lambda rows: _find(rows, channel, name))
            if found is None:
                return None
            self._known[channel] = found
        return self._known[channel]

    async def get(self, number: int) -> Incident | None:
        """Return an incident as it stands."""
        return await self._ledger.read(lambda rows: rows.incident(number))


def _find(rows: Rows, channel: str, name: str) -> int | None:
    if found := _NAMED.match(name):
        incident = rows.incident(int(found[1]))
        if incident is not None and incident.channel == channel:
            return incident.number
    for live_only in (True, False):
        for incident in rows.incidents(live_only=live_only, limit=SEARCHED):
            if incident.channel == channel:
                return incident.number
    return None
