"""A small cluster behind kmock: the API server's rules for changes, and just enough of its controllers and kubelets.

Emulated, not real: what it does was written after the Kubernetes and Argo Rollouts documentation and source. It keeps
the rules that matter for signers: preconditions on resourceVersion, which controller waits for a pod to be gone, and
how many pods with one key ran at once (`peak`).
"""

import asyncio
import contextlib
import copy
import hashlib
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import jsonpatch
import kmock

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import argo_rollouts, kubernetes
from bot.nodes.reach import Reach
from tests.drivers.contract import Character, SystemClock
from tests.drivers.crooked import crooked

TOKEN = "cluster-token"
NS = "signers"
LABELS = {"app": "seq-01"}
SELECTS = {"role": "signer"}
GOOD, BAD = "sha256:" + "a" * 64, "sha256:" + "b" * 64
IMAGE = "registry.example/sequin"
Object = dict[str, Any]
_HASH = {"Deployment": "pod-template-hash", "Rollout": "rollouts-pod-template-hash"}
_REVISION = {"Deployment": "deployment.kubernetes.io/revision", "Rollout": "rollout.argoproj.io/revision"}
_PLURAL = {"Deployment": "deployments", "Rollout": "rollouts", "StatefulSet": "statefulsets"}
_SAFE = {"GET", "HEAD"}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class NoSuch(Exception):
    """The API's answer to a request that it does not take."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass
class Cluster:
    """The objects of one cluster, its controllers, and what is wrong with them."""

    grace: float = 0.03
    """Seconds from a pod's deletion to its end."""
    start: float = 0.03
    """Seconds from a pod's making to its readiness."""
    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    registry: dict[str, str] = field(default_factory=dict)
    """Digests of images that are named by tag."""
    broken: set[str] = field(default_factory=set)
    """Images that never become ready."""
    rules: list[Object] | None = None
    """Rules of RBAC roles; None allows everything."""
    lies: bool = False
    """Answer to every change that it is done, and do nothing."""
    deaf: set[str] = field(default_factory=set)
    """Names of objects whose changes are answered and dropped, and of pods that no controller ends."""
    page: int = 500
    """The most objects in one listing."""
    slices_stand: bool = False
    """EndpointSlices are no longer kept up to date."""
    webhook: Callable[[Object], None] | None = None
    """A mutating webhook: changes what is created."""
    before_change: Callable[[], None] | None = None
    """Runs once before the next change, as somebody else's change in between."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    changes: list[tuple[str, str, Any, str]] = field(default_factory=list)
    peak: int = 0
    """The most pods of LABELS that existed at once, those on their way out too."""
    _clock: float = 0.0
    _number: int = 0

    # --- the API ---------------------------------------------------------------------------------

    def answer(self, request: kmock.Request) -> Any:
        """Answer one request as the API server would."""
        method = request.method.value
        path = request.url.path
        try:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise NoSuch(401, "Unauthorized", "Unauthorized")
            assert request.resource is not None
            plural = str(request.resource.plural)
            self.requests.append((method, path))
            self._authorise(request, plural, method)
            if method in _SAFE:
                return self._read(request, plural)
            media = str(request.headers.get("Content-Type", ""))
            self.changes.append((method, path, json.loads(request.body or b"{}"), media))
            if self.before_change:
                act, self.before_change = self.before_change, None
                act()
            return self._change(request, plural, method, media)
        except NoSuch as no:
            raise kmock.KubernetesError(status=no.status, reason=no.reason, message=no.message) from no

    def _authorise(self, request: kmock.Request, plural: str, method: str) -> None:
        verb = _VERBS.get(method) or ("get" if request.name else "list")
        group = request.resource.group if request.resource else ""
        for rule in self.rules if self.rules is not None else [{}]:
            if not rule or (
                group in rule["apiGroups"]
                and plural in rule["resources"]
                and verb in rule["verbs"]
                and request.name in rule.get("resourceNames", [request.name])
            ):
                return
        raise NoSuch(403, "Forbidden", f'{plural} is forbidden: User "stopsign" cannot {verb} resource "{plural}"')

    def _read(self, request: kmock.Request, plural: str) -> Object:
        if request.name:
            one: Object = copy.deepcopy(self._one(plural, request.namespace or "", request.name))
            return one
        chosen = request.params.get("labelSelector", "")
        found = [
            copy.deepcopy(one)
            for (kind, namespace, _), one in self.objects.items()
            if (kind, namespace) == (plural, request.namespace or "") and selects(chosen, one["metadata"]["labels"])
        ]
        more = {"continue": "more"} if len(found) > self.page else {}
        return {"kind": "List", "apiVersion": "v1", "metadata": more, "items": found[: self.page]}

    def _change(self, request: kmock.Request, plural: str, method: str, media: str) -> Object:
        body, namespace = json.loads(request.body or b"{}"), request.namespace or ""
        name = request.name or body["metadata"]["name"]
        if method == "POST":
            if (plural, namespace, name) in self.objects:
                raise NoSuch(409, "AlreadyExists", f'{plural} "{name}" already exists')
            if self.webhook:
                self.webhook(body)
            return body if self._drops(name) else copy.deepcopy(self.put(plural, body, namespace))
        there = self._one(plural, namespace, name)
        if method == "DELETE":
            self._precondition(there, body.get("preconditions", {}), plural)
            if not self._drops(name):
                self.delete(plural, name, namespace)
            return {"kind": "Status", "status": "Success"}
        made = self._patched(there, body, method, media)
        self._precondition(there, made["metadata"], plural)
        if self._drops(name):
            return made
        if made.get("spec") != there.get("spec"):
            made["metadata"]["generation"] = there["metadata"].get("generation", 0) + 1
        self._store(plural, namespace, made)
        return copy.deepcopy(made)

    def _patched(self, there: Object, body: Any, method: str, media: str) -> Object:
        before = copy.deepcopy(there)
        if method == "PUT":
            kept = {key: before["metadata"][key] for key in ("uid", "generation") if key in before["metadata"]}
            return {**body, "metadata": {"labels": {}, "annotations": {}, **body["metadata"], **kept}}
        if media == "application/merge-patch+json":
            made: Object = merged(before, body)
            return made
        if media == "application/json-patch+json":
            try:
                done: Object = jsonpatch.apply_patch(before, body)
                return done
            except jsonpatch.JsonPatchException as error:
                raise NoSuch(422, "Invalid", f"the server rejected our request: {error}") from error
        raise NoSuch(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {media}")

    def _precondition(self, there: Object, told: Object, plural: str) -> None:
        meta = there["metadata"]
        for key in ("uid", "resourceVersion"):
            if told.get(key) and told[key] != meta[key]:
                what = f'Operation cannot be fulfilled on {plural} "{meta["name"]}"'
                status, reason = (409, "Conflict") if key == "resourceVersion" else (422, "Invalid")
                raise NoSuch(status, reason, f"{what}: the object has been modified; please apply your changes again")

    def _drops(self, name: str) -> bool:
        return self.lies or name in self.deaf

    def _one(self, plural: str, namespace: str, name: str) -> Object:
        there = self.objects.get((plural, namespace, name))
        if there is None:
            raise NoSuch(404, "NotFound", f'{plural} "{name}" not found')
        return there

    # --- its objects -----------------------------------------------------------------------------

    def put(self, plural: str, body: Object, namespace: str = NS) -> Object:
        """Store a new object."""
        made = copy.deepcopy(body)
        meta = made.setdefault("metadata", {})
        self._number += 1
        meta.update(uid=f"uid-{self._number}", generation=1, namespace=namespace)
        meta.setdefault("labels", {})
        meta.setdefault("annotations", {})
        self._store(plural, namespace, made)
        return made

    def edit(self, plural: str, name: str, change: Object, namespace: str = NS) -> None:
        """Change an object as somebody else would."""
        there = self.objects[plural, namespace, name]
        made = merged(copy.deepcopy(there), change)
        if made.get("spec") != there.get("spec"):
            made["metadata"]["generation"] += 1
        self._store(plural, namespace, made)

    def delete(self, plural: str, name: str, namespace: str = NS) -> None:
        """Delete an object; a pod is given its grace."""
        if plural == "pods":
            if not self.objects[plural, namespace, name]["metadata"].get("deletionTimestamp"):
                self.edit(plural, name, {"metadata": {"deletionTimestamp": "2026-11-20T03:00:00Z"}})
                self.objects[plural, namespace, name]["ends"] = self._clock + self.grace
        else:
            del self.objects[plural, namespace, name]

    def of(self, plural: str) -> list[Object]:
        """Return all objects of a kind."""
        return [one for (kind, _, _), one in self.objects.items() if kind == plural]

    def one(self, plural: str, name: str, namespace: str = NS) -> Object:
        """Return one object."""
        return self.objects[plural, namespace, name]

    def pods(self) -> list[Object]:
        """Return the pods of the workload, those on their way out too."""
        return [one for one in self.of("pods") if one["metadata"]["labels"].items() >= LABELS.items()]

    def builds(self) -> list[str]:
        """Return the digest that each pod runs."""
        return [self.digest(one["spec"]["containers"][0]["image"]) for one in self.pods()]

    def digest(self, image: str) -> str:
        """Return what an image name stands for."""
        return image.partition("@")[2] or self.registry[image]

    def _store(self, plural: str, namespace: str, made: Object) -> None:
        self._number += 1
        made["metadata"]["resourceVersion"] = str(self._number)
        self.objects[plural, namespace, made["metadata"]["name"]] = made

    def _say(self, plural: str, name: str, status: Object) -> None:
        """Write a status, when it is another than before."""
        there = self.objects[plural, NS, name]
        if there.get("status") != status:
            there["status"] = status
            self._store(plural, NS, there)

    # --- its controllers -------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the controllers until cancelled."""
        while True:
            self.tick(0.01)
            await asyncio.sleep(0.01)

    def settle(self) -> None:
        """Let the controllers finish what they have begun; a grace longer than 8 s is not waited for."""
        still = 0
        while still < 8:
            before = self._number, len(self.objects)
            self.tick(1.0)
            still = still + 1 if before == (self._number, len(self.objects)) else 0

    def tick(self, seconds: float) -> None:
        """Let time pass, and run each controller once."""
        self._clock += seconds
        for pod in self.of("pods"):
            self._kubelet(pod)
        for kind in ("Deployment", "Rollout"):
            for work in self.of(_PLURAL[kind]):
                self._replicas(kind, work)
        for work in self.of("statefulsets"):
            self._ordinals(work)
        self.peak = max(self.peak, len(self.pods()))
        if not self.slices_stand:
            self._slices()

    def _kubelet(self, pod: Object) -> None:
        name, image = pod["metadata"]["name"], pod["spec"]["containers"][0]["image"]
        if pod.get("ends", math.inf) <= self._clock:
            del self.objects["pods", NS, name]
            return
        if not pod["spec"].get("nodeName") and not self.one("nodes", "machine-1", "")["spec"].get("unschedulable"):
            pod["spec"]["nodeName"] = "machine-1"
        state: Object = {"name": "signer", "restartCount": 0, "state": {}, "imageID": ""}
        ready = self._clock >= pod["starts"] and image not in self.broken and "nodeName" in pod["spec"]
        if ready:
            state |= {"imageID": f"{IMAGE}@{self.digest(image)}", "state": {"running": {}}}
        elif image in self.broken:
            state["state"] = {"waiting": {"reason": "ImagePullBackOff"}}
        conditions = [{"type": "Ready", "status": str(ready), "reason": None}]
        phase = "Running" if ready else "Pending"
        self._say("pods", name, {"phase": phase, "conditions": conditions, "containerStatuses": [state]})

    def _start(self, name: str, template: Object, owner: Object, kind: str, label: dict[str, str]) -> None:
        meta = {
            "name": name,
            "labels": {**template["metadata"]["labels"], **label},
            "ownerReferences": [{"uid": owner["metadata"]["uid"], "kind": kind, "controller": True}],
        }
        pod = self.put("pods", {"metadata": meta, "spec": copy.deepcopy(template["spec"])})
        pod["starts"] = self._clock + self.start
        self._kubelet(pod)

    def _end(self, pod: Object) -> None:
        if pod["metadata"]["name"] not in self.deaf:
            self.delete("pods", pod["metadata"]["name"])

    def _replicas(self, kind: str, work: Object) -> None:
        """Do what the Deployment controller does, and Argo's with a canary without steps."""
        label, spec, status = _HASH[kind], work["spec"], work.get("status") or {}
        now = self._replica_set(kind, work)
        want, mine = spec["replicas"], self._owned(work, label)
        new = [pod for pod in mine if pod["metadata"]["labels"][label] == now]
        old = [pod for pod in mine if pod not in new]
        stable = status.get("stableRS", now)
        if status.get("abort") and now == status.get("currentPodHash") != stable:
            for pod in _active(new):
                self._end(pod)
            self._fill(work, kind, stable, want - len(_active(old)))
        elif spec["strategy"].get("type") == "Recreate":
            for pod in _active(old):
                self._end(pod)
            if not old:
                self._fill(work, kind, now, want - len(_active(new)))
        else:
            self._roll(work, kind, now, new, old)
        for pod in _active(new)[want:]:
            self._end(pod)
        ready = sum(_ready(pod) for pod in _active(new))
        done = ready == want and not _active(old)
        said: Object = {"observedGeneration": work["metadata"]["generation"], "updatedReplicas": len(_active(new))}
        if kind == "Rollout":
            said |= {"observedGeneration": str(said["observedGeneration"]), "currentPodHash": now}
            said |= {"stableRS": now if done else stable}
            said |= {"abort": True} if status.get("abort") and now == status.get("currentPodHash") != stable else {}
        self._say(_PLURAL[kind], work["metadata"]["name"], said)

    def _roll(self, work: Object, kind: str, now: str, new: list[Object], old: list[Object]) -> None:
        want, strategy = work["spec"]["replicas"], work["spec"]["strategy"]
        rolling = strategy.get("rollingUpdate") or strategy.get("canary") or {}
        surge = _count(rolling.get("maxSurge", "25%"), want, up=True)
        away = _count(rolling.get("maxUnavailable", "25%"), want, up=False)
        room = want + surge - len(_active(new)) - len(_active(old))
        self._fill(work, kind, now, min(room, want - len(_active(new))))
        spare = sum(_ready(pod) for pod in _active(new) + _active(old)) - (want - away)
        for pod in _active(old)[: max(spare, 0)]:
            self._end(pod)

    def _fill(self, work: Object, kind: str, hash_: str, count: int) -> None:
        name = f"{work['metadata']['name']}-{hash_}"
        keeper = self.one("replicasets", name)
        for _ in range(count):
            self._number += 1
            label = {_HASH[kind]: hash_}
            self._start(f"{name}-{self._number}", keeper["spec"]["template"], keeper, "ReplicaSet", label)

    def _replica_set(self, kind: str, work: Object) -> str:
        """Keep a ReplicaSet of the current template, as the newest revision, and return its hash."""
        template, label = work["spec"]["template"], _HASH[kind]
        hash_ = hash_of(template)
        kept = [one for one in self.of("replicasets") if _owns(work, one)]
        newest = max([0, *(int(one["metadata"]["annotations"][_REVISION[kind]]) for one in kept)])
        mine = next((one for one in kept if one["metadata"]["labels"][label] == hash_), None)
        if mine is None:
            inner = copy.deepcopy(template)
            inner["metadata"]["labels"][label] = hash_
            meta = {
                "name": f"{work['metadata']['name']}-{hash_}",
                "labels": {**template["metadata"]["labels"], label: hash_},
                "annotations": {_REVISION[kind]: str(newest + 1)},
                "ownerReferences": [{"uid": work["metadata"]["uid"], "kind": kind, "controller": True}],
            }
            self.put("replicasets", {"metadata": meta, "spec": {"template": inner}})
        elif int(mine["metadata"]["annotations"][_REVISION[kind]]) < newest:
            mine["metadata"]["annotations"][_REVISION[kind]] = str(newest + 1)
        return hash_

    def _owned(self, work: Object, label: str) -> list[Object]:
        keepers = {one["metadata"]["uid"] for one in self.of("replicasets") if _owns(work, one)}
        return [
            pod
            for pod in self.of("pods")
            if label in pod["metadata"]["labels"] and pod["metadata"]["ownerReferences"][0]["uid"] in keepers
        ]

    def _ordinals(self, work: Object) -> None:
        """Do what the StatefulSet controller does in order: one pod at a time, its name used again once free."""
        meta, spec = work["metadata"], work["spec"]
        now = self._revision(work)
        names = [f"{meta['name']}-{ordinal}" for ordinal in range(spec["replicas"])]
        there = {name: self.objects.get(("pods", NS, name)) for name in names}
        status = work.get("status") or {"currentRevision": now}
        runs = [one["metadata"]["labels"]["controller-revision-hash"] for one in there.values() if one]
        rolled = len(runs) == len(names) and set(runs) == {now} and all(_ready(one) for one in there.values() if one)
        current = now if rolled else status["currentRevision"]
        said = {"observedGeneration": meta["generation"], "currentRevision": current, "updateRevision": now}
        self._say("statefulsets", meta["name"], said | {"updatedReplicas": runs.count(now)})
        for name in names:
            one = there[name]
            if one is None:
                label = {"controller-revision-hash": now}
                self._start(name, spec["template"], work, "StatefulSet", label)
                return
            if one["metadata"].get("deletionTimestamp") or not _ready(one):
                return
        if (spec.get("updateStrategy") or {}).get("type") != "OnDelete":
            for name in reversed(names):
                one = there[name]
                if one and one["metadata"]["labels"]["controller-revision-hash"] != now:
                    self._end(one)
                    return

    def _revision(self, work: Object) -> str:
        template, name = work["spec"]["template"], f"{work['metadata']['name']}-{hash_of(work['spec']['template'])}"
        kept = [one for one in self.of("controllerrevisions") if _owns(work, one)]
        newest = max([0, *(one["revision"] for one in kept)])
        mine = next((one for one in kept if one["metadata"]["name"] == name), None)
        if mine is None:
            owner = {"uid": work["metadata"]["uid"], "kind": "StatefulSet", "controller": True}
            meta = {"name": name, "labels": dict(template["metadata"]["labels"]), "ownerReferences": [owner]}
            data = {"spec": {"template": {**copy.deepcopy(template), "$patch": "replace"}}}
            self.put("controllerrevisions", {"metadata": meta, "revision": newest + 1, "data": data})
        elif mine["revision"] < newest:
            mine["revision"] = newest + 1
        return name

    def _slices(self) -> None:
        for service in self.of("services"):
            name, selector = service["metadata"]["name"], service["spec"]["selector"]
            endpoints = [
                {
                    "conditions": {"ready": _ready(pod) and not pod["metadata"].get("deletionTimestamp")},
                    "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]},
                }
                for pod in self.of("pods")
                if pod["metadata"]["labels"].items() >= selector.items()
            ]
            label = {"kubernetes.io/service-name": name}
            if ("endpointslices", NS, name) not in self.objects:
                self.put("endpointslices", {"metadata": {"name": name, "labels": label}, "endpoints": []})
            self.one("endpointslices", name)["endpoints"] = endpoints or None


@asynccontextmanager
async def running(cluster: Cluster) -> AsyncIterator[int]:
    """Serve `cluster` on a free port of this machine, its controllers running, and yield the port."""
    api = kmock.KubernetesScaffold()
    async with api, kmock.Server(api) as server:
        api << cluster.answer
        task = asyncio.create_task(cluster.run())
        try:
            yield server.port
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def template_of(image: str, **spec: Any) -> Object:
    """Return a pod template that runs `image` as the container `signer`."""
    container = {
        "name": "signer",
        "image": image,
        "env": [{"name": "NETWORK", "value": "testnet"}],
        "envFrom": [{"configMapRef": {"name": "seq-config"}}, {"secretRef": {"name": "seq-secret"}}],
    }
    return {"metadata": {"labels": {**LABELS, **SELECTS}}, "spec": {"containers": [container], **spec}}


def workload(
    kind: str, *images: str, replicas: int = 1, strategy: Object | None = None, pod: Object | None = None, **how: Any
) -> Cluster:
    """Return a cluster in which `seq-01` was rolled through `images`, the last one running, with what belongs to it."""
    cluster = Cluster(**how)
    cluster.put("nodes", {"metadata": {"name": "machine-1"}, "spec": {}}, "")
    cluster.put("configmaps", {"metadata": {"name": "seq-config"}, "data": {"QUORUM": "2"}})
    cluster.put("services", {"metadata": {"name": "seq"}, "spec": {"selector": {**LABELS, **SELECTS}}})
    cluster.put("services", {"metadata": {"name": "metrics"}, "spec": {"selector": LABELS}})
    way = strategy or {"type": "Recreate"}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": LABELS},
        "template": template_of(images[0], **(pod or {})),
    }
    spec |= {"updateStrategy": strategy or {"type": "RollingUpdate"}} if kind == "StatefulSet" else {"strategy": way}
    cluster.put(_PLURAL[kind], {"metadata": {"name": "seq-01"}, "spec": spec})
    cluster.settle()
    for image in images[1:]:
        cluster.edit(_PLURAL[kind], "seq-01", {"spec": {"template": template_of(image, **(pod or {}))}})
        cluster.settle()
    cluster.peak = 0
    cluster.tick(0.0)
    return cluster


def aborted_rollout(**how: Any) -> Cluster:
    """Return a Rollout whose canary of BAD never became ready and was aborted: GOOD runs, the template is still BAD."""
    cluster = workload("Rollout", named_image(GOOD), strategy={"canary": {"maxSurge": 1}}, **how)
    cluster.broken.add(named_image(BAD))
    cluster.edit("rollouts", "seq-01", {"spec": {"template": template_of(named_image(BAD))}})
    cluster.settle()
    cluster.edit("rollouts", "seq-01", {"status": {"abort": True}})
    cluster.settle()
    cluster.peak = 0
    return cluster


@asynccontextmanager
async def reached(
    cluster: Cluster, driver: str, *, character: Character = Character.HONEST, timeout: float = 5.0, **options: Any
) -> AsyncIterator[Any]:
    """Yield a driver of `seq-01` in `cluster`, behind a proxy of the character given."""
    async with (
        running(cluster) as port,
        crooked(character, "127.0.0.1", port) as proxy,
        driving(driver, proxy, timeout=timeout, **options) as made,
    ):
        yield made


@asynccontextmanager
async def driving(driver: str, port: int, *, timeout: float = 5.0, **options: Any) -> AsyncIterator[Any]:
    """Yield a driver of `seq-01` behind a port of this machine."""
    about = {"namespace": NS, "name": "seq-01", **options}
    connects: dict[str, Any] = {"kubernetes": kubernetes.connect, "argo_rollouts": argo_rollouts.connect}
    url, limit = f"http://127.0.0.1:{port}", timedelta(seconds=timeout)
    endpoint = Endpoint(driver=driver, url=url, token="env:T", timeout=limit, options=about)
    node = Node(name="n", avs="x", keys=("0xaa",), reach={Capability.DEPLOYER: endpoint})
    async with Reach(drivers=connects, secret=lambda _: TOKEN, clock=SystemClock()) as reach:
        yield reach.reach(node, Capability.DEPLOYER)


def named_image(digest: str) -> str:
    """Return an image named by tag and digest."""
    return f"{IMAGE}:{'2.3.1' if digest == GOOD else '2.4.0'}@{digest}"


def hash_of(template: Object) -> str:
    """Return the hash by which controllers know a template."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def merged(there: Any, change: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396)."""
    if not isinstance(change, dict):
        return change
    base = dict(there) if isinstance(there, dict) else {}
    for key, value in change.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = merged(base.get(key), value)
    return base


def selects(query: str, labels: dict[str, str]) -> bool:
    """Tell whether `labels` meet a labelSelector parameter."""
    for part in re.split(r",(?![^(]*\))", query) if query else []:
        if one := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", part):
            if (labels.get(one[1]) in one[3].split(",")) is not (one[2] == "in"):
                return False
        elif "=" in part:
            key, _, value = part.partition("=")
            if labels.get(key) != value:
                return False
        elif (part.removeprefix("!") in labels) is part.startswith("!"):
            return False
    return True


def _owns(owner: Object, one: Object) -> bool:
    return any(ref["uid"] == owner["metadata"]["uid"] for ref in one["metadata"].get("ownerReferences", []))


def _active(pods: list[Object]) -> list[Object]:
    """Return those that a ReplicaSet counts: without the ones that are ending, which still run."""
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def _ready(pod: Object) -> bool:
    return bool(pod["status"]["conditions"][0]["status"] == "True")


def _count(value: Any, replicas: int, *, up: bool) -> int:
    if isinstance(value, str):
        part = int(value.rstrip("%")) * replicas / 100
        return math.ceil(part) if up else math.floor(part)
    return int(value)
