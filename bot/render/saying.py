"""What a sentence of the timeline is made of."""

from dataclasses import dataclass

from bot.domain.authority import Actor
from bot.domain.config import Config
from bot.domain.journal import Written
from bot.render.words import who


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """One sentence; `detail` has more lines for whoever wants them. Not yet made plain."""

    icon: str
    text: str
    detail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a sentence may look at besides its entry."""

    written: Written
    config: Config

    @property
    def by(self) -> Actor:
        """Return who wrote the entry."""
        return self.written.by

    @property
    def actor(self) -> str:
        """Return the name of whoever wrote the entry."""
        return who(self.written.by.person, self.config)

    @property
    def incident(self) -> str:
        """Return `inc-7`, or what stands for the watch."""
        return f"inc-{self.written.incident}" if self.written.incident else "Stopsign"
