"""What drivers that only capture share: items with their origin, an end to asking after silence, doubts kept beside.

Nothing here asks a node.
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import cast
from urllib.parse import urlencode

from bot import __version__
from bot.errors import Misconfigured, NoAnswer, NodeError, NotReached
from bot.nodes.way import Way
from bot.ports import Item

NOTES = "capture-notes"
JSON, JSON_LINES = "application/json", "application/x-ndjson"
_PLACE = re.compile(r"\{(node|avs|instance|label:[A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_UNSAFE = re.compile(r"[^\w .:/@,+=-]", re.ASCII)


class Collection:
    """One capture from one node: makes its items, and holds what the source itself says against its answers."""

    def __init__(self, way: Way) -> None:
        """Begin a capture; nothing is asked."""
        self._way = way
        self._lost: NodeError | None = None
        self._notes: list[Mapping[str, object]] = []

    def item(
        self, what: str, path: str, chunks: AsyncIterator[bytes], *, media_type: str = JSON, about: str = ""
    ) -> Item:
        """Return an item that was read from `path`; `about` (a query) follows in its source."""
        base = self._way.endpoint.url.rstrip("/")
        return Item(
            what=what,
            source=f"{self._way.node.name} GET {base}{path} {about}".rstrip(),
            media_type=media_type,
            chunks=self._unless_lost(chunks),
            tool=f"stopsign/{__version__} {self._way.endpoint.driver}",
        )

    def note(self, about: str, says: str) -> None:
        """Keep a sentence about an answer: it is whole as bytes, and yet not to be taken at face value."""
        self._notes.append({"about": about, "says": says[:2000]})

    def notes(self) -> Iterator[Item]:
        """Return what was noted while the items before it were read: one item, or none."""
        if self._notes:
            lines = b"".join(json.dumps(note, ensure_ascii=False).encode() + b"\n" for note in self._notes)
            yield self.item(NOTES, "", once(lines), media_type=JSON_LINES)

    async def _unless_lost(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pass `chunks` on. After one item got no answer at all, the rest are not waited for: they raise its error."""
        if self._lost:
            raise type(self._lost)(f"not asked for: {self._lost}")
        try:
            async with ending(chunks) as open_chunks:
                async for chunk in open_chunks:
                    yield chunk
        except (NotReached, NoAnswer) as error:
            self._lost = error
            raise


def ending(chunks: AsyncIterator[bytes]) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    """Hold a stream open for a block: whoever leaves it early ends the request too."""
    return aclosing(cast("AsyncGenerator[bytes, None]", chunks))


async def once(content: bytes) -> AsyncIterator[bytes]:
    """Yield one chunk."""
    yield content


def with_query(path: str, *pairs: tuple[str, str]) -> str:
    """Return `path` with a query of `pairs`, in which a name may stand twice."""
    return f"{path}?{urlencode(pairs)}" if pairs else path


def queries(way: Way, *others: str) -> Mapping[str, str]:
    """Return the endpoint's queries by name, their placeholders filled in.

    They stand one a line in `queries` (named 1, 2, …; lines that begin with # are skipped) or one each in
    `query.<name>`. `others` are the driver's further options. Raises Misconfigured.
    """
    named = [option for option in way.endpoint.options if option.startswith("query.") and option != "query."]
    options = way.options("queries", "query.<name>", *named, *others)
    lines = [line.strip() for line in options.get("queries", "").splitlines()]
    written = {str(n): line for n, line in enumerate((one for one in lines if one and not one.startswith("#")), 1)}
    written |= {option.removeprefix("query."): options[option].strip() for option in named}
    return {name: filled(way, query) for name, query in written.items()}


def filled(way: Way, query: str) -> str:
    """Return a PromQL or LogQL query with {node}, {avs}, {instance} and {label:NAME} replaced; raises Misconfigured.

    A value stays inside whatever string literal it is put into.
    """
    node = way.node

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name in {"node", "avs"}:
            return literal(node.name if name == "node" else node.avs)
        label = name.removeprefix("label:")
        if label not in node.labels:
            raise Misconfigured([f"node {node.name}: a query names {found[0]}, and the node has no label {label}"])
        return literal(node.labels[label])

    return _PLACE.sub(value, query)


def literal(value: str) -> str:
    """Return `value` as the inside of a double- or single-quoted literal of PromQL or LogQL (Go's escapes)."""
    return _UNSAFE.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode()), value)
