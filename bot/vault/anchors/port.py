"""What an anchor is, and what goes wrong with one."""

from typing import Protocol

from bot.errors import StopsignError


class AnchorError(StopsignError):
    """The anchor did not take the checkpoint, or gave no proof that holds; nothing else is affected."""

    title = "Anchor failed"


class AnotherHistory(AnchorError):
    """The anchor holds a different checkpoint of the same size: the log was forked, or somebody else writes there."""


class Anchor(Protocol):
    """Somebody outside our reach who takes checkpoints. `name` is the one in policy.yaml."""

    name: str
    kind: str
    """`rfc3161`, `http`, `s3` or `slack`: what the bytes of its proofs are."""

    async def anchor(self, note: str, size: int) -> bytes:
        """Hand over the signed checkpoint of the first `size` leaves; return the proof. Safe to repeat.

        Raises:
            AnchorError: with a sentence; AnotherHistory when it already holds something else for this size.
            Misconfigured: the token's reference or the file of roots cannot be read.
        """
        ...
