"""The signing port: what goes through, what does not, and what is known afterwards."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot.sidecar import counts
from bot.sidecar.record import Record
from bot.sidecar.segment import Segment
from bot.sidecar.upstream import Upstream
from bot.sidecar.words import now, stamp
from tests.sidecar.bench import KEYS, Place, attestation, place, root_of
from tests.sidecar.test_control import conforms

A, B = KEYS[:2]


async def test_a_signature_goes_through_as_the_signer_made_it_and_is_recorded(it: Place) -> None:
    direct = await it.sign(A, attestation(1), base=it.upstream)
    through = await it.sign(A, attestation(1))
    assert (through.status, through.body) == (200, direct.body)
    (told,) = await it.lines("messages")
    wanted = {"digest": root_of(1), "key": A, "avs": "ethereum", "duty": "ATTESTATION", "slot": 32, "nonce": 1}
    wanted |= {"result": "signed", "source": 0, "target": 1, "digest_of": "signing_root", "status": 200}
    assert wanted.items() <= told.items()
    assert 0 < told["latency_ms"] < 5000
    (decision,) = await it.lines("audit")
    assert (decision["decision"], decision["key"], decision["slot"]) == ("allowed", A, 32)
    assert (await it.key(A))["counter"] == 1


@pytest.mark.parametrize("spelling", [A[2:], A.upper().replace("0X", "0x"), A])
async def test_a_key_is_denied_however_it_is_spelled(it: Place, spelling: str) -> None:
    await it.put("frozen", A)
    assert (await it.sign(spelling, attestation(1))).status == 412
    assert it.signer.asked == 0


async def test_a_client_that_wants_text_gets_text(it: Place) -> None:
    url = f"{it.signing}/api/v1/eth2/sign/{A}"
    async with it.session.post(url, data=attestation(1), headers={"Accept": "text/plain"}) as told:
        assert told.content_type == "text/plain"
        assert (await told.text()).startswith("0x")


async def test_the_other_signing_paths_are_recorded_and_denied_too(it: Place) -> None:
    ways = [f"/api/v1/eth1/sign/{A}", f"/api/v1/eth2/ext/sign/{A}"]
    for path in ways:
        async with it.session.post(it.signing + path, data=b'{"data":"0x00"}') as told:
            assert told.status == 404, "this signer has no such path"
    audit = await it.lines("audit")
    assert [(one["duty"], one["digest_of"]) for one in audit] == [("ETH1", "request"), ("EXT", "request")]
    assert await it.lines("messages") == []
    await it.put("frozen", A)
    for path in ways:
        async with it.session.post(it.signing + path, data=b'{"data":"0x00"}') as told:
            assert told.status == 412


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/eth/v1/keystores"),
        ("POST", "/eth/v1/keystores"),
        ("GET", "/metrics"),
        ("GET", "/practice"),
        ("POST", "/practice"),
        ("PUT", "/api/v1/eth2/sign/" + A),
        ("GET", "/api/v1/eth2/sign/" + A),
        ("POST", "/api/v1/eth2/sign/" + A + "/"),
        ("POST", "/api/v1/eth2/sign/%30x" + A[2:]),
        ("POST", "/api/v1/eth2//sign/" + A),
        ("POST", "//api/v1/eth2/sign/" + A),
        ("POST", "/upcheck/../api/v1/eth2/sign/" + A),
        ("POST", "/api/v1/eth2/sign/" + A + ";x"),
        ("POST", "/api/v1/eth2/sign/" + A[:-2]),
        ("POST", "/"),
    ],
)
async def test_what_is_not_known_is_not_passed_on(it: Place, method: str, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(it.signing.rpartition(":")[2]))
    body = attestation(1)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    head = await reader.readline()
    writer.close()
    assert b" 403 " in head or b" 400 " in head
    assert (it.signer.asked, set(it.signer.keys)) == (0, set(KEYS))
    assert it.signer.delay == 0


async def test_what_clients_need_besides_is_passed_on(it: Place) -> None:
    async with it.session.get(f"{it.signing}/api/v1/eth2/publicKeys") as told:
        assert await told.json() == list(KEYS)
    for method, path in (("GET", "/upcheck"), ("GET", "/healthcheck"), ("POST", "/reload"), ("HEAD", "/upcheck")):
        async with it.session.request(method, it.signing + path) as told:
            assert told.status == 200, path


async def test_one_more_path_can_be_let_through_by_name(tmp_path: Path) -> None:
    async with place(tmp_path, passed=["DELETE /eth/v1/keystores"]) as it:
        body = json.dumps({"pubkeys": [A]})
        async with it.session.delete(f"{it.signing}/eth/v1/keystores", data=body) as told:
            assert told.status == 200
        assert A not in it.signer.keys
        async with it.session.post(f"{it.signing}/eth/v1/keystores", data=body) as told:
            assert told.status == 403


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"no", b'{"signingRoot":"0x' + b"1" * 64 + b'"}', b'{"type":"BLOCK","signingRoot":"0x"}']
)
async def test_a_request_that_cannot_be_read_is_not_sent(it: Place, body: bytes) -> None:
    assert (await it.sign(A, body)).status == 400
    assert it.signer.asked == 0
    assert await it.lines("audit") == []


async def test_a_body_that_does_not_come_holds_nothing_up(tmp_path: Path) -> None:
    async with place(tmp_path, upstream_timeout=0.3) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(it.signing.rpartition(":")[2]))
        writer.write(f"POST /api/v1/eth2/sign/{A} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{{".encode())
        assert b" 413 " in await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        assert (await it.sign(A, attestation(1))).status == 200


async def test_a_body_beyond_the_limit_is_not_held(it: Place) -> None:
    async def much() -> Any:
        for _ in range(20):
            yield b"x" * 1024 * 1024

    try:
        async with it.session.post(f"{it.signing}/api/v1/eth2/sign/{A}", data=much()) as told:
            assert told.status == 413
    except aiohttp.ClientError:
        pass  # the answer came while the client was still sending
    assert it.signer.asked == 0


@pytest.mark.parametrize(("status", "result"), [(404, "failed"), (412, "failed"), (500, "failed")])
async def test_a_refusal_of_the_signer_is_passed_on_and_is_no_message(it: Place, status: int, result: str) -> None:
    it.signer.status = status
    assert (await it.sign(A, attestation(1))).status == status
    assert await it.lines("messages") == []
    assert (await it.key(A))["counter"] == 0


async def test_without_an_answer_the_message_may_have_been_signed(tmp_path: Path) -> None:
    async with place(tmp_path, upstream_timeout=0.3) as it:
        it.signer.late = 2
        assert (await it.sign(A, attestation(1))).status == 504
        assert it.signer.signed[A] == 1
        (told,) = await it.lines("messages")
        assert (told["result"], told["why"]) == ("unknown", "the signer did not answer within 0.3 s")
        assert (await it.key(A))["counter"] == 1


async def test_a_signer_that_is_not_there_signed_nothing(tmp_path: Path) -> None:
    async with place(tmp_path, upstream="http://127.0.0.1:9") as it:
        assert (await it.sign(A, attestation(1))).status == 502
        assert await it.lines("messages") == []
        async with it.session.get(f"{it.signing}/upcheck") as told:
            assert told.status == 502


async def test_a_connection_lost_after_sending_is_asked_once_and_unknown(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            seen.append(head)
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with place(tmp_path, upstream=f"http://127.0.0.1:{port}") as it:
            assert (await it.sign(A, attestation(1))).status == 504
            assert len(seen) == 1
            assert [one["result"] for one in await it.lines("messages")] == ["unknown"]
    finally:
        server.close()


async def test_a_kept_connection_that_the_signer_ended_is_not_answered_by_a_resend(tmp_path: Path) -> None:
    """The second request goes into a connection that ends under it: asked once, and said to be unknown."""
    seen = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        for turn in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-le")), 0
            )
            await reader.readexactly(length)
            seen += head.startswith(b"POST")
            if turn == 0:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n0xab")
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    try:
        async with place(tmp_path, upstream=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as it:
            before = seen
            statuses = [(await it.sign(A, attestation(n))).status for n in (1, 2)]
            assert sorted(statuses) == [200, 504]
            assert seen - before == 2
    finally:
        server.close()


async def test_no_request_is_sent_that_is_not_in_the_record(it: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    real = Upstream.sign

    async def looks(self: Upstream, path: str, body: bytes, headers: Any) -> Any:
        text = b"".join(part.read_bytes() for part in it.data.glob("signing-*"))
        seen.append(json.loads(body)["signingRoot"].encode() in text)
        return await real(self, path, body, headers)

    monkeypatch.setattr(Upstream, "sign", looks)
    await asyncio.gather(*(it.sign(A, attestation(n)) for n in range(50)))
    assert seen == [True] * 50


async def test_a_disk_that_does_not_answer_in_time_lets_nothing_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, record_timeout=0.2) as it:

        async def never(self: Record, entry: Any) -> None:
            await asyncio.sleep(60)

        monkeypatch.setattr(Record, "durable", never)
        assert (await it.sign(A, attestation(1))).status == 503
        assert it.signer.asked == 0
        monkeypatch.undo()
        assert await it.lines("messages") == []


# ---- what cannot be recorded, and who asks for keys that do not exist


async def test_what_was_signed_without_a_record_is_named_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    async with place(tmp_path, when_full="pass") as it:

        async def damage() -> list[str]:
            return list((await it.call("GET", "/stopsign/v1/node")).json()["damage"])

        assert (await it.sign(A, attestation(1))).status == 200
        assert [one["target"] for one in await it.lines("messages")] == [1], "its result is written"
        assert await damage() == []
        with monkeypatch.context() as broken:
            broken.setattr(Segment, "append", full)
            begun = stamp(now())
            assert [(await it.sign(A, attestation(n))).status for n in range(2, 6)] == [200] * 4
            for which in ("messages", "audit"):
                (*_, gap) = await it.lines(which)
                wanted = {"what": "gap", "lost": 4, "messages": 4, "why": "the disk is full"}
                assert wanted.items() <= conforms(gap, "Gap").items(), "told while the disk is still full"
                assert "seq" not in gap
            assert "4 lines" in (await damage())[0]
        ended = stamp(now())
        assert (await it.sign(A, attestation(8))).status == 200
        for which in ("messages", "audit"):
            told = await it.lines(which)
            assert [one.get("target") for one in told] == [1, None, 8]
            assert begun <= conforms(told[1], "Gap")["since"] <= told[1]["until"] <= ended
            assert told[1]["seq"]
            assert told[1] in await it.lines(which, since=begun, until=ended), "a capture of just that time"
            assert [one.get("what") for one in await it.lines(which, until=begun)] != ["gap"]
            assert not any(one["what"] == "gap" for one in await it.lines(which, since=stamp(now())))
        assert len(await damage()) == 1
        await it.call("POST", "/stopsign/v1/logs/rotate")
        assert "gap" in {one["what"] for one in await it.lines("messages", since=begun, until=ended)}


async def test_lost_denials_are_a_gap_of_the_decisions_only(it: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    await it.put("frozen", A)
    with monkeypatch.context() as broken:
        broken.setattr(Segment, "append", full)
        assert (await it.sign(A, attestation(2))).status == 412
        async with asyncio.timeout(5):
            while [one["what"] for one in await it.lines("audit")] != ["gap"]:
                await asyncio.sleep(0.01)
        assert await it.lines("messages") == []
    assert (await it.sign(B, attestation(3))).status == 200
    assert [one["what"] for one in await it.lines("audit")] == ["gap", "intent"]
    assert [one["what"] for one in await it.lines("messages")] == ["result"]


async def test_invented_keys_crowd_no_real_key_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_DOUBTFUL_AT_MOST", 3)
    async with place(tmp_path, upstream_timeout=0.3) as it:

        async def invented(number: int, body: bytes) -> int:
            async with it.session.post(f"{it.signing}/api/v1/eth1/sign/0x{number:08x}", data=body) as told:
                return told.status

        assert {await invented(n, b"no") for n in range(10)} == {400}
        assert {await invented(n, b"{}") for n in range(10)} == {404}
        it.signer.late = 1
        for key in range(10):
            assert (await it.sign(f"0x{key:096x}", attestation(1))).status in {404, 504}
        it.signer.late = 0
        assert (await it.sign(A, attestation(1))).status == 200
        assert (await it.key(A))["counter"] == 1
        text = (await it.call("GET", "/metrics", headers={})).text
        named = [line for line in text.splitlines() if line.startswith("avs_signatures_total")]
        assert len(named) <= 4
        assert any('key="other"' in line for line in named)


@pytest.mark.parametrize("signed", [True, False])
async def test_a_key_that_no_list_names_is_counted_once_it_signs(tmp_path: Path, signed: bool) -> None:
    counted = counts.Counts()
    for number in range(counts._DOUBTFUL_AT_MOST + 5):
        counted.of(f"0x{number:04x}", real=False, perhaps=True).signatures += 1
    counted.of(A, real=signed, perhaps=True).signatures += 1
    assert (A in counted.keys) is signed
    assert counted.of(A, real=False).signatures == (1 if signed else 6)
    assert counted.of(B, real=True).signatures == 0
    assert B in counted.keys


# ---- equivocation


async def test_a_second_root_for_one_target_is_flagged_and_counted(it: Place) -> None:
    for root in (root_of(1), root_of(1), root_of(2)):
        assert (await it.sign(A, attestation(1, root))).status == 200
    assert (await it.sign(B, attestation(1, root_of(3)))).status == 200, "another key is another matter"
    told = await it.lines("messages")
    assert [one.get("conflict") for one in told] == [None, None, root_of(1), None]
    text = (await it.call("GET", "/metrics", headers={})).text
    assert 'avs_conflicting_signatures_seen_total{avs="ethereum",signer="n"} 1' in text


async def test_it_is_refused_if_so_wanted_also_after_a_restart(tmp_path: Path) -> None:
    async with place(tmp_path, refuse_equivocation=True) as it:
        assert (await it.sign(A, attestation(1))).status == 200
        assert (await it.sign(A, attestation(1, root_of(2)))).status == 412
        await it.call("POST", "/stopsign/v1/logs/rotate")
    async with place(tmp_path, refuse_equivocation=True) as it:
        assert (await it.sign(A, attestation(1, root_of(2)))).status == 412
        assert (await it.sign(A, attestation(1))).status == 200, "the same again is no equivocation"
        assert it.signer.asked == 1
        assert [one["decision"] for one in await it.lines("audit")] == ["allowed", "denied", "denied", "allowed"]


async def test_what_was_never_signed_is_no_equivocation(tmp_path: Path) -> None:
    async with place(tmp_path, refuse_equivocation=True) as it:
        it.signer.status = 500
        assert (await it.sign(A, attestation(1))).status == 500
        it.signer.status = 200
        assert (await it.sign(A, attestation(1, root_of(2)))).status == 200


async def test_a_request_that_comes_back_round_is_a_loop_and_is_signed_by_nobody(tmp_path: Path) -> None:
    """By a name or a proxy that leads back here, which the start cannot see."""
    through: list[str] = []

    async def back(request: web.BaseRequest) -> web.Response:
        async with aiohttp.ClientSession() as session:
            via = {"Via": f"{request.headers.get('Via', '')}, 1.1 another"}
            url = f"{through[0]}{request.rel_url.raw_path}"
            async with session.request(request.method, url, data=await request.read(), headers=via) as told:
                return web.Response(status=told.status, body=await told.read())

    server = web.ServerRunner(web.Server(back))
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    try:
        async with place(tmp_path, upstream=f"http://127.0.0.1:{server.addresses[0][1]}") as it:
            through.append(it.signing)
            answer = await it.sign(A, attestation(1))
            assert answer.status == 508
            assert b"leads back to it" in answer.body
            (intent,) = [one for one in await it.lines("audit") if one["what"] == "intent"]
            assert (await it.call("GET", "/stopsign/v1/messages")).text == ""
            assert intent["key"] == A
    finally:
        await server.cleanup()
