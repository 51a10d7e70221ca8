"""The keymanager driver: exact requests (respx), remote keys, import, counters."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from aiohttp import web

from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.target import Answer
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeRefused, NotReached
from bot.nodes import escrow as escrow_module
from bot.nodes import keymanager
from bot.nodes.escrow import Escrow, Record, apart
from bot.nodes.keymanager import Keymanager
from bot.nodes.prometheus_text import read_counters
from bot.nodes.reach import Reach
from bot.nodes.way import Way
from bot.nodes.wire import NodeClient, node_client
from bot.practice.fleet import Api, FleetSpec, NodeSpec, key_of, running_fleet, write_escrow
from tests.drivers.emulated.serving import serving
from tests.drivers.wired import OTHER, URL, routes, unused

BASE = URL
KEYSTORES = f"{BASE}/eth/v1/keystores"
REMOTE = f"{BASE}/eth/v1/remotekeys"
A, B = "0x" + "aa" * 48, "0x" + "bb" * 48


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def driver(client: NodeClient, url: str = BASE, keys: tuple[str, ...] = (A, B), **options: str) -> Keymanager:
    endpoint = Endpoint(driver="keymanager", url=url, timeout=timedelta(seconds=0.5), options=options)
    node = Node(name="n", avs="x", keys=keys)
    way = Way(
        node=node,
        endpoint=endpoint,
        client=client,
        clock=SystemClock(),
        token="practice-node-token",
        networks=("127.0.0.0/8", "10.0.0.0/8"),
    )
    return keymanager.connect(way)


@pytest.fixture
async def client() -> AsyncIterator[NodeClient]:
    async with node_client() as made:
        yield made


@contextmanager
def api(*remote: str) -> Iterator[respx.MockRouter]:
    """Answer nothing but the list of remote keys; without any, as a client does that knows no remote keys."""
    listed = {"data": [{"pubkey": key, "url": "http://10.0.0.9:9000", "readonly": False} for key in remote]}
    with routes(assert_all_called=False) as mock:
        mock.get(REMOTE).mock(return_value=httpx.Response(200, json=listed) if remote else httpx.Response(404))
        yield mock


def listing(*keys: str, readonly: bool = False) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"validating_pubkey": key, "readonly": readonly} for key in keys]})


def statuses(*words: str, protection: Any = None) -> httpx.Response:
    more = {} if protection is None else {"slashing_protection": protection}
    return httpx.Response(200, json={"data": [{"status": word, "message": "m"} for word in words], **more})


async def freeze(client: NodeClient, *keys: str) -> Any:
    return await driver(client).freeze(keys, incident="inc-7", request="r1")


async def test_a_freeze_deletes_by_name_and_reads_back(client: NodeClient) -> None:
    with api() as mock:
        delete = mock.delete(KEYSTORES).mock(return_value=statuses("deleted", "deleted", protection='{"x": 1}'))
        read = mock.get(KEYSTORES).mock(return_value=listing())
        reply = await freeze(client, A, B)
    assert json.loads(delete.calls.last.request.content) == {"pubkeys": [A, B]}
    assert delete.calls.last.request.headers["authorization"] == "Bearer practice-node-token"
    assert (delete.call_count, read.call_count) == (1, 1)
    assert reply.answer is Answer.ACKNOWLEDGED
    assert [(one.what, one.content) for one in reply.artifacts] == [("slashing-protection, delete 1", b'{"x": 1}')]


async def test_a_key_that_stays_listed_is_deleted_three_times_and_no_more(client: NodeClient) -> None:
    with api() as mock:
        delete = mock.delete(KEYSTORES).mock(
            side_effect=[statuses("deleted", "deleted"), statuses("deleted"), statuses("deleted")]
        )
        mock.get(KEYSTORES).mock(return_value=listing(B))
        reply = await freeze(client, A, B)
    assert [json.loads(call.request.content)["pubkeys"] for call in delete.calls] == [[A, B], [B], [B]]
    assert reply.answer is Answer.FAILED
    assert "1 of 2 keys still listed after 3 deletes" in reply.detail


async def test_an_error_inside_the_200_is_found(client: NodeClient) -> None:
    with api() as mock:
        mock.delete(KEYSTORES).mock(return_value=statuses("error"))
        mock.get(KEYSTORES).mock(return_value=listing(A))
        reply = await freeze(client, A)
    assert (reply.answer, reply.detail.endswith("error m")) == (Answer.FAILED, True)


async def test_a_key_that_was_gone_before_is_already(client: NodeClient) -> None:
    with api() as mock:
        mock.delete(KEYSTORES).mock(return_value=statuses("not_active", protection="{}"))
        mock.get(KEYSTORES).mock(return_value=listing())
        reply = await freeze(client, A)
    assert (reply.answer, len(reply.artifacts)) == (Answer.ALREADY, 1)


async def test_slashing_protection_is_not_lost_when_the_read_back_fails(client: NodeClient) -> None:
    with api() as mock:
        mock.delete(KEYSTORES).mock(return_value=statuses("deleted", protection='{"keep": "me"}'))
        mock.get(KEYSTORES).mock(side_effect=httpx.ReadTimeout("gone"))
        reply = await freeze(client, A)
    assert (reply.answer, reply.artifacts[0].content) == (Answer.UNKNOWN, b'{"keep": "me"}')


async def test_slashing_protection_is_not_lost_when_the_statuses_are_nonsense(client: NodeClient) -> None:
    with api() as mock:
        mock.delete(KEYSTORES).mock(return_value=statuses("deleted", "deleted", "deleted", protection={"an": "object"}))
        reply = await freeze(client, A)
    assert (reply.answer, reply.artifacts[0].content) == (Answer.UNKNOWN, b'{"an": "object"}')
    with api() as mock:
        mock.delete(KEYSTORES).respond(json={"data": "all fine"})
        with pytest.raises(NodeBroken):
            await freeze(client, A)


async def test_a_key_listed_as_read_only_is_deleted_as_a_remote_key(client: NodeClient) -> None:
    with api() as mock:
        mock.delete(KEYSTORES).mock(return_value=statuses("deleted", "not_found"))
        mock.get(KEYSTORES).mock(side_effect=[listing(B, readonly=True), listing()])
        remote = mock.delete(REMOTE).mock(return_value=statuses("deleted"))
        reply = await freeze(client, A, B)
    assert json.loads(remote.calls.last.request.content) == {"pubkeys": [B]}
    assert reply.answer is Answer.ACKNOWLEDGED


async def test_a_remote_key_is_found_where_keystores_do_not_list_it_and_its_url_is_kept(
    client: NodeClient,
) -> None:
    with api(B) as mock:
        mock.delete(KEYSTORES).mock(return_value=statuses("not_found", protection="{}"))
        mock.get(KEYSTORES).mock(return_value=listing())
        mock.delete(REMOTE).mock(return_value=statuses("deleted"))
        mock.get(f"{BASE}/metrics").respond(404)
        reply = await freeze(client, B)
        sample = await driver(client).sample([B])
    assert reply.answer is Answer.FAILED
    assert sample.keys[B].signing
    (kept,) = [one.content for one in reply.artifacts if one.what == "remote-keys"]
    assert json.loads(kept) == [{"pubkey": B, "url": "http://10.0.0.9:9000"}]


async def test_a_node_of_remote_keys_never_loses_a_local_one(client: NodeClient) -> None:
    with api() as mock:
        local = mock.delete(KEYSTORES)
        remote = mock.delete(REMOTE).mock(return_value=statuses("not_found", "not_found"))
        mock.get(KEYSTORES).mock(return_value=listing(A, B))
        made = driver(client, remote_signer="http://10.0.0.9:9000")
        reply = await made.freeze([A, B], incident="inc-7", request="r1")
    assert (local.call_count, remote.call_count) == (0, 1)
    assert reply.answer is Answer.FAILED
    assert "is a local key" in reply.detail
    assert (made.traits.destructive, driver(client).traits.destructive) == (False, True)


async def test_a_history_of_many_megabytes_is_kept(client: NodeClient, tmp_path: Path) -> None:
    document = json.dumps(interchange(A) | {"padding": "x" * 6_000_000})
    with api() as mock:
        mock.delete(KEYSTORES).mock(return_value=statuses("deleted", protection=document))
        mock.get(KEYSTORES).mock(return_value=listing())
        reply = await driver(client, escrow=str(tmp_path)).freeze([A], incident="inc-7", request="r1")
    assert (reply.answer, len(reply.artifacts[0].content)) == (Answer.ACKNOWLEDGED, len(document))


async def test_a_list_of_remote_keys_that_cannot_be_had_is_no_empty_list(client: NodeClient) -> None:
    with routes() as mock:
        mock.get(KEYSTORES).mock(return_value=listing())
        mock.get(REMOTE).respond(403)
        mock.get(f"{BASE}/metrics").respond(404)
        with pytest.raises(NodeRefused):
            await driver(client).sample([A])


META = {"interchange_format_version": "5", "genesis_validators_root": "0x" + "00" * 32}


def interchange(*keys: str, slot: int = 5, root: str = "") -> dict[str, Any]:
    blocks = [{"slot": str(slot)}]
    data = [{"pubkey": key, "signed_blocks": blocks, "signed_attestations": []} for key in keys]
    return {"metadata": META | ({"genesis_validators_root": root} if root else {}), "data": data}


def fill(folder: Path, *keys: str) -> Path:
    for key in keys:
        (folder / f"{key}.json").write_text(json.dumps({"version": 4, "pubkey": key[2:]}))
        (folder / f"{key}.txt").write_text("password\n")
    return folder


def protect(folder: Path, key: str, document: Any) -> None:
    (folder / f"{key}.protection.json").write_text(json.dumps(document))
    kept(folder, key)


def kept(folder: Path, *keys: str) -> None:
    """Let the escrow hold what a freeze of inc-7 leaves that went well."""
    Escrow(folder).write({key: Record(incident="inc-7", deleted=True, kept=True) for key in keys})


async def test_an_unfreeze_imports_keystore_password_and_protection(client: NodeClient, tmp_path: Path) -> None:
    fill(tmp_path, A, B)
    protect(tmp_path, A, interchange(A))
    protect(tmp_path, B, interchange(B))
    with api() as mock:
        post = mock.post(KEYSTORES).mock(return_value=statuses("imported", "imported"))
        reply = await driver(client, escrow=str(tmp_path)).unfreeze([A, B], incident="inc-7", request="u1")
    body = json.loads(post.calls.last.request.content)
    assert (body["passwords"], json.loads(body["slashing_protection"])) == (["password"] * 2, interchange(A, B))
    assert json.loads(body["keystores"][0])["pubkey"] == A[2:]
    assert reply.answer is Answer.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("held", "protections", "reason"),
    [
        ((), {A: interchange(A)}, "the escrow lacks 0xaaaa"),
        ((A,), {}, f"the escrow lacks {A}.protection.json"),
        ((A,), {A: interchange(B)}, "is of another key"),
        ((A,), {A: []}, "not an interchange document"),
        ((A, B), {A: interchange(A), B: interchange(B, root="0x01")}, "different chains"),
    ],
)
async def test_nothing_is_imported_without_all_of_them(
    client: NodeClient, tmp_path: Path, held: tuple[str, ...], protections: dict[str, Any], reason: str
) -> None:
    fill(tmp_path, *held)
    kept(tmp_path, *(held or (A,)))
    for key, document in protections.items():
        protect(tmp_path, key, document)
    reply = await driver(client, escrow=str(tmp_path)).unfreeze(held or (A,), incident="inc-7", request="u1")
    assert reply.answer is Answer.REFUSED
    assert reason in reply.detail


async def test_without_an_escrow_folder_an_unfreeze_is_refused(client: NodeClient) -> None:
    assert (await driver(client).unfreeze([A], incident="inc-7", request="u1")).answer is Answer.REFUSED
    with pytest.raises(NodeRefused, match="by hand"):
        await driver(client).slashing_protection()


async def test_a_delete_adds_its_protection_to_the_escrow_and_never_lowers_it(
    client: NodeClient, tmp_path: Path
) -> None:
    signer = driver(client, keys=(A,), escrow=str(tmp_path))
    with pytest.raises(NodeRefused, match="lacks"):
        await signer.slashing_protection()
    for told, kept in ((7, [7]), (9, [7, 9]), (8, [7, 8, 9]), (9, [7, 8, 9])):
        with api() as mock:
            text = json.dumps(interchange(A, B, slot=told))
            mock.delete(KEYSTORES).mock(return_value=statuses("deleted", protection=text))
            mock.get(KEYSTORES).mock(return_value=listing())
            await signer.freeze([A], incident="inc-7", request="r1")
        blocks = json.loads(await signer.slashing_protection())["data"][0]["signed_blocks"]
        assert blocks == [{"slot": str(slot)} for slot in kept]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{A}.freeze.json", f"{A}.protection.json"]


def test_a_vote_below_the_stored_block_is_not_lost(tmp_path: Path) -> None:
    vote = {"source_epoch": "30", "target_epoch": "31"}
    older, newer = interchange(A, slot=1000), interchange(A, slot=1000)
    newer["data"][0]["signed_attestations"] = [vote]
    for document in (newer, older):
        Escrow(tmp_path).keep(json.dumps(document).encode(), [A])
    kept(tmp_path, A)
    assert json.loads(Escrow(tmp_path).protection([A]))["data"][0]["signed_attestations"] == [vote]


def test_protection_of_another_chain_replaces_nothing(tmp_path: Path) -> None:
    Escrow(tmp_path).keep(json.dumps(interchange(A)).encode(), [A])
    with pytest.raises(ValueError, match="another chain"):
        Escrow(tmp_path).keep(json.dumps(interchange(A, root="0x01")).encode(), [A])
    kept(tmp_path, A)
    assert json.loads(Escrow(tmp_path).protection([A])) == interchange(A)


@pytest.mark.parametrize(
    "document",
    [
        '{"no": "interchange"}',
        '{"metadata": {}, "data": [7]}',
        '{"metadata": {}, "data": [{"pubkey": 1}]}',
        '{"metadata": {}, "data": [{"pubkey": "0x", "signed_blocks": [{"slot": "x"}]}]}',
        "[" * 100_000,
        json.dumps(interchange(A)),
    ],
    ids=["shape", "number", "pubkey", "slot", "deep", "no folder"],
)
async def test_an_escrow_that_cannot_keep_it_stops_no_freeze_and_says_so(
    client: NodeClient, tmp_path: Path, document: str
) -> None:
    with api() as mock:
        mock.delete(KEYSTORES).mock(return_value=statuses("deleted", protection=document))
        mock.get(KEYSTORES).mock(return_value=listing())
        signer = driver(client, escrow=str(tmp_path / "missing"))
        reply = await signer.freeze([A], incident="inc-7", request="r1")
    assert (reply.answer, reply.artifacts[0].content.decode()) == (Answer.ACKNOWLEDGED, document)
    assert "the escrow could not keep its slashing protection" in reply.detail


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["imported", "duplicate"], Answer.ACKNOWLEDGED),
        (["duplicate", "duplicate"], Answer.ALREADY),
        (["imported", "error"], Answer.FAILED),
        (["imported"], Answer.UNKNOWN),
    ],
)
async def test_remote_keys_are_imported_with_their_signers_url(
    client: NodeClient, words: list[str], answer: Answer
) -> None:
    with api() as mock:
        post = mock.post(REMOTE).mock(return_value=statuses(*words))
        reply = await driver(client, remote_signer="http://10.0.0.9:9000").unfreeze([A, B], incident="i", request="u1")
    remote_keys = [{"pubkey": key, "url": "http://10.0.0.9:9000"} for key in (A, B)]
    assert json.loads(post.calls.last.request.content) == {"remote_keys": remote_keys}
    assert reply.answer is answer


async def test_a_frozen_practice_key_signs_again_only_after_the_import(client: NodeClient, tmp_path: Path) -> None:
    key = key_of("x", "n")
    spec = FleetSpec(nodes=(NodeSpec(name="n", avs="x", api=Api.KEYMANAGER),), duty_period_seconds=0.1)
    write_escrow(spec, tmp_path)
    async with running_fleet(spec) as fleet:
        signer = driver(client, fleet.url("n"), (key,), escrow=str(tmp_path / "n"))
        await asyncio.sleep(0.15)
        await signer.freeze([key], incident="inc-7", request="f1")
        assert not (await signer.sample([key])).keys[key].signing
        signed = max(message.slot for message in fleet.nodes["n"].record.messages)
        assert f'"slot": "{signed}"'.encode() in await signer.slashing_protection()
        assert (await signer.unfreeze([key], incident="inc-7", request="u1")).answer is Answer.ACKNOWLEDGED
        assert (await signer.sample([key])).keys[key].signing
        assert (await signer.unfreeze([key], incident="inc-7", request="u2")).answer is Answer.ALREADY


async def test_a_node_without_metrics_has_no_counters_and_so_no_proof(client: NodeClient) -> None:
    with api() as mock:
        mock.get(KEYSTORES).mock(return_value=listing(A))
        mock.get(f"{BASE}/metrics").respond(404)
        sample = await driver(client).sample([A, B])
    assert [(reading.signing, reading.counter) for reading in sample.keys.values()] == [(True, None), (False, None)]


async def test_metrics_elsewhere_are_read_without_the_token(client: NodeClient) -> None:
    with api() as mock:
        mock.get(KEYSTORES).mock(return_value=listing())
        text = f'c_total{{validator="{A}"}} 7\nprocess_start_time_seconds 5\n'
        metrics = mock.get(OTHER + "/metrics").respond(text=text)
        made = driver(client, metrics=OTHER, counters="c_total", key_label="validator")
        sample = await made.sample([A])
    assert (sample.keys[A].counter, sample.instance) == (7, "5.0")
    assert "authorization" not in metrics.calls.last.request.headers


async def test_a_label_that_no_counter_has_is_an_error_and_never_a_sum_over_all_keys(client: NodeClient) -> None:
    with api() as mock:
        mock.get(KEYSTORES).mock(return_value=listing(A))
        mock.get(OTHER + "/metrics").respond(
            text=f'c_total{{validator="{A}",net="x"}} 7\nc_total{{validator="{B}"}} 9\n'
        )
        made = driver(client, keys=(A,), metrics=OTHER, counters="c_total", key_label="pubky")
        with pytest.raises(NodeBroken, match="the label pubky, they have net, validator: correct key_label"):
            await made.sample([A])


def test_an_unknown_option_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="no option metric"):
        driver(unused(), metric="x")


@pytest.mark.parametrize(
    ("text", "of_one", "of_all"),
    [
        (f'a_total{{pubkey="{A}"}} 3\nb_total{{pubkey="{A}"}} 2\n', 5, 5),
        (f'a_total{{pubkey="{A.upper()}"}} 3\nb_total{{pubkey="{A}"}} 0\n', 3, 3),
        (f'a_total{{pubkey="{A}"}} 3\nb_total 4\n', None, 7),
        ("a_total 3\nb_total 4\n", None, 7),
        (f'a_total{{pubkey="{B}"}} 3\nb_total{{pubkey="{B}"}} 3\n', None, None),
        ("a_total 3\nb_renamed_total 4\n", None, None),
        (f'other_total{{pubkey="{A}"}} 3\n', None, None),
        (f'a_total{{pubkey="{A}" 3\n', None, None),
        ("a_total NaN\nb_total 1\n", None, None),
        ("", None, None),
    ],
    ids=["sum", "case", "mixed", "total", "other key", "one renamed", "other name", "torn", "nan", "empty"],
)
def test_counters_are_read_by_key_and_a_total_only_for_all_keys(
    text: str, of_one: int | None, of_all: int | None
) -> None:
    counters = read_counters(text.encode(), ["a_total", "b_total"], "pubkey")
    assert (counters.of(A, whole=False), counters.of(A, whole=True)) == (of_one, of_all)


@pytest.mark.parametrize(
    ("options", "lines", "counter"),
    [
        ({}, ["vc_published_attestations_total 3"], 3),
        ({}, ["vc_published_attestations_total 3", "vc_block_published_total 2"], 5),
        ({}, ["vc_published_attestations_renamed_total 3", "vc_block_published_total 2"], None),
        ({"counters": "a_total, b_total"}, ["a_total 3", "b_total 0"], 3),
        ({"counters": "a_total, b_total"}, ["a_total 3"], None),
    ],
    ids=["attestations", "and blocks", "attestations renamed", "named", "one of two named"],
)
async def test_a_counter_that_is_missing_is_not_taken_for_one_that_stands_still(
    client: NodeClient, options: dict[str, str], lines: list[str], counter: int | None
) -> None:
    with api() as mock:
        mock.get(KEYSTORES).mock(return_value=listing(A))
        mock.get(f"{BASE}/metrics").respond(text="\n".join([*lines, "process_start_time_seconds 5"]) + "\n")
        sample = await driver(client, BASE, (A,), **options).sample([A])
    assert (sample.keys[A].counter, sample.instance) == (counter, "5.0")


async def test_reach_reads_the_token_each_time_and_names_an_unknown_driver() -> None:
    tokens = iter(["first", "second"])
    endpoint = Endpoint(driver="keymanager", url=BASE, token="env:T")
    node = Node(name="n", avs="x", keys=(A,), reach={Capability.SIGNER: endpoint})
    drivers = {"keymanager": keymanager.connect}
    async with Reach(drivers=drivers, secret=lambda _: next(tokens), clock=SystemClock()) as reach:
        with api() as mock:
            read = mock.get(KEYSTORES).mock(return_value=listing())
            mock.get(f"{BASE}/metrics").respond(text="")
            for _ in range(2):
                signer = reach.reach(node, Capability.SIGNER)
                assert isinstance(signer, Keymanager)
                await signer.sample([A])
        assert [call.request.headers["authorization"] for call in read.calls] == ["Bearer first", "Bearer second"]
        assert reach.reach(node, Capability.ROUTER) is None
        other = Node(name="n", avs="x", keys=(A,), reach={Capability.SIGNER: Endpoint(driver="dirk", url=BASE)})
        with pytest.raises(Misconfigured, match=r"there is no driver 'dirk'; docs/drivers\.md lists"):
            reach.reach(other, Capability.SIGNER)


async def test_an_answer_that_never_ends_is_no_answer_in_time(client: NodeClient) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    app = web.Application()
    app.router.add_delete("/eth/v1/keystores", drip)
    async with serving(app) as url:
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoAnswer):
            await driver(client, url).freeze([A], incident="inc-7", request="r1")
        assert asyncio.get_running_loop().time() - began < 5


def text(*keys: str, slot: int, **more: str) -> str:
    return json.dumps(interchange(*keys, slot=slot, **more))


class Node7:
    """A client that answers each DELETE as it is told, asked by a bot that was started anew each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = fill(folder, A)
        self.imported: list[Any] = []

    async def freeze(self, *answers: Any, incident: str = "inc-7", listed: tuple[str, ...] = ()) -> Any:
        async with node_client() as client:
            with api() as mock:
                mock.delete(KEYSTORES).mock(side_effect=[*answers])
                mock.get(KEYSTORES).mock(return_value=listing(*listed))
                return await driver(client, keys=(A,), escrow=str(self.folder)).freeze(
                    [A], incident=incident, request="r1"
                )

    async def thaw(self, incident: str = "inc-7", listed: tuple[str, ...] = (), answer: Any = None) -> Any:
        async with node_client() as client:
            with api() as mock:
                post = mock.post(KEYSTORES).mock(side_effect=[answer or statuses("imported")])
                mock.get(KEYSTORES).mock(return_value=listing(*listed))
                signer = driver(client, keys=(A,), escrow=str(self.folder))
                try:
                    return await signer.unfreeze([A], incident=incident, request="u1")
                finally:
                    for call in post.calls:
                        document = json.loads(json.loads(call.request.content)["slashing_protection"])
                        self.imported.append(int(document["data"][0]["signed_blocks"][-1]["slot"]))

    async def sample(self, *listed: str) -> Any:
        async with node_client() as client:
            with api() as mock:
                mock.get(KEYSTORES).mock(return_value=listing(*listed))
                mock.get(f"{BASE}/metrics").respond(404)
                return await driver(client, keys=(A,), escrow=str(self.folder)).sample([A])


NOTHING = json.dumps({"metadata": META, "data": []})


@pytest.mark.parametrize("thawed", [True, False], ids=["thawed by us", "thawed by hand"])
@pytest.mark.parametrize("again", ["inc-7", "inc-8"])
@pytest.mark.parametrize(
    "answers",
    [
        [statuses("deleted", protection=NOTHING)],
        [statuses("deleted")],
        [statuses("deleted", protection=text(A, slot=5000, root="0x01"))],
        [statuses("deleted", protection=text(B, slot=5000))],
        [httpx.ReadError("reset"), statuses("not_found", protection=NOTHING)],
        [httpx.ReadError("reset"), statuses("not_active")],
        [httpx.ReadError("reset")],
        [statuses("error")],
    ],
    ids=[
        "no data",
        "no member",
        "another chain",
        "another key",
        "lost",
        "lost, then active no more",
        "cut off",
        "error",
    ],
)
async def test_old_protection_is_never_taken_for_that_of_a_later_freeze(
    tmp_path: Path, answers: list[Any], again: str, thawed: bool
) -> None:
    node = Node7(tmp_path)
    assert (await node.freeze(statuses("deleted", protection=text(A, slot=10)))).answer is Answer.ACKNOWLEDGED
    if thawed:
        assert (await node.thaw()).answer is Answer.ACKNOWLEDGED
    before = list(node.imported)
    for answer in answers:  # it signed on, up to slot 5000
        try:
            reply = await node.freeze(answer, incident=again)
        except NoAnswer:
            continue
        told = reply.answer in {Answer.ACKNOWLEDGED, Answer.ALREADY}
        assert ("DO NOT BRING BACK AUTOMATICALLY" in reply.detail) is told, reply
    for incident in ("inc-7", "inc-8"):
        refused = await node.thaw(incident)
        assert refused.answer is Answer.REFUSED
        assert "by hand" in refused.detail
    assert node.imported == before


@pytest.mark.parametrize("thawed", [True, False])
@pytest.mark.parametrize("again", ["inc-7", "inc-8"])
async def test_a_freeze_that_no_disk_notes_goes_on_and_is_not_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: NodeClient, again: str, thawed: bool
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    node = Node7(tmp_path)
    await node.freeze(statuses("deleted", protection=text(A, slot=10)))
    if thawed:
        await node.thaw()
    before = list(node.imported)
    with monkeypatch.context() as patched:
        patched.setattr(escrow_module, "_written", read_only)
        patched.setattr(escrow_module, "_synced", read_only)
        patched.setattr(Path, "unlink", read_only)
        reply = await node.freeze(statuses("deleted", protection=text(A, slot=5000)), incident=again)
        assert reply.answer is Answer.ACKNOWLEDGED
        assert "DO NOT BRING BACK AUTOMATICALLY" in reply.detail
        assert "Read-only file system" in reply.detail
    if thawed or again != "inc-7":
        assert (await node.thaw(again)).answer is Answer.REFUSED
        assert node.imported == before


async def test_in_one_process_not_even_a_repeat_is_undone_that_no_disk_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: NodeClient
) -> None:
    """Its record says `kept` in the same incident, as after a thaw by hand; only this process knows better."""

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    signer = driver(client, keys=(A,), escrow=str(fill(tmp_path, A)))
    with api() as mock:
        mock.get(KEYSTORES).mock(return_value=listing())
        post = mock.post(KEYSTORES)
        for answer in (statuses("deleted", protection=text(A, slot=10)), statuses("deleted"), statuses("not_active")):
            mock.delete(KEYSTORES).mock(return_value=answer)
            with monkeypatch.context() as patched:
                if answer.json()["data"][0]["status"] == "deleted" and "slashing_protection" not in answer.json():
                    patched.setattr(escrow_module, "_written", read_only)
                    patched.setattr(Path, "unlink", read_only)
                await signer.freeze([A], incident="inc-7", request="r1")
            if "slashing_protection" not in answer.json():
                assert (await signer.unfreeze([A], incident="inc-7", request="u1")).answer is Answer.REFUSED
        assert (await signer.unfreeze([A], incident="inc-7", request="u1")).answer is Answer.REFUSED
    assert post.call_count == 0


@pytest.mark.parametrize("killed", ["before the DELETE", "after the DELETE", "before the import", "during the import"])
async def test_killed_at_any_moment_it_refuses_too_much_and_never_too_little(tmp_path: Path, killed: str) -> None:
    node = Node7(tmp_path)
    await node.freeze(statuses("deleted", protection=text(A, slot=10)))
    record = Escrow(tmp_path).records([A])[A]
    if "DELETE" in killed:
        await node.thaw()
        with pytest.raises(NoAnswer):
            await node.freeze(httpx.ReadError("we died"))
        if killed.startswith("after"):
            Escrow(tmp_path).write({A: Record(incident="inc-7", deleted=True)})
            Escrow(tmp_path).keep(text(A, slot=5000).encode(), [A])
        assert (await node.thaw()).answer is Answer.REFUSED
        await node.freeze(statuses("not_active", protection=text(A, slot=5000)))
        assert (await node.thaw()).answer is Answer.ACKNOWLEDGED
        assert node.imported == [10, 5000]
        return
    with pytest.raises(NoAnswer):
        await node.thaw(answer=httpx.ReadError("we died"))
    assert Escrow(tmp_path).records([A])[A] == Record(incident="inc-7", deleted=True)
    assert record.kept
    assert (await node.thaw()).answer is Answer.REFUSED
    assert (await node.thaw(listed=(A,))).answer is Answer.ALREADY  # it had arrived
    assert node.imported == [10]


@pytest.mark.parametrize(
    "again", [statuses("not_found"), statuses("not_active"), statuses("not_active", protection=NOTHING)]
)
async def test_a_repeat_makes_no_good_record_unusable_and_no_missing_one_good(
    tmp_path: Path, again: httpx.Response
) -> None:
    node = Node7(tmp_path)
    await node.freeze(statuses("deleted", protection=text(A, slot=10)))
    for _ in range(2):
        assert (await node.freeze(again)).answer is Answer.ALREADY
    async with node_client() as client:
        nobody = driver(client, "http://127.0.0.1:1", (A,), escrow=str(tmp_path))
        with pytest.raises(NotReached):
            await nobody.freeze([A], incident="inc-7", request="r1")
    assert not (await node.sample()).keys[A].signing
    assert (await node.thaw("inc-8")).answer is Answer.REFUSED
    with pytest.raises(NodeRefused):
        await node.thaw(answer=httpx.Response(401))
    assert (await node.thaw(answer=statuses("error"))).answer is Answer.FAILED
    assert (await node.thaw()).answer is Answer.ACKNOWLEDGED
    await node.freeze(statuses("deleted"))
    await node.freeze(again)
    assert (await node.thaw()).answer is Answer.REFUSED
    assert node.imported == [10, 10, 10]


async def test_protection_of_a_round_after_which_the_key_signed_on_is_not_enough(tmp_path: Path) -> None:
    """The first `deleted` was not true, and the answer to the second was lost."""
    node = Node7(tmp_path)
    first = statuses("deleted", protection=text(A, slot=10))
    reply = await node.freeze(first, httpx.ReadError("reset"), listed=(A,))
    assert reply.answer is Answer.UNKNOWN
    assert (await node.thaw()).answer is Answer.REFUSED
    await rounds(tmp_path, first, statuses("deleted"))
    assert (await node.thaw()).answer is Answer.REFUSED
    await rounds(tmp_path, first, statuses("deleted", protection=text(A, slot=12)))
    assert (await node.thaw()).answer is Answer.ACKNOWLEDGED
    assert node.imported == [12]
    async with node_client() as client:
        with pytest.raises(NodeRefused, match="no slashing protection of the last delete"):
            await driver(client, keys=(A,), escrow=str(tmp_path)).slashing_protection()


async def rounds(folder: Path, *answers: httpx.Response) -> None:
    """Freeze at a client that lists the key until the last of these answers."""
    async with node_client() as client:
        with api() as mock:
            mock.delete(KEYSTORES).mock(side_effect=[*answers])
            mock.get(KEYSTORES).mock(side_effect=[*(listing(A) for _ in answers[1:]), listing()])
            await driver(client, keys=(A,), escrow=str(folder)).freeze([A], incident="inc-7", request="r1")


async def test_a_repeat_that_gives_out_more_than_can_be_stored_leaves_no_good_record(tmp_path: Path) -> None:
    node = Node7(tmp_path)
    await node.freeze(statuses("deleted", protection=text(A, slot=10)))
    reply = await node.freeze(statuses("not_active", protection=text(A, slot=5000, root="0x01")))
    assert (reply.answer, "another chain" in reply.detail) == (Answer.ALREADY, True)
    assert ((await node.thaw()).answer, node.imported) == (Answer.REFUSED, [])


async def test_protection_is_kept_while_every_shared_thread_is_busy(client: NodeClient, tmp_path: Path) -> None:
    free = threading.Event()
    loop = asyncio.get_running_loop()
    busy = [loop.run_in_executor(None, free.wait, 10) for _ in range(40)]
    try:
        with api() as mock:
            document = json.dumps(interchange(A) | {"padding": "x" * 2_000_000})
            mock.delete(KEYSTORES).mock(return_value=statuses("deleted", protection=document))
            mock.get(KEYSTORES).mock(return_value=listing())
            signer = driver(client, keys=(A,), escrow=str(fill(tmp_path, A)))
            reply = await signer.freeze([A], incident="inc-7", request="r1")
        assert (reply.answer, reply.detail) == (Answer.ACKNOWLEDGED, "deleted, and no longer listed")
        assert [one.content for one in reply.artifacts] == [document.encode()]
        assert Escrow(tmp_path).records([A])[A].kept
    finally:
        free.set()
        await asyncio.gather(*busy)


async def test_an_answer_that_cannot_be_read_is_kept_as_it_came(client: NodeClient) -> None:
    with api() as mock:
        mock.delete(KEYSTORES).respond(content=b'{"data": [], "slashing_protection": "{torn')
        reply = await freeze(client, A)
    assert (reply.answer, reply.artifacts[0].what) == (Answer.UNKNOWN, "slashing-protection, delete 1, as answered")
    assert reply.artifacts[0].content.endswith(b"{torn")


async def test_a_disk_that_hangs_costs_no_freeze(
    client: NodeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    monkeypatch.setattr(escrow_module, "_written", lambda *_: free.wait(10))
    try:
        with api() as mock:
            delete = mock.delete(KEYSTORES).mock(return_value=statuses("deleted", protection=text(A, slot=5)))
            mock.get(KEYSTORES).mock(return_value=listing())
            signer = driver(client, keys=(A,), escrow=str(fill(tmp_path, A)))
            began = time.monotonic()
            reply = await signer.freeze([A], incident="inc-7", request="r1")
            assert time.monotonic() - began < 2
            assert (reply.answer, delete.call_count, len(reply.artifacts)) == (Answer.ACKNOWLEDGED, 1, 1)
            assert "its disk did not answer in time" in reply.detail
            assert (await signer.unfreeze([A], incident="inc-7", request="u1")).answer is Answer.REFUSED
    finally:
        free.set()


async def test_what_a_thread_of_its_own_raises_is_raised_where_it_is_awaited() -> None:
    with pytest.raises(ZeroDivisionError):
        await apart(lambda: 1 // 0)


@pytest.mark.parametrize("escrow", [True, False], ids=["escrow", "no escrow"])
async def test_a_client_that_never_held_the_key_proves_nothing(
    client: NodeClient, tmp_path: Path, escrow: bool
) -> None:
    options = {"escrow": str(tmp_path)} if escrow else {}
    signer = driver(client, BASE, (A,), **options)
    with api() as mock:
        mock.delete(KEYSTORES).mock(return_value=statuses("not_found", protection=NOTHING))
        mock.get(KEYSTORES).mock(return_value=listing())
        mock.get(f"{BASE}/metrics").respond(text="vc_published_attestations_total 0\n")
        for _ in range(2):
            reply = await signer.freeze([A], incident="inc-7", request="r1")
            assert reply.answer is Answer.FAILED
            assert "this client does not hold the key: look where it really signs" in reply.detail
            assert (await signer.sample([A])).keys == {}
        mock.get(KEYSTORES).mock(return_value=listing(A))
        assert (await signer.sample([A])).keys[A].signing


async def test_whether_a_key_was_there_is_unknown_after_a_lost_answer(tmp_path: Path) -> None:
    node = Node7(tmp_path)
    with pytest.raises(NoAnswer):
        await node.freeze(httpx.ReadError("reset"))
    for _ in range(2):
        reply = await node.freeze(statuses("not_found"))
        assert (reply.answer, "nobody can tell" in reply.detail) == (Answer.UNKNOWN, True)
        assert (await node.sample()).keys == {}
    assert (await node.freeze(statuses("not_found"), incident="inc-8")).answer is Answer.FAILED
    assert (await node.freeze(statuses("not_active"), incident="inc-8")).answer is Answer.ALREADY
    assert not (await node.sample()).keys[A].signing


async def test_a_key_deleted_in_another_incident_is_not_already_stopped_by_this_one(tmp_path: Path) -> None:
    node = Node7(tmp_path)
    await node.freeze(statuses("deleted", protection=text(A, slot=10)))
    assert (await node.freeze(statuses("not_found"), incident="inc-8")).answer is Answer.FAILED
    assert (await node.thaw("inc-8")).answer is Answer.REFUSED
    assert (await node.thaw("inc-7")).answer is Answer.ACKNOWLEDGED


async def test_remote_keys_that_are_gone_are_already_only_where_they_were_deleted(
    client: NodeClient, tmp_path: Path
) -> None:
    options = {"remote_signer": "http://10.0.0.9:9000", "escrow": str(tmp_path)}
    with api() as mock:
        mock.get(KEYSTORES).mock(return_value=listing())
        mock.post(REMOTE).mock(return_value=statuses("imported"))
        answers: list[Answer] = []
        for word in ("not_found", "deleted", "not_found"):
            mock.delete(REMOTE).mock(return_value=statuses(word))
            async with node_client() as anew:
                reply = await driver(anew, BASE, (A,), **options).freeze([A], incident="inc-7", request="r1")
            answers.append(reply.answer)
            assert "BRING BACK" not in reply.detail
        assert answers == [Answer.FAILED, Answer.ACKNOWLEDGED, Answer.ALREADY]
        assert (
            await driver(client, BASE, (A,), **options).unfreeze([A], incident="inc-7", request="u")
        ).answer is Answer.ACKNOWLEDGED
        reply = await driver(client, BASE, (A,), **options).freeze([A], incident="inc-7", request="r2")
        assert reply.answer is Answer.UNKNOWN  # it was there after the import, and somebody else took it away


async def test_what_an_escrow_is_seen_to_lack_is_told(client: NodeClient, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    signer = driver(client, escrow=str(folder))
    assert await signer.lacking((A,)) == f"{folder} is no folder that can be read"
    folder.mkdir()
    (folder / f"{A}.json").write_text("{}")
    (folder / f"{A}.txt").write_text("")
    assert await signer.lacking((A,)) == f"{folder} lacks {A}.txt"
    (folder / f"{A}.txt").write_text("password")
    assert await signer.lacking((A.upper().replace("X", "x"),)) is None
    assert await signer.lacking((A, B)) == f"{folder} lacks {B}.json, {B}.txt"
    assert await driver(client).lacking((A,)) is None
    assert await driver(client, escrow=str(folder), remote_signer="http://10.0.0.9:9000").lacking((B,)) is None


async def test_an_escrow_whose_disk_hangs_counts_as_lacking(
    client: NodeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Escrow, "lacking", lambda self, keys: time.sleep(1))
    told = await driver(client, escrow=str(tmp_path)).lacking((A,))
    assert told == f"{tmp_path} cannot be read: its disk did not answer in time"


def test_an_escrow_that_is_no_absolute_path_is_refused() -> None:
    with pytest.raises(Misconfigured, match="escrow must be a folder's absolute path"):
        driver(unused(), escrow="kept")
