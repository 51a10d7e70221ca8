"""A PostgreSQL of our own for tests: Debian's programs, a Unix socket in a temporary folder, nothing made durable."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.conftest import need

DEBIAN = Path("/usr/lib/postgresql")
SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
}
READY_SECONDS = 40.0
TEMPLATE = "migrated"


@dataclass(kw_only=True)
class Server:
    """A PostgreSQL that runs; `databases` counts those made so far."""

    folder: Path
    process: subprocess.Popen[bytes]
    databases: int = field(default=0)

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def new(self, template: str = "template1") -> str:
        """Make a database, empty or as a copy of another; return its URL."""
        self.databases += 1
        name = f"d{self.databases}"
        self.do(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def do(self, statement: str, database: str = "postgres") -> None:
        """Run one statement outside of a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())


def programs() -> Path | None:
    """Return the folder with PostgreSQL's programs, the newest first; None when there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    every = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return every[-1].parent if every else None


def _as_nobody() -> list[str]:
    """Return what to put before a command: PostgreSQL does not run as root, and shall not outlive the tests."""
    ends = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
    if os.getuid() == 0:
        return [*(ends or ["setpriv"]), "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    return ends


@contextmanager
def postgresql() -> Iterator[Server]:
    """Run a fresh PostgreSQL for the length of a block; without its programs the test is skipped, in CI it fails."""
    found = programs()
    need(found is None, "postgresql")
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="stopsign-pg-", dir="/tmp"))  # a socket's path has at most 107 bytes
    try:
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        made = ("--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8")
        command = [*_as_nobody(), str(found / "initdb"), *made, "-D", str(folder / "data")]
        subprocess.run(command, check=True, capture_output=True, cwd="/")
        with (folder / "log").open("wb") as log:
            options = [f"--{name}={value}" for name, value in {**SETTINGS, "unix_socket_directories": folder}.items()]
            process = subprocess.Popen(
                [*_as_nobody(), str(found / "postgres"), "-D", str(folder / "data"), *options],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            server = Server(folder=folder, process=process)
            _wait(server)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: Server) -> None:
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            server.do("SELECT 1")
        except psycopg.OperationalError:
            log = (server.folder / "log").read_text(errors="replace")[-2000:]
            assert server.process.poll() is None, f"PostgreSQL ended:\n{log}"
            assert time.monotonic() < end, f"PostgreSQL did not answer within {READY_SECONDS:.0f} s:\n{log}"
            time.sleep(0.05)
        else:
            return
