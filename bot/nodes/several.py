"""Ask a node once for each key, and tell what came of it: a node may do it for some keys and not for others."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from bot.domain.target import Answer, short
from bot.errors import NoAnswer, NodeBroken, NodeError, NodeRefused

T = TypeVar("T")
U = TypeVar("U")

AT_ONCE = 8
"""Requests under way to one node."""


async def each(keys: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> dict[str, T | NodeError]:
    """Return what `ask` gave for each key, or the error that it raised; a few at once, in the order of `keys`."""
    places = asyncio.Semaphore(AT_ONCE)

    async def asked(key: str) -> T | NodeError:
        async with places:
            try:
                return await ask(key)
            except NodeError as error:
                return error

    return dict(zip(keys, await asyncio.gather(*map(asked, keys)), strict=True))


def worst(errors: Collection[NodeError]) -> NodeError:
    """Return the error that leaves most open: one after which the node may have acted comes first."""
    kinds = (NoAnswer, NodeBroken, NodeRefused, NodeError)
    return next(error for kind in kinds for error in errors if isinstance(error, kind))


def failure(errors: Collection[object]) -> Answer:
    """Return UNKNOWN if the node may yet do what one of these failed requests asked for, else FAILED."""
    unsure = any(isinstance(error, (NoAnswer, NodeBroken)) for error in errors)
    return Answer.UNKNOWN if unsure else Answer.FAILED


def told(reasons: Mapping[str, object]) -> str:
    """Return the reasons by key for people, three at most."""
    some = [f"{short(key)} {reason}" for key, reason in list(reasons.items())[:3]]
    return "; ".join(some) + ("; and others" if len(reasons) > 3 else "")


async def together(first: Awaitable[T], second: Awaitable[U]) -> tuple[T, U]:
    """Return what both give; an error is raised when both have ended, so that neither goes on behind the caller."""
    one, other = await asyncio.gather(first, second, return_exceptions=True)
    for result in (one, other):
        if isinstance(result, BaseException):
            raise result
    return one, other  # type: ignore[return-value]
