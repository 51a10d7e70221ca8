"""Look outside: Slack, Prometheus, node APIs. Each look ends within `PATIENCE` and becomes lines, no exception."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType

import httpx

from bot.config.references import secret
from bot.config.review import Check, fail, ok, some, warn
from bot.doctor.evidence import bucket
from bot.doctor.slack import slack
from bot.domain.config import Config
from bot.domain.inventory import Capability, Endpoint, Node
from bot.errors import Misconfigured
from bot.nodes.catalog import driver
from bot.nodes.probe import Found, probe
from bot.nodes.reach import Reach
from bot.settings import Settings

PATIENCE = 5.0
"""Seconds that any look may take."""

UNAUTHORISED, FORBIDDEN = 401, 403
_SIGNERS = 'count by (signer) (up{signer!=""})'


def looks(settings: Settings, config: Config, environ: Mapping[str, str]) -> list[Awaitable[Iterable[Check]]]:
    """Return everything to look at outside; what several nodes share is looked at once."""
    found: list[Awaitable[Iterable[Check]]] = [
        slack(settings, config),
        _prometheus(settings, config),
        bucket(settings, config),
    ]
    seen: set[tuple[object, ...]] = set()
    for node in config.inventory.nodes.values():
        for capability, endpoint in node.endpoints:
            same: tuple[object, ...] = (endpoint.driver, endpoint.url, *sorted(endpoint.options.items()))
            mine = (*same, node.name) if capability is Capability.SIGNER else same  # each holds keys of its own
            if mine not in seen:
                seen |= {same, mine}
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
    """Connect the endpoint's own driver, and read once what it reads."""
    name = f"{node.name} {capability}"
    try:
        module = driver(endpoint.driver)
        if endpoint.token is not None:
            secret(endpoint.token, environ)
    except Misconfigured:
        return []  # told by _drivers and _references
    if module is None:
        return []
    hurried, at = _hurried(node, endpoint)
    reach = Reach(
        drivers={endpoint.driver: module.connect},
        secret=lambda reference: secret(reference, environ),
        clock=_Clock(),
        networks=config.inventory.networks,
    )
    others = [key for other in config.inventory.nodes.values() if other is not node for key in other.keys]
    async with reach:
        avs = config.inventory.avs[node.avs]
        found = await probe(reach.drive, hurried, avs, capability, at, clock=_Clock(), wait=False, others=others)
    if found.well:
        return [ok(name, found.says[0])]
    if found.well is None:
        if _shared(module, node, endpoint):
            return []  # one API for all that it can do, and it cannot do this
        what = f"{endpoint.driver} does not offer {capability}"
        return [warn(name, what, f"name another driver at {_place(endpoint)}")]
    what = found.says[0] if found.exchanges else "; ".join(found.says)
    return [fail(name, what, _todo(found, node, endpoint))]


def _hurried(node: Node, endpoint: Endpoint) -> tuple[Node, Endpoint]:
    """Return node and endpoint with a time limit of PATIENCE at most: nobody waits for a doctor for minutes."""
    most = timedelta(seconds=PATIENCE)
    reach = {can: replace(each, timeout=min(each.timeout, most)) for can, each in node.reach.items()}
    more = tuple(replace(each, timeout=min(each.timeout, most)) for each in node.more_recorders)
    return replace(node, reach=reach, more_recorders=more), replace(endpoint, timeout=min(endpoint.timeout, most))


def _shared(module: ModuleType, node: Node, endpoint: Endpoint) -> bool:
    """Tell whether an endpoint serves another capability of the node, as `api:` does."""
    offered = module.TRAITS.capabilities
    return any(other == endpoint and can in offered for can, other in node.endpoints)


def _place(endpoint: Endpoint) -> str:
    return f"inventory.yaml:{endpoint.line}" if endpoint.line else "inventory.yaml"


def _todo(found: Found, node: Node, endpoint: Endpoint) -> str:
    """Return what to do about an endpoint that cannot be relied on."""
    if found.refused == UNAUTHORISED:
        return f"correct {endpoint.token or 'token'} ({_place(endpoint)})"
    if found.refused == FORBIDDEN:
        return f"do what it says there; it may also be {endpoint.token or 'the token, of which there is none'}"
    if not found.exchanges:
        return f"correct {_place(endpoint)}; docs/drivers.md leads to the options of {endpoint.driver}"
    return f"look closer with `stopsign nodes probe {node.name}`"


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)
