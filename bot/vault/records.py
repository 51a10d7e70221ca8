"""Verify the records of a pack: each in the signed tree, in order, to the end, and hidden as the log says."""

from array import array
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from bot.domain.checkpoint import Checkpoint
from bot.domain.leaf import leaf_hash_of_revealed
from bot.domain.merkle import MerkleError, verify_inclusion
from bot.errors import Invalid
from bot.vault import contents, listing, pack
from bot.vault.contents import Contents
from bot.vault.opened import FOREIGN, Opened
from bot.vault.report import Problem

MAX_LINE: Final = 1 << 26
RECORD_ALTERED: Final = "The record was altered, or put in from outside"
_CONTENT, _ORDER, _COUNT = range(3)  # which of one line's problems is told first

Shape = tuple[str, frozenset[str], frozenset[str]]
"""Kind, shown names and hidden names of a record."""


def unproven(leaf: bytes, shown: Mapping[str, Any], point: Checkpoint | None) -> Iterator[str]:
    """Yield why a shown record is not in the tree."""
    if point is None:
        return
    try:
        proof = [bytes.fromhex(value) for value in shown["proof"]]
        verify_inclusion(leaf, shown["leaf"], point.size, proof, point.root)
    except MerkleError as error:
        yield f"its content is not in the log under the checkpoint: {error}"


class Records:
    """One pass over `records.jsonl`; `total` is what they add up to, `kept` (item, size, where) by hash."""

    def __init__(self, pack: Opened, point: Checkpoint | None) -> None:
        self.opened = pack
        self.point = point
        self.total = Contents()
        self.kept: dict[str, tuple[str, int, str]] = {}
        self.hidden = 0
        self.last = ""
        self._shapes: dict[Shape, str] = {}

    def run(self) -> None:
        """Check every line, then what only all of them together tell."""
        if pack.RECORDS not in self.opened.sizes:
            return
        numbers, running, size = array("q"), sha256(), 0
        found: list[tuple[int, int, Problem]] = []
        with self.opened.reading(pack.RECORDS) as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
                running.update(line)
                size += len(line)
                self.opened.advance(len(line))
                n, wrong = self._line(f"{pack.RECORDS} line {number}", line)
                found += [(number, rank, problem) for rank, problem in wrong]
                numbers.append(n)
        self.opened.seen[pack.RECORDS] = pack.FileSeen(sha256=running.hexdigest(), size=size)
        found += [(number, _ORDER, problem) for number, problem in listing.disorder(numbers)]
        self.opened.problems += [problem for _, _, problem in sorted(found, key=lambda entry: entry[:2])]
        if self.last != pack.EXPORTED:
            what = f"the last record is {self.last or 'missing'}, not {pack.EXPORTED}"
            self.opened.wrong(pack.RECORDS, what, "The end of the incident was cut off")
        else:
            self._redacted()

    def _line(self, where: str, line: bytes) -> tuple[int, list[tuple[int, Problem]]]:
        """Check one line; return its n (0 if it cannot be read), and what is wrong with it by rank."""
        try:
            shown = pack.shown(line)
            leaf = leaf_hash_of_revealed({"fields": shown["fields"], "redacted": shown["redacted"]})
        except Invalid as error:
            problem = Problem(where=where, what=f"this is not a record: {error}", means=RECORD_ALTERED)
            return 0, [(_CONTENT, problem)]
        values = pack.values_of(shown)
        n, incident, kind = values["n"], listing.readable(values["incident"]), listing.readable(values["kind"])
        where = f"{where} ({incident} record {n}, {kind})"
        self.total.incident = self.total.incident or values["incident"]
        wrong = [
            (rank, Problem(where=where, what=what, means=means))
            for rank, what, means in self._contradictions(leaf, shown, values)
        ]
        if kind == pack.KEPT and not wrong:
            item, name, size = pack.custody_of(values)
            self.kept.setdefault(name, (listing.readable(item), size, where))
        self.hidden += len(shown["redacted"])
        self._shapes.setdefault((values["kind"], frozenset(shown["fields"]), frozenset(shown["redacted"])), where)
        self.last = kind
        return n, wrong

    def _contradictions(
        self, leaf: bytes, shown: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Iterator[tuple[int, str, str]]:
        """Yield (rank, what, means) where a well-formed record is at odds with the log or with the other records."""
        for what in unproven(leaf, shown, self.point):
            yield _CONTENT, what, RECORD_ALTERED
        if values["incident"] != self.total.incident:
            yield _CONTENT, f"it does not belong to {listing.readable(self.total.incident)}", FOREIGN
        for what in contents.count(self.total, values, shown["redacted"], shown["leaf"]):
            yield _COUNT, what, "Something was left out or altered"

    def _redacted(self) -> None:
        """Compare what is hidden with the rules that the record of the export names."""
        for (kind, fields, hidden), where in self._shapes.items():
            ruled = self.total.redaction.of(kind, fields | hidden)
            if beyond := sorted(hidden - ruled):
                self.opened.wrong(where, f"{listing.readable(beyond[0])} is hidden by no rule of the export", _HIDDEN)
            elif shown := sorted(ruled - hidden):
                what = f"{listing.readable(shown[0])} is shown, and a rule of the export hides it"
                self.opened.wrong(where, what, "It was put in after the export")


_HIDDEN: Final = "It was hidden after the export"
