"""What a verification found, in sentences."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (done, total); bytes for a folder, records for the live vault, where the total is 0: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: where it is, what it is, what it means for the evidence."""

    where: str
    what: str
    means: str

    def __str__(self) -> str:
        """Return the sentence for a person."""
        return f"{self.where}: {self.what}. {self.means}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The verdict: `problems` in the order in which they were met, `notes` on what was not or could not be checked."""

    subject: str
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    records: int
    items: int

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems

    @property
    def first(self) -> Problem | None:
        """Return the first thing that is wrong."""
        return self.problems[0] if self.problems else None

    def lines(self) -> list[str]:
        """Return the report as text, the verdict first."""
        counted = f"{self.records} records, {self.items} items"
        if self.ok:
            verdict = [f"{self.subject}: verified: {counted}"]
        else:
            verdict = [f"{self.subject}: NOT intact: {self.problems[0]}"]
            verdict += [f"  also: {problem}" for problem in self.problems[1:]]
            verdict += [f"  checked: {counted}"]
        return verdict + [f"  note: {note}" for note in self.notes]
