"""The Kubernetes driver against a real control plane, which must be built first (docs/kubernetes.md)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.domain.target import Answer, Reply
from bot.errors import NodeRefused
from tests.drivers.control_plane import Plane, control_plane, plane
from tests.drivers.kube import (
    BAD,
    GOOD,
    NS,
    Object,
    driving,
    named_image,
    template_of,
)
from tests.drivers.test_kubernetes import SURGELESS, documented

LABEL: Object = {"isolate": "label", "label": "role=signer"}
POLICY: Object = {"isolate": "networkpolicy"}
CORDON: Object = {"isolate": "cordon"}
DOC = Path(__file__).parents[2] / "docs" / "kubernetes.md"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"


async def isolate(driver: Any) -> Reply:
    reply: Reply = await driver.isolate(incident="inc-7", request="r1")
    return reply


async def restore(driver: Any) -> Reply:
    reply: Reply = await driver.restore(incident="inc-7", request="r2")
    return reply


async def undo(driver: Any, build: str = GOOD) -> Reply:
    reply: Reply = await driver.rollback(build, incident="inc-7", request="r1")
    return reply


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with control_plane(tmp_path_factory.mktemp("control-plane")) as url:
        yield url


@pytest.fixture
async def cluster(api: str) -> AsyncIterator[Plane]:
    async with plane(api, documented()) as made:
        yield made


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_real_controllers_undo_without_a_twin(cluster: Plane, kind: str) -> None:
    await cluster.rolled(kind, named_image(GOOD), named_image(BAD))
    async with driving("kubernetes", cluster.port, timeout=20.0, kind=kind) as driver:
        before = await driver.release()
        assert (before.version, before.build_hash, before.previous_build) == ("2.4.0", BAD, GOOD)
        assert (await undo(driver)).answer is Answer.ACKNOWLEDGED
        assert (await driver.release()).build_hash == GOOD
        assert (await undo(driver)).answer is Answer.ALREADY
        assert (await undo(driver, "sha256:" + "e" * 64)).answer is Answer.REFUSED
    assert (cluster.peak, cluster.both) == (1, 0.0)
    await cluster.dropped(kind)


async def test_real_controllers_run_two_pods_even_without_surge(cluster: Plane) -> None:
    await cluster.rolled("Deployment", named_image(GOOD), named_image(BAD), strategy=SURGELESS)
    async with driving("kubernetes", cluster.port, kind="Deployment") as driver:
        assert (await undo(driver)).answer is Answer.REFUSED
    assert cluster.both == 0.0
    await cluster.roll("Deployment", named_image(GOOD))
    await asyncio.sleep(2.0)
    assert cluster.peak == 2
    assert cluster.both > 0.5, "as long as the old one terminates"
    await cluster.dropped("Deployment")


@pytest.mark.parametrize("options", [LABEL, POLICY], ids=["label", "networkpolicy"])
async def test_the_real_api_isolates_and_restores(cluster: Plane, options: Object) -> None:
    await cluster.rolled("StatefulSet", named_image(GOOD))
    async with driving("kubernetes", cluster.port, kind="StatefulSet", **options) as driver:
        assert not await driver.isolated()
        assert (await isolate(driver)).answer is Answer.ACKNOWLEDGED
        assert await driver.isolated()
        assert (await isolate(driver)).answer is Answer.ALREADY
        assert (await restore(driver)).answer is Answer.ACKNOWLEDGED
        assert not await driver.isolated()
        assert (await restore(driver)).answer is Answer.ALREADY
    assert cluster.peak == 1
    await cluster.dropped("StatefulSet")


async def test_a_label_of_the_real_selector_starts_a_twin(cluster: Plane) -> None:
    await cluster.rolled("Deployment", named_image(GOOD))
    (pod,) = await cluster.pods()
    path = f"/api/v1/namespaces/{NS}/pods/{pod['metadata']['name']}"
    async with driving("kubernetes", cluster.port, kind="Deployment", isolate="label", label="app=seq-01") as driver:
        with pytest.raises(NodeRefused, match="it would start a twin"):
            await isolate(driver)
        assert len(await cluster.pods()) == 1
    await cluster.ask("PATCH", path, {"metadata": {"labels": {"app": None}}}, MERGE)
    await asyncio.sleep(1.5)
    assert len([one for one in await cluster.pods() if one["status"]["phase"] == "Running"]) == 2
    await cluster.ask("DELETE", path)
    await cluster.dropped("Deployment")


async def test_a_real_stateful_set_waits_for_its_broken_pod_until_it_is_deleted(cluster: Plane) -> None:
    cluster.broken.add(named_image(BAD))
    await cluster.rolled("StatefulSet", named_image(GOOD), named_image(BAD))
    async with driving("kubernetes", cluster.port, timeout=4.0, kind="StatefulSet") as driver:
        reply = await undo(driver)
        assert reply.answer is Answer.UNKNOWN
        assert "pod seq-01-0 of another template is not ready and Kubernetes waits for it: delete it" in reply.detail
    await cluster.ask("DELETE", f"/api/v1/namespaces/{NS}/pods/seq-01-0")
    async with driving("kubernetes", cluster.port, timeout=20.0, kind="StatefulSet") as driver:
        assert (await undo(driver)).answer is Answer.ACKNOWLEDGED
        assert (await driver.release()).build_hash == GOOD
    assert cluster.peak == 1
    await cluster.dropped("StatefulSet")


async def test_the_real_api_refuses_a_change_under_an_old_version(cluster: Plane) -> None:
    await cluster.rolled("StatefulSet", named_image(GOOD), named_image(BAD))
    async with driving("kubernetes", cluster.port, kind="StatefulSet") as driver:
        call = driver._kube.call()
        standing = await driver._standing(call)
        await cluster.ask("PATCH", f"{cluster.path('StatefulSet')}/seq-01", {"metadata": {"labels": {"x": "y"}}}, MERGE)
        template = template_of(named_image(GOOD))
        with pytest.raises(NodeRefused, match="the object has been modified") as refused:
            await call.set_template(driver._path(), standing.work.metadata, template)
    assert refused.value.status == 409
    await cluster.dropped("StatefulSet")
