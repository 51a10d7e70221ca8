"""The keys that are denied, in memory and in a file that outlives the process.

Denying acts in memory at once and is then written; allowing is written first and acts then. So whatever fails, a key is
rather denied than allowed.
"""

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot.errors import Misconfigured
from bot.sidecar.words import now, stamp

_TAKEN_AT_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Why a key is denied, and since when (RFC 3339)."""

    incident: str
    request: str
    since: str


class Denials:
    """The denied keys of one sidecar, kept in `path`."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        """Read the file; `fresh` says that there is no record yet, so that the file may be missing.

        Raises Misconfigured when it is missing or unreadable otherwise: nobody then knows what is denied.
        """
        self._path = path
        self._lock = asyncio.Lock()
        self._turns: dict[str, int] = {}
        self._denied: dict[str, Denial] = {}
        self._taken: dict[str, None] = {}
        if not path.exists() and fresh:
            _replace(path, self._document(self._denied, self._taken))
            return
        try:
            tree = json.loads(path.read_bytes())
            self._denied = {str(key): Denial(**one) for key, one in tree["denied"].items()}
            self._taken = dict.fromkeys(map(str, tree["taken"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it cannot be read"
            raise Misconfigured(
                [
                    f"{path}: holds the denied keys, and is not to be had ({why}). Bring it back, or write "
                    '{"version":1,"denied":{},"taken":[]} there if no key is to be denied'
                ]
            ) from None

    def of(self, key: str) -> Denial | None:
        """Return why a key is denied; None when it is not."""
        return self._denied.get(key)

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the denied keys."""
        return tuple(self._denied)

    def deny(self, keys: Iterable[str], *, incident: str, request: str) -> None:
        """Deny keys from this moment on; `keep` makes it last."""
        since = stamp(now())
        for key in keys:
            self._turns[key] = self._turns.get(key, 0) + 1
            before = self._denied.get(key)
            self._denied[key] = Denial(incident=incident, request=request, since=before.since if before else since)

    async def keep(self) -> None:
        """Write the denied keys durably; raises OSError, and they then stay denied until the process ends."""
        async with self._lock:
            await asyncio.to_thread(_replace, self._path, self._document(self._denied, self._taken))

    async def allow(self, keys: Sequence[str], *, request: str) -> None:
        """Allow keys again, once for each `request`; raises OSError, and they then stay denied.

        A denial that comes while this is being written wins.
        """
        async with self._lock:
            if request in self._taken:
                return
            turns = {key: self._turns.get(key, 0) for key in keys}
            left = {key: one for key, one in self._denied.items() if key not in turns}
            taken = dict.fromkeys([*self._taken, request][-_TAKEN_AT_MOST:])
            await asyncio.to_thread(_replace, self._path, self._document(left, taken))
            self._taken = taken
            for key, turn in turns.items():
                if self._turns.get(key, 0) == turn:
                    self._denied.pop(key, None)

    @staticmethod
    def _document(denied: dict[str, Denial], taken: dict[str, None]) -> bytes:
        tree: dict[str, Any] = {"version": 1, "denied": {k: asdict(one) for k, one in denied.items()}}
        return json.dumps(tree | {"taken": list(taken)}, indent=1).encode() + b"\n"


def _replace(path: Path, content: bytes) -> None:
    """Put `content` in place of a file, durably: afterwards there is the old or the new one, whole."""
    draft = path.with_name(path.name + ".new")
    with draft.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
