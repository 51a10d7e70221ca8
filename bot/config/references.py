"""Secrets by reference: `env:NAME` or `file:/path`, read when they are used and kept nowhere."""

from collections.abc import Mapping
from pathlib import Path

from bot.errors import Misconfigured

_MAX_BYTES = 64 * 1024


def secret(reference: str, environ: Mapping[str, str]) -> str:
    """Return what `reference` stands for; raise Misconfigured with a remedy, never with the secret."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = environ.get(name, "").strip()
        if not value:
            raise Misconfigured([f"{reference}: is not set: put the secret into the environment variable {name}"])
        return value
    if kind != "file":
        raise Misconfigured(["a token is not a reference: write env:NAME or file:/absolute/path into inventory.yaml"])
    try:
        with Path(name).open("rb") as file:
            value = file.read(_MAX_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise Misconfigured([f"{reference}: cannot be read ({reason}): correct the path or its permissions"]) from None
    if not value:
        raise Misconfigured([f"{reference}: is empty: write the secret into the file"])
    return value
