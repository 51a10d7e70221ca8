"""A real Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager, with an emulated kubelet.

The folder KUBE_BIN holds the three programs; docs/kubernetes.md tells how they are made. Pods run nowhere: the kubelet
here binds them, says that they run, and lets them end after their grace.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from tests.drivers.kube import IMAGE, LABELS, NS, SELECTS, TOKEN, Object, template_of

KUBE_BIN = Path(os.environ.get("KUBE_BIN") or "/nonexistent")
ADMIN = "admin-token"
GRACE = 1.0
"""Seconds that a pod takes to end."""
_MERGE = "application/merge-patch+json"
_CONTROLLERS = "deployment,replicaset,statefulset,endpointslice,garbagecollector"
_KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "%s", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@contextmanager
def control_plane(folder: Path) -> Iterator[str]:
    """Run the programs with their state in `folder`, and yield the API server's URL."""
    client, peer, api = _free(3)
    etcd, url = f"http://127.0.0.1:{client}", f"https://127.0.0.1:{api}"
    (folder / "tokens.csv").write_text(f"{ADMIN},admin,1,system:masters\n{TOKEN},stopsign,2,\n")
    (folder / "kubeconfig").write_text(_KUBECONFIG % (url, ADMIN))
    key = folder / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    here = f"http://127.0.0.1:{peer}"
    commands = {
        "etcd": f"--data-dir={folder}/etcd --listen-client-urls={etcd} --advertise-client-urls={etcd}"
        f" --listen-peer-urls={here} --initial-advertise-peer-urls={here} --initial-cluster=default={here}",
        "kube-apiserver": f"--etcd-servers={etcd} --bind-address=127.0.0.1 --advertise-address=127.0.0.1"
        f" --secure-port={api} --cert-dir={folder}/certs --service-cluster-ip-range=10.0.0.0/24"
        f" --token-auth-file={folder}/tokens.csv --authorization-mode=RBAC --service-account-issuer=https://127.0.0.1"
        f" --service-account-key-file={key} --service-account-signing-key-file={key}"
        " --disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
        "kube-controller-manager": f"--kubeconfig={folder}/kubeconfig --controllers={_CONTROLLERS}"
        " --leader-elect=false --secure-port=0" + _insecure(),
    }
    running: list[subprocess.Popen[bytes]] = []
    try:
        for program, arguments in commands.items():
            if program == "kube-controller-manager":
                _await_health(url)  # which it waits for no longer than 10 s
            found = KUBE_BIN / program if (KUBE_BIN / program).exists() else Path(shutil.which(program) or program)
            with (folder / f"{program}.log").open("wb") as log:
                running.append(subprocess.Popen([str(found), *arguments.split()], stdout=log, stderr=log))
        yield url
    finally:
        for one in reversed(running):
            one.kill()
            one.wait()


def _await_health(url: str) -> None:
    """Wait until the API server says that it is healthy."""
    request = urllib.request.Request(f"{url}/healthz", headers={"Authorization": f"Bearer {ADMIN}"})
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(request, context=context, timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError("the API server did not become healthy")


def _insecure() -> str:
    """Return the flag that old controller managers need, so as not to listen on a fixed port too."""
    said = subprocess.run(
        [KUBE_BIN / "kube-controller-manager", "--version"], check=True, capture_output=True, text=True
    )
    return " --port=0" if int(said.stdout.split(".")[1]) < 24 else ""


def _free(count: int) -> list[int]:
    open_ = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in open_]
    for one in open_:
        one.close()
    return ports


@dataclass
class Plane:
    """The control plane as an administrator sees it, and what its pods did."""

    url: str
    session: aiohttp.ClientSession
    port: int = 0
    """Where a driver reaches it."""
    broken: set[str] = field(default_factory=set)
    """Images that never become ready."""
    peak: int = 0
    both: float = 0.0
    """The most pods of LABELS that ran at once, and for how many seconds more than one did."""

    async def ask(self, method: str, path: str, body: Any = None, media: str = "application/json") -> Object:
        """Send one request as an administrator and return the answer, whatever its status."""
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": media}
        async with self.session.request(method, self.url + path, json=body, headers=headers, ssl=False) as response:
            answer: Object = await response.json(content_type=None)
            return answer

    async def pods(self) -> list[Object]:
        """Return all pods of the namespace."""
        found: list[Object] = (await self.ask("GET", f"/api/v1/namespaces/{NS}/pods"))["items"]
        return found

    def path(self, kind: str) -> str:
        """Return the path of the workload."""
        return f"/apis/apps/v1/namespaces/{NS}/{kind.lower()}s"

    async def roll(self, kind: str, image: str) -> None:
        """Set the workload's image as its owner would."""
        change = {"spec": {"template": template_of(image)}}
        await self.ask("PATCH", f"{self.path(kind)}/seq-01", change, _MERGE)

    async def rolled(self, kind: str, *images: str, strategy: Object | None = None) -> None:
        """Make `seq-01` and roll it through `images`, waiting for each but a broken one."""
        await until(self._gone)
        spec: Object = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template_of(images[0])}
        spec |= {"serviceName": "metrics"} if kind == "StatefulSet" else {"strategy": strategy or {"type": "Recreate"}}
        await self.ask("POST", self.path(kind), {"metadata": {"name": "seq-01"}, "spec": spec})
        for index, image in enumerate(images):
            if index:
                await self.roll(kind, image)
            await until(partial(self._runs, image))
        await asyncio.sleep(0.5)
        self.peak, self.both = 0, 0.0

    async def dropped(self, kind: str) -> None:
        """Delete the workload with its pods."""
        await self.ask("DELETE", f"{self.path(kind)}/seq-01", {"propagationPolicy": "Background"})
        await until(self._gone)

    async def _gone(self) -> bool:
        return not await self.pods()

    async def _runs(self, image: str) -> bool:
        pods = await self.pods()
        status = [one["status"] for one in pods if one["spec"]["containers"][0]["image"] == image]
        return len(pods) == len(status) == 1 and "containerStatuses" in status[0]

    async def kubelet(self) -> None:
        """Run the pods, as far as the API can tell, until cancelled."""
        ends: dict[str, float] = {}
        last = time.monotonic()
        while True:
            pods, now = await self.pods(), time.monotonic()
            running = [
                one
                for one in pods
                if one["metadata"]["labels"].items() >= LABELS.items() and one["status"].get("phase") == "Running"
            ]
            self.peak = max(self.peak, len(running))
            self.both += now - last if len(running) > 1 else 0.0
            last = now
            for pod in pods:
                await self._care(pod, ends, now)
            await asyncio.sleep(0.05)

    async def _care(self, pod: Object, ends: dict[str, float], now: float) -> None:
        meta, image = pod["metadata"], pod["spec"]["containers"][0]["image"]
        path = f"/api/v1/namespaces/{NS}/pods/{meta['name']}"
        if meta.get("deletionTimestamp"):
            if ends.setdefault(meta["uid"], now + GRACE) <= now:
                await self.ask("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}})
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": "machine-1"}
            await self.ask("POST", f"{path}/binding", {"metadata": {"name": meta["name"]}, "target": target})
        elif "containerStatuses" not in pod["status"]:
            await self.ask("PATCH", f"{path}/status", {"status": self._status(image)}, _MERGE)

    def _status(self, image: str) -> Object:
        broken, since = image in self.broken, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        state = {"waiting": {"reason": "ImagePullBackOff"}} if broken else {"running": {"startedAt": since}}
        container = {"name": "signer", "image": image, "ready": not broken, "restartCount": 0, "state": state}
        container["imageID"] = "" if broken else f"docker-pullable://{IMAGE}@{image.partition('@')[2]}"
        ready = {"type": "Ready", "status": str(not broken), "lastTransitionTime": since}
        said = {"phase": "Pending" if broken else "Running", "conditions": [ready], "containerStatuses": [container]}
        return said | {"podIP": "10.9.0.1", "podIPs": [{"ip": "10.9.0.1"}]}


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Wait until something holds; raises AssertionError when it does not."""
    end = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < end, "it never came to hold"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def plane(url: str, roles: list[Object]) -> AsyncIterator[Plane]:
    """Yield the control plane at `url`, with a namespace, a machine, two Services, and `roles` bound to the user."""
    async with aiohttp.ClientSession() as session:
        it = Plane(url, session)
        await until(lambda: _serves(it))
        await it.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NS}})
        await it.ask("POST", "/api/v1/nodes", {"metadata": {"name": "machine-1"}})
        config = {"metadata": {"name": "seq-config"}, "data": {"QUORUM": "2"}}
        await it.ask("POST", f"/api/v1/namespaces/{NS}/configmaps", config)
        for name, selector in (("seq", LABELS | SELECTS), ("metrics", LABELS)):
            service = {"metadata": {"name": name}, "spec": {"selector": selector, "ports": [{"port": 80}]}}
            await it.ask("POST", f"/api/v1/namespaces/{NS}/services", service)
        for role in roles:
            await _bind(it, role)
        kubelet = asyncio.create_task(it.kubelet())
        runner = await _way_in(it)
        try:
            yield it
        finally:
            await runner.cleanup()
            kubelet.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await kubelet


async def _serves(it: Plane) -> bool:
    try:
        return (await it.ask("GET", "/api/v1/namespaces/default")).get("kind") == "Namespace"
    except aiohttp.ClientError:
        return False


async def _bind(it: Plane, role: Object) -> None:
    kind, name = role["kind"], role["metadata"]["name"]
    base = f"/apis/rbac.authorization.k8s.io/v1/{f'namespaces/{NS}/' if kind == 'Role' else ''}{kind.lower()}"
    await it.ask("POST", f"{base}s", role)
    group = "rbac.authorization.k8s.io"
    user = {"kind": "User", "name": "stopsign", "apiGroup": group}
    body = {"metadata": {"name": name}, "roleRef": {"apiGroup": group, "kind": kind, "name": name}, "subjects": [user]}
    await it.ask("POST", f"{base}bindings", body)


async def _way_in(it: Plane) -> web.AppRunner:
    """Serve the API in plain HTTP; servers before 1.21 know EndpointSlices as v1beta1 only."""
    old = int((await it.ask("GET", "/version"))["minor"].rstrip("+")) < 21

    async def pass_on(request: web.Request) -> web.Response:
        path = request.raw_path
        if old:
            path = path.replace("/discovery.k8s.io/v1/", "/discovery.k8s.io/v1beta1/")
        kept = {key: value for key, value in request.headers.items() if key in {"Authorization", "Content-Type"}}
        url, body = URL(it.url + path, encoded=True), await request.read()
        async with it.session.request(request.method, url, data=body, headers=kept, ssl=False) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    it.port = runner.addresses[0][1]
    return runner
