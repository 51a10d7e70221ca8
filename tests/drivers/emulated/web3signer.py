"""An imitation of Web3Signer 26.4 in eth2 mode, with a validator client that asks it to sign for every key.

From its source: DELETE answers `not_active` with slashing protection for a key that it knew, `not_found` when it never
did or runs without slashing protection, and `error` for a read-only one; a request for a key that is gone gets 404, and
its timer of requests counts it all the same; counters of signatures rise only with slashing protection; counters end in
`_total`; /metrics is on a port of its own.
"""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.drivers.emulated.serving import Mode, serving, ticking

ROOT = "0x" + "04" * 32


@dataclass
class Web3signerImitation:
    """The signer, its client, and the truth about both."""

    keys: Sequence[str]
    mode: Mode = Mode.HONEST
    readonly: frozenset[str] = frozenset()
    slashing_protection: bool = True
    key_manager: bool = True
    keystores_hide: bool = False
    url: str = ""
    metrics_url: str = ""
    started: float = 1000.5
    loaded: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    signed: dict[str, int] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    requested: int = 0
    missing: int = 0
    permitted: int = 0
    deletes: int = 0
    imported: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Load every key."""
        self.loaded = set(self.keys)
        self.signed = dict.fromkeys(self.keys, 0)
        self.levels = dict.fromkeys(self.keys, 0)

    def duty(self) -> None:
        """Let the client ask for one signature of each key; the manner of counting is that of its handler."""
        for key in self.keys:
            self.requested += 1
            if key not in self.loaded:
                self.missing += 1
                continue
            self.signed[key] += 1
            self.levels[key] += 1
            self.permitted += self.slashing_protection

    def restart(self) -> None:
        """Begin to count anew, as another process."""
        self.started += 7
        self.requested = self.missing = self.permitted = 0

    def app(self) -> web.Application:
        """Return its API."""
        app = web.Application()
        app.router.add_get("/api/v1/eth2/publicKeys", self._public_keys)
        app.router.add_get("/upcheck", self._upcheck)
        if self.key_manager:
            app.router.add_get("/eth/v1/keystores", self._list)
            app.router.add_post("/eth/v1/keystores", self._import)
            app.router.add_delete("/eth/v1/keystores", self._delete)
        return app

    def metrics(self) -> web.Application:
        """Return its metrics server."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        return app

    def _shown(self) -> list[str]:
        return sorted(self.loaded - self.hidden)

    async def _upcheck(self, _: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _public_keys(self, _: web.Request) -> web.Response:
        return web.json_response(self._shown())

    async def _list(self, _: web.Request) -> web.Response:
        told = [
            {"validating_pubkey": key, "derivation_path": "", "readonly": key in self.readonly} for key in self._shown()
        ]
        return web.json_response({"data": [] if self.keystores_hide else told})

    async def _delete(self, request: web.Request) -> web.Response:
        self.deletes += 1
        keys = (await request.json())["pubkeys"]
        told = [self._deleted(key) for key in keys]
        known = [key for key in keys if key in self.levels and self.slashing_protection]
        data = [
            {"pubkey": key, "signed_blocks": [{"slot": str(self.levels[key])}], "signed_attestations": []}
            for key in known
        ]
        document = {"metadata": {"interchange_format_version": "5", "genesis_validators_root": ROOT}, "data": data}
        return web.json_response({"data": told, "slashing_protection": json.dumps(document)})

    def _deleted(self, key: str) -> dict[str, str]:
        if key not in self.loaded:
            known = key in self.levels and self.slashing_protection
            return {"status": "not_active" if known else "not_found", "message": ""}
        if key in self.readonly:
            return {"status": "error", "message": f"Unable to delete readonly key: {key}"}
        if self.mode is Mode.HALF and key not in self.keys[: (len(self.keys) + 1) // 2]:
            return {"status": "error", "message": "Error deleting keystore file: permission denied"}
        if self.mode is Mode.LYING:
            self.hidden.add(key)
        elif not self.keystores_hide:
            self.loaded.remove(key)
        return {"status": "deleted", "message": ""}

    async def _import(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.imported.append(body)
        told = []
        for keystore in body["keystores"]:
            key = "0x" + json.loads(keystore)["pubkey"]
            told.append({"status": "duplicate" if key in self.loaded else "imported", "message": ""})
            self.loaded.add(key)
        return web.json_response({"data": told})

    async def _metrics(self, _: web.Request) -> web.Response:
        lines = [
            "# TYPE signing_bls_signing_duration summary",
            f"signing_bls_signing_duration_count {self.requested}",
            f"signing_bls_signing_duration_sum {self.requested * 0.002}",
            "# TYPE signing_bls_missing_identifier_count counter",
            f"signing_bls_missing_identifier_count_total {float(self.missing)}",
            f"signing_signers_loaded_count {float(len(self._shown()))}",
            "http_bls_malformed_request_count_total 0.0",
            f"eth2_slashingprotection_permitted_signings_total {float(self.permitted)}",
            "eth2_slashingprotection_prevented_signings_total 0.0",
            f"process_start_time_seconds {self.started}",
        ]
        return web.Response(text="\n".join(lines) + "\n")


@contextlib.asynccontextmanager
async def web3signer(
    keys: Sequence[str], *, tls: ssl.SSLContext | None = None, **how: Any
) -> AsyncIterator[Web3signerImitation]:
    """Run the imitation; `how` are fields of Web3signerImitation."""
    it = Web3signerImitation(keys=keys, **how)
    async with serving(it.app(), tls=tls) as it.url, serving(it.metrics()) as it.metrics_url, ticking(it.duty):
        yield it
