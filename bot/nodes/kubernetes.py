"""Drive a Deployment or StatefulSet that runs one signer: take its pods out of traffic, and undo its template.

Pods are relabelled one by one, never through the workload's template: a changed template would roll the pods, which
restarts the signer and destroys what a forensic look would find. The label must not be one by which the workload
knows its pods: taken off, the workload would start another pod with the same key.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import Field

from bot.domain.inventory import Capability
from bot.domain.target import Answer, Effect, Reply
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeError, NodeRefused
from bot.nodes.kube_api import (
    Kube,
    KubeCall,
    Meta,
    Past,
    Pod,
    Seen,
    Selector,
    Standing,
    Thing,
    Undo,
    Workload,
    grace_of,
    machine_path,
    plain_name,
    without_label,
)
from bot.nodes.way import Way
from bot.ports import Traits

TOOK = "stopsign/took-label"
"""The annotation that keeps which label was taken off a pod."""
INCIDENT = "stopsign/incident"
CORDONED = "cordoned.stopsign/"
"""Begins the label of a machine that was cordoned for the workload whose uid follows."""
OURS = {"app.kubernetes.io/managed-by": "stopsign"}
TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.ROUTER, Capability.DEPLOYER),
    proves_by="label: no pod carries it and no EndpointSlice lists one as ready; networkpolicy: the policy read back,"
    " and no other that lets traffic through; rollback: generation observed, exactly the wanted pods ready, none left"
    " over, each with the wanted image digest in its status",
    needs="label: a Service that selects on the label; rollback: images named by digest, and strategy Recreate or a"
    " StatefulSet, since anything else runs two pods with one key for a time",
    cannot_know="whether open connections end, whether the network plugin enforces policies, pods outside the"
    " workload's selector that hold the key; a cordon stops no traffic, so it alone never reads back as isolated",
    blast_radius="label and policy: the pods of one workload, and with a policy their metrics and their remote signer"
    " too; cordon: new pods of every workload on the machine",
    tested="kmock 0.8 with emulated controllers; outside CI kube-apiserver and kube-controller-manager 1.20.2 with an"
    " emulated kubelet",
    tier="emulated",
)
_KINDS = ("Deployment", "StatefulSet")
_REVISION = "deployment.kubernetes.io/revision"


class _Conditions(Seen):
    ready: bool | None = None


class _Target(Seen):
    uid: str = ""
    name: str = ""


class _Endpoint(Seen):
    conditions: _Conditions = _Conditions()
    target_ref: _Target = _Target()


class _Slice(Seen):
    endpoints: list[_Endpoint] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Change:
    """One write; `what` names its object."""

    what: str
    send: Callable[[KubeCall], Awaitable[None]]


class _Barrier(Protocol):
    """One way to take a workload's pods out of traffic."""

    async def closing(self, call: KubeCall, at: Standing, incident: str) -> list[_Change]:
        """Return the changes that close it, none when it is closed; raises NodeRefused when it would not help."""
        ...

    async def opening(self, call: KubeCall, at: Standing) -> list[_Change]:
        """Return the changes that take back exactly what `closing` did, none when nothing is left of it."""
        ...

    async def leak(self, call: KubeCall, at: Standing) -> str:
        """Return why traffic may still reach the pods, or nothing."""
        ...


def connect(way: Way) -> "Kubernetes":
    """Return the driver of the workload at `way`; opens no connection. Raises Misconfigured.

    Options:
        namespace: its namespace
        kind: Deployment or StatefulSet
        name: its name
        container: the container that is the signer (default: the first)
        isolate: label, cordon or networkpolicy; needed by a router only
        label: key=value on which the Service selects; for `isolate: label`
    """
    options = way.options("namespace", "kind", "name", "container", "isolate", "label")
    node = way.node.name
    namespace, name = (plain_name(node, what, options.get(what)) for what in ("namespace", "name"))
    kind = options.get("kind", "")
    if kind not in _KINDS:
        raise Misconfigured([f"node {node}: option kind must be one of {', '.join(_KINDS)}"])
    kube = Kube(way, namespace)
    barrier: _Barrier | None = None
    match options.get("isolate"):
        case None:
            if "label" in options:
                raise Misconfigured([f"node {node}: option label needs option isolate: label"])
        case "label":
            key, _, value = options.get("label", "").partition("=")
            if not key or not value:
                raise Misconfigured([f"node {node}: option label must be key=value, as the Service selects it"])
            barrier = _Unlabel(kube, key, value)
        case "cordon":
            barrier = _Cordon()
        case "networkpolicy":
            barrier = _Deny(kube, f"stopsign-isolates-{kind.lower()}-{name}")
        case other:
            raise Misconfigured([f"node {node}: option isolate is {other!r}, not label, cordon or networkpolicy"])
    return Kubernetes(way, kind, name, options.get("container"), namespace, barrier)


class Kubernetes(Undo):
    """Router and Deployer of one Deployment or StatefulSet."""

    traits = TRAITS

    def __init__(
        self, way: Way, kind: str, name: str, container: str | None, namespace: str, barrier: _Barrier | None
    ) -> None:
        super().__init__(way, name, container, namespace)
        self.kind = kind
        self.hash_label = "pod-template-hash" if kind == "Deployment" else "controller-revision-hash"
        self._barrier = barrier

    async def isolate(self, *, incident: str, request: str) -> Reply:
        """Close the barrier before the workload's pods, and wait until nothing routes traffic to them any more."""
        call = self._kube.call()
        barrier, standing = self._routed(), await self._standing(call)
        if not standing.pods:
            return Reply(answer=Answer.REFUSED, detail=f"no pod to isolate: {standing.told()}")
        changes = await barrier.closing(call, standing, incident)
        if failed := await _sent(call, changes):
            return failed
        try:
            while leak := await barrier.leak(call, standing := await self._standing(call)):
                if not await call.pause():
                    return Reply(answer=Answer.FAILED, detail=leak)
        except NodeError as error:
            if not changes:
                raise
            return Reply(answer=Answer.UNKNOWN, detail=f"isolation was asked for, then: {error}")
        if not changes:
            return Reply(answer=Answer.ALREADY, detail="was out of traffic before the request")
        return Reply(answer=Answer.ACKNOWLEDGED, detail=f"out of traffic; {standing.told()}")

    async def restore(self, *, incident: str, request: str) -> Reply:
        """Take back what `isolate` did and nothing else; failed when the pods are kept out by somebody else."""
        call = self._kube.call()
        barrier, standing = self._routed(), await self._standing(call)
        changes = await barrier.opening(call, standing)
        if failed := await _sent(call, changes):
            return failed
        try:
            while left := await self._kept_out(call, barrier):
                if not await call.pause():
                    return Reply(answer=Answer.FAILED, detail=left)
        except NodeError as error:
            if not changes:
                raise
            return Reply(answer=Answer.UNKNOWN, detail=f"the isolation was taken back, then: {error}")
        if not changes:
            return Reply(answer=Answer.ALREADY, detail="nothing of Stopsign's keeps it out of traffic")
        return Reply(answer=Answer.ACKNOWLEDGED, detail="in traffic again")

    async def _kept_out(self, call: KubeCall, barrier: _Barrier) -> str:
        """Return what keeps the pods out of traffic, or nothing."""
        standing = await self._standing(call)
        if left := await barrier.opening(call, standing):
            return f"{left[0].what} is still as the isolation left it"
        if not await barrier.leak(call, standing):
            return f"still out of traffic, not by Stopsign; {standing.told()}"
        return ""

    async def isolated(self) -> bool:
        """Read back whether nothing routes traffic to the workload's pods; False while its pods are missing."""
        call = self._kube.call()
        barrier, standing = self._routed(), await self._standing(call)
        return bool(standing.pods or standing.work.spec.replicas == 0) and not await barrier.leak(call, standing)

    def _routed(self) -> _Barrier:
        if self._barrier is None:
            raise NodeRefused(f"{self._kube.node}: option isolate is not set for its router")
        return self._barrier

    def _path(self) -> str:
        return self._kube.group("apps/v1", f"{self.kind.lower()}s", self._name)

    def _hash(self, work: Workload, pods: Sequence[Pod]) -> str:
        if self.kind == "StatefulSet":
            return work.status.update_revision
        hashes = {pod.metadata.labels.get(self.hash_label, "") for pod in pods}
        return hashes.pop() if len(hashes) == 1 and work.status.updated_replicas == work.spec.replicas else ""

    async def _past(self, call: KubeCall, standing: Standing) -> list[Past]:
        plural = "replicasets" if self.kind == "Deployment" else "controllerrevisions"
        kept = await call.many(Thing, self._kube.group("apps/v1", plural), standing.work.spec.selector.query())
        past = [self._kept(one, standing.pods) for one in kept if one.metadata.owned_by(standing.work.metadata.uid)]
        return sorted(past, key=lambda one: one.revision, reverse=True)

    def _kept(self, one: Thing, pods: Sequence[Pod]) -> Past:
        if self.kind == "Deployment":
            spec, hash_ = one.spec, one.metadata.labels.get(self.hash_label, "")
            number = one.metadata.annotations.get(_REVISION, "0")
            revision = int(number) if number.isdigit() else 0
        else:
            data = one.data if isinstance(one.data, dict) else {}
            spec, hash_, revision = data.get("spec") or {}, one.metadata.name, one.revision
        template = without_label(spec.get("template") or {}, self.hash_label)
        return Past(revision=revision, hash=hash_, template=template, build=self._named_build(template, hash_, pods))

    def _twin(self, standing: Standing, wanted: Past) -> str:
        """Return why an undo could run two pods with one key.

        Recreate waits until the old pods are gone; RollingUpdate never does: even with maxSurge 0 the new pod starts
        while the old one is terminating. A StatefulSet reuses the pod's name, so the old one must be gone first.
        """
        spec, what = standing.work.spec, f"{self.kind} {self._name}"
        if spec.replicas == 0 and not standing.pods:
            return ""
        if grace_of(standing) < 1:
            return f"{what} gives its pods 0 s to end: the next pod could start beside a running one"
        if self.kind == "Deployment":
            if spec.paused:
                return f"{what} is paused: it would not roll"
            if spec.strategy.type != "Recreate":
                return (
                    f"{what} rolls by {spec.strategy.type or 'RollingUpdate'}, which runs two pods with one key, even"
                    " with maxSurge 0: set spec.strategy.type to Recreate"
                )
            return ""
        if spec.update_strategy.type == "OnDelete":
            return f"{what} rolls OnDelete: set spec.updateStrategy.type to RollingUpdate"
        if spec.update_strategy.rolling_update.get("partition"):
            return f"{what} has a partition: pods below it would not roll; set it to 0"
        return ""


async def _sent(call: KubeCall, changes: Sequence[_Change]) -> Reply | None:
    """Send changes one after another; None when all were accepted, a reply when only some were.

    Raises a NodeError when not even the first was.
    """
    for done, change in enumerate(changes):
        try:
            await change.send(call)
        except NodeError as error:
            if not done:
                raise
            answer = Answer.UNKNOWN if isinstance(error, (NoAnswer, NodeBroken)) else Answer.FAILED
            return Reply(answer=answer, detail=f"{done} of {len(changes)} changed, then {change.what}: {error}")
    return None


def _merge(what: str, path: str, seen: Meta, change: Mapping[str, Any]) -> _Change:
    return _Change(what, lambda call: call.merge(path, seen, change))


class _Unlabel:
    """Takes the label off the pods by which a Service selects them."""

    def __init__(self, kube: Kube, key: str, value: str) -> None:
        self._kube = kube
        self._key = key
        self._value = value

    async def closing(self, call: KubeCall, at: Standing, incident: str) -> list[_Change]:
        if self._key in at.work.spec.selector.looks_at():
            name = at.work.metadata.name
            raise NodeRefused(f"{at.kind} {name} knows its pods by {self._key}: taken off, it would start a twin")
        if not await self._services(call, at):
            raise NodeRefused(f"no Service selects these pods by {self._key}={self._value}: nothing would change")
        notes = {TOOK: f"{self._key}={self._value}", INCIDENT: incident}
        change = {"metadata": {"labels": {self._key: None}, "annotations": notes}}
        return [self._on(pod, change) for pod in at.pods if pod.metadata.labels.get(self._key) == self._value]

    async def opening(self, call: KubeCall, at: Standing) -> list[_Change]:
        changes = []
        for pod in at.pods:
            key, _, value = pod.metadata.annotations.get(TOOK, "").partition("=")
            if key and value:
                meta = {"labels": {key: value}, "annotations": {TOOK: None, INCIDENT: None}}
                changes.append(self._on(pod, {"metadata": meta}))
        return changes

    def _on(self, pod: Pod, change: Mapping[str, Any]) -> _Change:
        name = pod.metadata.name
        return _merge(f"pod {name}", self._kube.core("pods", name), pod.metadata, change)

    async def leak(self, call: KubeCall, at: Standing) -> str:
        for pod in at.pods:
            if pod.metadata.labels.get(self._key) == self._value:
                return f"pod {pod.metadata.name} carries the label {self._key}={self._value}"
        services = await self._services(call, at)
        if not services:
            return f"no Service selects these pods by {self._key}={self._value}"
        uids = {pod.metadata.uid for pod in at.pods}
        for service in services:
            selector = f"kubernetes.io/service-name={service}"
            for part in await call.many(_Slice, self._kube.group("discovery.k8s.io/v1", "endpointslices"), selector):
                for one in part.endpoints:
                    if one.target_ref.uid in uids and one.conditions.ready is not False:
                        return f"Service {service} still lists pod {one.target_ref.name} as ready"
        return ""

    async def _services(self, call: KubeCall, at: Standing) -> list[str]:
        """Return the names of the Services that select on the label, and otherwise fit one of the pods."""
        found = []
        for service in await call.many(Thing, self._kube.core("services")):
            selector = service.spec.get("selector") or {}
            if selector.get(self._key) == self._value and (
                not at.pods
                or any(selector.items() <= {**p.metadata.labels, self._key: self._value}.items() for p in at.pods)
            ):
                found.append(service.metadata.name)
        return found


class _Cordon:
    """Keeps new pods off the pods' machines. What runs there runs on."""

    async def closing(self, call: KubeCall, at: Standing, incident: str) -> list[_Change]:
        label, changes = CORDONED + at.work.metadata.uid, []
        for name in sorted({pod.spec.node_name for pod in at.pods} - {""}):
            machine = await call.read(Thing, machine_path(name))
            cordoned = bool(machine.spec.get("unschedulable"))
            if not cordoned or label not in machine.metadata.labels:
                before = "ours" if not cordoned or "ours" in _held(machine).values() else "before"
                changes.append(_on(machine, {"metadata": {"labels": {label: before}}, "spec": {"unschedulable": True}}))
        return changes

    async def opening(self, call: KubeCall, at: Standing) -> list[_Change]:
        label, changes = CORDONED + at.work.metadata.uid, []
        for machine in await call.many(Thing, machine_path(), label):
            change: dict[str, Any] = {"metadata": {"labels": {label: None}}}
            held = _held(machine)
            if held.get(label) == "ours" and len(held) == 1:
                change["spec"] = {"unschedulable": None}
            changes.append(_on(machine, change))
        return changes

    async def leak(self, call: KubeCall, at: Standing) -> str:
        machines = await call.many(Thing, machine_path(), CORDONED + at.work.metadata.uid)
        if not machines:
            return "no machine is cordoned for it"
        for machine in machines:
            if not machine.spec.get("unschedulable"):
                return f"machine {machine.metadata.name} takes new pods again"
        for pod in at.pods:
            if pod.spec.node_name:
                where, name = pod.spec.node_name, pod.metadata.name
                return f"machine {where} takes no new pods, but pod {name} serves on: a cordon stops no traffic"
        return ""


def _on(machine: Thing, change: Mapping[str, Any]) -> _Change:
    name = machine.metadata.name
    return _merge(f"machine {name}", machine_path(name), machine.metadata, change)


def _held(machine: Thing) -> dict[str, str]:
    """Return the labels by which a machine is cordoned for workloads."""
    return {key: value for key, value in machine.metadata.labels.items() if key.startswith(CORDONED)}


class _Deny:
    """Denies all traffic from and to the pods by a NetworkPolicy."""

    def __init__(self, kube: Kube, name: str) -> None:
        self._name = name
        self._what = f"NetworkPolicy {name}"
        self._all = kube.group("networking.k8s.io/v1", "networkpolicies")
        self._path = kube.group("networking.k8s.io/v1", "networkpolicies", name)

    async def closing(self, call: KubeCall, at: Standing, incident: str) -> list[_Change]:
        if problem := await self._powerless(call, at):
            raise NodeRefused(problem)
        there = await self._ours(call)
        if there and self._covers(there, at):
            return []
        selector = at.work.spec.selector.model_dump(by_alias=True, exclude_defaults=True)
        meta: dict[str, Any] = {"name": self._name, "labels": OURS, "annotations": {INCIDENT: incident}}
        body = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": meta,
            "spec": {"podSelector": selector, "policyTypes": ["Ingress", "Egress"]},
        }
        if there is None:
            return [_Change(self._what, lambda call: call.create(self._all, body))]
        meta["resourceVersion"] = there.metadata.resource_version
        return [_Change(self._what, lambda call: call.replace(self._path, body))]

    async def opening(self, call: KubeCall, at: Standing) -> list[_Change]:
        there = await self._ours(call)
        if there is None:
            return []
        seen = there.metadata
        return [_Change(self._what, lambda call: call.delete(self._path, seen))]

    async def leak(self, call: KubeCall, at: Standing) -> str:
        there = await call.find(Thing, self._path)
        if there is None:
            return f"there is no NetworkPolicy {self._name}"
        if not self._covers(there, at):
            return f"NetworkPolicy {self._name} does not deny all traffic of these pods"
        return await self._powerless(call, at)

    async def _powerless(self, call: KubeCall, at: Standing) -> str:
        """Return why denying would not deny: policies only add up, and do not hold on a machine's own network."""
        for pod in at.pods:
            if pod.spec.host_network:
                return f"pod {pod.metadata.name} uses its machine's network: no NetworkPolicy holds for it"
        for one in await call.many(Thing, self._all):
            selector = _selector_of(one)
            allows = bool(one.spec.get("ingress") or one.spec.get("egress"))
            if one.metadata.name != self._name and allows and any(selector.matches(p.metadata.labels) for p in at.pods):
                return f"NetworkPolicy {one.metadata.name} lets traffic of these pods through, and policies only add up"
        return ""

    async def _ours(self, call: KubeCall) -> Thing | None:
        there = await call.find(Thing, self._path)
        if there and not there.metadata.labels.items() >= OURS.items():
            raise NodeRefused(f"{self._what} is not Stopsign's: it is left alone")
        return there

    def _covers(self, there: Thing, at: Standing) -> bool:
        return (
            _selector_of(there) == at.work.spec.selector
            and {"Ingress", "Egress"} <= set(there.spec.get("policyTypes") or [])
            and not there.spec.get("ingress")
            and not there.spec.get("egress")
        )


def _selector_of(policy: Thing) -> Selector:
    try:
        return Selector.model_validate(policy.spec.get("podSelector") or {})
    except ValueError:
        raise NodeBroken(f"the selector of NetworkPolicy {policy.metadata.name} cannot be read") from None
