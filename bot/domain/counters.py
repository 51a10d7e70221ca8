"""The counters in signed messages: what is missing between two numbers, and where counting goes back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.domain.findings import FELL, GAP, Finding, Item
from bot.domain.signing import Message
from bot.domain.target import short

_HELD: Final = 10_000
_HOLES: Final = 100


@dataclass(slots=True)
class _Run:
    """One counter as it was read: the last number, the highest, and the holes below that.

    `holes`: last missing number → the first one, and the line after the hole.
    """

    last: int
    high: int
    digest: bytes | str
    holes: dict[int, tuple[int, int]] = field(default_factory=dict)

    def fills(self, value: int) -> bool:
        """Take a number out of the hole that it is in; False when it is in none."""
        for end, (first, line) in self.holes.items():
            if first <= value <= end:
                del self.holes[end]
                if first < value:
                    self.holes[value - 1] = (first, line)
                if value < end:
                    self.holes[end] = (value + 1, line)
                return True
        return False


class Counters:
    """The counters of one item, line by line: a node's `nonce`, and each key's `counter` in each instance.

    Keeps the 10,000 counters that were seen first last, and of each 100 holes; what is older is told as it is.
    """

    def __init__(self, item: Item) -> None:
        self._item = item
        self._runs: dict[tuple[str | None, str], _Run] = {}

    def take(self, message: Message, line: int) -> Sequence[Finding]:
        """Go on over one message; returns what is known now."""
        found: Sequence[Finding] = ()
        if message.nonce is not None:
            found = self._step((None, ""), message.nonce, message.digest, line)
        if message.counter is not None:
            whose = (message.use.key, message.instance)
            found = [*found, *self._step(whose, message.counter, message.digest, line)]
        return found

    def end(self) -> Iterator[Finding]:
        """Yield what is missing still."""
        for whose, run in self._runs.items():
            yield from self._gaps(whose, run)
        self._runs.clear()

    def _step(self, whose: tuple[str | None, str], value: int, digest: bytes | str, line: int) -> Sequence[Finding]:
        run = self._runs.get(whose)
        if run is None:
            self._runs[whose] = _Run(value, value, digest)
            return self._oldest() if len(self._runs) > _HELD else ()
        found: list[Finding] = []
        if value == run.high + 1:
            run.high = value
        elif value > run.high:
            run.holes[value - 1] = (run.high + 1, line)
            run.high = value
            if len(run.holes) > _HOLES:
                end = next(iter(run.holes))
                found.append(self._gap(whose, end, *run.holes.pop(end)))
        elif value == run.last and digest == run.digest:
            return ()  # the same line twice
        else:
            found = self._back(whose, run, value, line)
        run.last, run.digest = value, digest
        return found

    def _back(self, whose: tuple[str | None, str], run: _Run, value: int, line: int) -> list[Finding]:
        """Go on at a number that is not above all before: late into a hole, or the counting begins anew."""
        late = run.fills(value)
        found = [] if late and value > run.last else [self._fell(whose, run.last, value, line)]
        if not late:
            found += self._gaps(whose, run)  # what was missing before stays missing
            run.high, run.holes = value, {}
        return found

    def _oldest(self) -> list[Finding]:
        whose = next(whose for whose in self._runs if whose[0] is not None)  # never the node's own
        return list(self._gaps(whose, self._runs.pop(whose)))

    def _gaps(self, whose: tuple[str | None, str], run: _Run) -> Iterator[Finding]:
        return (self._gap(whose, end, first, line) for end, (first, line) in run.holes.items())

    def _gap(self, whose: tuple[str | None, str], end: int, first: int, line: int) -> Finding:
        who, about = self._named(*whose)
        missing = f"{first} to {end} are" if end > first else f"{first} is"
        text = f"{who} goes on at {end + 1} in line {line} of {self._item.whose}: {missing} not in it"
        return Finding(id=f"{GAP}:{about}:{first}-{end}", kind=GAP, text=text, items=(self._item.id,), key=whose[0])

    def _fell(self, whose: tuple[str | None, str], last: int, value: int, line: int) -> Finding:
        who, about = self._named(*whose)
        how = f"falls from {last} to {value}" if value < last else f"shows {value} a second time, for another message,"
        text = f"{who} {how} in line {line} of {self._item.whose}"
        return Finding(id=f"{FELL}:{about}:{last}-{value}", kind=FELL, text=text, items=(self._item.id,), key=whose[0])

    def _named(self, key: str | None, instance: str) -> tuple[str, str]:
        if key is None:
            return "The count of signed messages", self._item.node or self._item.id
        of = f" in instance {instance}" if instance else ""
        return f"The counter of key {short(key)}{of}", f"{key}:{instance}" if instance else key
