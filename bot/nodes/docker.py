"""Drive a Docker Engine: roll one container back to an image by its digest, with never two of it running.

The Engine API has no rollback. A container of the wanted image is made beside the running one and not started; the old
one is stopped, proven stopped, kept from ever starting again and renamed; only then does the new one start. Where a
rollback stands is read from the containers' names and labels each time, so the same request goes on after any cut.
Source: Docker Engine API v1.41 (ContainerCreate, ContainerStop, ContainerUpdate, ContainerRename, ContainerStart).
"""

import asyncio
import io
import posixpath
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from pydantic import TypeAdapter

from bot.domain.inventory import Capability, Node
from bot.domain.target import Answer, Effect, Release, Reply
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeError, NodeRefused
from bot.nodes.containers import (
    CONTAINER,
    PREVIOUS,
    REQUEST,
    RESTART,
    Change,
    Container,
    Image,
    Listed,
    Made,
    Stand,
    Where,
    aside,
    checksum,
    networks,
    parked,
    prepared,
    recreated,
    shares,
    stand,
    written,
)
from bot.nodes.way import Way
from bot.nodes.wire import Call, Wire
from bot.ports import Traits

TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.DEPLOYER,),
    proves_by="the running container's image ID or repo digest, its config checksum, its start time, and no other "
    "running container on this engine with the node's key label or key mounts",
    needs="no counters: two read-backs with the settling time between them",
    cannot_know="a twin on another engine; data that the bad build wrote to a mount; whether a setting equal to the "
    "old image's default was meant by the operator; what starts containers from outside (Compose, systemd, Watchtower)",
    blast_radius="one container: its node is down from the stop until the other build has started",
    tested="Docker Engine 20.10.24 (API 1.41), Debian docker.io, vfs",
    tier="real",
)
SCRATCH = "/tmp,/run,/var/run,/var/tmp,/var/log,/var/cache"  # noqa: S108
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_API = re.compile(r"v1\.[0-9]{2}")
_ORCHESTRATED = ("com.docker.swarm.service.id", "io.kubernetes.pod.uid")
_LOOK = 0.05
"""Seconds that a last look needs at least, when something has failed."""
_LIST = TypeAdapter(list[Listed])
_CONTAINER = TypeAdapter(Container)
_IMAGE = TypeAdapter(Image)
_IMAGES = TypeAdapter(list[Image])
_CHANGES = TypeAdapter(list[Change] | None)
_MADE = TypeAdapter(Made)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """The options, read."""

    container: str
    api: str
    grace: int
    settle: float
    by_repo_digest: bool
    config_files: tuple[str, ...]
    twin_label: str
    key_mounts: tuple[str, ...]
    scratch: tuple[str, ...]


def connect(way: Way) -> "Docker":
    """Return the driver of the container of `way.node`; opens no connection. Raises Misconfigured.

    Options:
        container: its name (default: the node's name)
        api: version in the path (default v1.41)
        t: seconds between SIGTERM and SIGKILL, whole (default: half of the timeout)
        settle: seconds that the new one must have run (default: a fifth of the timeout, at most 1)
        identify: `image` (default) or `repo_digest`: which digest `release` reports
        config_files: paths in the container whose content belongs to the config checksum, by commas
        twin_label: label that names the signing key (default stopsign.key): two that run with one value are twins
        key_mounts: paths in the container whose mounts hold keys, by commas (default: all mounts but system folders)
        scratch: paths in the container whose content may be lost, by commas; `/` gives all of it up
    """
    return Docker(way.node, way.wire(), _settings(way))


def _settings(way: Way) -> _Settings:
    known = ("container", "api", "t", "settle", "identify", "config_files", "twin_label", "key_mounts", "scratch")
    options, problems = way.options(*known), list[str]()
    seconds = way.endpoint.timeout.total_seconds()
    try:
        grace = int(options.get("t", max(1, int(seconds / 2))))
        settle = float(options.get("settle", min(1.0, seconds / 5)))
    except ValueError:
        raise Misconfigured([f"node {way.node.name}: docker's t and settle are numbers of seconds"]) from None
    if grace < 0 or settle < 0 or not grace + settle <= seconds * 0.8:
        problems.append(
            f"its t and settle ({grace:g} s + {settle:g} s) must fit into 80 % of its timeout {seconds:g} s"
        )
    container, api = options.get("container", way.node.name), options.get("api", "v1.41")
    if not _NAME.fullmatch(container):
        problems.append(f"{container!r} is not a container's name")
    if not _API.fullmatch(api):
        problems.append(f"{api!r} is not a version of the Engine API, like v1.41")
    if options.get("identify", "image") not in {"image", "repo_digest"}:
        problems.append("identify is image or repo_digest")
    paths = {name: _paths(options.get(name, "")) for name in ("config_files", "key_mounts")}
    paths["scratch"] = _paths(options.get("scratch", SCRATCH))
    problems += [f"{name}: {one!r} is not an absolute path" for name in paths for one in paths[name] if one[0] != "/"]
    if problems:
        raise Misconfigured([f"node {way.node.name}: docker: {problem}" for problem in problems])
    return _Settings(
        container=container,
        api=api,
        grace=grace,
        settle=settle,
        by_repo_digest=options.get("identify") == "repo_digest",
        twin_label=options.get("twin_label", "stopsign.key"),
        **paths,
    )


def _paths(text: str) -> tuple[str, ...]:
    return tuple(posixpath.normpath(part.strip()) for part in text.split(",") if part.strip())


class _Stop(Exception):
    """The rollback must not go on; its text says why."""


class Docker:
    """Deployer of one container over the Engine API."""

    traits = TRAITS

    def __init__(self, node: Node, wire: Wire, settings: _Settings) -> None:
        self._node = node
        self._wire = wire
        self._settings = settings

    async def rollback(self, to_build: str, *, incident: str, request: str) -> Reply:
        """Run the container from the image `to_build` (its ID or a repo digest), with its settings and mounts.

        Refused when nothing was changed; failed or unknown with the state in which the containers were left. Raises a
        NodeError only while nothing was changed. A build that ends at once is not followed by the old one: a person
        decides.
        """
        if not _DIGEST.fullmatch(to_build):
            return Reply(answer=Answer.REFUSED, detail="a build is written sha256: and 64 digits; nothing was changed")
        engine = _Engine(self._node, self._wire.call(), self._settings)
        until = asyncio.get_running_loop().time() + self._wire.timeout.total_seconds()
        return await _Rollback(engine, to_build, request, until).run()

    async def release(self) -> Release:
        """Read what runs. When the container does not, or stands aside, the build is `none` and the version says why.

        Raises NodeRefused when the engine has never had such a container.
        """
        engine = _Engine(self._node, self._wire.call(), self._settings)
        name, listed = self._settings.container, await engine.listed()
        one = next((one for one in listed if f"/{name}" in (one.names or ())), None)
        if one is None:
            kept = [other.name for other in listed if other.name.startswith(aside(name))]
            if not kept:
                raise NodeRefused(f"{self._node.name}: there is no container {name}", status=404)
            return _nothing(f"no container {name}, {kept[0]} stands aside")
        container = await engine.container(one.id)
        if container.state.status != "running":
            return _nothing(f"{name} is {container.state.status}, exit code {container.state.exit_code}")
        image = await engine.image(container.image)
        return Release(
            version=_version(container, image),
            build_hash=self._build(image),
            config_checksum=await engine.checksum(container),
            instance=f"{container.id[:12]} {container.state.started_at}",
            previous_build=container.labels.get(PREVIOUS),
        )

    def _build(self, image: Image) -> str:
        """Return the image's digest, in the spelling of the inventory's contract where that names this image."""
        contract = self._node.rollback
        if contract and contract.build_hash in (image.id, *image.digests):
            return contract.build_hash
        if not self._settings.by_repo_digest:
            return image.id
        if not image.digests:
            raise NodeRefused(f"{self._node.name}: image {image.id[:19]} came from no registry: it has no repo digest")
        return image.digests[0]


@dataclass(frozen=True, slots=True)
class _Engine:
    """The requests of one driver call."""

    node: Node
    call: Call
    settings: _Settings

    async def listed(self) -> list[Listed]:
        return await self.call.json(_LIST, "GET", self._path("/containers/json"), params={"all": "1"})

    async def container(self, name: str) -> Container:
        return await self.call.json(_CONTAINER, "GET", self._path(f"/containers/{name}/json"))

    async def image(self, name: str) -> Image:
        return await self.call.json(_IMAGE, "GET", self._path(f"/images/{quote(name, safe=':')}/json"))

    async def wanted(self, build: str) -> Image:
        """Return the image whose ID or repo digest is `build`; raises _Stop when there is none, or more than one."""
        images = await self.call.json(_IMAGES, "GET", self._path("/images/json"), params={"digests": "1"})
        found = {one.id for one in images if one.id == build or build in one.digests}
        if len(found) != 1:
            what = "no image" if not found else "more than one image"
            raise _Stop(f"the engine holds {what} {build[:19]}: pull it by digest")
        return await self.image(found.pop())

    async def changes(self, container: str) -> list[Change]:
        return await self.call.json(_CHANGES, "GET", self._path(f"/containers/{container}/changes")) or []

    async def create(self, name: str, body: Mapping[str, object]) -> str:
        made = self.call.json(_MADE, "POST", self._path("/containers/create"), body=body, params={"name": name})
        return (await made).id

    async def act(self, container: str, verb: str, body: object = None, **params: str) -> None:
        """Start, stop, update or rename; 304 says that it was so already."""
        path = self._path(f"/containers/{container}/{verb}")
        await self.call.content("POST", path, body=body, params=params or None, accept={304})

    async def join(self, network: str, container: str, endpoint: Mapping[str, object]) -> None:
        body = {"Container": container, "EndpointConfig": endpoint}
        await self.call.content("POST", self._path(f"/networks/{quote(network, safe='')}/connect"), body=body)

    async def remove(self, container: str) -> None:
        await self.call.content("DELETE", self._path(f"/containers/{container}"))

    async def checksum(self, container: Container) -> str:
        """Return `sha256:` and the hash of the container's configuration; its values never leave this function."""
        files = {path: await self._file(container.id, path) for path in self.settings.config_files}
        return checksum(container.config, container.mounts, files)

    async def _file(self, container: str, path: str) -> bytes | None:
        try:
            source = self._path(f"/containers/{container}/archive")
            packed = await self.call.content("GET", source, params={"path": path})
        except NodeRefused as refusal:
            if refusal.status == 404:
                return None
            raise
        try:
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                first = archive.next()
                content = archive.extractfile(first) if first and first.isfile() else None
                if content is None:
                    raise NodeBroken(
                        f"{self.node.name}: config file {path} is a folder or a link: name the file itself"
                    )
                return content.read()
        except tarfile.TarError:
            raise NodeBroken(f"{self.node.name} sent config file {path} in something that is not a tar") from None

    def _path(self, path: str) -> str:
        return f"/{self.settings.api}{path}"


def _nothing(why: str) -> Release:
    return Release(version=f"nothing runs: {why}", build_hash="none", config_checksum="")


def _version(container: Container, image: Image) -> str:
    labelled = container.labels.get("org.opencontainers.image.version")
    if labelled:
        return labelled
    tags = [tag.rpartition(":")[2] for tag in image.repo_tags or () if not tag.startswith("<none>")]
    return tags[0] if tags else image.id[:19]


@dataclass(slots=True)
class _Rollback:
    """One run towards `to_build`: from wherever the containers stand, each step once, each proven before the next."""

    engine: _Engine
    to_build: str
    request: str
    until: float
    here: Stand = field(default_factory=lambda: Stand(where=Where.ABSENT))
    seen: bool = False
    acted: bool = False

    async def run(self) -> Reply:
        """Go on to the end; see `Docker.rollback`."""
        try:
            return await self._go()
        except _Stop as stop:
            return await self._left(str(stop), Answer.FAILED)
        except NodeError as error:
            if not self.acted and (not self.seen or self.here.where is Where.UNTOUCHED):
                raise
            return await self._left(str(error), Answer.UNKNOWN if isinstance(error, NoAnswer) else Answer.FAILED)

    async def _go(self) -> Reply:
        listed = await self._look()
        image = await self.engine.wanted(self.to_build)
        where, name = self.here.where, self._name
        if not where.goes_on:
            raise _Stop("the rollback cannot go on")
        if self.here.current and self.here.current.state == "running" and self.here.current.image_id == image.id:
            current = await self.engine.container(self.here.current.id)
            self._no_twin(current, listed)
            if where is Where.RUNNING and current.restart == "no" != current.labels.get(RESTART, "no"):
                return await self._settled(current, image)
            return Reply(answer=Answer.ALREADY, detail=f"{name} runs {image.id[:19]} already, without a twin")
        if where is Where.RUNNING:
            raise _Stop(f"this request was for another build than {image.id[:19]}")
        source = await self._source()
        self._no_twin(source, listed)
        new = await self._prepare(source, image)
        await self._put_aside(source)
        await self._take_name(new)
        listed = await self._look()
        if self.here.where is not Where.READY:
            raise _Stop("somebody else changes these containers")
        self._no_twin(source, listed)
        await self._act(new.id, "start")
        return await self._settled(await self.engine.container(new.id), image)

    async def _look(self) -> list[Listed]:
        listed = await self.engine.listed()
        self.here = stand(self._name, self.request, listed)
        self.seen = True
        return listed

    async def _source(self) -> Container:
        """Return the container that has the old build; raises _Stop when to recreate it would lose or double it."""
        one = self.here.old or self.here.current
        if one is None or one is self.here.new:
            raise _Stop(f"the old container is gone: look at {self._name}, then start it by hand")
        source = await self.engine.container(one.id)
        if manager := [label for label in _ORCHESTRATED if label in source.labels]:
            raise _Stop(f"label {manager[0]} says that an orchestrator would start a twin: roll back there")
        if source.host_config.get("AutoRemove"):
            raise _Stop("the engine deletes this container when it stops (--rm), with its anonymous volumes")
        if "/" not in self.engine.settings.scratch:
            kept = written(await self.engine.changes(source.id), source.mounts, self.engine.settings.scratch)
            if kept:
                raise _Stop(
                    f"{kept[0]}{' and others' if len(kept) > 1 else ''} lies on no mount and would be missing for "
                    "the other build: mount it, or name it in the option scratch"
                )
        return source

    async def _prepare(self, source: Container, image: Image) -> Container:
        """Return the new container, made and not started, on all networks of the old one, its settings checked."""
        fresh = self.here.new is None
        if self.here.new is None:
            was = await self.engine.image(source.image)
            labels = {REQUEST: self.request, CONTAINER: self._name, PREVIOUS: source.image, RESTART: source.restart}
            body = recreated(source, was.config or {}, image.id, labels)
            self.acted = True
            made = await self.engine.create(prepared(self._name, self.request), body)
        else:
            made = self.here.new.id
        new = await self.engine.container(made)
        for network, endpoint in networks(source).items():
            if network not in (new.network_settings.get("Networks") or {}):
                self.acted = True
                await self.engine.join(network, new.id, endpoint)
        contract = self.engine.node.rollback
        wanted = contract.config_checksum if contract and contract.build_hash == self.to_build else None
        wrong = "another image than asked for" if new.image != image.id else ""
        if wanted and not wrong and await self.engine.checksum(new) != wanted:
            wrong = "a config checksum that is not the contract's"
        if wrong:
            if fresh and new.state.status == "created":
                await self.engine.remove(new.id)
            raise _Stop(f"the new container would have {wrong}")
        return new

    async def _put_aside(self, source: Container) -> None:
        """Stop the old container, prove it, and see that nothing but a person can start it again."""
        if not source.stopped:
            await self._stop(source)
            source = await self.engine.container(source.id)
            if not source.stopped:
                raise _Stop(f"the old container is {source.state.status} after the stop")
        if source.restart != "no":
            await self._act(source.id, "update", {"RestartPolicy": {"Name": "no"}})
            source = await self.engine.container(source.id)
            if source.restart != "no" or not source.stopped:
                raise _Stop("the old container could start again by itself")
        if source.name == f"/{self._name}":
            await self._act(source.id, "rename", name=parked(self._name, self.request))

    async def _take_name(self, new: Container) -> None:
        if new.name != f"/{self._name}":
            await self._act(new.id, "rename", name=self._name)

    async def _settled(self, started: Container, image: Image) -> Reply:
        """Prove that the new container goes on running, alone; then give it its restart policy."""
        left = self.until - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, min(self.engine.settings.settle, left)))
        now = await self.engine.container(started.id)
        if now.state.status != "running" or now.state.started_at != started.state.started_at:
            raise _Stop(f"the new container is {now.state.status}, exit code {now.state.exit_code}")
        if now.image != image.id:
            await self._stop(now)
            raise _Stop(f"the new container runs {now.image[:19]} and was stopped")
        try:
            self._no_twin(now, await self._look())
            if self.here.where is not Where.RUNNING:
                raise _Stop("the old container runs again")
        except _Stop:
            await self._stop(now)
            raise
        policy, _, most = now.labels.get(RESTART, "no").partition(":")
        if policy != "no":
            given = {"Name": policy, "MaximumRetryCount": int(most or 0)}
            await self._act(now.id, "update", {"RestartPolicy": given})
        compose = "com.docker.compose.project" in now.labels
        hint = "; remove that before Compose is used again, which would start both" if compose else ""
        kept = f"the old container is kept stopped as {parked(self._name, self.request)}{hint}"
        return Reply(answer=Answer.ACKNOWLEDGED, detail=f"{self._name} runs {image.id[:19]}, no twin; {kept}")

    async def _stop(self, container: Container) -> None:
        await self._act(container.id, "stop", t=str(self.engine.settings.grace))

    async def _act(self, container: str, verb: str, body: object = None, **params: str) -> None:
        self.acted = True
        await self.engine.act(container, verb, body, **params)

    def _no_twin(self, node: Container, listed: Sequence[Listed]) -> None:
        settings = self.engine.settings
        own = {one.id for one in (self.here.current, self.here.old, self.here.new) if one}
        for one in listed:
            if one.up and one.id not in own and (why := shares(node, one, settings.twin_label, settings.key_mounts)):
                raise _Stop(f"container {one.name} runs with the same {why}: stop that twin first")

    async def _left(self, why: str, answer: Answer) -> Reply:
        """Say in which state the containers were left, read anew where the engine still answers."""
        before, read = self.here.where, "last seen in "
        try:
            if asyncio.get_running_loop().time() < self.until - _LOOK:
                await self._look()
                read = ""
        except NodeError:
            pass
        if read and self.acted:
            answer = Answer.UNKNOWN
        name, words = self.here.where.value, self.here.where.words
        old, new = parked(self._name, self.request), prepared(self._name, self.request)
        said = words.format(name=self._name, old=old, new=new)
        if self.here.where in {Where.UNTOUCHED, Where.ABSENT} and not read and answer is Answer.FAILED:
            return Reply(answer=Answer.REFUSED, detail=f"{why}; {said}")
        if self.here.where is Where.RUNNING and before is not Where.RUNNING:
            answer = Answer.UNKNOWN
        again = "; the same request goes on from here" if self.here.where.goes_on else ""
        return Reply(answer=answer, detail=f"{why}; {read}state {name}: {said}{again}")

    @property
    def _name(self) -> str:
        return self.engine.settings.container
