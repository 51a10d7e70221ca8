"""The Ethereum Keymanager API of a practice node: local keystores and remote keys.

As with real clients, failures hide inside a 200, DELETE is destructive, and `slashing_protection` is a JSON string.
"""

import json
import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.practice.fleet.node import PracticeNode
from bot.practice.fleet.sidecar import Interchange
from bot.practice.fleet.signer import GENESIS, Held, Obedience

_PUBKEY = re.compile(r"0x[0-9a-f]{96}")


class _Body(BaseModel):
    model_config = ConfigDict(strict=True)


class Pubkeys(_Body):
    """Body of both DELETEs."""

    pubkeys: list[str]


class Keystores(_Body):
    """Body of POST keystores; each keystore and the protection are JSON documents in strings."""

    keystores: list[str]
    passwords: list[str]
    slashing_protection: str | None = None


class RemoteKey(_Body):
    """One remote key."""

    pubkey: str
    url: str = ""


class RemoteKeys(_Body):
    """Body of POST remotekeys."""

    remote_keys: list[RemoteKey]


def routes(node: PracticeNode) -> list[Route]:
    """Return the routes of the Keymanager API."""
    api = Keymanager(node)
    keystores, remote = "/eth/v1/keystores", "/eth/v1/remotekeys"
    return [
        Route(keystores, api.list_keystores, methods=["GET"]),
        Route(keystores, api.import_keystores, methods=["POST"]),
        Route(keystores, api.delete_keystores, methods=["DELETE"]),
        Route(remote, api.list_remote, methods=["GET"]),
        Route(remote, api.import_remote, methods=["POST"]),
        Route(remote, api.delete_remote, methods=["DELETE"]),
    ]


class Keymanager:
    """The handlers, bound to one node."""

    def __init__(self, node: PracticeNode) -> None:
        self._node = node

    async def list_keystores(self, request: Request) -> Response:
        """List all keys; remote ones are read-only."""
        data = [
            {"validating_pubkey": held.key, "derivation_path": "", "readonly": held.remote} for held in self._listed()
        ]
        return JSONResponse({"data": data})

    async def list_remote(self, request: Request) -> Response:
        """List the remote keys."""
        data = [
            {"pubkey": held.key, "url": "http://127.0.0.1:9000", "readonly": False}
            for held in self._listed()
            if held.remote
        ]
        return JSONResponse({"data": data})

    async def delete_keystores(self, request: Request) -> Response:
        """Remove local keys and return their slashing protection."""
        try:
            asked = Pubkeys.model_validate_json(await request.body()).pubkeys
        except ValidationError as error:
            return _malformed(error)
        data = self._delete(asked, remote=False)
        protection = json.dumps(self._node.signer.interchange(asked))
        return JSONResponse({"data": data, "slashing_protection": protection})

    async def delete_remote(self, request: Request) -> Response:
        """Remove remote keys."""
        try:
            asked = Pubkeys.model_validate_json(await request.body()).pubkeys
        except ValidationError as error:
            return _malformed(error)
        return JSONResponse({"data": self._delete(asked, remote=True)})

    async def import_keystores(self, request: Request) -> Response:
        """Take keystores in, after their slashing protection."""
        try:
            asked = Keystores.model_validate_json(await request.body())
            protection = (
                Interchange.model_validate_json(asked.slashing_protection) if asked.slashing_protection else None
            )
        except ValidationError as error:
            return _malformed(error)
        if len(asked.keystores) != len(asked.passwords):
            return _error(400, "as many passwords as keystores are needed")
        if protection and protection.metadata.genesis_validators_root != GENESIS:
            return _error(400, "the slashing protection is of another chain")
        for one in protection.data if protection else []:
            self._node.signer.protect(one.pubkey, one.slot)
        pairs = zip(asked.keystores, asked.passwords, strict=True)
        data = [self._import(keystore, password) for keystore, password in pairs]
        return JSONResponse({"data": data})

    async def import_remote(self, request: Request) -> Response:
        """Take remote keys in."""
        try:
            asked = RemoteKeys.model_validate_json(await request.body()).remote_keys
        except ValidationError as error:
            return _malformed(error)
        return JSONResponse({"data": [self._admit(one.pubkey, remote=True) for one in asked]})

    def _listed(self) -> list[Held]:
        return [held for held in self._node.signer.held.values() if not held.stopped]

    def _delete(self, keys: Sequence[str], *, remote: bool) -> list[Mapping[str, str]]:
        """Delete what can be deleted; returns one status a key, in the order asked."""
        listed = {held.key for held in self._listed() if held.remote is remote}
        named = list(dict.fromkeys(key for key in keys if key in listed))
        ways = dict(zip(named, self._node.stop(named, incident=None), strict=True))
        return [_status(ways[key]) if key in ways else self._absent(key, remote=remote) for key in keys]

    def _absent(self, key: str, *, remote: bool) -> Mapping[str, str]:
        held = self._node.signer.held.get(key)
        if held is None:
            return {"status": "not_found", "message": ""}
        if held.remote is not remote:
            return {"status": "error", "message": "the key is read-only here" if held.remote else "not a remote key"}
        return {"status": "not_found" if remote else "not_active", "message": ""}

    def _import(self, keystore: str, password: str) -> Mapping[str, str]:
        try:
            pubkey = "0x" + str(json.loads(keystore)["pubkey"]).removeprefix("0x")
        except (ValueError, KeyError, TypeError):
            return {"status": "error", "message": "not an EIP-2335 keystore"}
        if not password:
            return {"status": "error", "message": "wrong password"}
        return self._admit(pubkey, remote=False)

    def _admit(self, pubkey: str, *, remote: bool) -> Mapping[str, str]:
        if not _PUBKEY.fullmatch(pubkey):
            return {"status": "error", "message": "not a BLS public key"}
        return {"status": self._node.signer.admit(pubkey, remote=remote), "message": ""}


def _status(way: Obedience) -> Mapping[str, str]:
    if way is Obedience.FAILS:
        return {"status": "error", "message": "could not delete the keystore"}
    return {"status": "deleted", "message": ""}


def _malformed(error: ValidationError) -> Response:
    first = error.errors()[0]
    return _error(400, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")


def _error(status: int, message: str) -> Response:
    return JSONResponse({"code": status, "message": message}, status)
