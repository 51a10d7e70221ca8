"""Domain values ↔ JSON text, by pydantic over the domain's own dataclasses: there is no second model."""

import json
from datetime import datetime
from typing import Any, TypeVar

from pydantic import TypeAdapter

from bot.domain.authority import Actor
from bot.domain.incident import Incident
from bot.domain.journal import KINDS, Entry, Written
from bot.domain.leaf import JournalRecord, fields_of, leaf_hash, timestamp
from bot.domain.watch import Watch

T = TypeVar("T")


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def adapter(kind: type[T]) -> TypeAdapter[T]:
    """Return the adapter of a type, built once."""
    found = _ADAPTERS.get(kind)
    if found is None:
        found = _ADAPTERS[kind] = TypeAdapter(kind)
    return found


_KNOWN: dict[str, Incident] = {}
"""The incidents of the texts that were written or read last: a storm reads the same one thousands of times."""
_MOST_KNOWN = 64


def dump(value: Incident | Watch) -> str:
    """Return a fold as JSON text."""
    text = adapter(type(value)).dump_json(value).decode()
    if isinstance(value, Incident):
        _remember(text, value)
    return text


def load_incident(text: str) -> Incident:
    """Return the incident that `dump` wrote."""
    known = _KNOWN.get(text)
    return known if known is not None else _remember(text, adapter(Incident).validate_json(text))


def _remember(text: str, incident: Incident) -> Incident:
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN[text] = incident
    return incident


def load_watch(text: str) -> Watch:
    """Return the watch that `dump` wrote."""
    return adapter(Watch).validate_json(text)


def body_of(entry: Entry) -> dict[str, Any]:
    """Return an entry's body as JSON values."""
    body: dict[str, Any] = adapter(type(entry)).dump_python(entry, mode="json")
    return body


def entry_of(kind: str, body: str) -> Entry:
    """Return the entry that `body_of` wrote; an unknown kind raises KeyError."""
    return adapter(KINDS[kind]).validate_json(body)


def stream_name(incident: int | None) -> str:
    """Return `inc-7`, or `stopsign` for the watch."""
    return f"inc-{incident}" if incident else "stopsign"


def stream_number(name: str) -> int | None:
    """Return 7 for `inc-7`, None for the watch."""
    return int(name.removeprefix("inc-")) if name.startswith("inc-") else None


def row_of(written: Written, salt: bytes) -> dict[str, Any]:
    """Return the journal row of an entry, with its final leaf hash."""
    body = body_of(written.entry)
    kind, by = type(written.entry).__name__, str(written.by)
    fields = fields_of(incident=stream_name(written.incident), n=written.n, at=written.at, kind=kind, by=by, body=body)
    return {
        "incident": written.incident or 0,
        "n": written.n,
        "at": timestamp(written.at),
        "kind": kind,
        "by": by,
        "body": json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        "salt": salt,
        "hash": leaf_hash(fields, salt),
    }


def written_of(row: Any) -> Written:
    """Return the entry of a journal row."""
    return Written(
        incident=row.incident or None,
        n=row.n,
        at=datetime.fromisoformat(row.at),
        by=Actor.parse(row.by),
        entry=entry_of(row.kind, row.body),
        leaf=row.leaf,
    )


def record_of(row: Any) -> JournalRecord:
    """Return a journal row as the evidence log sees it."""
    return JournalRecord(
        incident=stream_name(row.incident or None),
        n=row.n,
        at=datetime.fromisoformat(row.at),
        kind=row.kind,
        by=row.by,
        body=json.loads(row.body),
        salt=row.salt,
        hash=row.hash,
        leaf=row.leaf,
    )
