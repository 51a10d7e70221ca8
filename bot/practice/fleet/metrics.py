"""Write the practice fleet's metrics as Prometheus text."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from bot.practice.fleet.node import PracticeNode
from bot.practice.fleet.spec import Api

Rows = Callable[[PracticeNode], Iterable[tuple[dict[str, str], float]]]


def _of_node(value: Callable[[PracticeNode], float]) -> Rows:
    return lambda node: [({"avs": node.spec.avs, "signer": node.spec.name}, value(node))]


def _signatures(node: PracticeNode) -> Iterator[tuple[dict[str, str], float]]:
    for key, held in node.signer.held.items():
        yield {"avs": node.spec.avs, "signer": node.spec.name, "key": key}, held.counter


def _client(node: PracticeNode) -> Iterator[tuple[dict[str, str], float]]:
    labels = {"client": node.spec.client, "version": node.current.version, "build_hash": node.current.build_hash}
    yield {"avs": node.spec.avs, "signer": node.spec.name, **labels}, 1


def _published(node: PracticeNode) -> Iterator[tuple[dict[str, str], float]]:
    for key, held in node.signer.held.items():
        yield {"pubkey": key}, held.counter


def _signers(node: PracticeNode) -> Iterator[tuple[dict[str, str], float]]:
    yield {}, sum(not held.stopped for held in node.signer.held.values())


def _started(node: PracticeNode) -> Iterator[tuple[dict[str, str], float]]:
    yield {}, node.started_at.timestamp()


_FAMILIES: Sequence[tuple[str, str, str, Rows]] = (
    ("avs_signatures_total", "counter", "Signatures produced since process start.", _signatures),
    (
        "avs_conflicting_signatures_seen_total",
        "counter",
        "Conflicting signatures seen.",
        _of_node(lambda node: node.signer.conflicts),
    ),
    (
        "avs_required_attestations_total",
        "counter",
        "Duties that were due.",
        _of_node(lambda node: node.signer.required),
    ),
    ("avs_missed_deadlines_total", "counter", "Duties that were missed.", _of_node(lambda node: node.signer.missed)),
    ("avs_node_up", "gauge", "1 while the node answers.", _of_node(lambda node: node.answers)),
    ("avs_client_info", "gauge", "What the node runs.", _client),
)
_KEYMANAGER: Sequence[tuple[str, str, str, Rows]] = (
    ("vc_published_attestations_total", "counter", "Attestations published since process start.", _published),
    ("vc_signers_count", "gauge", "Signers in use.", _signers),
    ("process_start_time_seconds", "gauge", "Start of the process, seconds since the epoch.", _started),
)


def exposition(nodes: Sequence[PracticeNode], *, validator_client: bool = True) -> str:
    """Return the metrics of `nodes`; those of a validator client only for one node, as they carry no signer label."""
    families = list(_FAMILIES)
    if validator_client and len(nodes) == 1 and nodes[0].spec.api is Api.KEYMANAGER:
        families += _KEYMANAGER
    return "".join(_family(nodes, *family) for family in families)


def _family(nodes: Sequence[PracticeNode], name: str, kind: str, text: str, rows: Rows) -> str:
    lines = [f"{name}{_labels(labels)} {_number(value)}" for node in nodes for labels, value in rows(node)]
    return "\n".join([f"# HELP {name} {text}", f"# TYPE {name} {kind}", *lines]) + "\n"


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    escaped = (value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for value in labels.values())
    return "{" + ",".join(f'{name}="{value}"' for name, value in zip(labels, escaped, strict=True)) + "}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
