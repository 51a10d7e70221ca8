"""Say in a sentence what a stored proof is; whether it holds is for whoever verifies it."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from bot.vault.anchors.port import AnchorError
from bot.vault.anchors.rfc3161 import time_of

MEDIA_TYPES: Final[Mapping[str, str]] = {
    "rfc3161": "application/timestamp-reply",
    "http": "application/json",
    "s3": "application/json",
    "slack": "application/json",
}
"""What the bytes of each kind's proofs are."""


def describe(kind: str, proof: bytes) -> str:
    """Return what a proof of `kind` says, for people; one that cannot be read is called that."""
    say = _SENTENCES.get(kind)
    if say is None:
        return f"a proof of the unknown kind {kind[:40]!r}, {len(proof)} bytes"
    try:
        return say(proof)
    except (AnchorError, ValueError, KeyError, TypeError):
        return f"a proof of kind {kind} that cannot be read, {len(proof)} bytes"


def _timestamp(proof: bytes) -> str:
    return f"an RFC 3161 timestamp of {time_of(proof):%Y-%m-%d %H:%M:%S} UTC; check it with openssl ts -verify"


def _file(proof: bytes) -> str:
    told = _object(proof)
    when = f" on {told['date']}" if told["date"] else ""
    return f"the file {told['url']}, which was there{when}"


def _locked(proof: bytes) -> str:
    told = _object(proof)
    version = f", version {told['version']}" if told["version"] else ""
    return f"the object s3://{told['bucket']}/{told['key']}{version}, locked until {told['retain_until']}"


def _message(proof: bytes) -> str:
    told = _object(proof)
    return f"the message {told['ts']} in the channel {told['channel']}"


def _object(proof: bytes) -> Mapping[str, Any]:
    told = json.loads(proof)
    if not isinstance(told, dict):
        raise TypeError("a proof is a JSON object")
    return told


_SENTENCES: Final[Mapping[str, Callable[[bytes], str]]] = {
    "rfc3161": _timestamp,
    "http": _file,
    "s3": _locked,
    "slack": _message,
}
