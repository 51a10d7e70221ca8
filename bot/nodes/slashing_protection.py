"""Capture the slashing protection of a node from a URL: the file that its export writes, or an answer that holds one.

The document is checked before it is named (EIP-3076, interchange format version 5): only a valid one is called
`slashing-protection`. Anything else is kept too, under another name, with the reason beside it.
"""

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any

import ijson

from bot.domain.inventory import Capability, same_key
from bot.domain.target import Effect, short
from bot.errors import Misconfigured, NodeBroken, NodeError
from bot.nodes.recording import Collection, ending
from bot.nodes.way import Way
from bot.ports import Item, Traits

TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.RECORDER,),
    proves_by="the document is a whole EIP-3076 interchange of version 5 and names its chain; which of the node's keys "
    "it lacks is kept beside it",
    needs="a URL that serves the export of the node's signer",
    cannot_know="how old the export is, what was signed after it, and the signatures before the last of each key",
    blast_radius="none",
    tested="EIP-3076 version 5 documents made for the tests, from a file server",
    tier="emulated",
)
VALID, OTHER = "slashing-protection", "slashing-protection-invalid"
LONGEST_TEXT = 4 * 1024 * 1024
"""Bytes of one text, and of an answer in which the document stands as a text, as a key manager writes it."""
_PIECE = 64 * 1024
_DEEPEST = 64
_PATH = re.compile(r"/[\x21\x22\x24-\x7e]{0,500}", re.ASCII)
_ROOT = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_KEY = re.compile(r"0x[0-9a-fA-F]{96}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
_BLOCKS, _VOTES = "data.item.signed_blocks", "data.item.signed_attestations"
_TEXTS = {
    "metadata.interchange_format_version": re.compile("5"),
    "metadata.genesis_validators_root": _ROOT,
    "data.item.pubkey": _KEY,
    f"{_BLOCKS}.item.slot": _NUMBER,
    f"{_BLOCKS}.item.signing_root": _ROOT,
    f"{_VOTES}.item.source_epoch": _NUMBER,
    f"{_VOTES}.item.target_epoch": _NUMBER,
    f"{_VOTES}.item.signing_root": _ROOT,
}
_HAS = {
    "": ("metadata", "data"),
    "metadata": ("metadata.interchange_format_version", "metadata.genesis_validators_root"),
    "data.item": ("data.item.pubkey", _BLOCKS, _VOTES),
    f"{_BLOCKS}.item": (f"{_BLOCKS}.item.slot",),
    f"{_VOTES}.item": (f"{_VOTES}.item.source_epoch", f"{_VOTES}.item.target_epoch"),
}
"""What each object must have exactly once."""
_LISTS = frozenset({"data", _BLOCKS, _VOTES})
_BEGINS = frozenset({"start_map", "start_array", "string"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What a document turned out to be: `fault` is empty when it is valid; `keys` are those that it names."""

    fault: str = ""
    keys: frozenset[str] = field(default_factory=frozenset)


def connect(way: Way) -> "SlashingProtection":
    """Return the driver of the document at the endpoint's URL; opens no connection. Raises Misconfigured."""
    path = way.options("path").get("path", "")
    if path and not _PATH.fullmatch(path):
        raise Misconfigured([f"node {way.node.name}: path {path!r} is none: write /export.json"])
    return SlashingProtection(way, path)


class SlashingProtection:
    """Recorder: one document, read once into a file without a name, checked there, then given out."""

    traits = TRAITS

    def __init__(self, way: Way, path: str) -> None:
        self._way = way
        self._wire = way.wire()
        self._path = path

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        """Yield the document as it was served, or the one inside it, then what was found wrong with it, if anything.

        The window does not matter: an interchange has no times.
        """
        collection = Collection(self._way)
        about = self._path.partition("?")[0]
        spool: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the item's chunks close it
        try:
            async with ending(self._wire.call().stream("GET", self._path)) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(spool.write, chunk)
            spool, finding = await asyncio.to_thread(_unwrapped, spool)
        except (NodeError, OSError) as error:
            spool.close()
            yield collection.item(VALID, about, _failing(self._told(error)))
            return
        except BaseException:
            spool.close()
            raise
        what = OTHER if finding.fault else VALID
        yield collection.item(what, about, _pieces(spool))
        if finding.fault:
            collection.note(what, f"this is no EIP-3076 interchange of version 5: {finding.fault}")
        elif lacking := [key for key in self._way.node.keys if same_key(key) not in finding.keys]:
            collection.note(what, f"it says nothing of key {', '.join(map(short, lacking))} of this node")
        for item in collection.notes():
            yield item

    def _told(self, error: NodeError | OSError) -> NodeError:
        if isinstance(error, NodeError):
            return error
        return NodeBroken(f"the document of {self._way.node.name} could not be held here: {error.strerror or error}")


def examined(document: IO[bytes]) -> Finding:
    """Judge a document from its beginning to its end; memory does not grow with it. Blocking."""
    document.seek(0)
    try:
        return _judged(document)
    except (ijson.JSONError, ValueError) as error:
        return Finding(fault=f"it cannot be read ({str(error).splitlines()[0][:120]})")


def _judged(document: IO[bytes]) -> Finding:
    keys: set[str] = set()
    missing: dict[str, list[str]] = {}
    for path, owner, event, value in _walked(document):
        if fault := _of_another_type(path, event, value):
            return Finding(fault=fault)
        if path in _HAS and event == "start_map":
            missing[path] = list(_HAS[path])
        elif path in _HAS and event == "end_map" and missing[path]:
            return Finding(fault=f"{missing[path][0]} is missing")
        if event in _BEGINS and path and path in _HAS.get(owner, ()):
            if path not in missing.get(owner, ()):
                return Finding(fault=f"{path} stands where it does not belong, or twice")
            missing[owner].remove(path)
        if path == "data.item.pubkey":
            keys.add(same_key(value))
    return Finding(keys=frozenset(keys))


def _walked(document: IO[bytes]) -> Iterator[tuple[str, str, str, Any]]:
    """Yield path, path of what it stands in, event and value of all that a JSON text has; raises ValueError.

    ijson's own paths are not used: they take a minute for a hundred thousand brackets.
    """
    within: list[tuple[str, str, bool]] = []
    key = ""
    for event, value in _events(document):
        if event == "map_key":
            key = value.replace(".", "/") or "/"  # a path has dots of its own, and only the document has none
            continue
        if event in {"end_map", "end_array"}:
            path, owner, _ = within.pop()
        else:
            owner, _, of_list = within[-1] if within else ("", "", False)
            name = "item" if of_list else key
            path = f"{owner}.{name}" if owner else name
            if event in {"start_map", "start_array"}:
                within.append((path, owner, event == "start_array"))
                if len(within) > _DEEPEST:
                    raise ValueError(f"its parts are more than {_DEEPEST} deep")
        yield path, owner, event, value


def _events(document: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Parse piece by piece, and give up on an endless text, which takes time by the square of its length."""
    events = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events)
    quiet = 0
    while piece := document.read(_PIECE):
        parser.send(piece)
        quiet = 0 if events else quiet + len(piece)
        if quiet > LONGEST_TEXT:
            raise ValueError(f"a text in it is longer than {LONGEST_TEXT} bytes")
        yield from events
        del events[:]
    parser.close()
    yield from events


def _of_another_type(prefix: str, event: str, value: object) -> str:
    if prefix in _LISTS and event not in {"start_array", "end_array"}:
        return f"{prefix} is no list"
    if prefix in _HAS and event not in {"start_map", "end_map"}:
        return f"{prefix or 'the document'} is no object"
    if prefix in _TEXTS and not (isinstance(value, str) and event == "string" and _TEXTS[prefix].fullmatch(value)):
        return f"{prefix} is {str(value)[:40]!r}"
    return ""


def _unwrapped(spool: IO[bytes]) -> tuple[IO[bytes], Finding]:
    """Judge the document, or the one that stands in it as the text `slashing_protection`, and return which it was."""
    finding = examined(spool)
    if not finding.fault or spool.seek(0, 2) > LONGEST_TEXT:
        return spool, finding
    spool.seek(0)
    try:
        inner = json.loads(spool.read())["slashing_protection"]
        content = inner.encode() if isinstance(inner, str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        content = None
    if content is None:
        return spool, finding
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115
    unpacked.write(content)
    within = examined(unpacked)
    kept, other = (spool, unpacked) if within.fault else (unpacked, spool)
    other.close()
    return kept, within


async def _pieces(spool: IO[bytes]) -> AsyncIterator[bytes]:
    with spool:
        spool.seek(0)
        while piece := await asyncio.to_thread(spool.read, _PIECE):
            yield piece


async def _failing(error: NodeError) -> AsyncIterator[bytes]:
    raise error
    yield b""
