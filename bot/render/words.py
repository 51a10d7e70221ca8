"""Words for people: names, times, states. Every text that strangers may have written goes through `plain`."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bot.domain.authority import Actor
from bot.domain.config import Config
from bot.domain.playbook import Verb
from bot.domain.target import State

_CONTROL = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Characters that move, hide or reverse text without being seen."""


def plain(text: str, most: int | None = None) -> str:
    """Return `text` on one line, invisible and direction-changing characters shown as ⟨U+202E⟩, cut after `most`."""
    line = visible(" ".join(text.split()))
    return line if most is None or len(line) <= most else f"{line[: most - 1].rstrip()}…"


def visible(text: str) -> str:
    """Return `text` with every control, zero-width and bidi character shown as ⟨U+202E⟩."""
    return _CONTROL.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def lines(text: str) -> tuple[str, ...]:
    """Return a text of several lines as plain ones, trailing empty ones dropped."""
    return tuple(plain(part) for part in text.strip().splitlines())


def names(nodes: Sequence[str], most: int = 6) -> str:
    """Return `a, b and 3 more`."""
    shown = ", ".join(nodes[:most])
    return f"{shown} and {len(nodes) - most} more" if len(nodes) > most else shown


def count(number: int, one: str, many: str | None = None) -> str:
    """Return `1 signer`, `2 signers`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def who(person: str | None, config: Config) -> str:
    """Return a person's name; an id that team.yaml does not know stays as it is, nobody is Stopsign itself."""
    if person is None:
        return "Stopsign"
    found = config.team.people.get(person)
    return found.name if found else person


def author(actor: Actor, config: Config) -> str:
    """Return who acted, and for a person by which surface: `Ada (slack)`."""
    return who(None, config) if actor.is_bot else f"{who(actor.person, config)} ({actor.via})"


def everyone(people: Sequence[str], config: Config, most: int = 8) -> str:
    """Return people's names."""
    return names([who(person, config) for person in people], most) or "nobody"


def clock(at: datetime | None) -> str:
    """Return `03:12:04 UTC`, or a dash."""
    return f"{at.astimezone(UTC):%H:%M:%S} UTC" if at else "—"


def minute(at: datetime, now: datetime) -> str:
    """Return `03:12 UTC`, with the date when it is not today's."""
    at = at.astimezone(UTC)
    return f"{at:%H:%M} UTC" if at.date() == now.astimezone(UTC).date() else f"{at:%Y-%m-%d %H:%M} UTC"


def date_and_time(at: datetime) -> str:
    """Return `2026-03-14 03:12:04`, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def stamp(at: datetime | None) -> str:
    """Return `2026-03-14 03:12:04 UTC`, or a dash."""
    return f"{date_and_time(at)} UTC" if at else "—"


def duration(length: timedelta | None) -> str:
    """Return `350 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`; a dash for none."""
    if length is None:
        return "—"
    seconds = length.total_seconds()
    if seconds < 0:
        return f"−{duration(-length)}"
    if 0 < seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms"
    if seconds < 10 and round(seconds, 1) % 1:
        return f"{seconds:.1f} s"
    return _units(round(seconds))


def _units(seconds: int) -> str:
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    for big, unit, small, subunit in ((days, "d", h, "h"), (hours, "h", m, "min"), (minutes, "min", s, "s")):
        if big:
            return f"{big} {unit} {small} {subunit}" if small else f"{big} {unit}"
    return f"{s} s"


def parsed(starts_at: str) -> datetime | None:
    """Return an alert's own time, aware; None when the sender's text is no time or Alertmanager's zero."""
    try:
        at = datetime.fromisoformat(starts_at)
    except ValueError:
        return None
    return at if at.tzinfo and at.year > 1 else None


_PROVEN = {
    Verb.FREEZE: "proven stopped",
    Verb.UNFREEZE: "signing again",
    Verb.ISOLATE: "out of traffic",
    Verb.RESTORE: "back in traffic",
    Verb.ROLLBACK: "back on the last good build",
    Verb.CAPTURE: "captured",
    Verb.THROTTLE: "throttled",
    Verb.COMMUNICATE: "told",
}
_NOT_IN_FORCE = {
    Verb.FREEZE: "not in force",
    Verb.UNFREEZE: "not signing",
    Verb.ISOLATE: "still in traffic",
    Verb.RESTORE: "still out of traffic",
    Verb.ROLLBACK: "not rolled back",
    Verb.CAPTURE: "not captured",
    Verb.THROTTLE: "not throttled",
    Verb.COMMUNICATE: "not told",
}
_GENERAL = {
    State.HELD: "held for a person",
    State.REQUESTED: "asked, no answer yet",
    State.ACKNOWLEDGED: "answered yes, not proven",
    State.REFUSED: "refused",
    State.WAIVED: "left out",
}


def state_words(verb: Verb, state: State) -> str:
    """Return what a state means for a verb, for people: `proven stopped`, `unknown, treat as signing`."""
    if state is State.VERIFIED:
        return _PROVEN[verb]
    if state is State.ALREADY:
        return f"{_PROVEN[verb]} (was so before)"
    if state is State.FAILED:
        return _NOT_IN_FORCE[verb]
    if state is State.UNKNOWN:
        return "unknown, treat as signing" if verb is Verb.FREEZE else "unknown"
    return _GENERAL[state]
