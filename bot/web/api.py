"""The read-only API, health and metrics."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from bot.domain import journal as j
from bot.domain.incident import Incident
from bot.errors import NotCommitted, NotFound
from bot.ledger import Ledger
from bot.render import timeline
from bot.render.backlog import UNCONNECTED, behind
from bot.web.access import Access
from bot.web.problems import problem
from bot.web.shape import number_of, summary

Stats = Callable[[], Awaitable[Mapping[str, float]]]


async def find(ledger: Ledger, text: str) -> Incident:
    """Return an incident by its id; raises NotFound."""
    number = number_of(text)
    incident = await ledger.read(lambda rows: rows.incident(number))
    if incident is None:
        raise NotFound(f"There is no incident inc-{number}.", where="incident")
    return incident


def router(ledger: Ledger, access: Access, stats: Stats, *, connected: bool = True) -> APIRouter:
    """Return the routes of `/v1`, `/healthz`, `/readyz` and `/metrics`; `connected`: whether there is a Slack."""
    routes = APIRouter()
    who = Depends(access)

    @routes.get("/v1/incidents", dependencies=[who])
    async def incidents(live: bool = False, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> list[dict[str, Any]]:
        """List incidents, newest first."""
        found = await ledger.read(lambda rows: rows.incidents(live_only=live, limit=limit))
        now = ledger.clock.now()
        return [summary(incident, ledger.world, now) for incident in found]

    @routes.get("/v1/incidents/{incident}", dependencies=[who])
    async def one(incident: str) -> dict[str, Any]:
        """Return one incident."""
        return summary(await find(ledger, incident), ledger.world, ledger.clock.now())

    @routes.get("/v1/incidents/{incident}/journal", dependencies=[who])
    async def journal(incident: str) -> list[dict[str, Any]]:
        """Return an incident's journal as a timeline."""
        found = await find(ledger, incident)
        entries: tuple[j.Written, ...] = await ledger.read(lambda rows: rows.entries(found.number))
        return timeline.as_json(entries, ledger.world.config)

    @routes.get("/v1/gate", dependencies=[who])
    async def gate() -> JSONResponse:
        """Answer deploy pipelines: 200 allow, or 423 with the reason."""
        watch = await ledger.read(lambda rows: rows.watch())
        if watch.halted:
            return problem(423, "Automation is halted", watch.halted_why)
        return JSONResponse({"gate": "allow"})

    @routes.get("/healthz")
    async def health() -> PlainTextResponse:
        """Say that the process answers."""
        return PlainTextResponse("ok\n")

    @routes.get("/readyz")
    async def ready() -> JSONResponse:
        """Say whether the database answers, and how Slack does, which makes nobody unready."""
        now = ledger.clock.now()
        try:
            waits = await ledger.read(lambda rows: rows.backlog(now))
        except NotCommitted as error:
            return problem(503, "Not ready", str(error))
        detail = behind(waits, now, why=False) if connected else UNCONNECTED
        outbox = {"waiting": waits.waiting, "oldest_seconds": round(waits.age(now).total_seconds(), 1)}
        return JSONResponse({"ready": True, "outbox": outbox} | ({"detail": detail} if detail else {}))

    @routes.get("/metrics")
    async def metrics() -> PlainTextResponse:
        """Return the bot's own metrics for Prometheus."""
        registry = CollectorRegistry()
        for name, value in (await stats()).items():
            Gauge(name, name.replace("_", " "), registry=registry).set(value)
        return PlainTextResponse(generate_latest(registry).decode(), media_type="text/plain; version=0.0.4")

    return routes
