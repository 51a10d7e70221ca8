"""Which incident a channel belongs to."""

from bot.domain.incident import Incident
from bot.ledger import Ledger


class Places:
    """Finds the incident of a channel."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def incident_of(self, channel: str) -> int | None:
        """Return the number of the incident whose channel this is."""
        if not channel:
            return None
        found = await self._ledger.read(lambda rows: rows.by_channel(channel))
        return found.number if found else None

    async def get(self, number: int) -> Incident | None:
        """Return an incident as it stands."""
        return await self._ledger.read(lambda rows: rows.incident(number))
