"""Evidence at scale: a million signed messages kept and proven, their pack verified, a proof out of ten million leaves.

Baselines run in the same run on the same bytes: `sha256sum`, and a plain write with one fsync.
"""

import asyncio
import hashlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.progress import Progress

from bot import evidence
from bot.app import App, build, close
from bot.domain import merkle
from bot.domain.authority import Actor
from bot.domain.severity import Severity
from bot.flows import intake
from bot.settings import Settings
from bot.steps.capture import SIGNED, noting_highest
from bot.steps.evidence import Where
from bot.store import database as db
from bot.store import sequencer
from bot.vault.verify import verify_folder

MESSAGES, LEAVES, PROOFS = 1_000_000, 10_000_000, 50
ADA = Actor(person="ada", via="cli")
SHA256SUM = shutil.which("sha256sum") or "/usr/bin/sha256sum"
INVENTORY = "avs: [{name: sequencer}]\nnodes: [{name: n1, avs: sequencer, keys: ['0xaa01']}]\n"


def line(n: int) -> bytes:
    """Return one signed message of about 400 bytes, as a sidecar records it."""
    at = datetime.fromtimestamp(1_772_000_000 + n / 50, UTC).isoformat()
    digest = hashlib.sha256(n.to_bytes(8)).hexdigest()
    message = {
        "key": "0x" + hashlib.sha384((n % 40).to_bytes(2)).hexdigest(),
        "duty": "block",
        "slot": n,
        "digest": f"0x{digest}",
        "time": at,
        "nonce": n + 1,
        "avs": "sequencer",
        "result": "signed",
        "instance_id": "0b7c1d1e",
        "client": "203.0.113.7:51514",
        "took_ms": 3,
    }
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def messages(path: Path) -> int:
    """Write MESSAGES of them to `path`; return their bytes."""
    with path.open("wb") as file:
        for start in range(0, MESSAGES, 10_000):
            file.write(b"".join(line(n) for n in range(start, start + 10_000)))
    return path.stat().st_size


def hashed(*paths: Path) -> float:
    """Return the seconds that `sha256sum` takes over these files."""
    began = time.perf_counter()
    subprocess.run([SHA256SUM, *map(str, paths)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def written(source: Path, to: Path) -> float:
    """Return the seconds that a plain write with one fsync takes for the bytes of `source`."""
    began = time.perf_counter()
    with source.open("rb") as reading, to.open("wb") as file:
        while block := reading.read(1 << 20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    to.unlink()
    return took


async def chunks(path: Path) -> AsyncIterator[bytes]:
    """Yield a file as a node's answer comes: in pieces of 64 KiB."""
    with path.open("rb") as file:
        while block := file.read(1 << 16):
            yield block


def peak() -> float:
    """Return this process's peak memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(folder: Path, progress: Progress) -> dict[str, float]:
    """Return seconds and megabytes by name: `capture`, `plain`, `memory`, `verify`, `sums`, `proof` (seconds)."""
    found: dict[str, float] = {}
    home = folder / "evidence-home"
    home.mkdir()
    (home / "inventory.yaml").write_text(INVENTORY)
    (home / "team.yaml").write_text("people: [{id: ada, name: Ada, login: root, powers: [lead]}]\n")
    task = progress.add_task(f"capture {MESSAGES:,} signed messages", total=4)
    source = folder / "messages.ndjson"
    size = messages(source)
    progress.advance(task)
    app = build(Settings(home=home))
    db.migrate(app.settings.database)
    app.database.start()
    try:
        await app.ledger.decide(intake.declare, intake.Declare(by=ADA, severity=Severity.SEV2, summary="bench"))
        hashed(source)
        found["plain"] = min(hashed(source) + written(source, folder / "plain") for _ in range(2))
        progress.advance(task)
        before = peak()
        began = time.perf_counter()
        await _captured(app, source)
        found["capture"] = time.perf_counter() - began
        found["memory"] = peak() - before
        found["size"] = size
        progress.advance(task)
        pack = folder / "pack"
        await evidence.export(app, 1, pack, by=ADA, reason="bench")
        progress.advance(task)
    finally:
        await close(app)
    files = [path for path in pack.rglob("*") if path.is_file()]
    began = time.perf_counter()
    report = verify_folder(pack)
    found["verify"] = time.perf_counter() - began
    if not report.ok:
        raise RuntimeError("\n".join(report.lines()))
    found["sums"] = min(hashed(*files) for _ in range(2))
    found["proof"] = _proofs(folder / "leaves.db", progress)
    return found


async def _captured(app: App, source: Path) -> None:
    """Keep the file as a capture does: hashed, journalled, sequenced, signed."""
    since, until = datetime.now(UTC) - timedelta(minutes=15), datetime.now(UTC)
    where = Where(incident=1, node="n1", source="http://n1", tool="bench", since=since, until=until)
    highest: dict[str, int] = {}
    stream = noting_highest(chunks(source), highest)
    await app.keeper.keep(where, what=SIGNED, media_type="application/x-ndjson", chunks=stream)
    if len(highest) != 40:
        raise RuntimeError(f"{len(highest)} marks, not 40")
    while await app.sequence():
        pass


def _proofs(path: Path, progress: Progress) -> float:
    """Return the mean seconds of an inclusion proof from the store's tiles over LEAVES leaves."""
    task = progress.add_task(f"proofs over {LEAVES:,} leaves", total=LEAVES)
    url = f"sqlite:///{path}"
    db.migrate(url)
    engine = db.connect(url)
    step = 256 * 256
    with engine.connect() as connection, connection.begin():
        for size in range(0, LEAVES, step):
            hashes = [hashlib.sha256(n.to_bytes(8)).digest() for n in range(size, min(size + step, LEAVES))]
            sequencer.grow(connection, size, hashes)
            progress.update(task, completed=size)
        last = merkle.frontier_of_tiles(LEAVES, lambda level, index: sequencer.read_tile(connection, level, index))
    took = 0.0
    with engine.connect().execution_options(reading=True) as connection, connection.begin():
        for n in range(PROOFS):
            leaf = n * (LEAVES // PROOFS) + 7
            began = time.perf_counter()
            proof = sequencer.inclusion(connection, leaf, LEAVES)
            took += time.perf_counter() - began
            merkle.verify_inclusion(hashlib.sha256(leaf.to_bytes(8)).digest(), leaf, LEAVES, proof, last.root())
    engine.dispose()
    return took / PROOFS


Row = tuple[str, str, str, str, str, bool | None]


def rows(found: dict[str, float]) -> list[Row]:
    """Return the table's rows: figure, measured, baseline, ratio, bar, and whether it is met."""
    capture, verify = found["capture"] / found["plain"], found["verify"] / found["sums"]
    size = f"{found['size'] / 1e6:,.0f} MB"
    return [
        (
            f"{MESSAGES:,} signed messages ({size}) kept and under a signed checkpoint",
            f"{found['capture']:.2f} s",
            f"{found['plain']:.2f} s sha256sum + write + fsync",
            f"{capture:.2f}",
            "≤ 4",
            capture <= 4,
        ),
        ("… memory above idle", f"{found['memory']:.0f} MB", "-", "-", "< 100 MB", found["memory"] < 100),
        (
            "their pack verified",
            f"{found['verify']:.2f} s",
            f"{found['sums']:.2f} s sha256sum",
            f"{verify:.2f}",
            "≤ 3",
            verify <= 3,
        ),
        (
            f"inclusion proof among {LEAVES:,} leaves",
            f"{found['proof'] * 1000:.1f} ms",
            "-",
            "-",
            "< 50 ms",
            found["proof"] < 0.05,
        ),
    ]


def main(act: Callable[[Path, Progress], object] = measure) -> None:
    """Measure evidence alone."""
    with tempfile.TemporaryDirectory(prefix="stopsign-bench-") as name, Progress() as progress:
        print(*rows(asyncio.run(measure(Path(name), progress))), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
