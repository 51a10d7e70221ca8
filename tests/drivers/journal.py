"""Journals made for tests by systemd-journal-remote, and the real gateway in front of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from bench.servers import free_port
from tests import processes
from tests.conftest import need

_SYSTEMD = Path("/lib/systemd")
BOOT, MACHINE = "b" * 32, "a" * 32


def program(name: str) -> str:
    """Return the path of one of systemd's programs; without it the test is skipped, in CI it fails."""
    path = _SYSTEMD / name
    need(not path.exists(), name)
    return str(path)


def entry(
    n: int, at: int, message: bytes, unit: str = "signer.service", fields: Mapping[str, str] | None = None
) -> bytes:
    """Return an entry in journal export format; `at` is in microseconds, `n` orders them."""
    more = {"_SYSTEMD_UNIT": unit, "PRIORITY": "6", **(fields or {})}
    text = (
        f"__CURSOR=s={MACHINE};i={n + 1:x};b={BOOT};m={n:x};t={at:x};x={n:x}\n"
        f"__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={n}\n_BOOT_ID={BOOT}\n_MACHINE_ID={MACHINE}\n"
        + "".join(f"{name}={value}\n" for name, value in more.items())
    )
    said = b"MESSAGE=%b\n" % message
    if b"\n" in message or b"\0" in message:
        said = b"MESSAGE\n" + len(message).to_bytes(8, "little") + message + b"\n"
    return text.encode() + said + b"\n"


async def write_journal(folder: Path, entries: Iterable[bytes]) -> None:
    """Write a journal file into `folder`."""
    source = folder / "input.export"
    with source.open("wb") as file:
        file.writelines(entries)
    command = program("systemd-journal-remote"), "-o", str(folder / "test.journal"), str(source)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    source.unlink()


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[str]:
    """Run systemd-journal-gatewayd over the journals of `folder`; yields its base URL."""
    activate, served = processes.program("systemd-socket-activate"), program("systemd-journal-gatewayd")
    url = f"http://127.0.0.1:{free_port()}"
    command = (activate, "-l", url.removeprefix("http://"), served, "-D", str(folder))
    process = processes.start("gateway", command, folder)
    try:
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(20):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{url}/machine")).is_success:
                        break
                await asyncio.sleep(0.02)
        yield url
    finally:
        await process.stop()
