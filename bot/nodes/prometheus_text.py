"""Read signature counters out of a node's /metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from bot.errors import NodeBroken

_STARTED = "process_start_time_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What /metrics counts: signatures per key, those of no named key, and the process that counted."""

    by_key: Mapping[str, int] = field(default_factory=dict)
    total: int | None = None
    instance: str = ""
    labels: frozenset[str] = frozenset()
    """The names of all labels that the counted samples carry."""

    def of(self, key: str, *, whole: bool) -> int | None:
        """Return the count of `key`, or None when it is not counted.

        A counter that names no key counts all of them. So it is added where `whole` says that all keys of the node are
        asked for, and where they are not, nothing can be said of one key.
        """
        counted = self.by_key.get(key.lower())
        if self.total is None:
            return counted
        return self.total + (counted or 0) if whole else None


def read_counters(text: bytes, names: Sequence[str], key_label: str, needed: Sequence[str] | None = None) -> Counters:
    """Return the sums of the counters `names`, by key where they carry `key_label`; empty if the text is not readable.

    Unless each of those `needed` is there (default: all of them), nothing is counted: the one that is missing, or was
    renamed, may be the one that rises. Only lines of those names are parsed, so a large page costs little.
    """
    found: set[str] = set()
    wanted = tuple(name.encode() for name in (*names, _STARTED))
    lines = [line for line in text.splitlines() if line.startswith(wanted)]
    by_key: dict[str, int] = {}
    total: int | None = None
    instance = ""
    labels: set[str] = set()
    try:
        for family in text_string_to_metric_families(b"\n".join(lines).decode() + "\n"):
            for sample in family.samples:
                found.add(sample.name)
                if sample.name == _STARTED:
                    instance = repr(float(sample.value))
                    continue
                labels |= set(sample.labels)
                if sample.name in names and key_label in sample.labels:
                    key = sample.labels[key_label].lower()
                    by_key[key] = by_key.get(key, 0) + int(sample.value)
                elif sample.name in names:
                    total = (total or 0) + int(sample.value)
    except (ValueError, OverflowError):
        return Counters()
    if not found.issuperset(names if needed is None else needed):
        return Counters(instance=instance)
    return Counters(by_key=by_key, total=total, instance=instance, labels=frozenset(labels))


def by_label(counters: Counters, options: Mapping[str, str], node: str) -> Counters:
    """Return `counters`; raises NodeBroken when the option key_label names a label that no sample has.

    Their sum would be called the count of each key.
    """
    label = options.get("key_label")
    if label is None or counters.total is None or counters.by_key:
        return counters
    there = ", ".join(sorted(counters.labels)) or "none at all"
    raise NodeBroken(f"{node}: no counter in /metrics has the label {label}, they have {there}: correct key_label")
