"""`make bench`: ingest against bare Starlette, alert to freeze request, Slack's patience, fan-out, and evidence."""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import acks, evidence, fanout, servers

CLIENTS = 16
SECONDS = 3.0
ROUNDS = 4
FREEZES = 60
out = Console()


def body(name: str, number: int, **labels: str) -> bytes:
    """Return a one-alert notification; each `number` is another episode."""
    every = {"alertname": name, "severity": "page", "instance": f"10.0.0.1:{number}", **labels}
    alert = {
        "status": "firing",
        "labels": every,
        "annotations": {"summary": "double-sign risk", "runbook_url": "https://runbooks.example/slash"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://127.0.0.1:9090/graph",
        "fingerprint": f"{number:016x}",
    }
    common: dict[str, Any] = {
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://vm:9093",
    }
    tree = {
        "version": "4",
        "groupKey": "{}:{}",
        "receiver": "bot",
        "status": "firing",
        "alerts": [alert],
        "truncatedAlerts": 0,
    }
    return json.dumps({**tree, **common}).encode()


async def load(url: str, seconds: float, first: int) -> int:
    """Post one-alert bodies with 16 clients for `seconds`; return how many were answered 200."""
    headers = {"Authorization": f"Bearer {servers.TOKEN}", "Content-Type": "application/json"}
    numbers = iter(range(first, first + 1_000_000))
    answered = 0
    end = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        while time.perf_counter() < end:
            async with session.post(url, data=body("ValidatorSlashRisk", next(numbers), avs="avs-0")) as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"{url} answered {answer.status}")
                answered += 1

    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    return answered


async def ingest(folder: Path, progress: Progress) -> tuple[list[float], list[float]]:
    """Return requests per second of the baseline and of the bot, in interleaved rounds."""
    task = progress.add_task("ingest, 16 clients", total=ROUNDS * 2)
    ports = servers.free_port(), servers.free_port()
    servers.write_home(folder / "ingest", 1, "http://127.0.0.1:9")
    rates: tuple[list[float], list[float]] = ([], [])
    with servers.baseline(folder, ports[0]), servers.stopsign(folder / "ingest", ports[1]):
        for port in ports:
            await load(f"http://127.0.0.1:{port}/v1/alertmanager", 0.5, 0)
        for turn in range(ROUNDS):
            for side, port in enumerate(ports):
                count = await load(f"http://127.0.0.1:{port}/v1/alertmanager", SECONDS, (turn + 1) * 1_000_000)
                rates[side].append(count / SECONDS)
                progress.advance(task)
    return rates


async def reaction(folder: Path, progress: Progress) -> list[float]:
    """Return, for each of FREEZES incidents, milliseconds from sending the POST to the freeze's arrival at the node."""
    task = progress.add_task("alert to freeze request", total=FREEZES)
    arrived: dict[str, asyncio.Future[float]] = {}

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        parts = line.split()
        if (
            len(parts) > 1
            and parts[0] == "PUT"
            and (waiting := arrived.get(parts[1].split("/")[1]))
            and not waiting.done()
        ):
            waiting.set_result(time.perf_counter())
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(node, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    servers.write_home(folder / "reaction", FREEZES, address)
    port = servers.free_port()
    times = []
    headers = {"Authorization": f"Bearer {servers.TOKEN}", "Content-Type": "application/json"}
    with servers.stopsign(folder / "reaction", port):
        async with aiohttp.ClientSession(headers=headers) as session, server:
            for number in range(FREEZES):
                arrived[str(number)] = asyncio.get_running_loop().create_future()
                content = body("EquivocationRiskSpike", number, avs=f"avs-{number}", signer=f"node-{number}")
                began = time.perf_counter()
                async with session.post(f"http://127.0.0.1:{port}/v1/alertmanager", data=content) as answer:
                    if answer.status != 200:
                        raise RuntimeError(f"the bot answered {answer.status}: {await answer.text()}")
                times.append((await asyncio.wait_for(arrived[str(number)], 10) - began) * 1000)
                progress.advance(task)
                await asyncio.sleep(0.05)
    return times


async def main() -> int:
    """Measure and print; exit 1 when a figure misses its bar, so that a person looks."""
    with (
        tempfile.TemporaryDirectory(prefix="stopsign-bench-") as name,
        Progress(console=out, transient=True) as progress,
    ):
        bare, ours = await ingest(Path(name), progress)
        times = await reaction(Path(name), progress)
        heard = await acks.acknowledgements(Path(name), progress)
        progress.add_task(f"freeze and read back {fanout.TARGETS:,} nodes", total=None)
        spread = await fanout.measure()
        kept = await evidence.measure(Path(name), progress)
    ratio = statistics.median(o / b for o, b in zip(ours, bare, strict=True))
    p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[18]
    table = Table("FIGURE", "MEASURED", "BASELINE, SAME RUN", "RATIO", "BAR", "", box=None)
    mark = {True: "[green]met[/]", False: "[red]missed[/]"}
    table.add_row(
        "ingest, 1 alert, 16 clients, SQLite FULL",
        f"{statistics.median(ours):,.0f}/s",
        f"{statistics.median(bare):,.0f}/s bare Starlette + 1 commit",
        f"{ratio:.2f}",
        "≥ 0.40",
        mark[ratio >= 0.4],
    )
    table.add_row("alert to freeze request, p50", f"{p50:.0f} ms", "-", "-", "< 50 ms", mark[p50 < 50])
    table.add_row("alert to freeze request, p95", f"{p95:.0f} ms", "-", "-", "-", "")
    for row in acks.rows(heard):
        table.add_row(*row)
    rest, busy = heard.p99
    in_time = busy < acks.BAR_MS and heard.proven == acks.TARGETS
    what = f"acknowledgement, p99, while {acks.TARGETS:,} freeze"
    bar = f"< {acks.BAR_MS} ms"
    wide, late = spread["ours"] / spread["bare"], spread["dead"] - spread["ours"]
    limit = fanout.TIMEOUT.total_seconds()
    table.add_row(
        f"freeze and read back {fanout.TARGETS:,} nodes at 20 ms",
        f"{spread['ours']:.2f} s",
        f"{spread['bare']:.2f} s bare aiohttp",
        f"{wide:.2f}",
        "≤ 2",
        mark[wide <= 2],
    )
    table.add_row(
        f"… {fanout.DEAD} of them dead, longer by",
        f"{late:.2f} s",
        f"{limit:g} s timeout",
        "-",
        "≤ it",
        mark[late <= limit],
    )
    table.add_row(what, f"{busy:.0f} ms", f"{rest:.0f} ms at rest", f"{busy / rest:.1f}", bar, mark[in_time])
    proofs = evidence.rows(kept)
    for *cells, met in proofs:
        table.add_row(*map(str, cells), mark[bool(met)])
    out.print(table)
    out.print(f"{heard.proven:,} of {acks.TARGETS:,} freezes proven after {heard.seconds:.0f} s.")
    met = ratio >= 0.4 and p50 < 50 and in_time and wide <= 2 and late <= limit and all(row[-1] for row in proofs)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
