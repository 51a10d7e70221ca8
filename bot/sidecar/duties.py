"""Read what a signing request asks for: which duty, which slot, which digest. Pure.

Shapes: Web3Signer's eth2 API (`POST /api/v1/eth2/sign/{identifier}`), which is also the Ethereum remote signing API.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_KIND = re.compile(r"[A-Z0-9_]{1,64}")
_DIGEST = re.compile(r"0x[0-9a-f]{64}")
_SLOTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "ATTESTATION": (("attestation", "slot"),),
    "BLOCK": (("block", "slot"),),
    "BLOCK_V2": (("beacon_block", "block_header", "slot"), ("beacon_block", "block", "slot")),
    "AGGREGATION_SLOT": (("aggregation_slot", "slot"),),
    "AGGREGATE_AND_PROOF": (("aggregate_and_proof", "aggregate", "data", "slot"),),
    "AGGREGATE_AND_PROOF_V2": (
        ("aggregate_and_proof", "data", "aggregate", "data", "slot"),
        ("aggregate_and_proof", "aggregate", "data", "slot"),
    ),
    "RANDAO_REVEAL": (("randao_reveal", "epoch"),),
    "VOLUNTARY_EXIT": (("voluntary_exit", "epoch"),),
    "SYNC_COMMITTEE_MESSAGE": (("sync_committee_message", "slot"),),
    "SYNC_COMMITTEE_SELECTION_PROOF": (("sync_aggregator_selection_data", "slot"),),
    "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF": (("contribution_and_proof", "contribution", "slot"),),
}
"""Where the slot (or the epoch, where a duty has no slot) stands in a request, by its type."""
_BIGGEST = 2**64 - 1


class Malformed(ValueError):
    """The request cannot be read; nothing was signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What one request asks to sign.

    `digest` is the signing root; where a request carries none it is the SHA-256 of the request, and `digest_of` says
    so. `mark` is what may be signed once only: two digests under one mark of one key are an equivocation. None for
    duties that cannot be slashed.
    """

    kind: str
    slot: int
    digest: str
    digest_of: str
    source: int | None = None
    target: int | None = None
    mark: tuple[str, int] | None = None


def eth2(body: bytes) -> Duty:
    """Read a request of the eth2 API; raises Malformed."""
    tree = _object(body)
    kind = tree.get("type")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind.upper()):
        raise Malformed("`type` is missing or is no type")
    kind = kind.upper()
    root = _root(tree)
    digest = root or _hashed(body)
    slot = _first(tree, _SLOTS.get(kind, ((kind.lower(), "slot"),)))
    source = _number(tree, ("attestation", "source", "epoch")) if kind == "ATTESTATION" else None
    target = _number(tree, ("attestation", "target", "epoch")) if kind == "ATTESTATION" else None
    mark = None
    if kind == "ATTESTATION" and target is not None:
        mark = ("attestation", target)
    elif kind in {"BLOCK", "BLOCK_V2"} and slot is not None:
        mark = ("block", slot)
    return Duty(
        kind=kind,
        slot=slot or 0,
        digest=digest,
        digest_of="signing_root" if root else "request",
        source=source,
        target=target,
        mark=mark,
    )


def other(body: bytes, kind: str) -> Duty:
    """Read a request whose content is not a duty of the beacon chain: its digest is the SHA-256 of the request."""
    _object(body)
    return Duty(kind=kind, slot=0, digest=_hashed(body), digest_of="request")


def _object(body: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed("the body is not JSON") from None
    if not isinstance(tree, dict):
        raise Malformed("the body is not a JSON object")
    return tree


def _hashed(body: bytes) -> str:
    return "0x" + hashlib.sha256(body).hexdigest()


def _root(tree: Mapping[str, Any]) -> str | None:
    """Return the signing root, under either of its two names; both with different values are refused."""
    found = {str(tree[name]).lower() for name in ("signingRoot", "signing_root") if tree.get(name) is not None}
    if len(found) > 1:
        raise Malformed("`signingRoot` and `signing_root` differ")
    root = found.pop() if found else None
    if root is None:
        return None
    root = root if root.startswith("0x") else f"0x{root}"
    if not _DIGEST.fullmatch(root):
        raise Malformed("`signingRoot` is not 32 bytes of hex")
    return root


def _first(tree: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]) -> int | None:
    return next((found for path in paths if (found := _number(tree, path)) is not None), None)


def _number(tree: Any, path: tuple[str, ...]) -> int | None:
    """Return the number at `path`, which this API writes as a decimal string; None when it is not there."""
    for name in path:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(name)
    if isinstance(tree, str) and tree.isascii() and tree.isdigit() and len(tree) <= 20:
        tree = int(tree)
    if isinstance(tree, int) and not isinstance(tree, bool) and 0 <= tree <= _BIGGEST:
        return tree
    return None
