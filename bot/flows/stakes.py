"""What a step puts at stake, in sentences: shown before anybody confirms it."""

from collections.abc import Collection
from datetime import timedelta

from bot.domain.inventory import Avs, Inventory, Node
from bot.domain.playbook import Verb

HOUR = timedelta(hours=1)


def stakes(inventory: Inventory, verb: Verb, targets: Collection[str], stopped: Collection[str] = ()) -> str:
    """Say what doing `verb` to `targets` means for each service, given which nodes are proven stopped already.

    Targets that the inventory does not know are left out; an empty text says that nothing is known.
    """
    nodes = [inventory.nodes[name] for name in targets if name in inventory.nodes]
    by_avs: dict[str, list[Node]] = {}
    for node in nodes:
        by_avs.setdefault(node.avs, []).append(node)
    return " ".join(_said(inventory, verb, inventory.avs[avs], found, stopped) for avs, found in by_avs.items())


def _said(inventory: Inventory, verb: Verb, avs: Avs, nodes: list[Node], stopped: Collection[str]) -> str:
    fleet = {node.name for node in inventory.of_avs(avs.name)}
    some = f"{len(nodes)} of {len(fleet)}"
    match verb:
        case Verb.FREEZE:
            left = len(fleet - set(stopped) - {node.name for node in nodes})
            below = ", BELOW" if left < avs.quorum else ","
            return (
                f"Stops {some} signers of {avs.name}; {left} go{'es' if left == 1 else ''} on signing{below} "
                f"quorum {avs.quorum}; "
                f"about {_duties(avs, nodes):,} duties an hour are missed."
            )
        case Verb.UNFREEZE:
            return f"Lets {some} signers of {avs.name} sign again: no other machine may hold their keys."
        case Verb.ISOLATE:
            return f"Takes {some} nodes of {avs.name} out of traffic."
        case Verb.RESTORE:
            return f"Puts {some} nodes of {avs.name} back into traffic."
        case Verb.ROLLBACK:
            return f"Replaces what runs on {some} nodes of {avs.name} by the last good build; each restarts."
        case Verb.THROTTLE:
            return f"Slows the risky flows of {some} nodes of {avs.name}."
        case _:
            return f"Reads {some} nodes of {avs.name}; changes nothing there."


def _duties(avs: Avs, nodes: list[Node]) -> int:
    """Return how many duties the nodes' keys have in an hour, at the service's pace."""
    return round(sum(len(node.keys) for node in nodes) * (HOUR / avs.duty_period))
