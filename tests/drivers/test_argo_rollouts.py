"""The argo_rollouts driver: an undo that starts no pod, and refusals of all others."""

from typing import Any

import pytest

from bot.domain.target import Answer, Reply
from bot.errors import Misconfigured, NodeRefused
from tests.drivers.kube import (
    BAD,
    GOOD,
    NS,
    Cluster,
    Object,
    aborted_rollout,
    named_image,
    reached,
    template_of,
    workload,
)
from tests.drivers.test_kubernetes import roles

SURGELESS = {"canary": {"maxSurge": 0, "maxUnavailable": 1}}


async def undo(driver: Any, build: str = GOOD) -> Reply:
    reply: Reply = await driver.rollback(build, incident="inc-7", request="r1")
    return reply


def template(cluster: Cluster) -> Any:
    return cluster.one("rollouts", "seq-01")["spec"]["template"]


async def test_an_abort_alone_leaves_the_bad_template_and_an_undo_sets_the_stable_one_without_a_new_pod() -> None:
    cluster = aborted_rollout()
    (pod,) = cluster.pods()
    assert template(cluster) == template_of(named_image(BAD))
    async with reached(cluster, "argo_rollouts") as driver:
        before = await driver.release()
        assert before.build_hash == "unsettled", "what runs is not what the template says"
        reply = await undo(driver)
        assert reply.answer is Answer.ACKNOWLEDGED
        after = await driver.release()
        assert (after.build_hash, after.version) == (GOOD, "2.3.1")
        assert (await undo(driver)).answer is Answer.ALREADY
    ((method, path, body, media),) = cluster.changes
    assert (method, media) == ("PATCH", "application/json-patch+json")
    assert path == f"/apis/argoproj.io/v1alpha1/namespaces/{NS}/rollouts/seq-01"
    assert body[2] == {"op": "replace", "path": "/spec/template", "value": template_of(named_image(GOOD))}
    assert [one["metadata"]["uid"] for one in cluster.pods()] == [pod["metadata"]["uid"]]
    assert cluster.peak == 1
    status = cluster.one("rollouts", "seq-01")["status"]
    assert status["stableRS"] == status["currentPodHash"]


@pytest.mark.parametrize(
    "strategy", [SURGELESS, {"canary": {"maxSurge": 1}}, {"canary": {}}, {"blueGreen": {}}], ids=str
)
async def test_a_promoted_build_is_not_undone_under_a_running_pod(strategy: Object) -> None:
    cluster = workload("Rollout", named_image(GOOD), named_image(BAD), strategy=strategy)
    async with reached(cluster, "argo_rollouts") as driver:
        assert (await driver.release()).build_hash == BAD
        reply = await undo(driver)
    assert reply.answer is Answer.REFUSED
    assert "would start a pod of revision 1 beside the one that runs, even with maxSurge 0" in reply.detail
    assert cluster.changes == []


def test_why_even_without_surge_two_pods_exist_at_once() -> None:
    cluster = workload("Rollout", named_image(GOOD), named_image(BAD), strategy=SURGELESS, grace=5.0)
    cluster.edit("rollouts", "seq-01", {"spec": {"template": template_of(named_image(GOOD))}})
    cluster.settle()
    assert cluster.peak == 2


async def test_while_the_canary_still_terminates_nothing_is_sent() -> None:
    cluster = workload("Rollout", named_image(GOOD), strategy={"canary": {"maxSurge": 1}}, grace=1000.0)
    cluster.broken.add(named_image(BAD))
    cluster.edit("rollouts", "seq-01", {"spec": {"template": template_of(named_image(BAD))}})
    cluster.settle()
    cluster.edit("rollouts", "seq-01", {"status": {"abort": True}})
    cluster.tick(1.0)
    cluster.tick(1.0)
    assert len(cluster.pods()) == 2
    async with reached(cluster, "argo_rollouts") as driver:
        assert (await undo(driver)).answer is Answer.REFUSED
    assert cluster.changes == []


async def test_scaled_to_nothing_the_template_is_set_and_told_to_run_nothing() -> None:
    cluster = workload("Rollout", named_image(GOOD), named_image(BAD), strategy={"canary": {}})
    cluster.edit("rollouts", "seq-01", {"spec": {"replicas": 0}})
    cluster.settle()
    async with reached(cluster, "argo_rollouts") as driver:
        reply = await undo(driver)
        assert (reply.answer, reply.detail.partition(";")[0]) == (
            Answer.FAILED,
            "the template is set, and nothing runs",
        )
        assert template(cluster) == template_of(named_image(GOOD))
        cluster.edit("rollouts", "seq-01", {"spec": {"replicas": 1}})
        cluster.settle()
        assert (await undo(driver)).answer is Answer.ALREADY
        assert (await driver.release()).build_hash == GOOD
    assert cluster.peak == 1


async def test_a_template_that_stands_elsewhere_is_undone_there() -> None:
    cluster = aborted_rollout()
    cluster.edit("rollouts", "seq-01", {"spec": {"workloadRef": {"kind": "Deployment", "name": "seq-01"}}})
    async with reached(cluster, "argo_rollouts") as driver:
        reply = await undo(driver)
    assert reply.answer is Answer.REFUSED
    assert "takes its template from Deployment" in reply.detail
    assert cluster.changes == []


async def test_a_change_in_between_is_kept() -> None:
    cluster = aborted_rollout()
    theirs = {"spec": {"template": template_of(named_image("sha256:" + "c" * 64))}}
    cluster.before_change = lambda: cluster.edit("rollouts", "seq-01", theirs)
    async with reached(cluster, "argo_rollouts") as driver:
        with pytest.raises(NodeRefused) as refused:
            await undo(driver)
    assert refused.value.status == 409
    assert template(cluster) == theirs["spec"]["template"]


async def test_the_documented_rights_are_enough() -> None:
    known = roles()
    cluster = aborted_rollout(rules=known["stopsign-reads"] + known["stopsign-undoes-rollouts"])
    async with reached(cluster, "argo_rollouts") as driver:
        assert (await undo(driver)).answer is Answer.ACKNOWLEDGED
        assert (await driver.release()).build_hash == GOOD


async def test_wrong_options_are_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="has no option kind"):
        async with reached(Cluster(), "argo_rollouts", kind="Rollout"):
            pass
