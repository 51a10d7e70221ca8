"""What a signer says of itself, and how that differs from the inventory: another name, other keys than it lists."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bot.domain.inventory import Node, same_key, told_apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """All keys that a signer holds, and the node that it says it is; None when it has no name for itself."""

    keys: frozenset[str]
    node: str | None = None


@runtime_checkable
class Introduces(Protocol):
    """What a driver offers beside its ports where its API lists all keys: a freeze names some and leaves the rest."""

    async def introduce(self) -> Introduction:
        """Ask the node who it is and what it holds; raises a NodeError."""
        ...


def differences(said: Introduction, node: Node, others: Collection[str] = ()) -> Iterator[str]:
    """Yield what speaks against this being the inventory's node, as sentences; `others` are keys of other nodes."""
    if said.node not in {None, node.name}:
        yield f"this is {said.node}, not {node.name}"
    held, ours = set(map(same_key, said.keys)), set(map(same_key, node.keys))
    if missing := sorted(ours - held):
        yield f"does not hold {some(missing, held | ours)}"
    if extra := sorted(held - ours - set(map(same_key, others))):
        yield f"also signs with {some(extra, held | ours)}, which a freeze would leave on"


def some(keys: Collection[str], among: Collection[str] = ()) -> str:
    """Return keys for a sentence, five at most, each so long that it is told from all the others `among` them."""
    shown = told_apart(list(keys), among)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if shown[5:] else "")
