"""Small logs of two incidents, with items, checkpoints, older keys and anchors, and an evidence pack of one of them."""

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.domain.checkpoint import Checkpoint, open_checkpoint, sign_note
from bot.domain.leaf import JournalRecord, Json, fields_of, leaf_hash
from bot.domain.merkle import consistency_proof, inclusion_proof, nodes_of, root
from bot.vault.export import Prepared, prepare, seal
from bot.vault.folder import Folder
from bot.vault.keys import both
from bot.vault.live import verify_live
from bot.vault.pack import Anchored, Rotated
from bot.vault.redaction import Redaction
from bot.vault.report import Report
from bot.vault.signer import CheckpointSigner
from tests.conftest import need

START = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
ORIGIN = "stopsign.example/ops"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OLDER = [Ed25519PrivateKey.from_private_bytes(bytes([n] * 32)) for n in (1, 2)]
ITEMS = [b'{"signed":[1,2,3]}\n', b"client 1.2.3\n", b"\x00\x01" * 4096]
ROOT = "0x" + "ab" * 32


def record(incident: str, n: int, leaf: int | None, kind: str, body: dict[str, Json], by: str = "bot") -> JournalRecord:
    """Return a row as the store makes it, its salt derived from its place so that the tests repeat."""
    salt = hashlib.sha256(f"{incident}/{n}".encode()).digest()
    at = START + timedelta(seconds=n)
    flat = fields_of(incident=incident, n=n, at=at, kind=kind, by=by, body=body)
    return JournalRecord(
        incident=incident, n=n, at=at, kind=kind, by=by, body=body, salt=salt, hash=leaf_hash(flat, salt), leaf=leaf
    )


def kept(number: int, content: bytes, **other: Json) -> dict[str, Json]:
    """Return the body of an EvidenceKept record."""
    whole: dict[str, Json] = {
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
    return whole | other


@dataclass
class Story:
    """The log as the store would hand it over."""

    home: Path
    records: list[JournalRecord]
    vault: Folder
    signer: CheckpointSigner
    checkpoints: list[str] = field(default_factory=list)
    anchors: list[Anchored] = field(default_factory=list)
    keys: list[Rotated] = field(default_factory=list)
    key: Ed25519PrivateKey = KEY

    @property
    def vkey(self) -> str:
        return self.signer.key.encode()

    def sign(self, size: int, signer: CheckpointSigner | None = None) -> str:
        """Return the signed checkpoint of the first `size` leaves."""
        return (signer or self.signer).sign(Checkpoint(origin=ORIGIN, size=size, root=root(self.hashes()[:size])))

    def hashes(self) -> list[bytes]:
        return [row.hash for row in self.records if row.leaf is not None]

    def proven(self, incident: str) -> list[tuple[JournalRecord, tuple[bytes, ...]]]:
        nodes, size = nodes_of(self.hashes()), len(self.hashes())
        mine = [row for row in self.records if row.incident == incident]
        return [(row, inclusion_proof(row.leaf or 0, size, nodes)) for row in mine]

    def consistency(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """Return the proof that the tree of `new` leaves (or of all) begins with that of `old`."""
        return consistency_proof(old, new or len(self.hashes()), nodes_of(self.hashes()))

    def last(self, **body: Any) -> None:
        """Journal another body in the last record of inc-7 and sign the log again: what leads to it is made again."""
        place = max(i for i, row in enumerate(self.records) if row.incident == "inc-7")
        row = replace(self.records[place], body={**self.records[place].body, **body})
        self.records[place] = replace(row, hash=row.computed_hash())
        size = len(self.records)
        self.checkpoints.append(self.sign(size))
        before = [one for one in self.anchors if one.size <= place]
        self.anchors = [replace(one, consistency=self.consistency(one.size)) for one in before]
        self.keys = [
            replace(one, consistency=self.consistency(open_checkpoint(one.note, self.oldest(n)).size))
            for n, one in enumerate(self.keys)
        ]

    def oldest(self, n: int) -> Any:
        return CheckpointSigner(ORIGIN, OLDER[n]).key

    def prepare(self, target: Path, **changes: Any) -> Prepared:
        """Write data/ of the pack of inc-7."""
        whole: dict[str, Any] = {
            "records": self.proven("inc-7"),
            "shelf": self.vault,
            "checkpoint": self.checkpoints[-1],
            "vkey": self.vkey,
            "anchors": self.anchors,
            "keys": self.keys,
            "documents": documents,
        }
        return prepare(target, **(whole | changes))

    def sealing(self, prepared: Prepared) -> dict[str, Any]:
        """Return what seals a prepared pack: two more leaves of the log, the second of them the seal."""
        body: dict[str, Json] = {"exported": prepared.exported, "manifest": prepared.manifest}
        size = len(self.hashes())
        rows = [
            record("inc-8", 1000, size, "NoteAdded", {"text": "meanwhile", "source": "slack", "author": None}),
            record("inc-7", prepared.exported + 1, size + 1, "EvidenceSealed", body, by="ada/cli"),
        ]
        longer = replace(self, records=[*self.records, *rows])
        nodes = nodes_of(longer.hashes())
        return {
            "record": rows[1],
            "proof": inclusion_proof(size + 1, size + 2, nodes),
            "checkpoint": longer.sign(size + 2),
            "consistency": consistency_proof(prepared.checkpoint.size, size + 2, nodes),
            "note": sign_note(prepared.text, ORIGIN, self.key),
        }

    def export(self, target: Path, *, redact: tuple[str, ...] = (), **changes: Any) -> Path:
        """Write the evidence pack of inc-7."""
        redaction = Redaction.parse(redact)
        if redact:
            self.last(redacted=redaction.rules)
        prepared = self.prepare(target, **({"redaction": redaction} | changes))
        seal(target, prepared, **self.sealing(prepared))
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


def documents(records: Any) -> dict[str, bytes]:
    """Return reading copies, made of the records as the pack shows them."""
    kinds = [shown["fields"]["kind"]["value"] for shown in records]
    assert kinds == [shown["fields"]["kind"]["value"] for shown in records]
    text = "\n".join(kinds)
    return {
        "custody.html": f"<!doctype html><title>custody</title><pre>{text}</pre>\n".encode(),
        "custody.txt": f"{text}\n".encode(),
        "timeline.html": f"<!doctype html><title>timeline</title><pre>{text}</pre>\n".encode(),
    }


def told(home: Path, seven: list[tuple[str, dict[str, Json]]], items: list[bytes]) -> Story:
    """Return a log of inc-7's records, interleaved with inc-8's."""
    vault = Folder(home / "vault")
    for content in items:
        vault.put([content])
    rows: list[JournalRecord] = []
    for n, (kind, body) in enumerate(seven, 1):
        rows.append(record("inc-7", n, len(rows), kind, body))
        rows.append(record("inc-8", n, len(rows), "NoteTaken", {"text": f"another incident {n}"}))
    return Story(home=home, records=rows, vault=vault, signer=CheckpointSigner(ORIGIN, KEY))


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """inc-7 with nine records (three items), interleaved with inc-8; all of it under the last checkpoint."""
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
    made = told(tmp_path, seven, ITEMS)
    made.checkpoints = [made.sign(size) for size in (1, 4, 4, 11, len(made.records))]
    return made


INTERCHANGE = {
    "metadata": {"interchange_format_version": "5", "genesis_validators_root": ROOT},
    "data": [{"pubkey": "0x" + "a1" * 48, "signed_blocks": [{"slot": "81952"}], "signed_attestations": []}],
}
RELEASES = {
    "instance_id": "i-1",
    "current": {"version": "1.2.3", "build_hash": "sha256:b1", "config_checksum": "sha256:c1"},
    "previous": None,
}
RICH = [
    b'{"key":"0xa1","digest":"0x01"}\n',
    json.dumps(RELEASES).encode(),
    json.dumps(INTERCHANGE).encode(),
    b"\xd4\xc3\xb2\xa1" + bytes(5000),
    b"a line of log\n",
]


def everything(home: Path, authority: "Authority") -> Story:
    """inc-7 with a record of every sort that a pack tells of, two older keys, and three anchored checkpoints."""
    digests = [hashlib.sha256(content).hexdigest() for content in RICH]
    seven: list[tuple[str, dict[str, Json]]] = [
        ("IncidentOpened", {"severity": 1, "reason": "conflicting signatures"}),
        ("RoleTaken", {"role": "ic", "person": "ada", "how": "taken", "was": None}),
        ("EvidenceKept", kept(1, RICH[0])),
        ("EvidenceKept", kept(2, RICH[1], what="release")),
        ("NoteAdded", {"text": "first\nsecond \u2028 line", "source": "slack", "author": None}),
        ("EvidenceKept", kept(3, RICH[2], what="slashing-protection, delete 1", node=None)),
        ("EvidenceKept", kept(4, RICH[3], what="network-capture", window_from=None, window_to=None)),
        ("EvidenceMissing", {"what": "peers", "node": "op-1", "reason": "no answer within 5 s"}),
        ("EvidenceFound", {"finding": "f1", "kind": "equivocation", "text": "t", "items": ["ev-1"], "key": "0xa1"}),
        ("EvidenceRead", {"item": "ev-1", "sha256": digests[0], "reason": "to see"}),
        ("EvidenceKept", kept(5, RICH[4], what="logs")),
        ("EvidenceExpired", {"item": "ev-5", "sha256": digests[4], "reason": "90 days"}),
        ("StepFinished", {"step": "freeze", "outcome": "verified", "counts": [1, 2.5, None, True]}),
        ("EvidenceExported", {"records": 14, "items": digests, "reason": "p", "withheld": [], "redacted": []}),
    ]
    made = told(home, seven, RICH[:4])
    first, second = (CheckpointSigner(ORIGIN, key) for key in OLDER)
    size = len(made.records)
    for older, newer, at in ((first, second, 5), (second, made.signer, 11)):
        note = both(made.sign(at, older), made.sign(at, newer))
        made.keys.append(Rotated(was=older.key.encode(), note=note, consistency=made.consistency(at)))
    for name, kind, at, signer in (
        ("tsa", "rfc3161", 8, second),
        ("host", "http", 20, made.signer),
        ("room", "slack", size, made.signer),
    ):
        note = made.sign(at, signer)
        proof = authority.stamp(note.encode()) if kind == "rfc3161" else b'{"url": "https://host.example/20"}\n'
        consistency = made.consistency(at)
        made.anchors.append(
            Anchored(name=name, kind=kind, size=at, note=note, at=START, proof=proof, consistency=consistency)
        )
    made.checkpoints = [made.sign(size)]
    return made


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, authority: "Authority") -> tuple[Story, Path]:
    """One log and its pack for all tests of a process: they take copies."""
    home = tmp_path_factory.mktemp("exported")
    made = everything(home, authority)
    return made, made.export(home / "inc-7")


@pytest.fixture
def rich(exported: tuple[Story, Path]) -> Story:
    """inc-7 with a record of every sort that a pack tells of, two older keys, and three anchored checkpoints."""
    made = exported[0]
    lists: dict[str, Any] = {name: [*getattr(made, name)] for name in ("records", "checkpoints", "anchors", "keys")}
    return replace(made, **lists)


@pytest.fixture
def pack(exported: tuple[Story, Path], tmp_path: Path) -> Path:
    """The evidence pack of that inc-7."""
    return Path(shutil.copytree(exported[1], tmp_path / "inc-7", copy_function=shutil.copyfile))


# ---- a timestamp authority -------------------------------------------------------------------------------------------

_CONFIG = """
[tsa]
default_tsa = here
[here]
serial = {home}/serial
signer_cert = {home}/tsa.pem
signer_key = {home}/tsa.key
certs = {home}/ca.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[stamping]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
"""


class Authority:
    """A timestamp authority made with openssl; `roots` is its certificate file."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stamped: dict[bytes, bytes] = {}
        self.roots = home / "ca.pem"
        (home / "config").write_text(_CONFIG.format(home=home))
        (home / "serial").write_text("01\n")
        new = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "config"]
        self._run(
            *new, "-x509", "-days", "30", "-subj", "/CN=ca", "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem"
        )
        self._run(*new, "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr")
        sign = ["x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30"]
        self._run(*sign, "-extfile", "config", "-extensions", "stamping", "-out", "tsa.pem")

    def stamp(self, content: bytes) -> bytes:
        """Return the DER TimeStampResp over `content`, the same one each time."""
        if content not in self._stamped:
            (self._home / "content").write_bytes(content)
            self._run("ts", "-query", "-data", "content", "-sha256", "-cert", "-out", "query")
            self._run("ts", "-reply", "-config", "config", "-queryfile", "query", "-out", "reply")
            self._stamped[content] = (self._home / "reply").read_bytes()
        return self._stamped[content]

    def _run(self, *command: str) -> None:
        subprocess.run(["openssl", *command], cwd=self._home, capture_output=True, check=True, timeout=20)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A timestamp authority for all tests of one process."""
    need(shutil.which("openssl") is None, "openssl")
    return Authority(tmp_path_factory.mktemp("authority"))
