"""The kubernetes driver: which label may be taken off, what a policy and a cordon do not do, and no twin by an undo."""

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.domain.target import Answer, Reply
from bot.errors import Misconfigured, NodeBroken, NodeRefused
from bot.nodes.kube_api import Expression, Selector
from tests.drivers.kube import (
    BAD,
    GOOD,
    IMAGE,
    LABELS,
    NS,
    SELECTS,
    Cluster,
    Object,
    named_image,
    reached,
    selects,
    template_of,
    workload,
)

LABEL: Object = {"isolate": "label", "label": "role=signer"}
POLICY: Object = {"isolate": "networkpolicy"}
CORDON: Object = {"isolate": "cordon"}
DOC = Path(__file__).parents[2] / "docs" / "kubernetes.md"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"


def rolled(kind: str = "Deployment", **how: Any) -> Cluster:
    """Return a cluster that went from GOOD to BAD."""
    return workload(kind, named_image(GOOD), named_image(BAD), **how)


async def isolate(driver: Any) -> Reply:
    reply: Reply = await driver.isolate(incident="inc-7", request="r1")
    return reply


async def restore(driver: Any) -> Reply:
    reply: Reply = await driver.restore(incident="inc-7", request="r2")
    return reply


async def undo(driver: Any, build: str = GOOD) -> Reply:
    reply: Reply = await driver.rollback(build, incident="inc-7", request="r1")
    return reply


# --- out of traffic by a label -------------------------------------------------------------------


async def test_the_label_is_taken_off_the_pod_alone_and_put_back_as_it_was() -> None:
    cluster = rolled()
    pod = dict(cluster.pods()[0]["metadata"])
    async with reached(cluster, "kubernetes", kind="Deployment", **LABEL) as driver:
        assert (await isolate(driver)).answer is Answer.ACKNOWLEDGED
        ((method, path, body, media),) = cluster.changes
        assert (method, path, media) == ("PATCH", f"/api/v1/namespaces/{NS}/pods/{pod['name']}", MERGE)
        assert body["metadata"]["labels"] == {"role": None}
        assert {key: body["metadata"][key] for key in ("uid", "resourceVersion")} == {
            "uid": pod["uid"],
            "resourceVersion": pod["resourceVersion"],
        }
        assert await driver.isolated()
        assert cluster.one("deployments", "seq-01")["metadata"]["generation"] == 2, "the template is not touched"
        assert (await restore(driver)).answer is Answer.ACKNOWLEDGED
        assert not await driver.isolated()
        assert (await restore(driver)).answer is Answer.ALREADY
    (after,) = cluster.pods()
    assert (after["metadata"]["uid"], after["metadata"]["labels"], after["metadata"]["annotations"]) == (
        pod["uid"],
        pod["labels"],
        {},
    )


@pytest.mark.parametrize(
    ("label", "why"),
    [("app=seq-01", "it would start a twin"), ("role=other", "no Service selects"), ("tier=x", "no Service selects")],
)
async def test_a_label_that_starts_a_twin_or_does_nothing_is_refused(label: str, why: str) -> None:
    cluster = rolled()
    async with reached(cluster, "kubernetes", kind="Deployment", isolate="label", label=label) as driver:
        with pytest.raises(NodeRefused, match=why):
            await isolate(driver)
        assert not await driver.isolated()
    assert cluster.changes == []


async def test_a_slice_that_still_lists_the_pod_is_not_isolation() -> None:
    cluster = rolled(slices_stand=True)
    cluster._slices()
    async with reached(cluster, "kubernetes", timeout=1.0, kind="Deployment", **LABEL) as driver:
        reply = await isolate(driver)
        assert reply.answer is Answer.FAILED
        assert re.fullmatch("Service seq still lists pod seq-01-.* as ready", reply.detail)
        assert not await driver.isolated()
        cluster.slices_stand = False
        assert (await isolate(driver)).answer in {Answer.ACKNOWLEDGED, Answer.ALREADY}


async def test_a_pod_that_started_anew_serves_again_and_is_seen() -> None:
    cluster = rolled("StatefulSet")
    async with reached(cluster, "kubernetes", kind="StatefulSet", **LABEL) as driver:
        await isolate(driver)
        cluster.delete("pods", "seq-01-0")
        cluster.settle()
        assert not await driver.isolated()


async def test_a_restore_leaves_alone_what_a_person_took_off() -> None:
    cluster = rolled("StatefulSet")
    cluster.edit("pods", "seq-01-0", {"metadata": {"labels": {"role": None}}})
    cluster.tick(0.0)
    async with reached(cluster, "kubernetes", timeout=1.0, kind="StatefulSet", **LABEL) as driver:
        assert (await isolate(driver)).answer is Answer.ALREADY
        reply = await restore(driver)
    assert reply.answer is Answer.FAILED
    assert "not by Stopsign" in reply.detail
    assert cluster.changes == []


async def test_what_somebody_changed_in_between_is_kept_and_nothing_is_done() -> None:
    cluster = rolled("StatefulSet")
    theirs = {"metadata": {"labels": {"held-by": "ana"}}}
    cluster.before_change = lambda: cluster.edit("pods", "seq-01-0", theirs)
    async with reached(cluster, "kubernetes", kind="StatefulSet", **LABEL) as driver:
        with pytest.raises(NodeRefused, match="the object has been modified") as refused:
            await isolate(driver)
    assert refused.value.status == 409
    labels = cluster.one("pods", "seq-01-0")["metadata"]["labels"]
    assert (labels["held-by"], labels["role"]) == ("ana", "signer")


async def test_one_of_two_pods_is_told_as_one_of_two() -> None:
    cluster = rolled("StatefulSet", replicas=2)

    def theirs() -> None:
        for pod in cluster.pods():
            cluster.edit("pods", pod["metadata"]["name"], {"metadata": {"labels": {"held-by": "ana"}}})

    def after_the_first() -> None:
        cluster.before_change = theirs

    cluster.before_change = after_the_first
    async with reached(cluster, "kubernetes", kind="StatefulSet", **LABEL) as driver:
        reply = await isolate(driver)
        assert not await driver.isolated()
    assert reply.answer is Answer.FAILED
    assert re.match("1 of 2 changed, then pod seq-01-[01]: ", reply.detail)


# --- out of traffic by a policy ------------------------------------------------------------------


def allowing(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"podSelector": {"matchLabels": LABELS}, **spec}}


async def test_the_policy_denies_all_for_these_pods_and_is_deleted_again() -> None:
    cluster = rolled()
    async with reached(cluster, "kubernetes", kind="Deployment", **POLICY) as driver:
        assert (await isolate(driver)).answer is Answer.ACKNOWLEDGED
        (made,) = cluster.of("networkpolicies")
        assert made["spec"] == {"podSelector": {"matchLabels": LABELS}, "policyTypes": ["Ingress", "Egress"]}
        cluster.edit("networkpolicies", made["metadata"]["name"], {"spec": {"ingress": [{}]}})
        assert not await driver.isolated()
        assert (await isolate(driver)).answer is Answer.ACKNOWLEDGED
        assert cluster.changes[-1][0] == "PUT"
        assert await driver.isolated()
        assert (await restore(driver)).answer is Answer.ACKNOWLEDGED
        assert not await driver.isolated()
    assert cluster.of("networkpolicies") == []
    assert set(cluster.changes[-1][2]["preconditions"]) == {"uid", "resourceVersion"}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (allowing("allow-metrics", ingress=[{}]), "allow-metrics lets traffic"),
        (allowing("dns", egress=[{}]), "dns lets traffic"),
        (allowing("all", podSelector={}, ingress=[{}]), "all lets traffic"),
        (allowing("stopsign-isolates-deployment-seq-01"), "is not Stopsign's"),
    ],
    ids=["ingress", "egress", "every pod", "foreign name"],
)
async def test_a_policy_that_would_deny_nothing_is_not_made(other: Object, why: str) -> None:
    cluster = rolled()
    cluster.put("networkpolicies", other)
    async with reached(cluster, "kubernetes", kind="Deployment", **POLICY) as driver:
        with pytest.raises(NodeRefused, match=why):
            await isolate(driver)
        assert not await driver.isolated()
    assert cluster.changes == []


async def test_a_policy_of_other_pods_is_no_hindrance_and_one_that_comes_later_is_seen() -> None:
    cluster = rolled()
    elsewhere = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["seq-01"]}]}
    cluster.put("networkpolicies", allowing("elsewhere", podSelector=elsewhere, ingress=[{}]))
    async with reached(cluster, "kubernetes", kind="Deployment", **POLICY) as driver:
        assert (await isolate(driver)).answer is Answer.ACKNOWLEDGED
        assert await driver.isolated()
        cluster.put("networkpolicies", allowing("later", ingress=[{}]))
        assert not await driver.isolated()


async def test_no_policy_holds_for_a_pod_on_its_machines_network() -> None:
    cluster = rolled(pod={"hostNetwork": True})
    async with reached(cluster, "kubernetes", kind="Deployment", **POLICY) as driver:
        with pytest.raises(NodeRefused, match="uses its machine's network"):
            await isolate(driver)
    assert cluster.changes == []


# --- the cordon ----------------------------------------------------------------------------------


async def test_a_cordon_alone_is_never_called_isolated() -> None:
    cluster = rolled("StatefulSet")
    async with reached(cluster, "kubernetes", timeout=1.0, kind="StatefulSet", **CORDON) as driver:
        reply = await isolate(driver)
        assert cluster.one("nodes", "machine-1", "")["spec"] == {"unschedulable": True}
        assert reply.answer is Answer.FAILED
        assert "a cordon stops no traffic" in reply.detail
        assert not await driver.isolated()
        cluster.delete("pods", "seq-01-0")
        cluster.settle()
        assert await driver.isolated(), "the next pod finds no machine"
        assert (await restore(driver)).answer is Answer.ACKNOWLEDGED
    machine = cluster.one("nodes", "machine-1", "")
    assert (machine["spec"], machine["metadata"]["labels"]) == ({}, {})


@pytest.mark.parametrize("other", ["before", "ours"])
async def test_a_cordon_that_others_need_stays(other: str) -> None:
    cluster = rolled("StatefulSet")
    label = {} if other == "before" else {"cordoned.stopsign/another": "ours"}
    cluster.edit("nodes", "machine-1", {"metadata": {"labels": label}, "spec": {"unschedulable": True}}, "")
    async with reached(cluster, "kubernetes", timeout=1.0, kind="StatefulSet", **CORDON) as driver:
        await isolate(driver)
        await restore(driver)
    machine = cluster.one("nodes", "machine-1", "")
    assert (machine["spec"], machine["metadata"]["labels"]) == ({"unschedulable": True}, label)


# --- undo ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_an_undo_sets_the_kept_template_and_never_runs_two(kind: str) -> None:
    cluster = rolled(kind)
    plural = f"{kind.lower()}s"
    seen = dict(cluster.one(plural, "seq-01")["metadata"])
    async with reached(cluster, "kubernetes", kind=kind) as driver:
        before = await driver.release()
        assert (before.version, before.build_hash, before.previous_build) == ("2.4.0", BAD, GOOD)
        reply = await undo(driver)
        assert (reply.answer, reply.detail) == (
            Answer.ACKNOWLEDGED,
            f"{kind} seq-01 has generation 3 observed; 1 of 1 pods ready",
        )
        after = await driver.release()
        assert (after.version, after.build_hash, after.previous_build) == ("2.3.1", GOOD, BAD)
        assert after.instance != before.instance
        assert after.config_checksum == before.config_checksum
        assert (await undo(driver)).answer is Answer.ALREADY
    ((method, path, body, media),) = cluster.changes
    assert (method, path, media) == ("PATCH", f"/apis/apps/v1/namespaces/{NS}/{plural}/seq-01", JSON_PATCH)
    assert [one["path"] for one in body] == ["/metadata/uid", "/metadata/resourceVersion", "/spec/template"]
    assert body[1]["value"] == seen["resourceVersion"]
    assert body[2]["value"] == template_of(named_image(GOOD)), "without the hash label and $patch of the kept copy"
    assert cluster.peak == 1


ROLLING = {"type": "RollingUpdate"}
SURGELESS = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


@pytest.mark.parametrize(
    ("kind", "how", "why"),
    [
        ("Deployment", {"strategy": ROLLING}, "runs two pods with one key, even with maxSurge 0"),
        ("Deployment", {"strategy": SURGELESS}, "set spec.strategy.type to Recreate"),
        ("Deployment", {"pod": {"terminationGracePeriodSeconds": 0}}, "0 s to end"),
        ("StatefulSet", {"pod": {"terminationGracePeriodSeconds": 0}}, "0 s to end"),
        ("StatefulSet", {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}, "partition"),
    ],
    ids=["surge", "no surge", "no grace", "no grace, ordinal", "partition"],
)
async def test_what_could_start_a_twin_is_refused_and_nothing_is_sent(kind: str, how: Object, why: str) -> None:
    cluster = rolled(kind, **how)
    async with reached(cluster, "kubernetes", kind=kind) as driver:
        reply = await undo(driver)
    assert reply.answer is Answer.REFUSED
    assert why in reply.detail
    assert (cluster.changes, cluster.peak) == ([], 1)


@pytest.mark.parametrize(
    ("kind", "spec", "why"),
    [
        ("Deployment", {"paused": True}, "is paused"),
        ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete"),
    ],
)
async def test_what_would_not_roll_is_refused(kind: str, spec: Object, why: str) -> None:
    cluster = rolled(kind)
    cluster.edit(f"{kind.lower()}s", "seq-01", {"spec": spec})
    async with reached(cluster, "kubernetes", kind=kind) as driver:
        reply = await undo(driver)
    assert reply.answer is Answer.REFUSED
    assert why in reply.detail
    assert cluster.changes == []


@pytest.mark.parametrize("strategy", [ROLLING, SURGELESS], ids=["surge", "no surge"])
def test_why_rolling_is_refused_two_pods_exist_at_once(strategy: Object) -> None:
    cluster = rolled(strategy=strategy, grace=5.0)
    cluster.edit("deployments", "seq-01", {"spec": {"template": template_of(named_image(GOOD))}})
    cluster.settle()
    assert cluster.peak == 2


async def test_scaled_to_nothing_any_strategy_is_safe_and_told_to_run_nothing() -> None:
    cluster = rolled(strategy=ROLLING)
    cluster.edit("deployments", "seq-01", {"spec": {"replicas": 0}})
    cluster.settle()
    async with reached(cluster, "kubernetes", kind="Deployment") as driver:
        reply = await undo(driver)
        assert (await driver.release()).build_hash == "unsettled"
    assert reply.answer is Answer.FAILED
    assert reply.detail.startswith("the template is set, and nothing runs")
    assert cluster.one("deployments", "seq-01")["spec"]["template"] == template_of(named_image(GOOD))


async def test_a_build_that_no_kept_revision_runs_is_refused_with_what_is_kept() -> None:
    cluster = workload("Deployment", f"{IMAGE}:2.3.1", named_image(BAD), registry={f"{IMAGE}:2.3.1": GOOD})
    async with reached(cluster, "kubernetes", kind="Deployment") as driver:
        reply = await undo(driver)
    assert reply.answer is Answer.REFUSED
    assert reply.detail.endswith("kept are: 2 sha256:bbbbbbbbbbbb, 1 by tag, digest unknown")
    assert cluster.changes == []


async def test_a_tag_is_known_by_the_digest_its_pods_run_and_a_moved_tag_is_caught() -> None:
    tag = f"{IMAGE}:2.3.1"
    cluster = workload("Deployment", tag, registry={tag: GOOD})
    async with reached(cluster, "kubernetes", kind="Deployment") as driver:
        assert (await driver.release()).build_hash == GOOD
        assert (await undo(driver)).answer is Answer.ALREADY
        cluster.registry[tag] = BAD
        cluster.delete("pods", cluster.pods()[0]["metadata"]["name"])
        cluster.settle()
        assert (await driver.release()).build_hash == BAD
        assert (await undo(driver)).answer is Answer.REFUSED


async def test_an_undo_that_does_not_come_up_is_left_in_a_state_with_a_name() -> None:
    cluster = rolled(broken={named_image(GOOD)})
    async with reached(cluster, "kubernetes", timeout=1.0, kind="Deployment") as driver:
        reply = await undo(driver)
        release = await driver.release()
    assert reply.answer is Answer.UNKNOWN
    assert re.fullmatch(
        "not finished: Deployment seq-01 has generation 3 observed; 0 of 1 pods ready; pod .* waits: ImagePullBackOff",
        reply.detail,
    )
    assert (release.build_hash, release.version) == ("unsettled", reply.detail.removeprefix("not finished: "))


async def test_a_controller_that_sleeps_is_told_as_not_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = rolled()
    monkeypatch.setattr(cluster, "_replicas", lambda kind, work: None)
    async with reached(cluster, "kubernetes", timeout=1.0, kind="Deployment") as driver:
        reply = await undo(driver)
        assert (await driver.release()).build_hash == "unsettled"
    assert reply.answer is Answer.UNKNOWN
    assert reply.detail == "not finished: Deployment seq-01 has generation 3 not observed; 1 of 1 pods ready"


async def test_a_stateful_set_that_waits_for_its_broken_pod_says_which_to_delete() -> None:
    cluster = workload("StatefulSet", named_image(GOOD))
    cluster.broken.add(named_image(BAD))
    cluster.edit("statefulsets", "seq-01", {"spec": {"template": template_of(named_image(BAD))}})
    cluster.settle()
    async with reached(cluster, "kubernetes", timeout=1.0, kind="StatefulSet") as driver:
        reply = await undo(driver)
        assert reply.answer is Answer.UNKNOWN
        assert "pod seq-01-0 of another template is not ready and Kubernetes waits for it: delete it" in reply.detail
        cluster.delete("pods", "seq-01-0")
        cluster.settle()
        assert (await undo(driver)).answer is Answer.ALREADY
        assert (await driver.release()).build_hash == GOOD
    assert len(cluster.changes) == 1, "the template was set once"
    assert cluster.peak == 1


async def test_a_pod_left_over_is_never_called_rolled_back() -> None:
    cluster = rolled()
    left = {"metadata": {"name": "left", "labels": {**LABELS, **SELECTS}, "ownerReferences": [{"uid": "nobody"}]}}
    cluster.put("pods", {**left, "spec": template_of(named_image(BAD))["spec"]})["starts"] = 0.0
    async with reached(cluster, "kubernetes", timeout=1.0, kind="Deployment") as driver:
        reply = await undo(driver)
        assert (await driver.release()).build_hash == "unsettled"
    assert reply.answer is Answer.UNKNOWN
    assert "2 pods exist" in reply.detail


async def test_a_pod_that_still_terminates_is_told_and_not_settled() -> None:
    cluster = rolled()
    cluster.grace = 30.0
    async with reached(cluster, "kubernetes", timeout=1.0, kind="Deployment") as driver:
        reply = await undo(driver)
        assert (await driver.release()).build_hash == "unsettled"
    assert reply.answer is Answer.UNKNOWN
    assert reply.detail.endswith("is still terminating")


async def test_an_undo_never_overwrites_what_came_in_between() -> None:
    cluster = rolled()
    theirs = {"spec": {"template": template_of(named_image("sha256:" + "c" * 64))}}
    cluster.before_change = lambda: cluster.edit("deployments", "seq-01", theirs)
    async with reached(cluster, "kubernetes", kind="Deployment") as driver:
        with pytest.raises(NodeRefused) as refused:
            await undo(driver)
    assert refused.value.status == 409
    assert cluster.one("deployments", "seq-01")["spec"]["template"] == theirs["spec"]["template"]


async def test_after_an_undo_that_cannot_be_read_back_nobody_knows() -> None:
    cluster = rolled()

    def blind() -> None:
        cluster.rules = []

    cluster.before_change = blind
    async with reached(cluster, "kubernetes", kind="Deployment") as driver:
        reply = await undo(driver)
    assert reply.answer is Answer.UNKNOWN
    assert reply.detail.startswith("the undo to revision 1 was sent, then: ")


# --- what runs -----------------------------------------------------------------------------------


def _data(cluster: Cluster) -> None:
    cluster.edit("configmaps", "seq-config", {"data": {"QUORUM": "3"}})


def _label(cluster: Cluster) -> None:
    cluster.edit("configmaps", "seq-config", {"metadata": {"labels": {"seen": "yes"}}})


def _env(cluster: Cluster) -> None:
    template = template_of(named_image(BAD))
    template["spec"]["containers"][0]["env"][0]["value"] = "mainnet"
    cluster.edit("deployments", "seq-01", {"spec": {"template": template}})


def _gone(cluster: Cluster) -> None:
    cluster.delete("configmaps", "seq-config")


def _restarted(cluster: Cluster) -> None:
    cluster.edit("deployments", "seq-01", {"spec": {"template": {"metadata": {"annotations": {"restartedAt": "3"}}}}})


@pytest.mark.parametrize(
    ("change", "differs"), [(_data, True), (_env, True), (_gone, True), (_label, False), (_restarted, False)]
)
async def test_the_checksum_follows_the_configuration_and_reads_no_secret(
    change: Callable[[Cluster], None], differs: bool
) -> None:
    cluster = rolled()
    async with reached(cluster, "kubernetes", kind="Deployment") as driver:
        before = (await driver.release()).config_checksum
        change(cluster)
        cluster.settle()
        after = (await driver.release()).config_checksum
    assert re.fullmatch("sha256:[0-9a-f]{64}", before)
    assert (before != after) is differs
    assert not [path for _, path in cluster.requests if "secret" in path]


async def test_the_version_is_the_label_before_the_tag() -> None:
    cluster = rolled()
    async with reached(cluster, "kubernetes", kind="Deployment") as driver:
        assert (await driver.release()).version == "2.4.0"
        change = {"metadata": {"labels": {"app.kubernetes.io/version": "2.4.0-hotfix"}}}
        cluster.edit("deployments", "seq-01", {"spec": {"template": change}})
        cluster.settle()
        assert (await driver.release()).version == "2.4.0-hotfix"


# --- rights, options, limits ---------------------------------------------------------------------


def documented() -> list[Object]:
    """Return the roles in docs/kubernetes.md."""
    text = DOC.read_text().partition("<!-- rights: begin -->\n```yaml\n")[2].partition("```\n<!-- rights: end -->")[0]
    return [one for one in yaml.safe_load_all(text) if "rules" in one]


def roles() -> dict[str, list[Object]]:
    """Return the rules of the roles in docs/kubernetes.md, by name."""
    return {one["metadata"]["name"]: one["rules"] for one in documented()}


async def _everything(cluster: Cluster, driver: Any, options: Object) -> bool:
    """Do all that a driver with these options does, and tell whether it worked."""
    if not options:
        await driver.release()
        return (await undo(driver)).answer is Answer.ACKNOWLEDGED
    await driver.isolated()
    if (await isolate(driver)).answer is Answer.UNKNOWN:
        return False
    for policy in cluster.of("networkpolicies"):
        cluster.edit("networkpolicies", policy["metadata"]["name"], {"spec": {"ingress": [{}]}})
        await isolate(driver)
    return (await restore(driver)).answer is Answer.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("role", "options"),
    [
        ("stopsign-undoes", {}),
        ("stopsign-unlabels", LABEL),
        ("stopsign-denies", POLICY),
        ("stopsign-cordons", CORDON),
    ],
)
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_the_documented_rights_are_enough_and_none_is_too_many(kind: str, role: str, options: Object) -> None:
    known = roles()
    rules = [
        {**rule, "verbs": [verb], "resources": [resource]}
        for rule in known["stopsign-reads"] + known[role]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        if resource not in {"deployments", "statefulsets"} or resource == f"{kind.lower()}s"
        if resource != ("controllerrevisions" if kind == "Deployment" else "replicasets")
    ]

    async def works(allowed: list[Object]) -> bool:
        cluster = rolled(kind, rules=allowed)
        async with reached(cluster, "kubernetes", timeout=1.0, kind=kind, **options) as driver:
            try:
                return await _everything(cluster, driver, options)
            except NodeRefused as refusal:
                return refusal.status != 403

    assert await works(rules)
    for one in rules:
        assert not await works([rule for rule in rules if rule is not one]), f"{one} is not needed"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"kind": "DaemonSet"}, "kind must be one of"),
        ({"kind": "Deployment", "name": ""}, "name must name"),
        ({"kind": "Deployment", "namespace": "../kube-system"}, "namespace must name"),
        ({"kind": "Deployment", "isolate": "drain"}, "not label, cordon or networkpolicy"),
        ({"kind": "Deployment", "isolate": "label"}, "label must be key=value"),
        ({"kind": "Deployment", "label": "a=b"}, "needs option isolate"),
        ({"kind": "Deployment", "replicas": "2"}, "has no option replicas"),
    ],
)
async def test_wrong_options_are_misconfigured(options: Object, why: str) -> None:
    with pytest.raises(Misconfigured, match=why):
        async with reached(Cluster(), "kubernetes", **options):
            pass


async def test_a_refusal_says_what_the_api_said_and_nothing_happened() -> None:
    cluster = rolled(rules=roles()["stopsign-reads"])
    async with reached(cluster, "kubernetes", kind="Deployment", **LABEL) as driver:
        with pytest.raises(NodeRefused, match='User "stopsign" cannot list resource "services"') as refused:
            await isolate(driver)
    assert refused.value.status == 403
    assert cluster.changes == []


async def test_without_a_way_to_isolate_a_router_refuses() -> None:
    async with reached(rolled(), "kubernetes", kind="Deployment") as driver:
        with pytest.raises(NodeRefused, match="isolate is not set"):
            await isolate(driver)


async def test_a_part_of_a_listing_is_never_taken_for_all() -> None:
    cluster = rolled("StatefulSet", replicas=2, page=1)
    async with reached(cluster, "kubernetes", kind="StatefulSet", **LABEL) as driver:
        with pytest.raises(NodeBroken, match="more than 500"):
            await driver.isolated()


async def test_a_workload_that_selects_every_pod_is_not_worked_with() -> None:
    cluster = rolled()
    cluster.edit("deployments", "seq-01", {"spec": {"selector": {"matchLabels": None}}})
    async with reached(cluster, "kubernetes", kind="Deployment", **POLICY) as driver:
        with pytest.raises(NodeBroken, match="selects every pod"):
            await isolate(driver)
    assert cluster.changes == []


@pytest.mark.parametrize("labels", [{}, {"a": "1"}, {"a": "2", "b": "1"}, {"b": ""}], ids=str)
def test_a_selector_means_the_same_here_and_in_a_query(labels: dict[str, str]) -> None:
    for key, operator, values in product("ab", ("In", "NotIn", "Exists", "DoesNotExist"), (["1"], ["1", "2"])):
        given = [] if "xist" in operator else values
        selector = Selector(match_expressions=[Expression(key=key, operator=operator, values=given)])
        assert selector.matches(labels) is selects(selector.query(), labels), selector.query()
