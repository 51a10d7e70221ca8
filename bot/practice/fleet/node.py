"""One practice node: a signer, a release, a routing state, a character, and a process that can restart."""

import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from bot.practice.fleet.record import Record, stamp
from bot.practice.fleet.signer import Held, Obedience, Signer, obedience
from bot.practice.fleet.spec import Character, NodeSpec, build_hash, config_checksum

_REQUESTS_KEPT = 10_000


class Conflict(Exception):
    """The node's state is not the one that the caller believes; nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release of a node."""

    version: str
    build_hash: str
    config_checksum: str
    since: datetime


@dataclass(slots=True, kw_only=True)
class Received:
    """One request that reached the node; `status` is None while, or because, it was never answered."""

    at: datetime
    method: str
    path: str
    request: str | None
    status: int | None = None


class PracticeNode:
    """Holds a node's state. Methods change it at once; who may call them, and what is answered, is the API's affair."""

    def __init__(self, spec: NodeSpec, *, period: float, folder: Path, now: Callable[[], datetime]) -> None:
        self.spec = spec
        self.character = spec.character
        self.now = now
        self.record = Record(folder)
        self.signer = Signer(
            avs=spec.avs, duty=spec.duty, period=period, keys=spec.all_keys, remote=spec.remote_keys, record=self.record
        )
        self.isolated = False
        self.routed_since = self.started_at = now()
        self.routing_incident: str | None = None
        self.instance_id = secrets.token_hex(8)
        self.current = self._release(spec.version, self.started_at - timedelta(hours=2))
        self.previous = (
            self._release(spec.previous_version, self.started_at - timedelta(days=30))
            if spec.previous_version
            else None
        )
        self.requests: deque[Received] = deque(maxlen=_REQUESTS_KEPT)
        self.peers: Callable[[], Sequence[Mapping[str, object]]] = tuple
        self._restart_due = False
        self._thawed: set[str] = set()
        self._rollbacks: dict[str, tuple[str, Mapping[str, object]]] = {}

    @property
    def runs(self) -> bool:
        """Tell whether there is a process: signing, telemetry and API are nowhere without one."""
        return self.character is not Character.DOWN

    @property
    def answers(self) -> bool:
        """Tell whether a caller can get any answer."""
        return self.character not in {Character.DOWN, Character.SILENT}

    def beat(self) -> None:
        """Live through one duty."""
        if self._restart_due:
            self.restart()
        if self.runs:
            self.signer.fulfil(self.now())

    def become(self, character: Character) -> None:
        """Change character; a node that was down comes up as a new process. No key is thawed by it."""
        was_down = not self.runs
        self.character = character
        if character is Character.HONEST:
            for held in self.signer.held.values():
                held.stopped = not held.active
        if was_down and self.runs:
            self.restart()

    def restart(self) -> None:
        """Begin a new process: another instance, counters from 0; frozen keys stay frozen."""
        self._restart_due = False
        self.instance_id = secrets.token_hex(8)
        self.started_at = self.now()
        self.signer.restart()

    def stop(self, keys: Sequence[str], *, incident: str | None) -> list[Obedience]:
        """Stop signing with `keys`, all of which are held, as far as the node's character lets it."""
        ways = []
        for index, key in enumerate(keys):
            held = self.signer.held[key]
            way = obedience(self.character, index=index, of=len(keys), asked_before=held.freezes_asked)
            held.freezes_asked += 1
            if way in {Obedience.DOES, Obedience.PRETENDS}:
                held.stopped, held.incident = True, incident
            if way is Obedience.DOES:
                self._restart_due |= held.active and self.character is Character.RESTARTING
                held.active = False
            ways.append(way)
        return ways

    def thaw(self, keys: Sequence[str], *, request: str) -> None:
        """Sign again with `keys`, unless `request` was taken before: a late duplicate starts nothing."""
        if request in self._thawed:
            return
        self._thawed.add(request)
        for key in keys:
            self.signer.admit(key, remote=self.signer.held[key].remote)

    def route(self, *, isolated: bool, incident: str) -> None:
        """Take the node out of traffic or back; a repeat changes nothing."""
        if isolated != self.isolated:
            self.isolated, self.routed_since, self.routing_incident = (
                isolated,
                self.now(),
                incident if isolated else None,
            )

    def roll_back(self, to: str, *, believed: str | None, request: str) -> tuple[Mapping[str, object], bool]:
        """Return to the previous release; returns the releases and whether this is a repeat. Raises Conflict."""
        if request in self._rollbacks:
            asked, answer = self._rollbacks[request]
            if asked != to:
                raise Conflict(f"request {request} was for build {asked}")
            return answer, True
        if believed is not None and believed != self.current.build_hash:
            raise Conflict(f"the current build is {self.current.build_hash}")
        if self.previous is None or self.previous.build_hash != to:
            raise Conflict(f"the previous build is {self.previous.build_hash if self.previous else 'not known'}")
        self.current, self.previous = replace(self.previous, since=self.now()), self.current
        self.restart()
        self._rollbacks[request] = (to, self.releases())
        return self._rollbacks[request][1], False

    def releases(self) -> Mapping[str, object]:
        """Return the current and previous release as the node API writes them."""
        tested = self.spec.rollback_tested_at
        return {
            "instance_id": self.instance_id,
            "now": stamp(self.now()),
            "current": written(self.current),
            "previous": written(self.previous) if self.previous else None,
            "rollback_contract": {"tested_at": stamp(tested) if tested else None},
        }

    def truth(self) -> Mapping[str, object]:
        """Return what is really so."""
        return {
            "avs": self.spec.avs,
            "api": self.spec.api,
            "character": self.character,
            "up": self.runs,
            "instance_id": self.instance_id,
            "started_at": stamp(self.started_at),
            "isolated": self.isolated,
            "release": written(self.current),
            "conflicts": self.signer.conflicts,
            "keys": {key: self._key_truth(held) for key, held in self.signer.held.items()},
            "requests": [
                {"at": stamp(r.at), "method": r.method, "path": r.path, "request": r.request, "status": r.status}
                for r in self.requests
            ],
        }

    def _key_truth(self, held: Held) -> Mapping[str, object]:
        return {
            "signing": held.active and self.runs,
            "says": "frozen" if held.stopped else "signing",
            "counter": held.counter,
            "total": held.total,
            "last_signed_at": stamp(held.last_signed_at) if held.last_signed_at else None,
        }

    def _release(self, version: str, since: datetime) -> Release:
        return Release(
            version=version,
            build_hash=build_hash(self.spec.client, version),
            config_checksum=config_checksum(self.spec.name, version),
            since=since,
        )


def written(release: Release) -> Mapping[str, object]:
    """Return a release as the node API writes it."""
    return {
        "version": release.version,
        "build_hash": release.build_hash,
        "config_checksum": release.config_checksum,
        "since": stamp(release.since),
    }
