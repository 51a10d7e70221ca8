"""Speak with a Kubernetes API server: read, change under a precondition, and undo a workload to an earlier template.

Every change carries the `resourceVersion` that was read, so that what somebody else changed in between is never
overwritten: the server answers 409, which is a NodeRefused, and nothing was done. Secrets are never read.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic.alias_generators import to_camel

from bot.domain.target import Answer, Release, Reply
from bot.errors import Misconfigured, NodeBroken, NodeError, NodeRefused
from bot.nodes.way import Way
from bot.nodes.wire import Call

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
MANY = 500
"""Objects of one listing; more is an error, never a part of them."""
CONFIG_MAPS = 32
"""ConfigMaps of one workload that are read."""
UNSETTLED = "unsettled"
"""The build of a workload whose pods do not all run one build, ready, with none left over."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CONFIG = ("name", "command", "args", "env", "envFrom", "volumeMounts")


class Seen(BaseModel):
    """What is read of an object; the API's null means absent."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, seen: Any) -> Any:
        return {key: value for key, value in seen.items() if value is not None} if isinstance(seen, dict) else seen


class Owner(Seen):
    """An owner of an object."""

    uid: str
    controller: bool = False


class Meta(Seen):
    """An object's metadata."""

    name: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[Owner] = []
    deletion_timestamp: str | None = None

    def owned_by(self, uid: str) -> bool:
        """Tell whether the object of this `uid` controls it."""
        return any(owner.uid == uid and owner.controller for owner in self.owner_references)


class Thing(Seen):
    """Any object; `spec`, `data` and `binary_data` as they are."""

    metadata: Meta = Meta()
    spec: dict[str, Any] = {}
    data: Any = None
    binary_data: Any = None
    revision: int = 0


class Expression(Seen):
    """One requirement of a label selector."""

    key: str
    operator: str
    values: list[str] = []

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Tell whether `labels` meet it; raises NodeBroken for an operator that is not known."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
        raise NodeBroken(f"the selector operator {self.operator!r} is not known")

    def query(self) -> str:
        """Return it as the query parameter `labelSelector` wants it."""
        plain = {"Exists": self.key, "DoesNotExist": f"!{self.key}"}
        return plain.get(self.operator) or f"{self.key} {self.operator.lower()} ({','.join(self.values)})"


class Selector(Seen):
    """A label selector."""

    match_labels: dict[str, str] = {}
    match_expressions: list[Expression] = []

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether it selects an object with `labels`; an empty one selects everything."""
        plain = all(labels.get(key) == value for key, value in self.match_labels.items())
        return plain and all(one.holds(labels) for one in self.match_expressions)

    def looks_at(self) -> set[str]:
        """Return the label keys that it depends on."""
        return {*self.match_labels, *(one.key for one in self.match_expressions)}

    def query(self) -> str:
        """Return it as `labelSelector` wants it."""
        return ",".join(
            [*(f"{k}={v}" for k, v in self.match_labels.items()), *(e.query() for e in self.match_expressions)]
        )


class Condition(Seen):
    """One condition of a status."""

    type: str
    status: str = ""
    reason: str = ""


class ContainerStatus(Seen):
    """One container of a pod."""

    name: str
    image_id: str = Field(default="", alias="imageID")
    restart_count: int = 0
    state: dict[str, dict[str, Any] | None] = {}


class PodStatus(Seen):
    """What the kubelet says of a pod."""

    phase: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []


class PodSpec(Seen):
    """Where and how a pod runs."""

    node_name: str = ""
    host_network: bool = False
    termination_grace_period_seconds: int = 30


class Pod(Seen):
    """A pod."""

    metadata: Meta = Meta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ended(self) -> bool:
        """Tell whether its containers have ended for good; a pod of unknown phase has not."""
        return self.status.phase in {"Succeeded", "Failed"}

    @property
    def ready(self) -> bool:
        """Tell whether it is ready, and not on its way out."""
        says = any(one.type == "Ready" and one.status == "True" for one in self.status.conditions)
        return says and self.metadata.deletion_timestamp is None

    def build(self, container: str) -> str:
        """Return the image digest that `container` runs, or nothing when the kubelet names none."""
        for one in self.status.container_statuses:
            if one.name == container and (found := _DIGEST.search(one.image_id)):
                return found.group()
        return ""

    def trouble(self) -> str:
        """Return why a container waits (ImagePullBackOff, CrashLoopBackOff, …), or nothing."""
        for one in self.status.container_statuses:
            if reason := (one.state.get("waiting") or {}).get("reason"):
                return str(reason)[:60]
        return ""


class Strategy(Seen):
    """How a workload replaces its pods."""

    type: str = ""
    rolling_update: dict[str, Any] = {}


class WorkloadSpec(Seen):
    """What a workload should be."""

    replicas: int = 1
    selector: Selector = Selector()
    template: dict[str, Any] = {}
    strategy: Strategy = Strategy()
    update_strategy: Strategy = Strategy()
    paused: bool = False
    workload_ref: dict[str, Any] | None = None


class WorkloadStatus(Seen):
    """What its controller says; Argo writes `observedGeneration` as text."""

    observed_generation: int = 0
    conditions: list[Condition] = []
    updated_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    current_pod_hash: str = ""
    stable_rs: str = Field(default="", alias="stableRS")
    abort: bool = False


class Workload(Seen):
    """A Deployment, StatefulSet or Rollout."""

    metadata: Meta = Meta()
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()


class _Page(Seen):
    """A listing."""

    metadata: dict[str, Any] = {}
    items: list[dict[str, Any]] = []


S = TypeVar("S", bound=Seen)
_PAGE = TypeAdapter(_Page)
_ANY: TypeAdapter[Any] = TypeAdapter(Any)


class Kube:
    """One namespace of one cluster, as the node's workload is reached in it."""

    def __init__(self, way: Way, namespace: str) -> None:
        self.node = way.node.name
        self.namespace = namespace
        self._wire = way.wire()

    def call(self) -> "KubeCall":
        """Begin one driver call: all its requests together have the endpoint's timeout."""
        return KubeCall(self.node, self._wire.call(), self._wire.timeout.total_seconds())

    def core(self, *parts: str) -> str:
        """Return a path of the core API in the namespace."""
        return f"/api/v1/namespaces/{_joined(self.namespace, *parts)}"

    def group(self, group: str, *parts: str) -> str:
        """Return a path of an API group (`apps/v1`) in the namespace."""
        return f"/apis/{group}/namespaces/{_joined(self.namespace, *parts)}"


def machine_path(name: str = "") -> str:
    """Return the path of a machine (a Kubernetes Node), or of them all."""
    return f"/api/v1/{_joined('nodes', *([name] if name else []))}"


def _joined(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


class KubeCall:
    """The requests of one driver call."""

    def __init__(self, node: str, call: Call, seconds: float) -> None:
        self._node = node
        self._call = call
        self._pause = min(0.5, seconds / 15)
        self._enough = asyncio.get_running_loop().time() + seconds * 0.7

    async def read(self, shape: type[S], path: str) -> S:
        """Return the object at `path`; raises NodeRefused with status 404 when there is none."""
        return await self._call.json(TypeAdapter(shape), "GET", path)

    async def find(self, shape: type[S], path: str) -> S | None:
        """Return the object at `path`, or None."""
        try:
            return await self.read(shape, path)
        except NodeRefused as refusal:
            if refusal.status == 404:
                return None
            raise

    async def many(self, shape: type[S], path: str, selector: str = "") -> list[S]:
        """Return the objects at `path` whose labels meet `selector`; raises NodeBroken for more than MANY."""
        params = {"limit": str(MANY)} | ({"labelSelector": selector} if selector else {})
        page = await self._call.json(_PAGE, "GET", path, params=params)
        if page.metadata.get("continue"):
            raise NodeBroken(f"{self._node}: there are more than {MANY} objects at {path}")
        try:
            return [shape.model_validate(item) for item in page.items]
        except ValueError:
            raise NodeBroken(f"{self._node} answered GET {path} with an unreadable object") from None

    async def merge(self, path: str, seen: Meta, change: Mapping[str, Any]) -> None:
        """Send a merge patch (RFC 7396) that holds only while the object is as it was `seen`."""
        meta = {**change.get("metadata", {}), "uid": seen.uid, "resourceVersion": seen.resource_version}
        await self._write("PATCH", path, {**change, "metadata": meta}, MERGE)

    async def set_template(self, path: str, seen: Meta, template: Mapping[str, Any]) -> None:
        """Replace `/spec/template` whole (JSON Patch, RFC 6902), while the object is as it was `seen`."""
        body = [
            {"op": "test", "path": "/metadata/uid", "value": seen.uid},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": seen.resource_version},
            {"op": "replace", "path": "/spec/template", "value": template},
        ]
        await self._write("PATCH", path, body, JSON_PATCH)

    async def create(self, path: str, body: Mapping[str, Any]) -> None:
        """Create an object."""
        await self._write("POST", path, body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> None:
        """Replace an object; `body` names the resourceVersion that it holds for."""
        await self._write("PUT", path, body)

    async def delete(self, path: str, seen: Meta) -> None:
        """Delete an object while it is as it was `seen`."""
        precondition = {"uid": seen.uid, "resourceVersion": seen.resource_version}
        await self._write("DELETE", path, {"preconditions": precondition})

    async def pause(self) -> bool:
        """Wait a little for the cluster to catch up; False when the call has no more time for that."""
        if asyncio.get_running_loop().time() + self._pause > self._enough:
            return False
        await asyncio.sleep(self._pause)
        return True

    async def _write(self, method: str, path: str, body: object, media: str = "application/json") -> None:
        params = {} if method == "DELETE" else {"fieldManager": "stopsign"}
        await self._call.json(_ANY, method, path, body=body, params=params, headers={"Content-Type": media})


def plain_name(node: str, what: str, value: str | None) -> str:
    """Return an option that names a Kubernetes object; raises Misconfigured when it is missing or no such name."""
    if not value or not _NAME.fullmatch(value):
        raise Misconfigured([f"node {node}: option {what} must name a Kubernetes object (lower case, digits, - and .)"])
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A template that the cluster keeps; `hash` is the label value of its pods, `build` its image digest if known."""

    revision: int
    hash: str
    template: Mapping[str, Any]
    build: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A workload with its pods, those that have ended aside."""

    kind: str
    work: Workload
    pods: Sequence[Pod]
    container: str
    hash_label: str
    hash: str
    """The label value of pods of the current template; empty while the controller has not told it, or is not done."""

    @property
    def observed(self) -> bool:
        """Tell whether the controller has seen the newest specification."""
        return self.work.status.observed_generation >= self.work.metadata.generation

    @property
    def builds(self) -> set[str]:
        """Return the image digests that its pods run."""
        return {pod.build(self.container) for pod in self.pods}

    @property
    def settled(self) -> bool:
        """Tell whether exactly the wanted pods run, ready, of the current template and of one known build."""
        return (
            self.observed
            and self.work.metadata.deletion_timestamp is None
            and len(self.pods) == self.work.spec.replicas > 0
            and all(pod.ready and pod.metadata.labels.get(self.hash_label) == self.hash for pod in self.pods)
            and self.hash != ""
            and len(self.builds) == 1
            and "" not in self.builds
        )

    @property
    def build(self) -> str:
        """Return the digest that runs, or UNSETTLED."""
        return next(iter(self.builds)) if self.settled else UNSETTLED

    def told(self) -> str:
        """Return the state by name, for people."""
        meta, ready = self.work.metadata, sum(pod.ready for pod in self.pods)
        seen = "observed" if self.observed else "not observed"
        parts = [f"{self.kind} {meta.name} has generation {meta.generation} {seen}"]
        parts.append(f"{ready} of {self.work.spec.replicas} pods ready")
        if len(self.pods) != self.work.spec.replicas:
            parts.append(f"{len(self.pods)} pods exist")
        parts += [one for pod in self.pods[:3] if (one := self._wrong(pod))]
        parts += [one.reason for one in self.work.status.conditions if one.reason == "ProgressDeadlineExceeded"]
        return "; ".join(parts)

    def _wrong(self, pod: Pod) -> str:
        name, trouble = f"pod {pod.metadata.name}", pod.trouble()
        if pod.metadata.deletion_timestamp:
            return f"{name} is still terminating"
        if self.hash and pod.metadata.labels.get(self.hash_label) != self.hash:
            if self.kind == "StatefulSet" and not pod.ready:
                return f"{name} of another template is not ready and Kubernetes waits for it: delete it, without force"
            return f"{name} is of another template"
        return f"{name} waits: {trouble}" if trouble else ""


class Undo:
    """Deployer over the templates that a cluster keeps of a workload. What differs by kind is left to subclasses."""

    kind: str
    hash_label: str

    def __init__(self, way: Way, name: str, container: str | None, namespace: str) -> None:
        self._kube = Kube(way, namespace)
        self._name = name
        self._container = container

    def _path(self) -> str:
        """Return the workload's path."""
        raise NotImplementedError

    def _hash(self, work: Workload, pods: Sequence[Pod]) -> str:
        """Return the label value of pods of the current template, or nothing while the controller has not told it."""
        raise NotImplementedError

    async def _past(self, call: KubeCall, standing: Standing) -> list[Past]:
        """Return the kept templates, the current one too, newest first."""
        raise NotImplementedError

    def _twin(self, standing: Standing, wanted: Past) -> str:
        """Return why setting the template `wanted` could start a second pod with the key, or nothing."""
        raise NotImplementedError

    async def rollback(self, to_build: str, *, incident: str, request: str) -> Reply:
        """Set the newest kept template that runs image digest `to_build`, and wait for its pods.

        Refused, with nothing sent, when no kept template runs it or when a second pod with the key could start.
        """
        call = self._kube.call()
        standing = await self._standing(call)
        past = await self._past(call, standing)
        if (current := self._image(standing.work.spec.template)) == "":
            return Reply(answer=Answer.REFUSED, detail=f"{self.kind} {self._name} has no such container")
        if self._build_of(standing, past) == to_build:
            return await self._await(call, to_build, image=current, sent=False)
        wanted = next((one for one in past if one.build == to_build), None)
        if wanted is None:
            return Reply(answer=Answer.REFUSED, detail=self._unknown(to_build, past))
        if twin := self._twin(standing, wanted):
            return Reply(answer=Answer.REFUSED, detail=twin)
        await call.set_template(self._path(), standing.work.metadata, wanted.template)
        try:
            return await self._await(call, to_build, image=self._image(wanted.template), sent=True)
        except NodeError as error:
            return Reply(
                answer=Answer.UNKNOWN, detail=f"the undo to revision {wanted.revision} was sent, then: {error}"
            )

    async def release(self) -> Release:
        """Read what runs: UNSETTLED, with the state as its version, until exactly the wanted pods run one build."""
        call = self._kube.call()
        standing = await self._standing(call)
        past = await self._past(call, standing)
        template = standing.work.spec.template
        return Release(
            version=self._version(template) if standing.settled else standing.told(),
            build_hash=standing.build,
            config_checksum=await self._config(call, template),
            instance=" ".join(sorted(_instance(pod) for pod in standing.pods)),
            previous_build=next((one.build for one in past[1:] if one.build), None),
        )

    async def _standing(self, call: KubeCall) -> Standing:
        work = await call.read(Workload, self._path())
        selector = work.spec.selector.query()
        if not selector:
            raise NodeBroken(f"{self._kube.node}: {self.kind} {self._name} selects every pod")
        pods = [pod for pod in await call.many(Pod, self._kube.core("pods"), selector) if not pod.ended]
        return Standing(
            kind=self.kind,
            work=work,
            pods=pods,
            container=self._container or self._first(work.spec.template),
            hash_label=self.hash_label,
            hash=self._hash(work, pods),
        )

    async def _await(self, call: KubeCall, to_build: str, *, image: str, sent: bool) -> Reply:
        """Read back until the pods run `to_build`, or as long as the call may; the state reached is told by name."""
        first = True
        while True:
            standing = await self._standing(call)
            if self._image(standing.work.spec.template) != image:
                return Reply(answer=Answer.FAILED, detail=f"the template is not what was set; {standing.told()}")
            if standing.settled:
                break
            if self._kept_empty(standing):
                return Reply(answer=Answer.FAILED, detail=f"the template is set, and nothing runs; {standing.told()}")
            first = False
            if not await call.pause():
                return Reply(answer=Answer.UNKNOWN, detail=f"not finished: {standing.told()}")
        if standing.build != to_build:
            return Reply(answer=Answer.FAILED, detail=f"the pods run {standing.build[:19]}; {standing.told()}")
        already = first and not sent
        return Reply(answer=Answer.ALREADY if already else Answer.ACKNOWLEDGED, detail=standing.told())

    def _kept_empty(self, standing: Standing) -> bool:
        return standing.observed and standing.work.spec.replicas == 0 and not standing.pods

    def _build_of(self, standing: Standing, past: Sequence[Past]) -> str:
        """Return the digest of the current template: named in it, or as its pods or its kept copy tell."""
        image = self._image(standing.work.spec.template)
        if found := _DIGEST.search(image):
            return found.group()
        return next((one.build for one in past if self._image(one.template) == image and one.build), "")

    def _named_build(self, template: Mapping[str, Any], hash_: str, pods: Sequence[Pod]) -> str:
        """Return the digest of a kept template: named in its image, or run by its pods."""
        if found := _DIGEST.search(self._image(template)):
            return found.group()
        container = self._container or self._first(template)
        ran = {pod.build(container) for pod in pods if pod.metadata.labels.get(self.hash_label) == hash_} - {""}
        return ran.pop() if len(ran) == 1 else ""

    def _unknown(self, to_build: str, past: Sequence[Past]) -> str:
        kept = ", ".join(f"{one.revision} {one.build[:19] or 'by tag, digest unknown'}" for one in past[:5])
        return f"no kept revision of {self.kind} {self._name} runs {to_build[:19]}; kept are: {kept or 'none'}"

    def _containers(self, template: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = _inside(template, "spec", "containers")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def _first(self, template: Mapping[str, Any]) -> str:
        return next((str(one.get("name", "")) for one in self._containers(template)), "")

    def _image(self, template: Mapping[str, Any]) -> str:
        wanted = self._container or self._first(template)
        return next((str(one.get("image", "")) for one in self._containers(template) if one.get("name") == wanted), "")

    def _version(self, template: Mapping[str, Any]) -> str:
        """Return the label app.kubernetes.io/version, or else the image's tag."""
        if label := _inside(template, "metadata", "labels", "app.kubernetes.io/version"):
            return str(label)
        tag = self._image(template).partition("@")[0].rpartition("/")[2].partition(":")[2]
        return tag or "unnamed"

    async def _config(self, call: KubeCall, template: Mapping[str, Any]) -> str:
        """Return the checksum of commands, environment, volumes and the content of the ConfigMaps they name."""
        spec = _inside(template, "spec")
        maps: dict[str, str | None] = {}
        names = sorted(_config_maps(spec))
        if len(names) > CONFIG_MAPS:
            raise NodeBroken(f"{self._kube.node}: {self.kind} {self._name} names more than {CONFIG_MAPS} ConfigMaps")
        for name in names:
            found = await call.find(Thing, self._kube.core("configmaps", name))
            maps[name] = _hashed({"data": found.data, "binaryData": found.binary_data}) if found else None
        spec = spec if isinstance(spec, dict) else {}
        shown = {
            kind: [{key: one.get(key) for key in _CONFIG} for one in spec.get(kind) or [] if isinstance(one, dict)]
            for kind in ("containers", "initContainers")
        }
        return _hashed({**shown, "volumes": spec.get("volumes"), "configMaps": maps})


def without_label(template: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return a kept template as it stood in its workload: without the hash label that its controller added."""
    meta = dict(_inside(template, "metadata") or {})
    meta["labels"] = {key: value for key, value in (meta.get("labels") or {}).items() if key != label}
    return {key: value for key, value in template.items() if key != "$patch"} | {"metadata": meta}


def grace_of(standing: Standing) -> int:
    """Return the shortest time, in seconds, that a pod of the workload is given to end."""
    template = _inside(standing.work.spec.template, "spec", "terminationGracePeriodSeconds")
    given = 30 if template is None else int(template)
    return min([given, *(pod.spec.termination_grace_period_seconds for pod in standing.pods)])


def _inside(tree: Any, *path: str) -> Any:
    for step in path:
        tree = tree.get(step) if isinstance(tree, Mapping) else None
    return tree


def _config_maps(spec: Any) -> set[str]:
    """Return the names of the ConfigMaps that a pod specification refers to, wherever they stand in it."""
    if isinstance(spec, list):
        return set().union(*map(_config_maps, spec)) if spec else set()
    if not isinstance(spec, Mapping):
        return set()
    found = set()
    for key, value in spec.items():
        if key in {"configMapRef", "configMapKeyRef", "configMap"} and isinstance(value, Mapping):
            found.add(str(value.get("name", "")))
        found |= _config_maps(value)
    return found - {""}


def _hashed(tree: object) -> str:
    try:
        content = rfc8785.dumps(tree)  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, TypeError, RecursionError):
        raise NodeBroken("the configuration cannot be written canonically") from None
    return "sha256:" + hashlib.sha256(b"stopsign kubernetes config\n" + content).hexdigest()


def _instance(pod: Pod) -> str:
    restarts = sum(one.restart_count for one in pod.status.container_statuses)
    return f"{pod.metadata.uid}/{restarts}"
