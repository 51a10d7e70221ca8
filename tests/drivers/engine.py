"""A real Docker Engine for tests: dockerd on a socket of its own, images made on this machine, and a bent way to it.

It needs root. It has no bridge, touches no firewall rule, and its folders lie in a temporary one.
"""

import asyncio
import atexit
import base64
import contextlib
import functools
import hashlib
import io
import json
import os
import platform
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
from aiohttp import web

from tests.conftest import need

API = "http://localhost/v1.41"
STAYS = ("/bin/sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")
"""A command that runs until it is told to stop."""
FAILS = ("/bin/sh", "-c", "exit 3")
"""A command that ends at once."""


@dataclass(frozen=True)
class Build:
    """An image of one static busybox whose configuration is `command` and `more`; its ID is known without an engine."""

    name: str
    command: tuple[str, ...] = STAYS
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return its ID: the hash of its configuration."""
        return _sha256(self._config())

    def archive(self) -> bytes:
        """Return it in the form of `docker save`."""
        manifest = [{"Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"]}]
        files = {"layer.tar": _layer(), "config.json": self._config(), "manifest.json": json.dumps(manifest).encode()}
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content in files.items():
                _add(archive, name, content)
        return packed.getvalue()

    def _config(self) -> bytes:
        whole = {
            "architecture": {"aarch64": "arm64"}.get(platform.machine(), "amd64"),
            "os": "linux",
            "created": "2026-11-20T03:00:00Z",
            "config": {"Cmd": list(self.command), **self.more},
            "rootfs": {"type": "layers", "diff_ids": [_sha256(_layer())]},
            "history": [{"created": "2026-11-20T03:00:00Z", "created_by": self.name}],
        }
        return json.dumps(whole, sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@functools.cache
def _layer() -> bytes:
    """Return the one layer of all images; the same bytes each time."""
    busybox, packed = shutil.which("busybox"), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        _add(archive, "bin/busybox", Path(busybox).read_bytes() if busybox else b"")
        for link in ("sh", "sleep", "cat", "touch"):
            entry = tarfile.TarInfo(f"bin/{link}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
    return packed.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    archive.addfile(entry, io.BytesIO(content))


def release(version: str) -> Build:
    """Return a build whose defaults tell its version."""
    labels = {"org.opencontainers.image.version": version}
    return Build(f"avs/node:{version}", more={"Env": [f"BUILD={version}"], "Labels": labels})


GOOD, BAD = release("2.3.1"), release("2.4.0")
BROKEN = Build("avs/node:2.2.9", FAILS)


@functools.cache
def engine() -> "Engine":
    """Return the engine of this test process, started on first use and ended with the process."""
    need(os.geteuid() != 0, "root, which dockerd needs,")
    need(shutil.which("dockerd") is None, "dockerd")
    need(shutil.which("busybox") is None, "busybox")
    folder = Path(tempfile.mkdtemp(prefix="dk-"))
    started = Engine(folder)
    atexit.register(started.end)
    started.wait()
    started.load(GOOD, BAD, BROKEN)
    return started


class Engine:
    """One dockerd, and what tests ask of it directly: the ground truth."""

    def __init__(self, folder: Path) -> None:
        """Start dockerd with everything of its own in `folder`."""
        self.folder = folder
        self.socket = folder / "d.sock"
        own = {"host": f"unix://{self.socket}", "data-root": folder / "data", "exec-root": folder / "exec"}
        own |= {"pidfile": folder / "d.pid", "storage-driver": "vfs", "bridge": "none"}
        own |= {"iptables": "false", "ip6tables": "false", "exec-opt": "native.cgroupdriver=cgroupfs"}
        with (folder / "log").open("wb") as log:
            command = ["dockerd", *(f"--{name}={value}" for name, value in own.items())]
            plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
            nothing = subprocess.DEVNULL
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=nothing, env=plain)
        self._client = httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=30, trust_env=False)

    def wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.socket))
                break
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)
        self.ask("GET", "/_ping")

    def end(self) -> None:
        """Remove its containers, end it, remove its folder."""
        with contextlib.suppress(httpx.HTTPError):
            for one in self.listed():
                self.ask("DELETE", f"/containers/{one['Id']}", force="true", v="true")
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, method: str, path: str, body: object = None, **params: str) -> Any:
        """Ask it, and return its JSON answer; raises httpx.HTTPStatusError for a 4xx or 5xx."""
        answer = self._client.request(method, API + path, params=params, json=body)
        if answer.is_error:
            answer.raise_for_status()  # 304 is none
        return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else None

    def listed(self) -> list[dict[str, Any]]:
        """Return all containers."""
        found: list[dict[str, Any]] = self.ask("GET", "/containers/json", all="1")
        return found

    def container(self, name: str) -> dict[str, Any]:
        """Inspect one container."""
        found: dict[str, Any] = self.ask("GET", f"/containers/{name}/json")
        return found

    def running(self, prefix: str) -> list[str]:
        """Return the names of the running containers that begin with `prefix`."""
        names = [one["Names"][0][1:] for one in self.listed() if one["State"] == "running"]
        return sorted(name for name in names if name.startswith(prefix))

    def named(self, prefix: str) -> dict[str, str]:
        """Return the state of each container whose name begins with `prefix`, by name."""
        states = {one["Names"][0][1:]: one["State"] for one in self.listed()}
        return {name: states[name] for name in sorted(states) if name.startswith(prefix)}

    def load(self, *builds: "Build") -> None:
        """Give it images, as `docker load` does."""
        for one in builds:
            answer = self._client.post(f"{API}/images/load", content=one.archive())
            answer.raise_for_status()
            self.ask("GET", f"/images/{one.digest}/json")

    def push(self, build: "Build") -> str:
        """Push an image to a registry of this test, so that it gets a repo digest; return that."""
        with _registry() as port:
            repo = f"127.0.0.1:{port}/{build.name.partition(':')[0]}"
            self.ask("POST", f"/images/{build.name}/tag", repo=repo, tag="pushed")
            nobody = {"X-Registry-Auth": base64.b64encode(b"{}").decode()}
            answer = self._client.post(f"{API}/images/{repo}/push", params={"tag": "pushed"}, headers=nobody)
            assert answer.is_success, answer.text
            assert '"error"' not in answer.text, answer.text
        digests: list[str] = self.ask("GET", f"/images/{build.digest}/json")["RepoDigests"]
        return digests[0].partition("@")[2]

    def run(self, name: str, build: Build, **more: Any) -> str:
        """Create and start a container without a network, and return its ID."""
        host = {"NetworkMode": "none"} | more.pop("HostConfig", {})
        made = self.ask("POST", "/containers/create", {"Image": build.digest, "HostConfig": host} | more, name=name)
        self.ask("POST", f"/containers/{made['Id']}/start")
        return str(made["Id"])

    def clear(self, prefix: str) -> None:
        """Remove the containers whose names begin with `prefix`."""
        for name in self.named(prefix):
            self.ask("DELETE", f"/containers/{name}", force="true", v="true")


class _Registry(BaseHTTPRequestHandler):
    """As much of a registry (OCI distribution spec) as a push needs; it keeps the sizes of what it was given."""

    protocol_version = "HTTP/1.1"
    held: ClassVar[dict[str, int]] = {}
    sent = 0

    def _answer(self, status: int, *, size: int = 0, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_GET(self) -> None:
        """Say that it speaks version 2."""
        self._answer(200, Docker_Distribution_Api_Version="registry/2.0")

    def do_HEAD(self) -> None:
        """Tell whether it was given a blob."""
        digest = self.path.rpartition("/")[2]
        held = digest in self.held
        self._answer(200 if held else 404, size=self.held.get(digest, 0), Docker_Content_Digest=digest)

    def do_POST(self) -> None:
        """Begin an upload."""
        self._body()
        self._answer(202, Location=self.path + "one", Docker_Upload_UUID="one")

    def do_PATCH(self) -> None:
        """Take a part of a layer."""
        self.sent = len(self._body())
        self._answer(202, Location=self.path, Range=f"0-{self.sent - 1}", Docker_Upload_UUID="one")

    def do_PUT(self) -> None:
        """End an upload, or take a manifest."""
        body = self._body()
        told = parse_qs(urlsplit(self.path).query).get("digest", [_sha256(body)])[0]
        self.held[told] = len(body) or self.sent
        self._answer(201, Location=self.path, Docker_Content_Digest=told)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _registry() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def fresh() -> str:
    """Return a name that no other test has."""
    return f"n{uuid.uuid4().hex[:10]}"


Bend = Callable[[str, str], tuple[int, object] | None]
"""Takes method and path; returns status and JSON to answer without asking the engine, or None to pass it on."""


@dataclass
class Gateway:
    """HTTP on 127.0.0.1 in front of an engine's socket; `effects` are the requests that were no GET, in order.

    `late` are seconds by which answers come late, by the end of the path.
    """

    port: int = 0
    effects: list[str] = field(default_factory=list)
    late: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Return its URL."""
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def gateway(to: Engine, bend: Bend = lambda method, path: None) -> AsyncIterator[Gateway]:
    """Yield a way to the engine that answers some requests by itself."""
    there = Gateway()

    async def pass_on(request: web.Request) -> web.Response:
        if request.method != "GET":
            there.effects.append(f"{request.method} {request.path}")
        bent = bend(request.method, request.path)
        if bent is not None:
            return web.json_response(bent[1], status=bent[0]) if bent[0] != 204 else web.Response(status=204)
        content, kind = await request.read(), request.headers.get("Content-Type", "application/json")
        headers = {"Content-Type": kind}
        url = f"http://localhost{request.rel_url}"
        async with session.request(request.method, url, data=content, headers=headers) as answer:
            await asyncio.sleep(sum(by for end, by in there.late.items() if request.path.endswith(end)))
            kept = {"Content-Type": answer.headers["Content-Type"]} if "Content-Type" in answer.headers else {}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(app, handler_cancellation=True)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(to.socket))) as session:
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            there.port = runner.addresses[0][1]
            yield there
        finally:
            await runner.cleanup()
