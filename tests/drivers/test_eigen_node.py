"""The eigen_node driver against an imitation: every health is an answer, and nothing else is one."""

import json
from typing import Any

import pytest
from aiohttp import web

from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeRefused
from bot.nodes import eigen_node
from bot.nodes.eigen_node import MOST_SERVICES
from tests.drivers.captures import cut, pointed, taken
from tests.drivers.emulated.eigen_node import eigen_node as imitated
from tests.drivers.emulated.serving import serving

HEALTH = "/eigen/node/health"


@pytest.mark.parametrize(("status", "means"), [(200, "healthy"), (206, "partly healthy"), (503, "unhealthy")])
async def test_every_health_is_kept_with_its_status(status: int, means: str) -> None:
    services = {"db-1": "Up", "idx-2": "Initializing", "ipfs/3 ?": "Down"}
    async with (
        imitated(health=status, said="as said", services=services, token="s3cret") as (url, imitation),
        pointed(eigen_node, url, token="s3cret") as driver,
    ):
        node, health, listed, *each = await taken(driver)
    assert json.loads(node.whole) == {"node_name": "x-avs", "spec_version": "v0.0.1", "node_version": "v1.2.3"}
    assert json.loads(health.whole) == {"path": HEALTH, "status": status, "means": means, "said": "as said"}
    assert [one["id"] for one in json.loads(listed.whole)["services"]] == list(services)
    assert [json.loads(one.whole)["status"] for one in each] == [200, 206, 503]
    assert [one.what for one in (node, health, listed, *each)] == [
        *("node", "node-health", "services"),
        *["service-health"] * 3,
    ]
    assert imitation.asked[-1] == "/eigen/node/services/ipfs%2F3%20%3F/health"
    assert "s3cret" not in f"{node}{health}{each}"


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, NodeRefused), (404, NodeRefused), (500, NodeBroken), (502, NodeBroken), (302, NodeBroken)],
)
async def test_another_status_is_no_health(status: int, error: type[Exception]) -> None:
    async with imitated(health=status) as (url, _), pointed(eigen_node, url) as driver:
        items = await taken(driver)
    assert [type(one.error) for one in items] == [type(None), error, type(None)]
    if error is NodeRefused:
        assert getattr(items[1].error, "status", None) == status


async def test_a_service_that_is_gone_costs_only_its_own_item() -> None:
    listed = [{"id": "gone"}, {"id": "db-1"}]
    async with imitated(services={"db-1": "Up"}, listed=listed) as (url, _), pointed(eigen_node, url) as driver:
        *_, gone, up = await taken(driver)
    assert isinstance(gone.error, NodeRefused)
    assert json.loads(up.whole)["status"] == 200


async def test_what_is_no_service_is_not_asked_for_and_too_many_are_told() -> None:
    listed: list[Any] = [7, {}, {"id": ".."}, {"id": ""}, {"id": None}, {"id": "x" * 201}]
    async with imitated(listed=listed) as (url, imitation), pointed(eigen_node, url) as driver:
        await taken(driver)
        assert imitation.asked == ["/eigen/node", HEALTH, "/eigen/node/services"]
    many = {f"s{n}": "Up" for n in range(MOST_SERVICES + 3)}
    async with imitated(services=many) as (url, _), pointed(eigen_node, url) as driver:
        *items, note = await taken(driver)
    assert len(items) == 3 + MOST_SERVICES
    assert json.loads(note.whole)["says"] == f"of {len(many)} services only the first {MOST_SERVICES} were asked"


async def test_a_list_that_breaks_off_is_an_error_and_no_service_is_asked() -> None:
    async with (
        imitated(services={"a": "Up"}) as (url, imitation),
        cut(url) as half,
        pointed(eigen_node, half) as driver,
    ):
        items = await taken(driver)
    assert [one.error is None for one in items if one.what in {"node", "services"}] == [False, False]
    assert not [path for path in imitation.asked if path.startswith("/eigen/node/services/")]


async def test_a_page_that_is_not_json_is_broken_and_the_rest_is_still_asked_for() -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{any:.*}", page)
    async with serving(app) as url, pointed(eigen_node, url) as driver:
        node, health, services = await taken(driver)
    assert isinstance(node.error, NodeBroken)
    assert json.loads(health.whole)["said"] == "<html>"
    assert isinstance(services.error, NodeBroken)


async def test_a_body_without_end_is_no_health() -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(2000):
            await response.write(b"x" * 65_536)
        return response

    async def page(request: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.router.add_get(HEALTH, flood)
    app.router.add_get("/{any:.*}", page)
    async with serving(app) as url, pointed(eigen_node, url) as driver:
        _, health, _ = await taken(driver)
    assert isinstance(health.error, NodeBroken)


async def test_after_silence_nothing_more_is_waited_for() -> None:
    async with imitated() as (url, _):
        pass
    async with pointed(eigen_node, url) as driver:
        items = await taken(driver)
    assert all(one.error for one in items)
    assert not isinstance(items[0].error, NoAnswer), "nothing listens: it was not reached"
    assert str(items[1].error).startswith("not asked for: ")


async def test_it_has_no_options() -> None:
    with pytest.raises(Misconfigured, match="no option services"):
        async with pointed(eigen_node, "http://127.0.0.1:9", {"services": "a"}):
            pass
