"""Text that came from outside, made harmless. Nothing from a label, a note or a name takes effect in Slack."""

import re
import unicodedata
from collections.abc import Callable

from bot.chat.limits import cut

_HALF = re.compile(r"&[a-z]{0,3}…$")
_ENTITY = re.compile(r"<([^<>]*)>")


def clean(text: str, most: int, *, lines: bool = False) -> str:
    """Return `text` without control, bidi and other invisible format characters, cut to `most`.

    Line breaks become spaces unless `lines`. The result is literal text, for `plain_text` and rich text elements.
    """
    kept = "".join(_kept(letter, lines=lines) for letter in text.replace("\r\n", "\n"))
    joined = re.sub(r"\n{3,}", "\n\n", kept) if lines else re.sub(r"\s+", " ", kept)
    return cut(joined.strip(), most)


def _kept(letter: str, *, lines: bool) -> str:
    if letter in "\n\t":
        return letter if lines and letter == "\n" else " "
    # Cf: bidi overrides and isolates, zero-width characters, soft hyphen, tags. Cs: lone surrogates cannot be sent.
    category = unicodedata.category(letter)
    if category in {"Cc", "Zl", "Zp"}:
        return " "
    return "" if category in {"Cf", "Cs", "Co", "Cn"} else letter


def escape(text: str) -> str:
    """Return literal text for mrkdwn and for a message's fallback: no mention, link or command can form."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut_escaped(text: str, most: int) -> str:
    """Return escaped text in at most `most` characters; an entity is never cut in half."""
    return _HALF.sub("…", cut(text, most))


def said(text: str, most: int, *, lines: bool = False) -> str:
    """Return outside text, cleaned and escaped; entities are never cut in half."""
    return escape(clean(text, most, lines=lines))


def read(text: str, name_of: Callable[[str], str]) -> str:
    """Return what Slack delivered as plain text: mentions by name, links by their address, entities undone."""

    def entity(found: re.Match[str]) -> str:
        body, _, label = found[1].partition("|")
        if body.startswith("@"):
            return "@" + (label or name_of(body[1:]))
        if body.startswith("#"):
            return "#" + (label or body[1:])
        if body.startswith("!"):
            return "@" + (label or body[1:].split("^")[0])
        return f"{label} ({body})" if label and label != body else body

    plain = _ENTITY.sub(entity, text)
    return plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
