"""Markdown that strangers cannot write in: every value is neutralised unless it is already `Markdown`.

What an alert's label could do in a document (CommonMark and GitHub's tables, links and mathematics) is taken away by
backslashes, which CommonMark §2.4 makes literal; what it could hide is made visible first.
"""

import json
import re
from collections.abc import Mapping, Sequence

from bot.render.words import plain, visible

_ALWAYS = re.compile(r"([\\`*\[\]<>|~&$])")
_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LINK = re.compile(r"://|(?i:\bwww)\.|@")
_NUMBERED = re.compile(r"^(\d{1,9})([.)])")


class Markdown(str):
    """Text that is Markdown on purpose."""

    __slots__ = ()


def inline(text: object) -> Markdown:
    """Return `text` as one line of literal text for a paragraph, a list item or a table cell."""
    line = _ALWAYS.sub(r"\\\1", plain(str(text)))
    line = _UNDERSCORE.sub(r"\\_", line)
    line = _LINK.sub(_unlinked, line)
    line = _NUMBERED.sub(r"\1\\\2", line)
    return Markdown(f"\\{line}" if line[:1] in {"#", "-", "+", "="} else line)


def _unlinked(found: re.Match[str]) -> str:
    """Break what GitHub and others turn into a link or a mention without being asked."""
    text = found[0]
    return {"://": "\\://", "@": "\\@"}.get(text, f"{text[:-1]}\\.")


def code(text: object) -> Markdown:
    """Return `text` as a code span, fit for a table cell: nothing in it is read as markup; `|` becomes `¦`."""
    line = plain(str(text)).replace("|", "¦")
    fence = "`" * (_longest(line) + 1)
    gap = " " if line[:1] in {"`", ""} or line[-1:] == "`" else ""
    return Markdown(f"{fence}{gap}{line}{gap}{fence}")


def quote(text: object) -> Markdown:
    """Return a text of several lines as a quotation."""
    return Markdown("\n".join(f"> {inline(part)}".rstrip() for part in str(text).strip().splitlines()))


def fenced(value: Mapping[str, object] | Sequence[object]) -> Markdown:
    """Return a value as JSON in a code fence that nothing inside can close."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    text = "\n".join(visible(part) for part in text.split("\n"))
    fence = "`" * max(3, _longest(text) + 1)
    return Markdown(f"{fence}json\n{text}\n{fence}")


def _longest(text: str) -> int:
    """Return the length of the longest run of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)
