"""What is particular to Docker: a rollback made of many requests, cut anywhere, with never two containers running."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from bot.domain.inventory import Capability, Endpoint, Node, RollbackContract
from bot.domain.target import Answer, Reply
from bot.errors import Misconfigured, NodeBroken, NodeRefused
from bot.nodes import docker
from bot.nodes.containers import (
    CONTAINER,
    REQUEST,
    Change,
    Container,
    Listed,
    Mount,
    Where,
    parked,
    prepared,
    shares,
    stand,
    written,
)
from bot.nodes.docker import Docker
from bot.nodes.reach import Reach
from tests.drivers.contract import SystemClock
from tests.drivers.engine import BAD, BROKEN, GOOD, Build, Engine, engine, fresh, gateway

real = pytest.mark.peer("docker")
OLD, NEW = parked("n", "r1"), prepared("n", "r1")


class Room:
    """One node's container on the real engine, running the bad build."""

    def __init__(self, peer: Engine, reach: Reach) -> None:
        self.peer, self.reach, self.name = peer, reach, fresh()
        self.old, self.new = parked(self.name, "r1"), prepared(self.name, "r1")

    def driver(
        self, *, url: str = "", timeout: str = "10", contract: RollbackContract | None = None, **options: str
    ) -> Docker:
        """Return a driver of the node with these options."""
        endpoint = Endpoint(
            driver="docker",
            url=url or f"unix:{self.peer.socket}",
            timeout=timedelta(seconds=float(timeout)),
            options={"t": "2", "settle": "0.2"} | options,
        )
        node = Node(name=self.name, avs="x", keys=(), reach={Capability.DEPLOYER: endpoint}, rollback=contract)
        made = self.reach.reach(node, Capability.DEPLOYER)
        assert isinstance(made, Docker)
        return made

    async def back(self, to: str = GOOD.digest, *, request: str = "r1", **how: Any) -> Reply:
        """Ask for a rollback."""
        return await self.driver(**how).rollback(to, incident="inc-7", request=request)

    def states(self) -> dict[str, str]:
        """Return the state of each of the node's containers, by the end of its name."""
        return {name.removeprefix(self.name): state for name, state in self.peer.named(self.name).items()}


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """Yield a room, and remove its containers."""
    async with Reach(drivers={"docker": docker.connect}, secret=str, clock=SystemClock()) as reach:
        opened = Room(engine(), reach)
        yield opened
        opened.peer.clear(opened.name)


@asynccontextmanager
async def never_two(room: Room) -> AsyncIterator[list[list[str]]]:
    """Watch the engine, and fail when two of the node's containers ever run at the same time."""
    seen: list[list[str]] = []

    async def watch() -> None:
        while True:
            seen.append(await asyncio.to_thread(room.peer.running, room.name))
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert seen
    assert all(len(running) <= 1 for running in seen), seen


@real
async def test_a_rollback_keeps_settings_and_mounts_and_takes_the_defaults_of_the_build(
    room: Room, tmp_path: Path
) -> None:
    (tmp_path / "node.toml").write_text("a = 1\n")
    room.peer.run(
        room.name,
        BAD,
        Env=["PASSWORD=swordfish"],
        Labels={"team": "a"},
        Volumes={"/anonymous": {}},
        HostConfig={
            "Binds": [f"{tmp_path}:/config:ro", f"{room.name}:/data"],
            "Mounts": [
                {"Type": "volume", "Source": f"{room.name}-more", "Target": "/more"},
                {"Type": "volume", "Target": "/nameless"},
            ],
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "Memory": 64 * 1024 * 1024,
        },
    )
    before, was = room.peer.container(room.name), await room.driver(config_files="/config/node.toml").release()
    async with never_two(room):
        reply = await room.back()
    assert reply.answer is Answer.ACKNOWLEDGED, reply.detail
    after, now = room.peer.container(room.name), await room.driver(config_files="/config/node.toml").release()
    assert (after["Image"], now.build_hash, now.version) == (GOOD.digest, GOOD.digest, "2.3.1")
    assert (was.build_hash, was.version, now.previous_build) == (BAD.digest, "2.4.0", BAD.digest)
    assert after["Config"]["Env"] == ["PASSWORD=swordfish", "BUILD=2.3.1"]
    assert after["Config"]["Labels"].items() >= {"team": "a", REQUEST: "r1"}.items()
    assert after["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert after["HostConfig"]["Memory"] == 64 * 1024 * 1024
    assert _mounts(after) == _mounts(before)
    assert len(_mounts(after)) == 5
    old = room.peer.container(room.old)
    assert (old["Id"], old["State"]["Status"]) == (before["Id"], "exited")
    assert old["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert was.instance != now.instance
    assert now.instance.startswith(after["Id"][:12])
    assert "swordfish" not in repr((reply, was, now))


def _mounts(container: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return sorted((one["Destination"], one["Source"], one["RW"]) for one in container["Mounts"])


@real
async def test_a_container_keeps_its_networks_with_aliases_and_addresses(room: Room) -> None:
    names = [f"{room.name}-{letter}" for letter in "ab"]
    blocks = [int(room.name[1:5], 16) % 200 + 20, int(room.name[5:9], 16) % 250]
    for letter, name in enumerate(names):
        pool = {"Config": [{"Subnet": f"10.{blocks[0]}.{blocks[1]}.{letter * 128}/25"}]}
        room.peer.ask("POST", "/networks/create", {"Name": name, "Internal": True, "IPAM": pool})
    address = f"10.{blocks[0]}.{blocks[1]}.9"
    first = {names[0]: {"Aliases": ["signer"], "IPAMConfig": {"IPv4Address": address}}}
    try:
        host = {"NetworkMode": names[0]}
        room.peer.run(room.name, BAD, HostConfig=host, NetworkingConfig={"EndpointsConfig": first})
        room.peer.ask("POST", f"/networks/{names[1]}/connect", {"Container": room.name})
        assert (await room.back()).answer is Answer.ACKNOWLEDGED
        after = room.peer.container(room.name)
        joined = after["NetworkSettings"]["Networks"]
        assert sorted(joined) == names
        assert joined[names[0]]["IPAddress"] == address
        assert joined[names[0]]["Aliases"] == ["signer", after["Id"][:12]]
        assert joined[names[1]]["IPAddress"]
    finally:
        room.peer.clear(room.name)
        for name in names:
            room.peer.ask("DELETE", f"/networks/{name}")


@real
async def test_a_repeat_says_already_and_there_and_back_works(room: Room) -> None:
    room.peer.run(room.name, BAD, HostConfig={"RestartPolicy": {"Name": "always"}})
    await room.back()
    first = room.peer.container(room.name)
    for request in ("r1", "r2"):
        reply = await room.back(request=request)
        assert (reply.answer, room.peer.container(room.name)) == (Answer.ALREADY, first)
    assert (await room.back(BAD.digest, request="r3")).answer is Answer.ACKNOWLEDGED
    again = room.peer.container(room.name)
    assert (again["Image"], again["Config"]["Env"], again["HostConfig"]["RestartPolicy"]["Name"]) == (
        BAD.digest,
        ["BUILD=2.4.0"],
        "always",
    )
    assert (await room.back(GOOD.digest, request="r4")).answer is Answer.ACKNOWLEDGED
    assert room.peer.running(room.name) == [room.name]


@real
async def test_what_was_stopped_and_renamed_by_hand_is_finished_by_the_request(room: Room) -> None:
    room.peer.run(room.name, BAD, HostConfig={"RestartPolicy": {"Name": "always"}})
    room.peer.ask("POST", f"/containers/{room.name}/stop", t="2")
    room.peer.ask("POST", f"/containers/{room.name}/rename", name=room.old)
    assert (await room.driver().release()).build_hash == "none"
    other = await room.back(request="r2")
    assert (other.answer, "state other" in other.detail) == (Answer.FAILED, True)
    assert (await room.back()).answer is Answer.ACKNOWLEDGED
    assert room.states() == {"": "running", room.old.removeprefix(room.name): "exited"}
    assert room.peer.container(room.name)["HostConfig"]["RestartPolicy"]["Name"] == "always"


@real
@pytest.mark.parametrize("cut", range(1, 8))
async def test_after_a_cut_anywhere_the_same_request_ends_well(room: Room, cut: int) -> None:
    """Effect number `cut` is the last that gets through: from then on the engine cannot be asked."""
    room.peer.run(room.name, BAD, HostConfig={"RestartPolicy": {"Name": "always"}})
    done: list[str] = []

    def bend(method: str, path: str) -> tuple[int, object] | None:
        if len(done) >= cut:
            return 503, {}
        if method != "GET":
            done.append(path.rpartition("/")[2])
        return None

    async with never_two(room):
        async with gateway(room.peer, bend) as way:
            reply = await room.back(url=way.url)
        assert done == ["create", "stop", "update", "rename", "rename", "start", "update"][:cut]
        assert reply.answer is (Answer.ACKNOWLEDGED if cut == 7 else Answer.UNKNOWN), reply.detail
        again = await room.back()
    assert again.answer is (Answer.ALREADY if cut == 7 else Answer.ACKNOWLEDGED), again.detail
    assert room.states() == {"": "running", room.old.removeprefix(room.name): "exited"}
    after = room.peer.container(room.name)
    assert (after["Image"], after["HostConfig"]["RestartPolicy"]["Name"]) == (GOOD.digest, "always")
    assert room.peer.container(room.old)["HostConfig"]["RestartPolicy"]["Name"] == "no"


@real
async def test_a_stop_that_outlasts_the_call_is_unknown_and_the_repeat_goes_on(room: Room) -> None:
    room.peer.run(room.name, BAD)
    async with never_two(room):
        async with gateway(room.peer) as way:
            way.late["/stop"] = 2.5
            reply = await room.back(url=way.url, timeout="2", t="1", settle="0.1")
        assert (reply.answer, "/stop within 2 s" in reply.detail) == (Answer.UNKNOWN, True), reply.detail
        assert (await room.back()).answer is Answer.ACKNOWLEDGED


FAILURES = {
    "/create": (Answer.REFUSED, "nothing was changed", {"": "running"}),
    "/stop": (Answer.FAILED, "state created", {"": "running", "new": "created"}),
    "/update": (Answer.FAILED, "state stopped", {"": "exited", "new": "created"}),
    "/rename": (Answer.FAILED, "state stopped", {"": "exited", "new": "created"}),
    "/start": (Answer.FAILED, "state ready", {"": "created", "old": "exited"}),
}


@real
@pytest.mark.parametrize("said", [500, 204], ids=["error", "lie"])
@pytest.mark.parametrize("where", FAILURES)
async def test_each_step_that_fails_or_lies_leaves_a_state_with_a_name(room: Room, where: str, said: int) -> None:
    room.peer.run(room.name, BAD, HostConfig={"RestartPolicy": {"Name": "always"}})

    def bend(method: str, path: str) -> tuple[int, object] | None:
        if method == "GET" or not path.endswith(where):
            return None
        return (201, {"Id": "f" * 64}) if said == 204 and where == "/create" else (said, {"message": "no"})

    answer, words, states = FAILURES[where]
    async with never_two(room), gateway(room.peer, bend) as way:
        reply = await room.back(url=way.url)
    assert (reply.answer, words in reply.detail) == (answer, True), reply.detail
    assert way.effects[-1].endswith(where), "nothing follows on a step that was not proven"
    names = {room.old.removeprefix(room.name): "old", room.new.removeprefix(room.name): "new"}
    assert {names.get(name, name): state for name, state in room.states().items()} == states


@real
async def test_a_container_whose_old_one_was_removed_meanwhile_is_left_as_it_is(room: Room) -> None:
    room.peer.run(room.name, BAD)
    async with gateway(room.peer, lambda method, path: (500, {}) if path.endswith("/start") else None) as way:
        assert (await room.back(url=way.url)).answer is Answer.FAILED
    room.peer.clear(room.old)
    reply = await room.back()
    assert (reply.answer, "the old container is gone" in reply.detail) == (Answer.FAILED, True), reply.detail
    assert room.states() == {"": "created"}


@real
async def test_an_unknown_build_changes_nothing(room: Room) -> None:
    room.peer.run(room.name, BAD)
    before = room.peer.container(room.name)
    for build in ("sha256:" + "ab" * 32, GOOD.digest[:20], "2.3.1", "latest"):
        reply = await room.back(build)
        assert (reply.answer, "nothing was changed" in reply.detail) == (Answer.REFUSED, True)
    assert room.states() == {"": "running"}
    assert room.peer.container(room.name) == before


@real
@pytest.mark.parametrize("policy", ["no", "always"])
async def test_a_build_that_ends_at_once_leaves_nothing_running(room: Room, policy: str) -> None:
    room.peer.run(room.name, BAD, HostConfig={"RestartPolicy": {"Name": policy}})
    for _ in range(2):
        async with never_two(room):
            reply = await room.back(BROKEN.digest)
        assert (reply.answer, "state exited" in reply.detail) == (Answer.FAILED, True), reply.detail
        assert room.states() == {"": "exited", room.old.removeprefix(room.name): "exited"}
        nothing = await room.driver().release()
        assert (nothing.build_hash, "exit code 3" in nothing.version) == ("none", True)
    third = await room.back(GOOD.digest, request="r3")
    assert third.answer is Answer.ACKNOWLEDGED, third.detail


@real
async def test_a_build_without_its_command_is_told_with_what_the_engine_says(room: Room) -> None:
    absent = Build(f"{room.name}:1", ("/bin/no-such-program",))
    room.peer.load(absent)
    room.peer.run(room.name, BAD)
    reply = await room.back(absent.digest)
    assert reply.answer is Answer.FAILED
    assert "no-such-program" in reply.detail
    assert "state ready" in reply.detail
    assert room.peer.running(room.name) == []


@real
async def test_a_twin_is_refused_before_anything_is_changed(room: Room, tmp_path: Path) -> None:
    keys, key = tmp_path / "keys", {"stopsign.key": "0xabc"}
    keys.mkdir()
    room.peer.run(room.name, BAD, Labels=key, HostConfig={"Binds": [f"{keys}:/keys", f"{room.name}:/data"]})
    twins: list[dict[str, Any]] = [
        {"HostConfig": {"Binds": [f"{room.name}:/elsewhere:ro"]}},
        {"HostConfig": {"Binds": [f"{keys}:/k:ro"]}},
        {"HostConfig": {"Binds": [f"{keys}/a:/k"]}},
        {"Labels": key},
    ]
    for more in twins:
        room.peer.clear(f"{room.name}-twin")
        room.peer.run(f"{room.name}-twin", BAD, **more)
        reply = await room.back()
        assert (reply.answer, "stop that twin first" in reply.detail) == (Answer.REFUSED, True), reply.detail
        assert room.states() == {"": "running", "-twin": "running"}
    room.peer.ask("POST", f"/containers/{room.name}-twin/stop", t="1")
    assert (await room.back()).answer is Answer.ACKNOWLEDGED
    room.peer.ask("POST", f"/containers/{room.name}-twin/start")
    again = await room.back()
    assert (again.answer, "twin" in again.detail) == (Answer.FAILED, True), again.detail


def mount(source: str, *, name: str = "", to: str = "/x", rw: bool = True) -> dict[str, Any]:
    """Return a mount as the API has it."""
    return {"Type": "volume" if name else "bind", "Name": name, "Source": source, "Destination": to, "RW": rw}


@pytest.mark.parametrize(
    ("mine", "others", "key_mounts", "twin"),
    [
        (mount("/srv/keys"), mount("/srv/keys", rw=False), (), True),
        (mount("/srv/keys"), mount("/srv/keys/a"), (), True),
        (mount("/srv/keys"), mount("/srv/keys-of-another"), (), False),
        (mount("/srv/keys"), mount("/srv"), (), True),
        (mount("/srv/keys"), mount("/srv", rw=False), (), False),
        (mount("/srv/keys"), mount("/"), (), False),
        (mount("/v/one/_data", name="one"), mount("", name="one"), (), True),
        (mount("/v/one/_data", name="one"), mount("/v/one/_data"), (), True),
        (mount("/v/one/_data", name="one"), mount("", name="two"), (), False),
        (mount("/etc/localtime"), mount("/etc/localtime"), (), False),
        (mount("/etc/node/keys"), mount("/etc/node/keys"), (), True),
        (mount("/run/docker.sock"), mount("/run/docker.sock"), (), False),
        (mount("/jwt", to="/jwt"), mount("/jwt"), ("/keys",), False),
        (mount("/srv/keys", to="/keys/deep"), mount("/srv/keys"), ("/keys",), True),
        (mount("/srv", to="/data"), mount("/srv"), ("/data/keys",), True),
    ],
)
def test_who_mounts_a_nodes_keys_is_its_twin(
    mine: dict[str, Any], others: dict[str, Any], key_mounts: tuple[str, ...], twin: bool
) -> None:
    life = {"Status": "running", "Running": True, "Pid": 1, "ExitCode": 0, "StartedAt": ""}
    whole = {"Id": "a", "Name": "/n", "Image": "", "State": life, "Config": {}, "HostConfig": {}, "NetworkSettings": {}}
    node = TypeAdapter(Container).validate_python(whole | {"Mounts": [mine]})
    other = TypeAdapter(Listed).validate_python({"Id": "b", "Names": ["/m"], "State": "running", "Mounts": [others]})
    assert bool(shares(node, other, "stopsign.key", key_mounts)) is twin


@real
async def test_a_twin_that_a_surge_starts_meanwhile_is_found_and_ours_does_not_run(room: Room) -> None:
    """It comes up between the start of the new container and the last look."""
    room.peer.run(room.name, BAD, Labels={"stopsign.key": "0xabc"})
    surge = asyncio.Event()

    def bend(method: str, path: str) -> tuple[int, object] | None:
        if path.endswith("/start"):
            surge.set()
        return None

    async def start_twin() -> None:
        await surge.wait()
        await asyncio.to_thread(room.peer.run, f"{room.name}-twin", BAD, Labels={"stopsign.key": "0xabc"})

    starting = asyncio.create_task(start_twin())
    async with gateway(room.peer, bend) as way:
        reply = await room.back(url=way.url, settle="2")
    await starting
    assert (reply.answer, "twin" in reply.detail) == (Answer.FAILED, True), reply.detail
    assert "state exited" in reply.detail
    assert room.peer.running(room.name) == [f"{room.name}-twin"]


@real
async def test_what_lies_in_the_containers_own_layer_stops_a_rollback_unless_it_may_be_lost(room: Room) -> None:
    """A slashing protection database there would be missing for the other build."""
    script = ("/bin/sh", "-c", "touch /protection.db /data/x; trap 'exit 0' TERM; sleep 1000 & wait")
    room.peer.run(room.name, BAD, Cmd=list(script), HostConfig={"Binds": [f"{room.name}:/data"]})
    while not any(one["Path"] == "/protection.db" for one in room.peer.ask("GET", f"/containers/{room.name}/changes")):
        await asyncio.sleep(0.05)
    reply = await room.back()
    assert (reply.answer, "/protection.db lies on no mount" in reply.detail) == (Answer.REFUSED, True), reply.detail
    assert room.states() == {"": "running"}
    assert (await room.back(scratch="/protection.db")).answer is Answer.ACKNOWLEDGED


@real
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"HostConfig": {"AutoRemove": True}}, "--rm"),
        ({"Labels": {"com.docker.swarm.service.id": "s"}}, "orchestrator"),
    ],
    ids=["rm", "swarm"],
)
async def test_a_container_that_a_stop_would_lose_or_double_is_left_alone(
    room: Room, more: dict[str, Any], words: str
) -> None:
    room.peer.run(room.name, BAD, **more)
    reply = await room.back()
    assert (reply.answer, words in reply.detail) == (Answer.REFUSED, True), reply.detail
    assert room.states() == {"": "running"}


@real
async def test_the_contracts_config_checksum_is_compared_before_the_old_one_is_stopped(
    room: Room, tmp_path: Path
) -> None:
    config = tmp_path / "node.toml"
    config.write_text("a = 1\n")
    files: dict[str, Any] = {"config_files": "/node.toml,/absent.toml"}
    more: dict[str, Any] = {"HostConfig": {"Binds": [f"{config}:/node.toml"]}, "Env": ["A=1"]}
    room.peer.run(room.name, GOOD, **more)
    good = await room.driver(**files).release()
    contract = RollbackContract(build_hash=GOOD.digest, config_checksum=good.config_checksum)
    room.peer.clear(room.name)
    room.peer.run(room.name, BAD, **more)
    config.write_text("a = 2\n")
    reply = await room.back(contract=contract, **files)
    assert (reply.answer, "config checksum" in reply.detail) == (Answer.REFUSED, True), reply.detail
    assert room.states() == {"": "running"}
    config.write_text("a = 1\n")
    assert (await room.back(contract=contract, **files)).answer is Answer.ACKNOWLEDGED
    assert (await room.driver(**files).release()).config_checksum == good.config_checksum


@real
async def test_a_config_file_that_is_none_and_a_digest_that_is_none_are_told(room: Room) -> None:
    room.peer.run(room.name, BAD)
    for path in ("/bin", "/bin/sh"):
        with pytest.raises(NodeBroken, match="name the file itself"):
            await room.driver(config_files=path).release()
    with pytest.raises(NodeRefused, match="no repo digest"):
        await room.driver(identify="repo_digest").release()


@real
async def test_a_build_may_be_named_by_its_repo_digest(room: Room) -> None:
    pushed = Build(f"{room.name}:1", more={"Labels": {"a": "b"}})
    room.peer.load(pushed)
    digest = room.peer.push(pushed)
    room.peer.run(room.name, BAD)
    assert digest != pushed.digest
    assert (await room.back(digest)).answer is Answer.ACKNOWLEDGED
    assert room.peer.container(room.name)["Image"] == pushed.digest
    assert (await room.driver().release()).build_hash == pushed.digest
    assert (await room.driver(identify="repo_digest").release()).build_hash == digest
    contract = RollbackContract(build_hash=digest)
    release = await room.driver(contract=contract).release()
    assert (release.build_hash, release.version) == (digest, "pushed")
    assert (await room.back(digest, request="r2")).answer is Answer.ALREADY


@real
async def test_a_node_without_a_container_is_refused(room: Room) -> None:
    with pytest.raises(NodeRefused, match="there is no container"):
        await room.driver().release()
    assert (await room.back()).answer is Answer.REFUSED


@real
async def test_a_bad_build_that_crashes_in_a_loop_is_rolled_back_too(room: Room) -> None:
    room.peer.run(room.name, BROKEN, HostConfig={"RestartPolicy": {"Name": "always"}})
    assert (await room.driver().release()).build_hash in {"none", BROKEN.digest}
    reply = await room.back()
    assert reply.answer is Answer.ACKNOWLEDGED, reply.detail
    assert room.states() == {"": "running", room.old.removeprefix(room.name): "exited"}


def one(name: str, state: str, request: str | None = None) -> Listed:
    """Return a container as the list has it."""
    labels = {REQUEST: request, CONTAINER: "n"} if request else {}
    return Listed(id=name + "1", names=[f"/{name}"], state=state, labels=labels)


OTHER = parked("n", "r2")


@pytest.mark.parametrize(
    ("listed", "where"),
    [
        ([], Where.ABSENT),
        ([one("m", "running")], Where.ABSENT),
        ([one("n", "running")], Where.UNTOUCHED),
        ([one("n", "exited")], Where.UNTOUCHED),
        ([one("n", "running", "r2"), one(OTHER, "exited")], Where.UNTOUCHED),
        ([one("n", "running"), one(NEW, "created", "r1")], Where.CREATED),
        ([one("n", "restarting"), one(NEW, "created", "r1")], Where.CREATED),
        ([one("n", "exited"), one(NEW, "created", "r1")], Where.STOPPED),
        ([one(OLD, "exited"), one(NEW, "created", "r1")], Where.PARKED),
        ([one(OLD, "exited")], Where.BARE),
        ([one("n", "created", "r1"), one(OLD, "exited")], Where.READY),
        ([one("n", "running", "r1"), one(OLD, "exited")], Where.RUNNING),
        ([one("n", "exited", "r1"), one(OLD, "exited")], Where.EXITED),
        ([one("n", "restarting", "r1"), one(OLD, "exited")], Where.EXITED),
        ([one("n", "running", "r1"), one(OLD, "running")], Where.STRAY),
        ([one("n", "running"), one(NEW, "running", "r1")], Where.STRAY),
        ([one(OLD, "exited"), one(NEW, "paused", "r1")], Where.STRAY),
        ([one("n", "running"), one(OLD, "exited")], Where.TAKEN),
        ([one(OTHER, "exited")], Where.OTHER),
    ],
    ids=lambda given: given.value if isinstance(given, Where) else "-".join(f"{c.name}.{c.state}" for c in given),
)
def test_where_a_rollback_stands_is_read_from_names_labels_and_states(listed: list[Listed], where: Where) -> None:
    assert stand("n", "r1", listed).where is where


@pytest.mark.parametrize(
    ("path", "lost"),
    [
        ("/protection.db", True),
        ("/data", False),
        ("/data/x", False),
        ("/database", True),
        ("/tmp/x", False),
        ("/keys/deep/x", False),
        ("/keys", False),
    ],
)
def test_what_is_on_no_mount_would_be_lost(path: str, lost: bool) -> None:
    changes = TypeAdapter(list[Change]).validate_python([{"Path": path, "Kind": 1}, {"Path": "/gone", "Kind": 2}])
    mounts = TypeAdapter(list[Mount]).validate_python([{"Destination": "/data"}, {"Destination": "/keys/deep"}])
    assert written(changes, mounts, ("/tmp",)) == ([path] if lost else [])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"image": "x"}, "has no option image"),
        ({"t": "soon"}, "numbers of seconds"),
        ({"t": "9"}, "must fit into 80 %"),
        ({"settle": "-1"}, "must fit into 80 %"),
        ({"settle": "nan"}, "must fit into 80 %"),
        ({"container": "../x"}, "not a container's name"),
        ({"api": "../x"}, "not a version of the Engine API"),
        ({"identify": "tag"}, "identify is image or repo_digest"),
        ({"config_files": "/a,b"}, "'b' is not an absolute path"),
    ],
)
async def test_wrong_options_are_named(options: dict[str, str], problem: str) -> None:
    endpoint = Endpoint(driver="docker", url="unix:/run/x.sock", timeout=timedelta(seconds=10), options=options)
    node = Node(name="n", avs="x", keys=(), reach={Capability.DEPLOYER: endpoint})
    async with Reach(drivers={"docker": docker.connect}, secret=str, clock=SystemClock()) as reach:
        with pytest.raises(Misconfigured, match=problem):
            reach.reach(node, Capability.DEPLOYER)
