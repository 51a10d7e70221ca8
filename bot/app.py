"""The composition root: builds everything from settings and config; imports only the drivers that are named there."""

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from bot.config import load as load_config
from bot.domain.authority import BOT
from bot.domain.config import Config
from bot.domain.journal import WorkBuried
from bot.domain.work import Work
from bot.errors import Misconfigured, StopsignError
from bot.flows import outcomes
from bot.flows.book import World
from bot.ledger import Ledger
from bot.monitoring.prometheus import Prometheus
from bot.nodes.catalog import driver, no_driver
from bot.nodes.reach import Connect, Reach, traits_of
from bot.ports import Blobs
from bot.schedule import ticking
from bot.settings import Settings
from bot.steps.anchor import Anchorer
from bot.steps.capture import Capturer
from bot.steps.communicate import Communicator
from bot.steps.evidence import Keeper
from bot.steps.freeze import Freezer
from bot.steps.inspect import Inspector, Vault
from bot.steps.isolate import Isolator
from bot.steps.playbook import Playbooks
from bot.steps.postmortem import PostmortemWriter
from bot.steps.rollback import Rollbacker
from bot.steps.throttle import Throttler
from bot.steps.timers import Timers
from bot.steps.unconnected import Unconnected
from bot.steps.unfreeze import Unfreezer
from bot.store import database as db
from bot.store.anchor_log import AnchorLog
from bot.store.claims import Claims
from bot.store.database import Database
from bot.store.sequencer import Sequencer, head
from bot.store.tokens import TokenTable
from bot.vault.anchors import Absent, Anchor
from bot.vault.anchors import make as make_anchor
from bot.vault.folder import Folder
from bot.vault.keys import Keys
from bot.vault.signer import ORIGIN
from bot.worker import Handler, Worker

if TYPE_CHECKING:  # Slack and the web server take a second to import, which the command line need not wait for
    from fastapi import FastAPI
    from starlette.types import ASGIApp

    from bot.chat import Chat
    from bot.vault.bucket import Bucket

log = logging.getLogger(__name__)


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Everything, built and not yet started."""

    settings: Settings
    config: Config
    home: Path
    database: Database
    ledger: Ledger
    claims: Claims
    handlers: Mapping[str, Handler]
    sequencer: Sequencer
    keys: Keys
    blobs: "Folder | Bucket"
    keeper: Keeper
    anchorer: Anchorer
    fleet: Reach
    prometheus: Prometheus
    chat: "Chat | None"

    def worker(self, *, incident: int | None = None) -> Worker:
        """Return a worker over all kinds of work that this process can do; with `incident`, over its work alone.

        Without Slack, who serves says what becomes of what would be said there; a command leaves it to who serves.
        """
        handlers = self.handlers
        if self.chat is None and incident is None:
            from bot.chat.outbound import KINDS

            handlers = {**Unconnected(self.ledger).handlers(KINDS), **handlers}
        return Worker(self.claims, handlers, clock=self.ledger.clock, buried=self._buried, incident=incident)

    async def sequence(self) -> int:
        """Number what is unnumbered in the evidence log and sign a checkpoint; a key that is due takes over."""
        added = await self.database.writer.do(self.sequencer.sequence)
        if self.keys.pending:
            newest = await self.database.reading(head)
            await asyncio.to_thread(self.keys.settle, newest.note if newest else None)
        return added

    async def _buried(self, work: Work, why: str) -> None:
        """Write dead work down where people see it; other channels follow from the entry."""
        log.error("buried %s: %s", work.key, why)
        if work.incident is not None:
            entry = WorkBuried(work=work.key, kind=work.kind, reason=why[:500])
            about = {key: work.body[key] for key in ("step", "node") if key in work.body}
            await self.ledger.decide(outcomes.bury, outcomes.Bury(by=BOT, incident=work.incident, entry=entry, **about))


def secret_of(reference: str) -> str:
    """Return what `env:NAME` or `file:/path` stands for; read anew each time, so that rotation needs no restart."""
    kind, _, name = reference.partition(":")
    if kind == "env" and name in os.environ:
        return os.environ[name]
    if kind == "file":
        try:
            return Path(name).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Misconfigured([f"the token {reference} cannot be read: {error.strerror}"]) from error
    raise Misconfigured([f"the token {reference} is not set"])


def build(settings: Settings) -> App:
    """Build the app. Raises Misconfigured with everything that is wrong with settings and files."""
    home = settings.home
    if home is None:
        raise Misconfigured(["STOPSIGN_HOME: is not set: name the operator's folder, or make it with `stopsign init`"])
    config = load_config(home)
    if settings.time_scale != 1.0:
        config = _scaled(config, settings.time_scale)
    clock = SystemClock()
    drivers = _drivers(config)
    database = Database(db.connect(settings.database), now=clock.now, salt=lambda: secrets.token_bytes(32))
    world = World(config=config, traits=lambda endpoint: traits_of(drivers.get(endpoint.driver), endpoint))
    ledger = Ledger(database, world=world, clock=clock)
    evidence = home / "evidence"
    keys = Keys(evidence, ORIGIN)
    blobs = _blobs(settings, config, evidence, clock)
    fleet = Reach(
        drivers={name: _connect(module) for name, module in drivers.items()},
        secret=secret_of,
        clock=clock,
        networks=config.inventory.networks,
    )
    prometheus = Prometheus(settings.prometheus_url)
    chat = _chat(settings, ledger, blobs)
    keeper = Keeper(ledger, blobs)
    anchorer = _anchors(settings, config, ledger, database, chat, clock)
    return App(
        settings=settings,
        config=config,
        home=home,
        database=database,
        ledger=ledger,
        claims=Claims(database.writer, now=clock.now),
        handlers={
            **_handlers(ledger, fleet, keeper, blobs, prometheus, home),
            **anchorer.handlers(),
            **(chat.handlers if chat else {}),
        },
        sequencer=Sequencer(origin=ORIGIN, sign=keys.sign, now=clock.now),
        keys=keys,
        blobs=blobs,
        keeper=keeper,
        anchorer=anchorer,
        fleet=fleet,
        prometheus=prometheus,
        chat=chat,
    )


def _handlers(
    ledger: Ledger, fleet: Reach, keeper: Keeper, vault: Vault, prometheus: Prometheus, home: Path
) -> Mapping[str, Handler]:
    freezer = Freezer(ledger, fleet, keeper)
    isolator = Isolator(ledger, fleet)
    return {
        "playbook": Playbooks(ledger, prometheus).turn,
        "step.freeze": freezer.step,
        "freeze.watch": freezer.watch,
        "step.unfreeze": Unfreezer(ledger, fleet, keeper).step,
        "step.isolate": isolator.isolate,
        "step.restore": isolator.restore,
        "step.rollback": Rollbacker(ledger, fleet, keeper).step,
        "step.throttle": Throttler(ledger, fleet).step,
        "step.capture": Capturer(ledger, fleet, keeper, prometheus).step,
        "evidence.inspect": Inspector(ledger, vault).inspect,
        "step.communicate": Communicator(ledger).step,
        "postmortem": PostmortemWriter(ledger, keeper, home / "postmortems").draft,
        **Timers(ledger).handlers(),
    }


def _drivers(config: Config) -> Mapping[str, ModuleType]:
    """Import the driver modules that the inventory names, and no others."""
    names = sorted({e.driver for node in config.inventory.nodes.values() for _, e in node.endpoints})
    found: dict[str, ModuleType] = {}
    problems: list[str] = []
    for name in names:
        try:
            module = driver(name)
        except Misconfigured as error:  # a broken driver file; it names the file
            problems += error.problems
            continue
        if module is None:
            problems.append(f"inventory.yaml: {no_driver(name)}")
        else:
            found[name] = module
    if problems:
        raise Misconfigured(problems)
    return found


def _connect(module: ModuleType) -> Connect:
    connect: Connect = module.connect
    return connect


def _blobs(settings: Settings, config: Config, evidence: Path, clock: SystemClock) -> "Folder | Bucket":
    """Return where the content of evidence goes. Raises Misconfigured."""
    if settings.evidence_url is None:
        return Folder(evidence)
    from bot.vault.bucket import Bucket

    return Bucket.from_url(
        settings.evidence_url,
        endpoint=settings.s3_endpoint_url,
        retention=config.policy.evidence.retention,
        spool=evidence / "incoming",
        clock=clock,
    )


def _anchors(
    settings: Settings, config: Config, ledger: Ledger, database: Database, chat: "Chat | None", clock: SystemClock
) -> Anchorer:
    """Return what hands checkpoints to others."""
    found: list[Anchor] = []
    for one in config.policy.evidence.anchors:
        try:
            found.append(
                make_anchor(
                    one,
                    secret=secret_of,
                    post=chat.post if chat else None,
                    clock=clock,
                    retention=config.policy.evidence.retention,
                    s3_endpoint=settings.s3_endpoint_url,
                )
            )
        except Misconfigured as error:  # nothing else waits for an anchor: `doctor` says it, and so does the journal
            log.error("%s", error)
            found.append(Absent(one.name, one.kind, str(error)))
    return Anchorer(ledger, AnchorLog(database), found, every=config.policy.evidence.anchor_every)


def _chat(settings: Settings, ledger: Ledger, blobs: Blobs) -> "Chat | None":
    if settings.slack_bot_token is None:
        return None
    from bot.chat import build as build_chat

    secret, app_token = settings.slack_signing_secret, settings.slack_app_token
    return build_chat(
        ledger=ledger,
        bot_token=settings.slack_bot_token.get_secret_value(),
        signing_secret=secret.get_secret_value() if secret else None,
        app_token=app_token.get_secret_value() if app_token else None,
        api_url=settings.slack_api_url,
        command=settings.command,
        public_url=settings.public_url,
        blobs=blobs,
        clock=ledger.clock,
    )


def _scaled(config: Config, factor: float) -> Config:
    return replace(config, policy=config.policy.scaled(factor))


@asynccontextmanager
async def running(app: App) -> AsyncIterator[Worker]:
    """Run the writer, the worker and the ticks while the block lasts; end them in order."""
    worker = app.worker()
    app.database.on_commit(worker.wake)
    app.database.start()
    task = asyncio.create_task(worker.run(), name="worker")
    unsigned = ""

    async def wake() -> None:
        worker.wake()

    async def sequence() -> None:
        nonlocal unsigned
        try:
            await app.sequence()
            unsigned = ""
        except StopsignError as error:  # evidence is taken all the same, and signed when that can be done again
            if unsigned != str(error):
                log.error("the evidence log cannot be signed: %s", error)
            unsigned = str(error)

    async def anchor() -> None:
        await app.anchorer.tick()

    async def sweep() -> None:
        with suppress(StopsignError, OSError):  # the store is away: what is left over waits
            await asyncio.to_thread(app.blobs.sweep)

    swept = asyncio.create_task(sweep(), name="sweep")
    ticks = ticking(wake, sequence, anchor)
    ticks.start()
    socket = app.chat.socket if app.chat else None
    if socket is not None:
        socket.start()
    try:
        yield worker
    finally:
        if socket is not None:
            await socket.stop()  # while what it takes in can still be stored
        ticks.shutdown(wait=False)
        await worker.close()
        # The worker ends by itself, once what it claimed is given back.
        await asyncio.gather(task, swept, return_exceptions=True)
        await sequence()
        await close(app)


async def close(app: App) -> None:
    """Close connections and the database."""
    if app.chat is not None:
        await app.chat.aclose()
    await app.fleet.aclose()
    await app.prometheus.aclose()
    app.database.stop()
    if not isinstance(app.blobs, Folder):
        app.blobs.close()


def web(app: App, *, open_to_all: bool = False) -> "FastAPI":
    """Return the ASGI app; its lifespan runs the worker. `open_to_all` is for the demo on loopback only."""
    from bot.web.live import Live
    from bot.web.server import build as build_web

    @asynccontextmanager
    async def lifespan(_web: "FastAPI") -> AsyncIterator[None]:
        async with running(app):
            yield

    slack: ASGIApp | None = app.chat.asgi if app.chat else None
    live = Live()
    app.database.on_commit(live.changed)
    return build_web(
        ledger=app.ledger,
        tokens=TokenTable(app.database),
        live=live,
        settings=app.settings,
        slack=slack,
        connected=app.chat is not None,
        open_to_all=open_to_all,
        lifespan=lifespan,
    )
