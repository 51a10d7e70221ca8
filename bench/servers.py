"""Servers under measurement: processes of their own on loopback, ended by their process ids."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TOKEN = "token-of-the-bench"  # noqa: S105 - of a server that lives for seconds on loopback


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(command: Sequence[str], url: str, environment: Mapping[str, str]) -> Iterator[int]:
    """Run a server until the block ends; yields its process id once `url` answers anything."""
    running = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        _wait(url, running)
        yield running.pid
    finally:
        running.terminate()
        running.wait(timeout=15)


def _wait(url: str, running: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            if running.poll() is not None:
                raise RuntimeError(f"{running.args!r} ended with {running.returncode}") from None
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)


@contextmanager
def stopsign(home: Path, port: int) -> Iterator[int]:
    """Run the real bot over `home`."""
    environment = {
        "STOPSIGN_HOME": str(home),
        "STOPSIGN_PORT": str(port),
        "STOPSIGN_WEBHOOK_TOKEN": TOKEN,
        "STOPSIGN_LOG_LEVEL": "error",
        "STOPSIGN_PRACTICE_NODE_TOKEN": "practice-node-token",
    }
    command = [sys.executable, "-m", "bot.cli.run"]
    subprocess.run([*command, "migrate"], env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    with process([*command, "serve"], f"http://127.0.0.1:{port}/healthz", environment) as pid:
        yield pid


@contextmanager
def baseline(folder: Path, port: int) -> Iterator[int]:
    """Run the baseline."""
    command = [sys.executable, "-m", "bench.baseline", str(folder / "baseline.db"), str(port)]
    with process(command, f"http://127.0.0.1:{port}/", {}) as pid:
        yield pid


def write_home(home: Path, nodes: int, url: str) -> None:
    """Write an operator's folder: `nodes` AVSs of one signer each, reached at `url`, and two people."""
    home.mkdir(parents=True)
    fleet = {
        "networks": ["127.0.0.0/8"],
        "avs": [{"name": f"avs-{n}", "duty_period": "1s"} for n in range(nodes)],
        "nodes": [
            {
                "name": f"node-{n}",
                "avs": f"avs-{n}",
                "keys": [f"0x{n:096x}"],
                "labels": {"signer": f"node-{n}"},
                "signer": {"driver": "sidecar", "url": f"{url}/{n}", "token": "env:STOPSIGN_PRACTICE_NODE_TOKEN"},
            }
            for n in range(nodes)
        ],
    }
    people = [{"id": p, "name": p, "slack": f"U0{p.upper()}", "powers": ["lead"]} for p in ("ada", "bo")]
    team = {
        "timezone": "UTC",
        "people": people,
        "shifts": [{"from": "mon 00:00", "to": "mon 00:00", "people": ["ada", "bo"]}],
    }
    for name, tree in {"inventory": fleet, "team": team, "policy": {}}.items():
        (home / f"{name}.yaml").write_text(json.dumps(tree), encoding="utf-8")
