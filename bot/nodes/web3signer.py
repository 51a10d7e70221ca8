"""Drive Web3Signer: a remote signer that is stopped by deleting its keys over its Key Manager API.

Its list of keystores and its list of public keys are both read back; a key in either one still signs. It names no key
in its metrics, and its timer of signing requests counts those that it denied as well: see `signatures`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from pydantic import TypeAdapter

from bot.domain.inventory import Capability
from bot.domain.target import Effect, Reply, Sample
from bot.errors import NodeError, NodeRefused
from bot.nodes.keymanager import Keymanager, _Listed
from bot.nodes.prometheus_text import Counters, read_counters
from bot.nodes.several import together
from bot.nodes.way import Way
from bot.nodes.wire import Call, named
from bot.ports import Traits

PUBLIC_KEYS = "/api/v1/eth2/publicKeys"
PERMITTED = ("eth2_slashingprotection_permitted_signings_total", "eth2_slashingprotection_permitted_signings")
REQUESTED = ("signing_bls_signing_duration_count",)
DENIED = (
    "signing_bls_missing_identifier_count_total",
    "signing_bls_missing_identifier_count",
    "http_bls_malformed_request_count_total",
    "http_bls_malformed_request_count",
    "eth2_slashingprotection_prevented_signings_total",
    "eth2_slashingprotection_prevented_signings",
)
TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=False,
    destructive=True,
    capabilities=(Capability.SIGNER,),
    proves_by="the key is in neither list of the signer, and the number of signatures in its /metrics is flat",
    needs="the option metrics; no other key loaded than those asked about, as its metrics name none; "
    "two samples over a due duty",
    cannot_know="signatures of the same key elsewhere, those of the Commit-Boost and extension APIs, and which key "
    "signed while others are loaded",
    blast_radius="the named keys are deleted from the signer, for every validator client behind it",
    tested="an imitation written from the source of Web3Signer 26.4",
    tier="emulated",  # a Java program that no package registry offers
)
_KEYS = TypeAdapter(list[str])
_HINTS = {
    403: "is the name by which it is called in its --http-host-allowlist?",
    404: "was it started with --key-manager-api-enabled?",
}


def connect(way: Way) -> "Web3signer":
    """Return the driver of a Web3Signer; opens no connection. Raises Misconfigured.

    It knows no bearer token: who may call is settled by TLS client certificates, or by the network.

    Options:
        metrics: base URL of /metrics, which Web3Signer serves on a port of its own (9001)
        counters: names of the counters that rise with each signature, by commas, instead of those of `signatures`;
            unless each of them is there, none counts
        escrow: folder of `bot/nodes/escrow.py`; without it a freeze is undone by hand
    """
    options = way.options("metrics", "counters", "escrow")
    return Web3signer(way.node, way.wire(), way.wire(options.get("metrics"), token=None), options, way.clock, TRAITS)


class Web3signer(Keymanager):
    """Signer over Web3Signer's Key Manager API."""

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Delete `keys` until neither list has one of them, three times at most; a key it holds read-only stays."""
        try:
            return await super().freeze(keys, incident=incident, request=request)
        except NodeRefused as refusal:
            raise _explained(refusal) from refusal

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read whether `keys` are listed, and how often the signer signed, if it signs with no other key."""
        asked = named(keys)
        try:
            listed, counters = await together(self._listed(self._wire.call()), self._counters())
        except NodeRefused as refusal:
            raise _explained(refusal) from refusal
        whole = listed.keys <= {key.lower() for key in asked}
        return await self._sampled(asked, listed, counters, whole=whole)

    async def _listed(self, call: Call) -> _Listed:
        """Return the keys of both lists, none as remote: `readonly` means here that a key cannot be deleted."""
        listed, public = await together(super()._listed(call), call.json(_KEYS, "GET", PUBLIC_KEYS))
        return replace(listed, keys=listed.keys | {key.lower() for key in public}, remote={})

    async def _counters(self) -> Counters:
        if "counters" in self._options:
            return await super()._counters()
        try:
            text = await self._metrics.call().content("GET", "/metrics")
        except NodeError:
            return Counters()
        return await asyncio.to_thread(signatures, text)


def signatures(text: bytes) -> Counters:
    """Return how many signatures Web3Signer gave, of all keys together, and its process.

    With slashing protection each signature is counted as permitted. That counter stays 0 without it; then it is the
    requests less those that were denied. The metrics have ended in `_total` since OpenMetrics was adopted, before not.
    """
    permitted, requested, denied = (
        read_counters(text, names, "", needed=()) for names in (PERMITTED, REQUESTED, DENIED)
    )
    total = permitted.total
    if not total:
        total = None if requested.total is None else requested.total - (denied.total or 0)
    return Counters(total=total, instance=requested.instance)


def _explained(refusal: NodeRefused) -> NodeRefused:
    hint = _HINTS.get(refusal.status or 0)
    return NodeRefused(f"{refusal}; {hint}", status=refusal.status) if hint else refusal
