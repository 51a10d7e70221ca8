"""Read Docker's containers and make one again: what the Engine API says of them, and what follows from it, without I/O.

Source: Docker Engine API v1.41 (ContainerInspect, ContainerList, ContainerChanges, ImageInspect, ContainerCreate).
"""

import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import rfc8785
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_pascal

REQUEST, CONTAINER, PREVIOUS, RESTART = (
    "stopsign.request",
    "stopsign.container",
    "stopsign.previous-build",
    "stopsign.restart",
)
OURS = (REQUEST, CONTAINER, PREVIOUS, RESTART)
"""Labels of the new container: which request made it, for which name, the image before, and its restart policy."""
SHARED_BY_MANY = (
    *("/etc/localtime", "/etc/timezone", "/etc/hosts", "/etc/resolv.conf", "/etc/passwd", "/etc/group", "/etc/ssl"),
    *("/etc/pki", "/usr/share", "/usr/lib", "/proc", "/sys", "/dev"),
)
"""Host paths whose sharing says nothing about keys."""
_UP = {"running", "paused", "restarting"}
_PASCAL = ConfigDict(alias_generator=to_pascal)


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container."""

    __pydantic_config__ = _PASCAL
    type: str = ""
    name: str = ""
    source: str = ""
    destination: str = ""
    mode: str = ""
    rw: Annotated[bool, Field(alias="RW")] = True


@dataclass(frozen=True, slots=True)
class Listed:
    """One container as GET /containers/json lists it; `names` begin with a slash."""

    __pydantic_config__ = _PASCAL
    id: str
    names: list[str] | None
    state: str
    image_id: Annotated[str, Field(alias="ImageID")] = ""
    labels: dict[str, str] | None = None
    mounts: list[Mount] | None = None

    @property
    def up(self) -> bool:
        """Tell whether a process of it runs, or may run again by itself."""
        return self.state in _UP

    @property
    def name(self) -> str:
        """Return its name without the slash; without one its short ID."""
        return self.names[0].removeprefix("/") if self.names else self.id[:12]

    def label(self, key: str) -> str | None:
        """Return the value of a label, or None."""
        return (self.labels or {}).get(key)


@dataclass(frozen=True, slots=True)
class Life:
    """The state of a container's process."""

    __pydantic_config__ = _PASCAL
    status: str
    running: bool
    pid: int
    exit_code: int
    started_at: str


@dataclass(frozen=True, slots=True)
class Container:
    """One container as GET /containers/{id}/json has it; the configuration is passed on as it is."""

    __pydantic_config__ = _PASCAL
    id: str
    name: str
    image: str
    state: Life
    config: dict[str, Any]
    host_config: dict[str, Any]
    mounts: list[Mount]
    network_settings: dict[str, Any]

    @property
    def labels(self) -> Mapping[str, str]:
        """Return its labels."""
        return self.config.get("Labels") or {}

    @property
    def restart(self) -> str:
        """Return the restart policy as `docker update --restart` takes it."""
        policy = self.host_config.get("RestartPolicy") or {}
        name, most = policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0
        return f"{name}:{most}" if most else name

    @property
    def stopped(self) -> bool:
        """Tell whether it has no process and will not get one by itself just now."""
        return not self.state.running and not self.state.pid and self.state.status not in _UP


@dataclass(frozen=True, slots=True)
class Image:
    """One image; `digests` are those under which registries know it."""

    __pydantic_config__ = _PASCAL
    id: str
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None
    config: dict[str, Any] | None = None

    @property
    def digests(self) -> list[str]:
        """Return its repo digests, sha256:…, without the repositories."""
        return sorted({one.partition("@")[2] for one in self.repo_digests or ()})


@dataclass(frozen=True, slots=True)
class Change:
    """One path of a container's own layer; `kind` is 0 modified, 1 added, 2 deleted."""

    __pydantic_config__ = _PASCAL
    path: str
    kind: int


@dataclass(frozen=True, slots=True)
class Made:
    """What a create answers."""

    __pydantic_config__ = _PASCAL
    id: str


def parked(container: str, request: str) -> str:
    """Return the name under which the old container is kept, stopped, once `request` has put it aside."""
    return f"{aside(container)}{_tag(request)}"


def aside(container: str) -> str:
    """Return how the names of containers that were put aside begin."""
    return f"{container}.stopsign-old-"


def prepared(container: str, request: str) -> str:
    """Return the name of the new container until it takes the node's name."""
    return f"{container}.stopsign-new-{_tag(request)}"


def _tag(request: str) -> str:
    return hashlib.sha256(request.encode()).hexdigest()[:8]


class Where(StrEnum):
    """Where a rollback stands."""

    UNTOUCHED = "untouched"
    CREATED = "created"
    STOPPED = "stopped"
    PARKED = "parked"
    BARE = "bare"
    READY = "ready"
    EXITED = "exited"
    RUNNING = "running"
    STRAY = "stray"
    TAKEN = "taken"
    OTHER = "other"
    ABSENT = "absent"

    @property
    def words(self) -> str:
        """Return what is so, and what may be done by hand; the names {name}, {old} and {new} are to be filled in."""
        return {
            Where.UNTOUCHED: "nothing was changed",
            Where.CREATED: "{name} still runs the old build, {new} was never started. By hand: docker rm {new}",
            Where.STOPPED: "{name} has the old build and is stopped, {new} was never started: nothing runs. By hand: "
            "docker start {name} runs the old build",
            Where.PARKED: "{old} has the old build and is stopped, {new} was never started: nothing runs. By hand: "
            "docker rename {new} {name}, docker start {name}",
            Where.BARE: "{old} has the old build and is stopped, there is no {name}: nothing runs. By hand: "
            "docker rename {old} {name}, docker start {name} runs the old build",
            Where.READY: "{name} has the wanted build and was never started, {old} is stopped: nothing runs. By hand: "
            "docker start {name}",
            Where.EXITED: "{name} has the wanted build and does not run, {old} is stopped: nothing runs. By hand: "
            "docker logs {name}, and decide",
            Where.RUNNING: "{name} runs the wanted build, {old} is stopped",
            Where.STRAY: "somebody started {new} or {old}. By hand: docker stop all of them but one, at once",
            Where.TAKEN: "somebody made another {name} while {old} was put aside. By hand: compare the two",
            Where.OTHER: "another request put {name} aside. By hand: repeat that one, or rename its container back",
            Where.ABSENT: "there is no container {name}",
        }[self]

    @property
    def goes_on(self) -> bool:
        """Tell whether the same request can go on from here; what has ended or was changed by others is a person's."""
        return self not in {Where.EXITED, Where.STRAY, Where.TAKEN, Where.OTHER, Where.ABSENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """What the containers' names and labels say about one request."""

    where: Where
    current: Listed | None = None
    old: Listed | None = None
    new: Listed | None = None


def stand(container: str, request: str, listed: Sequence[Listed]) -> Stand:
    """Read where the rollback that `request` asked for stands."""
    by_name = {name: one for one in listed for name in one.names or ()}
    current, old = by_name.get(f"/{container}"), by_name.get(f"/{parked(container, request)}")
    ours = [one for one in listed if one.label(REQUEST) == request and one.label(CONTAINER) == container]
    new = next(iter(ours), None)

    def at(where: Where) -> Stand:
        return Stand(where=where, current=current, old=old, new=new)

    if (old and old.up) or (new and new.up and new is not current):
        return at(Where.STRAY)
    if current and new is current:
        return at(Where.RUNNING if new.state == "running" else Where.READY if new.state == "created" else Where.EXITED)
    if current and old:
        return at(Where.TAKEN)
    if current:
        return at(Where.UNTOUCHED if not new else Where.CREATED if current.up else Where.STOPPED)
    if old:
        return at(Where.PARKED if new else Where.BARE)
    others = any(name.startswith(f"/{aside(container)}") for name in by_name)
    return at(Where.OTHER if others else Where.ABSENT)


def checksum(config: Mapping[str, Any], mounts: Sequence[Mount], files: Mapping[str, bytes | None]) -> str:
    """Return the hash of a configuration: RFC 8785 JSON of env, command, mounts and the files' hashes."""
    document = {
        "cmd": config.get("Cmd") or [],
        "entrypoint": config.get("Entrypoint") or [],
        "env": sorted(config.get("Env") or []),
        "files": {path: None if held is None else hashlib.sha256(held).hexdigest() for path, held in files.items()},
        "mounts": sorted(
            [one.destination, one.type, one.name or one.source, "rw" if one.rw else "ro"] for one in mounts
        ),
        "user": config.get("User") or "",
        "workdir": config.get("WorkingDir") or "",
    }
    return "sha256:" + hashlib.sha256(b"stopsign docker config v1\n" + rfc8785.dumps(document)).hexdigest()


def recreated(
    source: Container, inherited: Mapping[str, Any], image: str, labels: Mapping[str, str]
) -> dict[str, object]:
    """Return the body that creates `source` again from another image, never starting by itself.

    What equals the old image's own configuration (`inherited`) is left out, so that the new image's holds. Every
    mount is named, an anonymous volume too: it would otherwise come up empty, slashing protection and all.
    """
    joined = networks(source)
    first = {name: joined[name] for name in joined if name == _primary(source) and name != "bridge"}
    config = _own_config(source, inherited)
    config["Labels"] |= labels
    return {**config, "Image": image, "HostConfig": _host(source), "NetworkingConfig": {"EndpointsConfig": first}}


def _own_config(source: Container, inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the configuration that a person gave, as far as that can be told from the image's own."""
    own = {key: held for key, held in source.config.items() if key not in {"Image", "OnBuild"}}
    own["Labels"] = {key: held for key, held in source.labels.items() if key not in OURS}
    # A command beside an entrypoint of one's own never comes from the image.
    entry = own.get("Entrypoint") != inherited.get("Entrypoint")
    for key, default in inherited.items():
        if key in {"Labels", "ExposedPorts", "Volumes"}:
            held, default = own.get(key) or {}, default or {}
            own[key] = {name: held[name] for name in held if name not in default or default[name] != held[name]}
        elif key == "Env":
            own[key] = [one for one in own.get(key) or () if one not in (default or ())]
        elif key in own and own[key] == default and not (key == "Cmd" and entry):
            del own[key]
    if own.get("Hostname") == source.id[:12] or _mode(source).startswith(("host", "container:")):
        own.pop("Hostname", None)
    return own


def _host(source: Container) -> dict[str, Any]:
    """Return the host's side: no start by itself, and each mount by its name, whoever gave it one."""
    host = dict(source.host_config) | {"RestartPolicy": {"Name": "no"}, "VolumesFrom": None}
    binds = [one for one in host.get("Binds") or () if ":" in one]
    mounts = [one for one in host.get("Mounts") or () if one.get("Source") or one.get("Type") != "volume"]
    named = {posixpath.normpath(one.split(":")[1]) for one in binds}
    named |= {posixpath.normpath(one["Target"]) for one in mounts}
    for one in source.mounts:
        if one.type in {"volume", "bind"} and posixpath.normpath(one.destination) not in named:
            held = one.name if one.type == "volume" else one.source
            binds.append(f"{held}:{one.destination}{'' if one.rw else ':ro'}")
    return host | {"Binds": binds, "Mounts": mounts}


def _mode(source: Container) -> str:
    return str(source.host_config.get("NetworkMode") or "default")


def _primary(source: Container) -> str:
    """Return the name of the network that the container is created on; its mode may give the ID."""
    mode, joined = _mode(source), source.network_settings.get("Networks") or {}
    by_id = [name for name, one in joined.items() if one and mode and (one.get("NetworkID") or "").startswith(mode)]
    return "bridge" if mode == "default" else mode if mode in joined or not by_id else by_id[0]


def networks(source: Container) -> dict[str, dict[str, object]]:
    """Return the networks that the container is on, with what a person configured there; none for host and the like."""
    if _mode(source) in {"none", "host"} or _mode(source).startswith("container:"):
        return {}
    found: dict[str, dict[str, object]] = {}
    for name, one in (source.network_settings.get("Networks") or {}).items():
        kept = {key: one[key] for key in ("IPAMConfig", "Links", "DriverOpts") if one.get(key)}
        aliases = [alias for alias in one.get("Aliases") or () if alias != source.id[:12]]
        found[name] = kept | ({"Aliases": aliases} if aliases and name != "bridge" else {})
    return found


def written(changes: Sequence[Change], mounts: Sequence[Mount], scratch: Sequence[str]) -> list[str]:
    """Return the paths that the container wrote into its own layer, outside of mounts and `scratch`."""
    paths = {one.path for one in changes if one.kind in _WRITTEN}
    above = {parent for path in paths for parent in _parents(path)}
    given_up = [*scratch, *(one.destination for one in mounts)]
    return sorted(
        path
        for path in paths - above
        if not any(within(path, one) for one in given_up) and not any(within(one.destination, path) for one in mounts)
    )


_WRITTEN = {0, 1}  # modified, added; what was deleted is in the image still


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(2, len(parts))]


def within(path: str, folder: str) -> bool:
    """Tell whether `path` is `folder` or lies in it."""
    folder = folder.rstrip("/")
    return path == folder or path.startswith(folder + "/")


def shares(node: Container, other: Listed, twin_label: str, key_mounts: Sequence[str]) -> str:
    """Return by what `other` may sign with the node's key, or nothing: the key's label, a volume, a host path.

    A folder above, mounted read-only, is a monitoring agent's; one above that can be written to is not.
    """
    key = node.labels.get(twin_label)
    if key and other.label(twin_label) == key:
        return f"label {twin_label}"
    for mine in node.mounts:
        if not _may_hold_keys(mine, key_mounts):
            continue
        for one in other.mounts or ():
            if mine.name and mine.name == one.name:
                return f"volume {mine.name[:20]}"
            over = one.rw and one.source != "/" and within(mine.source, one.source)
            if mine.source and one.source and (within(one.source, mine.source) or over):
                return f"mount {mine.source}"
    return ""


def _may_hold_keys(mount: Mount, key_mounts: Sequence[str]) -> bool:
    if key_mounts:
        return any(within(mount.destination, one) or within(one, mount.destination) for one in key_mounts)
    return not mount.source.endswith(".sock") and not any(within(mount.source, one) for one in SHARED_BY_MANY)
