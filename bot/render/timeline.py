"""The journal, said in sentences that a person understands at three in the morning."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.domain import journal as j
from bot.domain.config import Config
from bot.domain.journal import Written
from bot.domain.leaf import timestamp
from bot.render import incident_sentences, step_sentences
from bot.render.saying import Room, Saying
from bot.render.words import author, plain

LONGEST = 600
"""Characters of a line's text."""
MOST_DETAILS = 60

SAYINGS: Mapping[type[j.Entry], Callable[[Any, Room], Saying]] = {
    **incident_sentences.SAYINGS,
    **step_sentences.SAYINGS,
}
"""How each kind of entry is said; a test proves that none is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry for people: `text` is one plain line without markup, `detail` further plain lines.

    Texts hold what alerts and people wrote, made visible by `plain`: escape them for the medium that they go to.
    """

    at: datetime
    icon: str
    text: str
    by: str
    kind: str
    detail: str = ""


def line(written: Written, config: Config) -> Line:
    """Say one journal entry. Ids of pages and approvals are secrets that buttons carry: they are never said."""
    said = SAYINGS[type(written.entry)](written.entry, Room(written=written, config=config))
    detail = [plain(part) for part in said.detail[:MOST_DETAILS]]
    if len(said.detail) > MOST_DETAILS:
        detail.append(f"… and {len(said.detail) - MOST_DETAILS:,} more")
    return Line(
        at=written.at,
        icon=said.icon,
        text=plain(said.text, LONGEST),
        by=plain(author(written.by, config)),
        kind=type(written.entry).__name__,
        detail="\n".join(detail),
    )


def worth_reading(written: Written) -> bool:
    """Tell whether a person wants to read the entry in a timeline.

    Left out: the chat's own bookkeeping, single evidence items (the evidence index has them all), notifications that
    changed nothing, and most repeats of a freeze that goes on being asked for.
    """
    match written.entry:
        case j.HeaderPosted() | j.EvidenceKept():
            return False
        case j.AlertsJoined(alerts=alerts, truncated=truncated):
            return bool(alerts or truncated)
        case j.FreezeRepeated(attempt=attempt):
            return attempt <= 3 or attempt % 10 == 0
        case j.TargetsReported(reports=reports):
            return bool(reports)
        case _:
            return True


def as_json(entries: Sequence[Written], config: Config) -> list[dict[str, object]]:
    """Return every entry as the values of `timeline.json`; `by` is the journal's own text, `at` RFC 3339 in UTC."""
    return [
        {
            "n": written.n,
            "at": timestamp(written.at),
            "kind": (said := line(written, config)).kind,
            "by": str(written.by),
            "text": said.text,
            "leaf": written.leaf,
        }
        for written in entries
    ]
