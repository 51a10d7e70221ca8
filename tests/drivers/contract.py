"""What every driver is held to, whatever its API: a stand is one capability of one driver, with peers to meet."""

import importlib
import pkgutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from bot.domain.inventory import Capability
from tests.drivers import stands


class Character(StrEnum):
    """How a peer behaves towards the driver."""

    HONEST = "honest"
    LYING = "lying"  # says that it is done, and does nothing
    SILENT = "silent"  # accepts, and never answers
    SLOW = "slow"  # acts, and answers after the driver's timeout
    ERRORING = "erroring"  # answers 5xx, and does nothing
    HALF = "half"  # does it for half of the keys, or half of the way
    UNAUTHORISED = "unauthorised"  # answers 401 or 403, and does nothing
    DOWN = "down"  # nothing listens


def patience(character: Character) -> timedelta:
    """Return an endpoint's timeout: short where it must run out, long where a busy machine must not make it."""
    return timedelta(seconds=0.5 if character in {Character.SILENT, Character.SLOW} else 5.0)


class Subject(Protocol):
    """One peer with its driver."""

    driver: Any
    """What `connect` returned."""
    keys: tuple[str, ...]

    async def stopped(self) -> bool:
        """Return the truth, asked of the peer itself: all keys stopped, out of traffic, on the old build, limited."""
        ...

    async def calls(self) -> int:
        """Return how many requests that change something have reached the peer."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stand:
    """One capability of one driver. `to_build` is what a deployer goes back to; `period` is seconds between duties."""

    name: str
    capability: Capability
    open: Callable[[Character], AbstractAsyncContextManager[Subject]]
    characters: frozenset[Character] = frozenset(Character)
    to_build: str = ""
    period: float = 0.1
    peer: str = ""
    """The real program beside ours that the stand needs, if it needs one."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC)


def every() -> list[Stand]:
    """Return the stands of all drivers, by name."""
    found: list[Stand] = []
    for module in pkgutil.iter_modules(stands.__path__):
        found += importlib.import_module(f"{stands.__name__}.{module.name}").STANDS
    return sorted(found, key=lambda stand: (stand.name, stand.capability))
