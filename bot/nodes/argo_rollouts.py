"""Drive an Argo Rollout that runs one signer: undo it to the revision that is stable.

Aborting a rollout stops its canary and leaves the bad template in place: the next sync starts it again. Undoing sets
the template of an earlier revision, as `kubectl argo rollouts undo` does. Argo has no way to replace a pod that waits
until the old one is gone: a canary and a blue-green preview run beside the stable pod, and even with maxSurge 0 the
next pod starts while the old one is terminating. So an undo is sent only when it starts no pod.
"""

from collections.abc import Sequence

from bot.domain.inventory import Capability
from bot.domain.target import Effect
from bot.nodes.kube_api import KubeCall, Past, Pod, Standing, Thing, Undo, Workload, plain_name, without_label
from bot.nodes.way import Way
from bot.ports import Traits

TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.DEPLOYER,),
    proves_by="generation observed, current and stable pod hash equal, exactly the wanted pods ready, none left over,"
    " each with the wanted image digest in its status",
    needs="images named by digest; and a rollout that is aborted with its stable pods running the wanted build, or"
    " scaled to 0: anything else would run two pods with one key",
    cannot_know="pods outside the rollout's selector that hold the key",
    blast_radius="the pods of one Rollout, and the traffic that it splits",
    tested="kmock 0.8 with emulated controllers",
    tier="emulated",
)
_REVISION = "rollout.argoproj.io/revision"


def connect(way: Way) -> "ArgoRollouts":
    """Return the driver of the Rollout at `way`; opens no connection. Raises Misconfigured.

    Options:
        namespace: its namespace
        name: its name
        container: the container that is the signer (default: the first)
    """
    options = way.options("namespace", "name", "container")
    namespace, name = (plain_name(way.node.name, what, options.get(what)) for what in ("namespace", "name"))
    return ArgoRollouts(way, name, options.get("container"), namespace)


class ArgoRollouts(Undo):
    """Deployer of one Rollout."""

    traits = TRAITS
    kind = "Rollout"
    hash_label = "rollouts-pod-template-hash"

    def _path(self) -> str:
        return self._kube.group("argoproj.io/v1alpha1", "rollouts", self._name)

    def _hash(self, work: Workload, pods: Sequence[Pod]) -> str:
        status = work.status
        return status.stable_rs if status.stable_rs == status.current_pod_hash and not status.abort else ""

    async def _past(self, call: KubeCall, standing: Standing) -> list[Past]:
        kept = await call.many(Thing, self._kube.group("apps/v1", "replicasets"), standing.work.spec.selector.query())
        past = []
        for one in kept:
            if not one.metadata.owned_by(standing.work.metadata.uid):
                continue
            hash_, number = one.metadata.labels.get(self.hash_label, ""), one.metadata.annotations.get(_REVISION, "0")
            template = without_label(one.spec.get("template") or {}, self.hash_label)
            build = self._named_build(template, hash_, standing.pods)
            revision = int(number) if number.isdigit() else 0
            past.append(Past(revision=revision, hash=hash_, template=template, build=build))
        return sorted(past, key=lambda one: one.revision, reverse=True)

    def _twin(self, standing: Standing, wanted: Past) -> str:
        spec, what = standing.work.spec, f"Rollout {self._name}"
        if spec.workload_ref:
            return f"{what} takes its template from {spec.workload_ref.get('kind', 'a workload')}: undo it there"
        if spec.replicas == 0 and not standing.pods:
            return ""
        runs_it = [pod.metadata.labels.get(self.hash_label) == wanted.hash and pod.ready for pod in standing.pods]
        if standing.work.status.stable_rs == wanted.hash and all(runs_it) and len(runs_it) == spec.replicas:
            return ""
        return (
            f"{what} would start a pod of revision {wanted.revision} beside the one that runs, even with maxSurge 0:"
            " abort it or scale it to 0, and roll back when no other pod is left"
        )
