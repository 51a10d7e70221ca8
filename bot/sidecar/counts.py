"""Count what happens, per key, since process start; remember what was signed under each mark; write it as metrics."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

_DOUBTFUL_AT_MOST = 20_000
_MARKS_AT_MOST = 64
OTHER = "other"
"""Stands for all keys of which nobody knows whether they exist: a caller must neither fill the memory with keys of its
invention nor crowd the real ones out."""


@dataclass(slots=True)
class KeyCount:
    """What happened with one key. `signatures` counts those that were made, or may have been made."""

    signatures: int = 0
    asked: int = 0
    last_asked_at: datetime | None = None
    last_signed_at: datetime | None = None
    results: dict[str, int] = field(default_factory=dict)

    def result(self, name: str) -> None:
        """Count one request that ended as `name`."""
        self.results[name] = self.results.get(name, 0) + 1


class Counts:
    """The counters of one process."""

    def __init__(self) -> None:
        self.keys: dict[str, KeyCount] = {}
        self.conflicts_asked = 0
        self.conflicts_signed = 0
        self.unrecorded = 0
        self.denied = {"frozen": 0, "slashing-protection": 0}
        """Why nothing was signed; slashing protection is the signer's own, or the refusal of an equivocation here."""
        self._marks: dict[str, OrderedDict[tuple[str, int], str]] = {}

    def of(self, key: str, *, real: bool, perhaps: bool = False) -> KeyCount:
        """Return the counters of a key; once it has its own, it keeps them.

        A `real` key always gets its own; one with which `perhaps` something was signed does as one of the first 20,000.
        """
        if key not in self.keys and not real and not (perhaps and len(self.keys) < _DOUBTFUL_AT_MOST):
            key = OTHER
        return self.keys.setdefault(key, KeyCount())

    def conflicts(self, key: str, mark: tuple[str, int] | None, digest: str) -> str | None:
        """Return the other digest that is remembered under `mark`, if there is one; otherwise remember this one.

        The last 64 marks of each key are remembered.
        """
        if mark is None:
            return None
        marks = self._marks.setdefault(key, OrderedDict())
        known = marks.setdefault(mark, digest)
        while len(marks) > _MARKS_AT_MOST:
            marks.popitem(last=False)
        return known if known != digest else None

    def forget(self, key: str, mark: tuple[str, int] | None, digest: str) -> None:
        """Forget a mark under which nothing was signed after all."""
        marks = self._marks.get(key)
        if mark is not None and marks and marks.get(mark) == digest:
            del marks[mark]
            if not marks:
                del self._marks[key]


def exposition(
    counts: Counts, *, labels: Mapping[str, str], frozen: Iterable[str], up: bool, values: Mapping[str, float]
) -> str:
    """Return Prometheus text 0.0.4: the names that docs/node-api.yaml gives, and the sidecar's own."""
    base = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
    keys = sorted(counts.keys.items())
    stopped = set(frozen)
    known = stopped | set(counts.keys)
    asked = sum(one.asked for _, one in keys)
    missed = sum(n for _, one in keys for result, n in one.results.items() if result not in {"signed", "malformed"})
    families: list[tuple[str, str, list[tuple[str, float]]]] = [
        ("avs_signatures_total", "counter", [(f'{base},key="{k}"', one.signatures) for k, one in keys]),
        ("avs_conflicting_signatures_seen_total", "counter", [(base, counts.conflicts_signed)]),
        ("avs_required_attestations_total", "counter", [(base, asked)]),
        ("avs_missed_deadlines_total", "counter", [(base, missed)]),
        ("avs_node_up", "gauge", [(base, int(up))]),
        (
            "stopsign_sidecar_requests_total",
            "counter",
            [(f'{base},key="{k}",result="{r}"', n) for k, one in keys for r, n in sorted(one.results.items())],
        ),
        ("stopsign_sidecar_conflicting_requests_total", "counter", [(base, counts.conflicts_asked)]),
        ("stopsign_sidecar_unrecorded_requests_total", "counter", [(base, counts.unrecorded)]),
        ("avs_signer_frozen", "gauge", [(f'{base},key="{k}"', int(k in stopped)) for k in sorted(known)]),
        (
            "avs_signer_denied_total",
            "counter",
            [(f'{base},reason="{reason}"', n) for reason, n in counts.denied.items()],
        ),
    ]
    families += [
        (name, "counter" if name.endswith("_total") else "gauge", [("", value)]) for name, value in values.items()
    ]
    text = []
    for name, kind, samples in families:
        text.append(f"# TYPE {name} {kind}")
        text += [
            f"{name}{{{told}}} {_number(value)}" if told else f"{name} {_number(value)}" for told, value in samples
        ]
    return "\n".join(text) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
