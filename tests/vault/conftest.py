"""A small log of two incidents, with items, checkpoints and an evidence folder of one of them."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.domain.checkpoint import Checkpoint
from bot.domain.leaf import JournalRecord, Json, fields_of, leaf_hash
from bot.domain.merkle import inclusion_proof, nodes_of, root
from bot.vault.export import export_folder
from bot.vault.folder import Folder
from bot.vault.report import Report
from bot.vault.signer import CheckpointSigner
from bot.vault.verify import verify_live

START = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
ORIGIN = "stopsign.example/ops"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ITEMS = [b'{"signed":[1,2,3]}\n', b"client 1.2.3\n", b"\x00\x01" * 4096]


def record(incident: str, n: int, leaf: int | None, kind: str, body: dict[str, Json], by: str = "bot") -> JournalRecord:
    """Return a row as the store makes it, its salt derived from its place so that the tests repeat."""
    salt = hashlib.sha256(f"{incident}/{n}".encode()).digest()
    at = START + timedelta(seconds=n)
    flat = fields_of(incident=incident, n=n, at=at, kind=kind, by=by, body=body)
    return JournalRecord(
        incident=incident, n=n, at=at, kind=kind, by=by, body=body, salt=salt, hash=leaf_hash(flat, salt), leaf=leaf
    )


def kept(number: int, content: bytes) -> dict[str, Json]:
    """Return the body of an EvidenceKept record."""
    return {
        "item": f"ev-{number}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "media_type": "application/octet-stream",
        "what": "signed-messages",
        "node": "op-1/signer",
        "source": "http://op-1.example:9000/v1/signed",
        "collector": "bot",
        "tool": "stopsign 0.1.0 sidecar",
        "collected_at": "2026-03-14T15:09:30.000000Z",
        "clock": "system, offset unknown",
        "window_from": "2026-03-14T14:54:30.000000Z",
        "window_to": "2026-03-14T15:09:30.000000Z",
        "reason": "équivocation ☠",
    }


@dataclass
class Story:
    """The log as the store would hand it over."""

    home: Path
    records: list[JournalRecord]
    vault: Folder
    signer: CheckpointSigner
    checkpoints: list[str] = field(default_factory=list)

    @property
    def vkey(self) -> str:
        return self.signer.key.encode()

    def sign(self, size: int) -> str:
        """Return the signed checkpoint of the first `size` leaves."""
        return self.signer.sign(Checkpoint(origin=ORIGIN, size=size, root=root(self.hashes()[:size])))

    def hashes(self) -> list[bytes]:
        return [row.hash for row in self.records if row.leaf is not None]

    def proven(self, incident: str) -> list[tuple[JournalRecord, tuple[bytes, ...]]]:
        nodes, size = nodes_of(self.hashes()), len(self.hashes())
        mine = [row for row in self.records if row.incident == incident]
        return [(row, inclusion_proof(row.leaf or 0, size, nodes)) for row in mine]

    def export(self, target: Path, **changes: Any) -> Path:
        """Write the evidence folder of inc-7."""
        whole: dict[str, Any] = {
            "records": self.proven("inc-7"),
            "shelf": self.vault,
            "checkpoint": self.checkpoints[-1],
            "vkey": self.vkey,
        }
        export_folder(target, **(whole | changes))
        return target

    def verify(self, **changes: Any) -> Report:
        """Verify the live vault."""
        whole: dict[str, Any] = {
            "records": self.records,
            "checkpoints": self.checkpoints,
            "vkey": self.vkey,
            "blobs": self.vault,
        }
        return verify_live(**(whole | changes))


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """inc-7 with nine records (three items), interleaved with inc-8; all of it under the last checkpoint."""
    vault = Folder(tmp_path / "vault")
    for content in ITEMS:
        vault.put([content])
    names = sorted(hashlib.sha256(content).hexdigest() for content in ITEMS)
    seven: list[tuple[str, dict[str, Json]]] = [
        ("IncidentOpened", {"severity": 1, "reason": "conflicting signatures"}),
        ("RoleTaken", {"role": "ic", "person": "ada"}),
        ("EvidenceKept", kept(1, ITEMS[0])),
        ("EvidenceKept", kept(2, ITEMS[1])),
        ("NoteTaken", {"text": "first\nsecond \u2028 line"}),
        ("EvidenceKept", kept(3, ITEMS[2])),
        ("StepFinished", {"step": "freeze", "outcome": "verified", "counts": [1, 2.5, None, True]}),
        ("IncidentResolved", {}),
        ("EvidenceExported", {"records": 9, "items": names, "reason": "for the panel"}),
    ]
    rows: list[JournalRecord] = []
    for n, (kind, body) in enumerate(seven, 1):
        rows.append(record("inc-7", n, len(rows), kind, body))
        rows.append(record("inc-8", n, len(rows), "NoteTaken", {"text": f"another incident {n}"}))
    made = Story(home=tmp_path, records=rows, vault=vault, signer=CheckpointSigner(ORIGIN, KEY))
    made.checkpoints = [made.sign(size) for size in (1, 4, 4, 11, len(rows))]
    return made


@pytest.fixture
def pack(story: Story, tmp_path: Path) -> Path:
    """The evidence folder of inc-7."""
    return story.export(tmp_path / "inc-7")
