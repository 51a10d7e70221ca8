"""Severity: how near a slash is."""

from enum import IntEnum
from typing import Self


class Severity(IntEnum):
    """SEV-1: slash likely in minutes. SEV-2: possible in hours. SEV-3: no slash path yet. Lower is worse."""

    SEV1 = 1
    SEV2 = 2
    SEV3 = 3

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `SEV-1`, `sev1` or `1`; raise ValueError otherwise."""
        digit = text.strip().lower().removeprefix("sev").removeprefix("-")
        if digit not in {"1", "2", "3"}:
            raise ValueError(f"{text!r} is not a severity: write SEV-1, SEV-2 or SEV-3")
        return cls(int(digit))

    def worse_than(self, other: "Severity") -> bool:
        """Tell whether this severity is more urgent than `other`."""
        return self.value < other.value

    def __str__(self) -> str:
        """Return `SEV-1`."""
        return f"SEV-{self.value}"
