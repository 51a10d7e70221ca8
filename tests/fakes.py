"""Fakes in one place: a clock that stands, a small fleet, and a room with a real ledger over a real SQLite file."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.config import load
from bot.domain.alert import Alert, AlertStatus, Notification
from bot.domain.authority import BOT, Actor, Power
from bot.domain.config import Config
from bot.domain.incident import Incident
from bot.domain.inventory import Avs, Capability, Cohort, Endpoint, Inventory, Node, RollbackContract
from bot.domain.journal import Entry, TargetReport, Written
from bot.domain.playbook import Verb
from bot.domain.policy import Policy
from bot.domain.roles import Role
from bot.domain.target import Answer, Effect, KeyReading, Release, Reply, Sample, State
from bot.domain.team import Person, Shift, Team
from bot.domain.work import Work
from bot.flows import intake, outcomes, playbook, respond
from bot.flows.book import Command, World
from bot.ledger import Flow, Ledger
from bot.ports import Traits
from bot.store import database as db
from bot.store.claims import Claims
from bot.store.database import Database

START = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)  # a Friday, 3 a.m.
GOOD_BUILD = "sha256:" + "a" * 64
SHIPPED = load(None)
SIDECAR = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.SIGNER,),
    proves_by="counters",
    needs="two samples",
    cannot_know="elsewhere",
    blast_radius="the keys",
    tested="nothing",
)
TRAITS = {"sidecar": SIDECAR, "keymanager": replace(SIDECAR, reversible=False, destructive=True)}
TRAITS["emulated"] = replace(SIDECAR, tier="emulated")


class FrozenClock:
    """Stands still until told to go on."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def now(self) -> datetime:
        """Return the time that was set."""
        return self.at

    def go(self, **amount: float) -> None:
        """Go on by a timedelta's arguments."""
        self.at += timedelta(**amount)


def node(name: str, *, avs: str = "sequencer", driver: str = "sidecar", **more: Any) -> Node:
    """Return a node with one key of its own and all capabilities."""
    endpoint = Endpoint(driver=driver, url=f"http://127.0.0.1:9000/{name}")
    reach = dict.fromkeys((Capability.SIGNER, Capability.ROUTER, Capability.DEPLOYER, Capability.RECORDER), endpoint)
    given: dict[str, Any] = {
        "keys": (f"0x{name}",),
        "cohort": Cohort.FLEET,
        "labels": {"instance": f"{name}:9100"},
        "reach": reach,
        "rollback": RollbackContract(build_hash=GOOD_BUILD, tested_on=date(2026, 11, 1)),
    }
    return Node(name=name, avs=avs, **{**given, **more})


def fleet_of(count: int, **more: Any) -> dict[str, Node]:
    """Return `count` nodes of the sequencer: s01, s02, …"""
    return {name: node(name, **more) for name in (f"s{n:02}" for n in range(1, count + 1))}


def team() -> Team:
    """Return five people: Ada to Dan on call, each with every power, and Eve who may only respond."""
    everything = frozenset(Power)
    names = ("ada", "bo", "cyn", "dan")
    people = {n: Person(id=n, name=n.capitalize(), slack=f"U0{n.upper()}", powers=everything) for n in names}
    people["eve"] = Person(id="eve", name="Eve", slack="U0EVE", powers=frozenset({Power.RESPOND}))
    roles = dict(zip(Role, names, strict=True))
    return Team(people=people, shifts=(Shift(start=0, end=0, people=names, roles=roles),))


def config(**more: Any) -> Config:
    """Return a config of twenty sequencer nodes and two oracles, with the shipped runbooks and playbooks."""
    nodes = {**fleet_of(20), "o1": node("o1", avs="oracle"), "o2": node("o2", avs="oracle")}
    avs = {
        "sequencer": Avs(name="sequencer", quorum=14, duty_period=timedelta(seconds=12)),
        "oracle": Avs(name="oracle", quorum=1),
    }
    given: dict[str, Any] = {
        "inventory": Inventory(avs=avs, nodes=nodes),
        "team": team(),
        "policy": Policy(),
        "runbooks": SHIPPED.runbooks,
        "playbooks": SHIPPED.playbooks,
    }
    return Config(**{**given, **more})


def with_nodes(base: Config, nodes: Mapping[str, Node]) -> Config:
    """Return the config with other nodes."""
    return replace(base, inventory=replace(base.inventory, nodes={**base.inventory.nodes, **nodes}))


class Room:
    """An incident room for tests: decide, advance the clock, and look."""

    def __init__(self, database: Database, world: World, clock: FrozenClock) -> None:
        self.database = database
        self.clock = clock
        self.ledger = Ledger(database, world=world, clock=clock)
        self.claims = Claims(database.writer, now=clock.now)

    async def decide(self, flow: Flow[Any, Any], command: Command) -> Any:
        """Decide a command."""
        return await self.ledger.decide(flow, command)

    async def receive(self, *alerts: Alert, truncated: int = 0) -> intake.Received:
        """Take a notification in."""
        command = intake.Receive(by=BOT, notification=Notification(alerts=tuple(alerts), truncated=truncated))
        received: intake.Received = await self.decide(intake.receive, command)
        return received

    async def incident(self, number: int = 1) -> Incident:
        """Return an incident."""
        found = await self.ledger.read(lambda rows: rows.incident(number))
        assert found is not None
        return found

    async def journal(self, number: int | None = 1) -> tuple[Written, ...]:
        """Return a stream's journal."""
        return await self.ledger.read(lambda rows: rows.entries(number))

    async def kinds(self, number: int | None = 1) -> list[str]:
        """Return the kinds of a stream's entries in order."""
        return [type(w.entry).__name__ for w in await self.journal(number)]

    async def last(self, kind: type[Entry], number: int | None = 1) -> Any:
        """Return the newest entry of a kind."""
        return [w.entry for w in await self.journal(number) if isinstance(w.entry, kind)][-1]

    async def due(self, *kinds: str) -> tuple[Work, ...]:
        """Claim all due work of these kinds."""
        return await self.claims.claim(kinds, limit=1000, lease=timedelta(seconds=30))

    async def advance(self, number: int = 1, **more: Any) -> playbook.Next:
        """Let the playbook go on."""
        following: playbook.Next = await self.decide(
            playbook.advance, playbook.Advance(by=BOT, incident=number, **more)
        )
        return following

    async def run(self, verb: Verb, state: State, number: int = 1, detail: str = "so it says") -> None:
        """Begin, report and finish all planned steps of a verb, with one state for every target."""
        for step in (await self.incident(number)).steps.values():
            if step.verb is not verb or not step.state.live:
                continue
            go = await self.decide(respond.begin, respond.Begin(by=BOT, incident=number, step=step.id))
            reports = tuple(TargetReport(node=n, state=state, detail=detail) for n in go.targets)
            await self.decide(
                outcomes.report, outcomes.Report(by=BOT, incident=number, step=step.id, verb=verb, reports=reports)
            )
            await self.decide(outcomes.finish, outcomes.Finish(by=BOT, incident=number, step=step.id))


@asynccontextmanager
async def room(folder: Path, chosen: Config | None = None, clock: FrozenClock | None = None) -> AsyncIterator[Room]:
    """Open a room on a fresh database in `folder`."""
    url = f"sqlite:///{folder / 'stopsign.db'}"
    db.migrate(url)
    ticking = clock or FrozenClock()
    database = Database(db.connect(url), now=ticking.now, salt=lambda: b"s" * 32)
    database.start()
    world = World(config=chosen or config(), traits=lambda endpoint: TRAITS.get(endpoint.driver))
    try:
        yield Room(database, world, ticking)
    finally:
        database.stop()


def person(name: str) -> Actor:
    """Return a person acting in Slack."""
    return Actor(person=name, via="slack")


def alert(
    name: str = "EquivocationRiskSpike", status: str = "firing", *, start: str = "2026-11-20T02:59:00Z", **labels: str
) -> Alert:
    """Return an alert on the sequencer; its fingerprint follows from its labels, as Alertmanager's does."""
    every = {"alertname": name, "avs": "sequencer", "severity": "page", **labels}
    fingerprint = f"{abs(hash(tuple(sorted(every.items())))):016x}"[:16]
    return Alert(fingerprint=fingerprint, starts_at=start, status=AlertStatus(status), labels=every)


class FakeSigner:
    """A signer that obeys; subclasses do not."""

    traits = SIDECAR

    def __init__(self, clock: FrozenClock) -> None:
        self.clock = clock
        self.frozen = False
        self.asked: list[str] = []
        self.counter = 100

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Stop signing."""
        self.asked.append(request)
        was, self.frozen = self.frozen, True
        return Reply(answer=Answer.ALREADY if was else Answer.ACKNOWLEDGED, detail="frozen")

    async def unfreeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Sign again."""
        self.frozen = False
        return Reply(answer=Answer.ACKNOWLEDGED, detail="signing")

    def signs(self) -> bool:
        """Tell whether signatures go on being made."""
        return not self.frozen

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read the counters; they rise with the clock while the signer signs."""
        self.counter += self.signs()
        now = self.clock.now()
        reading = KeyReading(signing=not self.frozen, counter=self.counter, next_duty_at=now + timedelta(seconds=6))
        return Sample(at=now, instance="i-1", keys=dict.fromkeys(keys, reading), node_time=now)

    async def slashing_protection(self) -> bytes:
        """Return an empty interchange."""
        return b'{"metadata":{},"data":[]}'


class DeafSigner(FakeSigner):
    """Says frozen, reads back frozen, and goes on signing."""

    def signs(self) -> bool:
        """Never stop."""
        return True


def release(build: str = GOOD_BUILD, version: str = "1.2.3") -> Release:
    """Return what a node might run."""
    return Release(version=version, build_hash=build, config_checksum="sha256:" + "c" * 64)
