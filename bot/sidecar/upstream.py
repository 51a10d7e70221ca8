"""Speak to the signer: each signing request is sent once, and what is known afterwards is said truthfully."""

import asyncio
import json
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bot.errors import NoAnswer, NotReached
from bot.sidecar.words import spelled

_ANSWER_LIMIT = 1024 * 1024
_KEYS_LIMIT = 16 * 1024 * 1024
_IDLE_SECONDS = 4.0
"""How long an idle connection is kept: shorter than any signer's own limit, so that it does not end under a request."""
_LISTS = ("/api/v1/eth2/publicKeys", "/api/v1/eth1/publicKeys")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The signer's answer, whole."""

    status: int
    body: bytes
    media_type: str

    @property
    def signed(self) -> bool:
        """Tell whether a signature came."""
        return 200 <= self.status < 300


class Upstream:
    """The signer at `base`, over at most `connections` (0: any number). Built on the event loop; `close` ends it."""

    def __init__(
        self, base: str, *, timeout: float, context: ssl.SSLContext, memory: Path, connections: int = 0
    ) -> None:
        connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=_IDLE_SECONDS, ssl=context)
        self.base = base
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=timeout * 0.5)
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=self._timeout,
            skip_auto_headers=("Accept-Encoding", "User-Agent"),
            auto_decompress=False,
        )
        self._memory = memory
        self._known = self._remembered()
        self.fresh = False
        self.trouble: str | None = None
        """Why the list could not be read when that was last tried."""

    async def sign(self, path: str, body: bytes, headers: Mapping[str, str]) -> Told:
        """Send one signing request, once.

        Raises NotReached when it cannot have arrived, NoAnswer when the signer may have signed. aiohttp resends only
        idempotent methods by itself, and a POST is none.
        """
        try:
            async with self.session.post(
                self.base + path, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.content.read(_ANSWER_LIMIT + 1)
                while len(content) <= _ANSWER_LIMIT and (more := await response.content.read(_ANSWER_LIMIT)):
                    content += more
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotReached(f"the signer cannot be reached: {_sentence(error)}") from None
        except TimeoutError:
            raise NoAnswer(f"the signer did not answer within {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer(f"the connection to the signer was lost: {_sentence(error)}") from None
        if len(content) > _ANSWER_LIMIT:
            raise NoAnswer("the signer's answer is too large")
        media_type = response.headers.get("Content-Type", "application/octet-stream")
        return Told(status=response.status, body=content, media_type=media_type)

    def holds(self, key: str) -> bool | None:
        """Tell whether the signer holds a key, by the list that was read last; None when that cannot be told now."""
        if key in self._known:
            return True
        return False if self.fresh else None

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys that the signer listed last."""
        return tuple(self._known)

    async def refresh(self, within: float) -> None:
        """Read the signer's list of keys; `fresh` says afterwards whether that went well."""
        try:
            async with asyncio.timeout(within):
                listed = await self._listed()
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self.fresh = False
            self.trouble = f"its list of keys cannot be had ({_sentence(error)}); nothing is signed while it is down"
            return
        self.fresh, self.trouble = True, None
        if listed != self._known:
            self._known = listed
            with suppress(OSError):  # a convenience after a restart while the signer is down
                _written(self._memory, json.dumps(list(listed)).encode())

    async def close(self) -> None:
        """End all connections."""
        await self.session.close()

    async def _listed(self) -> dict[str, None]:
        for path in _LISTS:
            async with self.session.get(
                self.base + path, headers={"Accept": "application/json"}, allow_redirects=False
            ) as response:
                if response.status == 404:
                    continue
                response.raise_for_status()
                content = await response.content.read(_KEYS_LIMIT)
                while more := await response.content.read(_KEYS_LIMIT):
                    content += more
                    if len(content) > _KEYS_LIMIT:
                        raise ValueError("too large")
                tree = json.loads(content)
                if not isinstance(tree, list):
                    raise ValueError("no list")
                return dict.fromkeys(spelled(key) for key in tree if isinstance(key, str))
        raise ValueError("the signer lists no keys")

    def _remembered(self) -> dict[str, None]:
        try:
            tree = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return {}
        return dict.fromkeys(str(key) for key in tree) if isinstance(tree, list) else {}


def _written(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, also where an earlier release left it readable."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        os.write(fd, content)
    finally:
        os.close(fd)


def _sentence(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
