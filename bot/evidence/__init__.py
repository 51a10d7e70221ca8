"""The evidence log as a whole: check, export, read, hold, let go. Ties store, vault and decisions together."""

from bot.evidence.custody import Old, content_of, expire, hold_contents, old, read, removable, rotate
from bot.evidence.export import export
from bot.evidence.live import verify

__all__ = [
    "Old",
    "content_of",
    "expire",
    "export",
    "hold_contents",
    "old",
    "read",
    "removable",
    "rotate",
    "verify",
]
