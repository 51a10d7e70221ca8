"""Keep checkpoints as files on another host, by HTTP PUT: each is written once and never again.

`If-None-Match: *` (RFC 9110 §13.1.2) lets the host refuse to overwrite; what lies there already is then compared. The
host must honour it, and must not let our token delete: docs/anchors.md says how to check that.
"""

from collections.abc import Callable
from typing import Final

from bot.domain.leaf import canonical
from bot.vault.anchors.port import AnchorError, AnotherHistory
from bot.vault.anchors.wire import WITHIN, Answer, exchange, refusal

_WRITTEN: Final = frozenset({200, 201, 204})
_THERE: Final = 412
SIZE: Final = "{size}"


class HttpPut:
    """One folder on another host; the proof is canonical JSON: date, etag, status, url."""

    kind = "http"

    def __init__(self, name: str, url: str, *, token: Callable[[], str] | None = None, within: float = WITHIN) -> None:
        """Take the folder's address, or one with `{size}` in it; `token` is asked anew for each request."""
        self.name = name
        self._url = url if SIZE in url else f"{url.rstrip('/')}/{SIZE}.txt"
        self._token = token
        self._within = within

    async def anchor(self, note: str, size: int) -> bytes:
        """Put the checkpoint there; one that lies there already must be the same, byte for byte."""
        url = self._url.replace(SIZE, str(size))
        headers = {"content-type": "text/plain; charset=utf-8", "if-none-match": "*"}
        answer = await self._send("PUT", url, headers, note.encode())
        if answer.status == _THERE:
            answer = await self._compared(url, note)
        elif answer.status not in _WRITTEN:
            raise refusal(url, answer)
        told = {name: answer.headers.get(name) for name in ("date", "etag")}
        return canonical({**told, "status": answer.status, "url": url}).encode()

    async def _compared(self, url: str, note: str) -> Answer:
        answer = await self._send("GET", url, {}, None)
        if answer.status != 200:
            raise AnchorError(f"{url} exists already but cannot be read back: it answered {answer.status}")
        if answer.content != note.encode():
            raise AnotherHistory(
                f"SOMEBODY ELSE WROTE ANOTHER HISTORY: {url} holds a different checkpoint of the same size. Keep both "
                "and find out who signed it: the log was forked, restored from a backup, or two logs share this folder"
            )
        return answer

    async def _send(self, method: str, url: str, headers: dict[str, str], content: bytes | None) -> Answer:
        if self._token is not None:
            headers = {**headers, "authorization": f"Bearer {self._token()}"}
        return await exchange(method, url, content=content, headers=headers, within=self._within)
