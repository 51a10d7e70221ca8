"""Look outside: Slack, Prometheus, node APIs. Each look ends within `PATIENCE` and becomes lines, no exception."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from bot.config.references import secret
from bot.config.review import Check, fail, ok, some, warn
from bot.doctor.slack import slack
from bot.domain.config import Config
from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.target import short
from bot.errors import Misconfigured, NodeError, NodeRefused
from bot.nodes.catalog import driver
from bot.nodes.probe import probe
from bot.nodes.reach import Reach
from bot.nodes.wire import Wire, node_client
from bot.settings import Settings

PATIENCE = 5.0
"""Seconds that any look may take."""

_PROBES: Mapping[str, str] = {"sidecar": "/stopsign/v1/node", "keymanager": "/eth/v1/keystores"}
_SIGNERS = 'count by (signer) (up{signer!=""})'


def looks(settings: Settings, config: Config, environ: Mapping[str, str]) -> list[Awaitable[Iterable[Check]]]:
    """Return everything to look at outside; what several nodes share is looked at once."""
    found: list[Awaitable[Iterable[Check]]] = [slack(settings, config), _prometheus(settings, config)]
    seen: set[tuple[object, ...]] = set()
    for node in config.inventory.nodes.values():
        for capability, endpoint in node.endpoints:
            same = (endpoint.driver, endpoint.url, *sorted(endpoint.options.items()))
            if same not in seen:
                seen.add(same)
                found.append(_endpoint(node, capability, endpoint, config, environ))
    return found


async def at_once(found: Iterable[Awaitable[Iterable[Check]]]) -> list[Check]:
    """Return the lines of all looks, in their order, a hundred under way at a time."""
    gate = asyncio.Semaphore(100)

    async def one(look: Awaitable[Iterable[Check]]) -> list[Check]:
        async with gate:
            return list(await look)

    done = await asyncio.gather(*(one(look) for look in found))
    return [check for lines in done for check in lines]


async def _get(url: str, token: str | None, **params: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        return await client.get(url, headers=headers, params=params)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"no answer within {PATIENCE:g} s"
    return str(error) or type(error).__name__


async def _prometheus(settings: Settings, config: Config) -> list[Check]:
    base = settings.prometheus_url
    if base is None:
        what = "is not connected: people are asked whether a symptom persists, evidence holds no metrics"
        return [warn("prometheus", what, "set STOPSIGN_PROMETHEUS_URL")]
    try:
        series = (await _get(f"{base.rstrip('/')}/api/v1/query", None, query=_SIGNERS)).raise_for_status().json()
        rules = (await _get(f"{base.rstrip('/')}/api/v1/rules", None, type="alert")).raise_for_status().json()
        scraped = {row["metric"]["signer"] for row in series["data"]["result"]}
        loaded = {rule["name"] for group in rules["data"]["groups"] for rule in group["rules"]}
    except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError) as error:
        return [fail("prometheus", f"{base}: {_reason(error)}", "check the address in STOPSIGN_PROMETHEUS_URL")]
    return [ok("prometheus", f"{base} answers"), *_scraped(config, scraped), *_loaded(config, loaded)]


def _scraped(config: Config, scraped: set[str]) -> Iterator[Check]:
    dark = [name for name in config.inventory.nodes if name not in scraped]
    if dark:
        yield fail(
            "telemetry",
            f"no scrape target carries signer={some(dark)}: no alert can name them",
            "give each signer's scrape target the labels avs and signer, see docs/alertmanager.md",
        )
    elif config.inventory.nodes:
        yield ok("telemetry", "every node has a scrape target with its name")


def _loaded(config: Config, loaded: set[str]) -> Iterator[Check]:
    missing = sorted(set(config.runbooks) - loaded)
    if missing:
        todo = "write them with `stopsign rules`, add the file to rule_files, reload Prometheus"
        yield fail("rules", f"Prometheus does not know {some(missing)}", todo)
    else:
        yield ok("rules", f"all {len(config.runbooks)} alerts are loaded")


async def _endpoint(
    node: Node, capability: Capability, endpoint: Endpoint, config: Config, environ: Mapping[str, str]
) -> list[Check]:
    name = f"{node.name} {capability}"
    if endpoint.driver not in _PROBES:
        return [check async for check in _probed(name, node, capability, endpoint, config, environ)]
    try:
        token = secret(endpoint.token, environ) if endpoint.token else None
    except Misconfigured:
        return []  # told by _references
    try:
        said = await _asked(node, endpoint, config, token)
    except Misconfigured as error:
        return [fail(name, str(error), "check ca, client_cert and client_key in inventory.yaml")]
    except NodeRefused as error:
        if error.status in {401, 403}:
            what = f"{endpoint.url} refuses the token ({error.status})"
            return [fail(name, what, f"correct {endpoint.token or 'token'}")]
        return [fail(name, str(error), "check url and driver in inventory.yaml")]
    except NodeError as error:
        return [fail(name, str(error), "check that the node runs, and that this machine may reach it")]
    return [
        _same_node(name, node, endpoint, said)
        if capability is Capability.SIGNER
        else ok(name, f"{endpoint.url} answers")
    ]


async def _probed(
    name: str, node: Node, capability: Capability, endpoint: Endpoint, config: Config, environ: Mapping[str, str]
) -> AsyncIterator[Check]:
    """Read once what the endpoint's own driver reads."""
    module = driver(endpoint.driver)
    if module is None:
        return  # told by _drivers
    reach = Reach(
        drivers={endpoint.driver: module.connect},
        secret=lambda reference: secret(reference, environ),
        clock=_Clock(),
        networks=config.inventory.networks,
    )
    async with reach:
        avs = config.inventory.avs[node.avs]
        found = await probe(reach.drive, node, avs, capability, endpoint, clock=_Clock(), wait=False)
    todo = f"look closer with `stopsign nodes probe {node.name}`"
    if found.well is None:
        yield warn(name, f"{endpoint.driver} does not offer {capability}", "name another driver in inventory.yaml")
    else:
        yield ok(name, found.says[0]) if found.well else fail(name, found.says[0], todo)


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


async def _asked(node: Node, endpoint: Endpoint, config: Config, token: str | None) -> bytes:
    """Ask as the drivers do: with the endpoint's certificates, and only an address in the networks."""
    pair = endpoint.client_cert, endpoint.client_key
    certificate = (pair[0], pair[1]) if pair[0] and pair[1] else None
    async with node_client(networks=config.inventory.networks, ca=endpoint.ca, certificate=certificate) as client:
        patience = timedelta(seconds=PATIENCE)
        wire = Wire(client=client, node=node.name, base=endpoint.url, timeout=patience, token=token)
        return await wire.call().content("GET", _PROBES[endpoint.driver])


def _same_node(name: str, node: Node, endpoint: Endpoint, answer: bytes) -> Check:
    """Compare what a signer says of itself with the inventory."""
    try:
        said: Any = json.loads(answer)
        if endpoint.driver == "sidecar":
            called, keys = said["node"], set(said["keys"])
        else:
            called, keys = node.name, {row["validating_pubkey"] for row in said["data"]}
    except (ValueError, KeyError, TypeError):
        return fail(
            name, f"{endpoint.url} gives an answer that cannot be read", "check url and driver in inventory.yaml"
        )
    if called != node.name:
        return fail(name, f"{endpoint.url} is {called}, not {node.name}", "correct url in inventory.yaml")
    missing, extra = sorted(set(node.keys) - keys), sorted(keys - set(node.keys))
    todo = "correct keys in inventory.yaml, or find out who moved the key"
    if missing:
        return fail(name, f"does not hold {some([short(key) for key in missing])}", todo)
    if extra:
        return fail(name, f"also signs with {some([short(key) for key in extra])}, which a freeze would leave on", todo)
    return ok(name, f"{endpoint.url} answers and holds its {len(keys)} keys")
