"""Sealed values: what a button or a modal carries is opaque, and only what we made ourselves is read back."""

import base64
import hashlib
import hmac
import json

from bot.errors import Refused

_DOMAIN = b"stopsign/slack-seal/v1\x00"
_MAC = 18


class Seals:
    """Seals lists of words under a key that is derived from `secret`."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.new(secret.encode(), _DOMAIN + b"key", hashlib.sha256).digest()

    def seal(self, purpose: str, *words: str) -> str:
        """Return an opaque value that only `open` with the same purpose reads."""
        content = json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._mac(purpose, content) + content).decode()

    def open(self, purpose: str, value: str) -> tuple[str, ...]:
        """Return the words; raises Refused for a value that we did not make for this purpose."""
        try:
            raw = base64.urlsafe_b64decode(value.encode("ascii"))
            if not hmac.compare_digest(raw[:_MAC], self._mac(purpose, raw[_MAC:])):
                raise ValueError
            return tuple(json.loads(raw[_MAC:]))
        except ValueError:
            raise Refused("That button or form is not one of mine any more: use the newest, or the command.") from None

    def _mac(self, purpose: str, content: bytes) -> bytes:
        return hmac.new(self._key, _DOMAIN + purpose.encode() + b"\x00" + content, hashlib.sha256).digest()[:_MAC]


def set_of(names: tuple[str, ...]) -> str:
    """Return a short name of a set of targets, whatever their order."""
    return hashlib.sha256("\x00".join(sorted(names)).encode()).hexdigest()[:16]
