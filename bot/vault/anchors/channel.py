"""Post checkpoints where people read them: whoever was in the channel has a copy that nobody else can take back.

This room knows no chat service: it is handed a function that posts a text and returns the message's id.
"""

from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from bot.domain.checkpoint import Checkpoint
from bot.domain.leaf import canonical

Post: TypeAlias = Callable[[str, str], Awaitable[str]]
"""(channel, text) → the message's id (`ts`); raises a StopsignError when it could not be posted."""


class Channel:
    """One channel; the proof is canonical JSON: channel, ts."""

    kind = "slack"

    def __init__(self, name: str, channel: str, post: Post) -> None:
        self.name = name
        self._channel = channel
        self._post = post

    async def anchor(self, note: str, size: int) -> bytes:
        """Post the checkpoint; a repeat after a lost answer posts it a second time, which does no harm."""
        ts = await self._post(self._channel, text_of(note))
        return canonical({"channel": self._channel, "ts": ts}).encode()


def text_of(note: str) -> str:
    """Return the message: what it is in one line, then the whole note as it was signed."""
    text, _, signatures = note.rpartition("\n\n")
    point = Checkpoint.parse(f"{text}\n")
    root = text.split("\n")[2]
    keys = ", ".join(_key(line) for line in signatures.splitlines())
    return (
        f"Checkpoint of the evidence log {point.origin}: {point.size} records, root {root}, signed by {keys}. "
        f"Keep it: nobody can change those records later without contradicting it.\n```\n{note}```"
    )


def _key(line: str) -> str:
    """Return `name+id` of a signature line, the beginning of the verifier key (C2SP signed note)."""
    _, name, signature = line.split(" ")
    return f"{name}+{b64decode(signature)[:4].hex()}"
