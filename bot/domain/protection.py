"""What may be signed once only, and how far a key has come with it (EIP-3076, slashing protection interchange).

A *mark* is one ladder of one key, `block:0x…` or `attestation:0x…`: blocks climb by slot, attestations by target epoch.
The two must never be compared with each other.
"""

import json
from collections.abc import Mapping
from typing import Any

from bot.domain.inventory import same_key

BLOCK, ATTESTATION = "block", "attestation"
NEVER_SLASHED = frozenset(
    {
        *("randao_reveal", "voluntary_exit", "deposit", "validator_registration"),
        *("aggregation_slot", "aggregate_and_proof", "aggregate_and_proof_v2"),
        *("sync_committee_message", "sync_committee_selection_proof", "sync_committee_contribution_and_proof"),
    }
)
"""Duties of an Ethereum validator that no slashing condition knows (consensus specification, phase0 and Altair)."""


def mark_of(message: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the mark of a signed message (docs/node-api.yaml) and its height; None where nothing can be slashed.

    A duty of another service is a block: two digests for one slot are its conflict. Raises KeyError, TypeError and
    ValueError for what is no message.
    """
    key, duty = same_key(str(message["key"])), str(message.get("duty", "")).lower()
    if duty in NEVER_SLASHED:
        return None
    if message.get("target") is not None:
        return f"{ATTESTATION}:{key}", int(message["target"])
    return f"{BLOCK}:{key}", int(message["slot"])


def protected(interchange: bytes) -> Mapping[str, int]:
    """Return how far each key of an interchange document is protected, by mark; raises ValueError.

    A ladder without a signed step is at -1.
    """
    try:
        found: dict[str, int] = {}
        for entry in json.loads(interchange)["data"]:
            key = same_key(str(entry["pubkey"]))
            slots = [int(block["slot"]) for block in entry.get("signed_blocks", [])]
            epochs = [int(a["target_epoch"]) for a in entry.get("signed_attestations", [])]
            for mark, heights in ((f"{BLOCK}:{key}", slots), (f"{ATTESTATION}:{key}", epochs)):
                found[mark] = max([*heights, found.get(mark, -1)])
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no interchange document ({type(error).__name__}: {error})") from error
    return found
