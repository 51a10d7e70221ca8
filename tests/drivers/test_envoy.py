"""The envoy driver against a real Envoy: what a file changes there, and what it does not."""

import asyncio
import errno
import fcntl
import json
import os
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from bot.domain.inventory import Endpoint, Node
from bot.domain.target import Answer
from bot.errors import Misconfigured, NoAnswer, NodeRefused, NotReached
from bot.nodes import envoy as driver_module
from bot.nodes.envoy import WatchedFile, read_back
from bot.nodes.way import Way
from tests.drivers.contract import SystemClock
from tests.drivers.gates import driving
from tests.drivers.gates.envoy import Envoy, envoy
from tests.drivers.gates.signer import KEYS, StubSigner, ask, stub_signer, validator
from tests.drivers.wired import unused

HOW = {"incident": "inc-7", "request": "r1"}
real = pytest.mark.peer("envoy")


@asynccontextmanager
async def gate(**more: Any) -> AsyncIterator[tuple[StubSigner, Envoy, dict[str, str]]]:
    async with stub_signer() as stub, envoy(stub.port, **more) as it:
        yield stub, it, {"file": str(it.eds), "cluster": "signer", "endpoint": f"127.0.0.1:{stub.port}"}


@real
async def test_an_open_http_connection_is_answered_no_more_and_again_after_the_restore() -> None:
    async with gate() as (stub, it, options), aiohttp.ClientSession() as kept:
        assert await ask(kept, it.signer, KEYS[0]) == 200
        async with driving(driver_module, it.admin, options) as router:
            assert not await router.isolated()
            assert (await router.isolate(**HOW)).answer is Answer.ACKNOWLEDGED
            assert await ask(kept, it.signer, KEYS[0]) == 503
            assert (await router.isolate(**HOW)).answer is Answer.ALREADY
            it.stop()
            await it.start()
        async with driving(driver_module, it.admin, options) as router:
            assert await router.isolated(), "the file outlives the process"
            assert (await router.restore(**HOW)).answer is Answer.ACKNOWLEDGED
            assert (await router.restore(**HOW)).answer is Answer.ALREADY
            assert not await router.isolated()
            assert (await ask(kept, it.signer, KEYS[0]), stub.asked) == (200, 2)


@real
async def test_tcp_sessions_live_on_and_are_seen() -> None:
    async with gate() as (stub, it, options), driving(driver_module, it.admin, options) as router:
        async with aiohttp.ClientSession() as kept:
            assert await ask(kept, it.raw, KEYS[0]) == 200
            reply = await router.isolate(**HOW)
            assert (reply.answer, "1 request or session" in reply.detail) == (Answer.FAILED, True), reply
            assert await ask(kept, it.raw, KEYS[0]) == 200, "Envoy cut it: docs/gates.md is out of date"
            assert not await router.isolated()
        async with aiohttp.ClientSession() as fresh:
            assert await ask(fresh, it.raw, KEYS[0]) == 0
        for _ in range(100):
            if await router.isolated():
                break
            await asyncio.sleep(0.02)
        assert await router.isolated()
        assert stub.asked == 2


@real
@pytest.mark.parametrize("spoiled", ["healthy_panic_threshold: {value: 50}", "ignore_new_hosts_until_first_hc: false"])
async def test_a_cluster_that_may_panic_is_never_called_isolated(spoiled: str) -> None:
    """Envoy then answers by an endpoint that it holds as drained. When nothing is said, 50 holds."""
    async with (
        gate(spoiled={"healthy_panic_threshold: {value: 0}": spoiled}) as (stub, it, options),
        validator(it.signer, KEYS),
        driving(driver_module, it.admin, options) as router,
    ):
        reply = await router.isolate(**HOW)
        assert reply.answer is Answer.FAILED
        assert not await stub.flat(KEYS), "Envoy did not panic: the trap is gone"
        assert not await router.isolated()


@real
async def test_what_envoy_or_the_file_does_not_know_is_refused_and_nothing_is_written() -> None:
    async with gate() as (_, it, options):
        before = it.eds.read_bytes()
        (it.folder / "other.json").write_text('{"resources": [{"endpoints": []}]}')
        (it.folder / "torn.json").write_text('{"resources": [')
        (it.folder / "odd.json").write_text('{"resources": [{"endpoints": [{"lb_endpoints": ["x"]}]}]}')
        for changed, says in (
            ({"cluster": "other"}, "no cluster other"),
            ({"endpoint": "127.0.0.1:1"}, "no endpoint"),
            ({"file": str(it.folder / "absent.json")}, "No such file"),
            ({"file": str(it.folder / "no" / "folder.json")}, "No such file"),
            ({"file": str(it.folder / "other.json")}, "lists no endpoint"),
            ({"file": str(it.folder / "torn.json")}, "no file of resources"),
            ({"file": str(it.folder / "odd.json")}, "no EDS file"),
        ):
            async with driving(driver_module, it.admin, options | changed) as router:
                with pytest.raises(NodeRefused, match=says):
                    await router.isolate(**HOW)
        assert it.eds.read_bytes() == before
        assert not [path for path in it.folder.iterdir() if path.name.startswith(".")]


def watched(path: Path) -> WatchedFile:
    return WatchedFile(path, "n", 5.0)


def way(**options: str) -> Way:
    endpoint = Endpoint(driver="envoy", url="http://127.0.0.1:1", timeout=timedelta(seconds=1), options=options)
    return Way(node=Node(name="n", avs="x", keys=()), endpoint=endpoint, client=unused(), clock=SystemClock())


async def test_a_reader_sees_the_old_file_or_the_new_one_and_writers_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "eds.json"
    path.write_text(json.dumps({"resources": ["x" * 100_000], "writers": []}))
    path.chmod(0o640)
    seen: set[int] = set()
    torn: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                seen.add(len(json.loads(path.read_bytes())["writers"]))
            except ValueError as error:
                torn.append(error)

    reader = threading.Thread(target=read)
    reader.start()

    def adding(number: int) -> Any:
        return lambda document: document["writers"].append(number) or True

    try:
        await asyncio.gather(*(watched(path).edit(adding(number), version=str(number)) for number in range(40)))
    finally:
        done.set()
        reader.join()
    assert not torn
    assert len(seen) > 1
    assert sorted(json.loads(path.read_text())["writers"]) == list(range(40)), "a writer undid another's work"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


async def test_a_file_that_somebody_else_holds_or_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "eds.json"
    path.write_text('{"resources": []}')
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(NotReached, match="somebody else holds"):
        await WatchedFile(path, "n", 0.2).edit(lambda _: True, version="1")
    os.close(folder)
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(NodeRefused, match="No space left"):
        await watched(path).edit(lambda _: True, version="1")
    assert path.read_text() == '{"resources": []}'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("moment", ["the folder is synced", "the rename answers"])
async def test_an_error_after_the_rename_is_never_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "eds.json"
    path.write_text('{"resources": []}')
    sync, rename = os.fsync, os.rename

    def synced(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(handle)

    def renamed(there: str, here: Path) -> None:
        rename(there, here)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    if moment == "the rename answers":
        monkeypatch.setattr(os, "rename", renamed)
    else:
        monkeypatch.setattr(os, "fsync", synced)
    with pytest.raises(NoAnswer, match="was replaced"):
        await watched(path).edit(lambda _: True, version="7")
    assert json.loads(path.read_text())["version_info"] == "7"


@pytest.mark.parametrize("spelled", ["filter_metadata", "filterMetadata"])
async def test_the_mark_of_a_freeze_stands_beside_others_and_goes_without_a_trace(tmp_path: Path, spelled: str) -> None:
    here = {"endpoint": {"address": {"socket_address": {"address": "10.0.0.7", "port_value": 9000}}}}
    theirs = {"metadata": {spelled: {"envoy.lb": {"zone": "a"}}}, "health_status": "HEALTHY"}
    path = tmp_path / "eds.json"
    how = way(file=str(path), cluster="c", endpoint="10.0.0.7:9000")
    gate, router = driver_module.drained(how, denies=True), driver_module.drained(how)
    for written in (here | theirs, here | {"health_status": "HEALTHY"}):
        path.write_text(json.dumps({"resources": [{"endpoints": [{"lb_endpoints": [written]}]}]}))
        assert await router.file.edit(router._marks("DRAINING"), version="1")
        assert await gate.file.edit(gate._marks("DRAINING"), version="2"), "draining, but not frozen"
        assert not await router.file.edit(router._marks("DRAINING"), version="3")
        with pytest.raises(NodeRefused, match="is frozen"):
            await router.file.edit(router._marks("HEALTHY"), version="4")
        assert await gate.file.edit(gate._marks("HEALTHY"), version="5")
        assert not await router.file.edit(router._marks("HEALTHY"), version="6")
        assert json.loads(path.read_text())["resources"][0]["endpoints"][0]["lb_endpoints"] == [written]


def _full(handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_once_the_file_is_replaced_nobody_is_told_that_nothing_was_done() -> None:
    async def gone() -> str | None:
        raise NotReached("n could not be reached")

    async def unknown() -> str | None:
        raise NodeRefused("n: Envoy has no cluster c")

    with pytest.raises(NoAnswer, match="the file was replaced, but then"):
        await read_back(gone)
    assert str(await read_back(unknown)).startswith("the file was replaced, but then")


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
async def test_both_spellings_of_protobufs_json_are_read(tmp_path: Path, suffix: str) -> None:
    here = {"endpoint": {"address": {"socketAddress": {"address": "10.0.0.7", "portValue": 9000}}}}
    there = {"endpoint": {"address": {"socket_address": {"address": "10.0.0.8", "port_value": 9000}}}}
    there["health_status"] = "UNHEALTHY"  # type: ignore[assignment]
    document = {"resources": [{"endpoints": [{"lbEndpoints": [here | {"healthStatus": "HEALTHY"}, there]}]}]}
    path = tmp_path / f"eds{suffix}"
    path.write_text(json.dumps(document) if suffix == ".json" else yaml.safe_dump(document))
    for address in ("10.0.0.7", "10.0.0.8"):
        driven = driver_module.drained(way(file=str(path), cluster="c", endpoint=f"{address}:9000"))
        for status, changed in (("DRAINING", True), ("DRAINING", False), ("HEALTHY", True), ("HEALTHY", False)):
            assert await driven.file.edit(driven._marks(status), version="1") is changed
            marked = yaml.safe_load(path.read_text())["resources"][0]["endpoints"][0]["lbEndpoints"]
            assert [one.get("health_status") for one in marked if address in str(one)] == [status]
            assert "healthStatus" not in str(marked[0])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "file, cluster, endpoint"),
        ({"file": "eds.json", "cluster": "c", "endpoint": "10.0.0.7:1"}, "absolute"),
        ({"file": "/eds.pb", "cluster": "c", "endpoint": "10.0.0.7:1"}, ".yaml"),
        ({"file": "/eds.json", "cluster": "c", "endpoint": "10.0.0.7"}, "address:port"),
        ({"file": "/eds.json", "cluster": "c", "endpoint": "10.0.0.7:70000"}, "address:port"),
        ({"file": "/eds.json", "cluster": "c&x", "endpoint": "10.0.0.7:1"}, "no Envoy name"),
        ({"file": "/eds.json", "cluster": "c", "endpoint": "10.0.0.7:1", "state": "x"}, "no option state"),
    ],
)
def test_options_are_checked_before_anything_is_touched(options: dict[str, str], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        driver_module.connect(way(**options))
