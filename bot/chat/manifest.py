"""The Slack app's manifest, filled in for one installation."""

import re
from importlib import resources

PLACE = "https://stopsign.example"


def manifest(public_url: str | None, command: str, *, socket: bool = False) -> str:
    """Return the manifest as YAML, comments and all, for `https://bot.example` and `/incident`.

    Without an address the placeholder stays, for a person to replace. With `socket` no address is in it: then we call
    Slack and Slack does not call us.
    """
    text = resources.files("bot.chat").joinpath("manifest.yaml").read_text(encoding="utf-8")
    text = text.replace("command: /incident", f"command: {command}")
    if socket:
        text = re.sub(rf"^ +(request_)?url: {re.escape(PLACE)}.*\n", "", text, flags=re.MULTILINE)
        return text.replace("socket_mode_enabled: false", "socket_mode_enabled: true")
    return text.replace(PLACE, public_url.rstrip("/")) if public_url else text


def scopes() -> tuple[str, ...]:
    """Return the bot scopes that the manifest asks for, so that a granted token can be compared with them."""
    text = manifest(None, "/incident")
    return tuple(re.findall(r"^      - ([a-z.]+:[a-z.]+|commands)\b", text, re.MULTILINE))
