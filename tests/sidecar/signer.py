"""A signer with Web3Signer's eth2 API, for tests: real BLS signatures over the signing root that a request carries.

    python -m tests.sidecar.signer --port 9000 --interop 0..7
    python -m tests.sidecar.signer --port 9000 --secret-keys keys.txt      one 0x-hex secret key a line

It protects from nothing, and believes the signing root: never use it with keys that are worth something. With `--fake`
it answers deterministic bytes instead of signatures, which is faster. `/practice` tells what it did, and makes it
misbehave.
"""

import argparse
import asyncio
import hashlib
import importlib
import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

CURVE_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_IDENTIFIER = re.compile(r"(0x)?[0-9a-fA-F]{96}")


class BlsKey:
    """A secret key that signs with BLS12-381 as Ethereum does (proof-of-possession ciphersuite, G2 signatures)."""

    def __init__(self, secret: int) -> None:
        self._bls: Any = importlib.import_module("blspy")
        self._secret = self._bls.PrivateKey.from_bytes(secret.to_bytes(32, "big"))
        self.public = "0x" + bytes(self._secret.get_g1()).hex()

    def sign(self, root: bytes) -> str:
        """Return the signature over a root, as 0x-hex."""
        return "0x" + bytes(self._bls.PopSchemeMPL.sign(self._secret, root)).hex()


class FakeKey:
    """A key whose signatures are deterministic bytes."""

    def __init__(self, secret: int) -> None:
        self._secret = secret.to_bytes(32, "big")
        self.public = "0x" + hashlib.sha384(self._secret).hexdigest()

    def sign(self, root: bytes) -> str:
        """Return 96 bytes that follow from key and root, as 0x-hex."""
        return "0x" + hashlib.shake_256(self._secret + root).hexdigest(96)


def interop(index: int) -> int:
    """Return the secret key of an index in Ethereum's interop (development) networks."""
    digest = hashlib.sha256(index.to_bytes(32, "little")).digest()
    return int.from_bytes(digest, "little") % CURVE_ORDER


class Signer:
    """The handlers. `delay` is seconds until it has signed, `late` seconds more until it answers."""

    def __init__(self, keys: list[BlsKey] | list[FakeKey]) -> None:
        self.keys = {key.public: key for key in keys}
        self.signed: Counter[str] = Counter()
        self.asked = 0
        self.delay = 0.0
        self.late = 0.0
        self.status = 200
        self.roots: list[tuple[str, str]] = []

    async def sign(self, request: web.Request) -> web.Response:
        """Sign what the request says."""
        self.asked += 1
        name = request.match_info["key"].lower()
        key = self.keys.get(name if name.startswith("0x") else f"0x{name}")
        if not _IDENTIFIER.fullmatch(name):
            return web.Response(status=400, text="Bad key")
        if key is None:
            return web.Response(status=404, text="Public key not found")
        try:
            tree = json.loads(await request.read())
            root = bytes.fromhex(str(tree.get("signingRoot") or tree["signing_root"]).removeprefix("0x"))
            if "type" not in tree or len(root) != 32:
                raise ValueError("no type, or no root")
        except (ValueError, KeyError, AttributeError):
            return web.Response(status=400, text="Bad request")
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.status != 200:
            return web.Response(status=self.status, text="As told")
        signature = key.sign(root)
        self.signed[key.public] += 1
        self.roots.append((key.public, "0x" + root.hex()))
        if self.late:
            await asyncio.sleep(self.late)
        if "application/json" in request.headers.get("Accept", ""):
            return web.json_response({"signature": signature})
        return web.Response(text=signature)

    async def public_keys(self, request: web.Request) -> web.Response:
        """List the keys."""
        return web.json_response(list(self.keys))

    async def upcheck(self, request: web.Request) -> web.Response:
        """Say that it is up."""
        if "application/json" in request.headers.get("Accept", ""):
            return web.json_response({"status": "OK"})
        return web.Response(text="OK")

    async def metrics(self, request: web.Request) -> web.Response:
        """Write counters as Prometheus text."""
        lines = ["# TYPE signing_signers_loaded_count gauge", f"signing_signers_loaded_count {len(self.keys)}"]
        lines += ["# TYPE eth2_slashingprotection_permitted_signings_total counter"]
        lines += [f"eth2_slashingprotection_permitted_signings_total {sum(self.signed.values())}"]
        return web.Response(text="\n".join(lines) + "\n")

    async def truth(self, request: web.Request) -> web.Response:
        """Tell what it did."""
        return web.json_response({"signed": self.signed, "asked": self.asked, "roots": self.roots, "at": time.time()})

    async def act(self, request: web.Request) -> web.Response:
        """Misbehave as told."""
        told = await request.json()
        self.delay = float(told.get("delay", self.delay))
        self.late = float(told.get("late", self.late))
        self.status = int(told.get("status", self.status))
        if "keys" in told:
            self.keys = {public: key for public, key in self.keys.items() if public in told["keys"]}
        return web.json_response({})

    async def removed(self, request: web.Request) -> web.Response:
        """Remove keys, as Web3Signer's keystore API does: what a proxy must not pass on unasked."""
        for public in (await request.json())["pubkeys"]:
            self.keys.pop(public, None)
        return web.json_response({"data": []})

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.router.add_post("/api/v1/eth2/sign/{key}", self.sign)
        app.router.add_get("/api/v1/eth2/publicKeys", self.public_keys)
        app.router.add_get("/upcheck", self.upcheck)
        app.router.add_get("/healthcheck", self.upcheck)
        app.router.add_post("/reload", self.upcheck)
        app.router.add_delete("/eth/v1/keystores", self.removed)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/practice", self.truth)
        app.router.add_post("/practice", self.act)
        return app


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--interop", metavar="FIRST..LAST", help="keys of Ethereum's development networks")
    parser.add_argument("--secret-keys", type=Path, metavar="FILE")
    parser.add_argument("--fake", action="store_true")
    chosen = parser.parse_args()
    secrets: list[int] = []
    if chosen.interop:
        first, _, last = chosen.interop.partition("..")
        secrets += [interop(index) for index in range(int(first), int(last or first) + 1)]
    if chosen.secret_keys:
        text = chosen.secret_keys.read_text(encoding="utf-8")
        secrets += [int(line, 16) for line in text.split() if line]
    signer = Signer([FakeKey(secret) for secret in secrets] if chosen.fake else [BlsKey(secret) for secret in secrets])
    web.run_app(signer.app(), host="127.0.0.1", port=chosen.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
