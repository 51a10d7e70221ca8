"""The slashing_protection driver: what it calls by that name is an EIP-3076 interchange of version 5, and whole."""

import copy
import errno
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from bot.errors import Misconfigured, NodeBroken
from bot.nodes import slashing_protection
from bot.nodes.slashing_protection import LONGEST_TEXT, examined
from tests.drivers.captures import KEYS, MEGABYTE, Taken, peak, pointed, taken
from tests.drivers.emulated.serving import serving

ROOT = "0x" + "04" * 32
GOOD: dict[str, Any] = {
    "metadata": {"interchange_format_version": "5", "genesis_validators_root": ROOT},
    "data": [
        {
            "pubkey": key,
            "signed_blocks": [{"slot": "81952", "signing_root": ROOT}, {"slot": "81953"}],
            "signed_attestations": [{"source_epoch": "2290", "target_epoch": "3007", "signing_root": ROOT}],
        }
        for key in KEYS
    ],
}


@asynccontextmanager
async def export(*chunks: bytes) -> AsyncIterator[str]:
    """Serve a file at /dir/export.json; yields the server's URL."""

    async def file(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    app = web.Application()
    app.router.add_get("/dir/export.json", file)
    async with serving(app) as url:
        yield url


async def captured(content: bytes) -> list[Taken]:
    async with export(content) as url, pointed(slashing_protection, f"{url}/dir/export.json", timeout=5) as driver:
        return await taken(driver)


async def test_a_valid_document_is_kept_byte_for_byte_under_its_name() -> None:
    for content in (json.dumps(GOOD).encode(), json.dumps(GOOD, indent=3).encode() + b"\n"):
        (item,) = await captured(content)
        assert (item.what, item.media_type, item.whole) == ("slashing-protection", "application/json", content)


async def test_members_may_stand_in_any_order() -> None:
    turned = {"data": [dict(reversed(one.items())) for one in GOOD["data"]], "metadata": GOOD["metadata"]}
    (item,) = await captured(json.dumps(turned).encode())
    assert item.what == "slashing-protection"


async def test_a_document_that_lacks_a_key_of_the_node_is_valid_and_that_is_noted() -> None:
    half = {**GOOD, "data": GOOD["data"][:1]}
    item, note = await captured(json.dumps(half).encode())
    assert item.what == "slashing-protection"
    assert json.loads(note.whole)["says"] == "it says nothing of key 0xbbbb…bbbb of this node"


async def test_a_name_with_dots_is_not_taken_for_a_place() -> None:
    half = json.dumps({**GOOD, "data": GOOD["data"][:1]}).encode()
    item, note = await captured(b'{"data.item.pubkey":"%b",%b' % (KEYS[1].encode(), half[1:]))
    assert item.what == "slashing-protection"
    assert "nothing of key 0xbbbb" in json.loads(note.whole)["says"]


async def test_a_full_disk_is_told_and_ends_no_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(spool: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(slashing_protection, "_unwrapped", full)
    (item,) = await captured(WHOLE)
    with pytest.raises(NodeBroken, match="could not be held here: No space left"):
        _ = item.whole


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    tree = copy.deepcopy(GOOD)
    change(tree)
    return json.dumps(tree).encode()


def entry(tree: dict[str, Any]) -> Any:
    return tree["data"][1]


WHOLE = json.dumps(GOOD).encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (changed(lambda t: t["metadata"].update(interchange_format_version="4")), "version is '4'"),
        (changed(lambda t: t["metadata"].update(interchange_format_version=5)), "version is '5'"),
        (changed(lambda t: t["metadata"].pop("interchange_format_version")), "version is missing"),
        (changed(lambda t: t["metadata"].pop("genesis_validators_root")), "genesis_validators_root is missing"),
        (changed(lambda t: t["metadata"].update(genesis_validators_root="0x04")), "genesis_validators_root is '0x04'"),
        (changed(lambda t: t["metadata"].update(genesis_validators_root=None)), "genesis_validators_root is 'None'"),
        (changed(lambda t: t.pop("metadata")), "metadata is missing"),
        (changed(lambda t: t.update(metadata="none")), "metadata is no object"),
        (changed(lambda t: t.pop("data")), "data is missing"),
        (changed(lambda t: t.update(data={})), "data is no list"),
        (changed(lambda t: t.update(data=["x"])), "data.item is no object"),
        (changed(lambda t: entry(t).pop("pubkey")), "pubkey is missing"),
        (changed(lambda t: entry(t).update(pubkey="0xaa")), "pubkey is '0xaa'"),
        (changed(lambda t: entry(t).pop("signed_blocks")), "signed_blocks is missing"),
        (changed(lambda t: entry(t).update(signed_blocks=None)), "signed_blocks is no list"),
        (changed(lambda t: entry(t).pop("signed_attestations")), "signed_attestations is missing"),
        (changed(lambda t: entry(t)["signed_blocks"][0].pop("slot")), "slot is missing"),
        (changed(lambda t: entry(t)["signed_blocks"][0].update(slot=7)), "slot is '7'"),
        (changed(lambda t: entry(t)["signed_blocks"][0].update(slot="-1")), "slot is '-1'"),
        (changed(lambda t: entry(t)["signed_attestations"][0].pop("target_epoch")), "target_epoch is missing"),
        (changed(lambda t: entry(t)["signed_attestations"][0].update(source_epoch="x")), "source_epoch is 'x'"),
        (WHOLE.replace(b'"data":', b'"data":[],"data":'), "data stands where it does not belong, or twice"),
        (WHOLE.replace(b'"slot"', b'"slot":"1","slot"', 1), "slot stands where it does not belong, or twice"),
        (WHOLE[:-1], "it cannot be read"),
        (WHOLE + b"{}", "it cannot be read"),
        (WHOLE.replace(b"81952", b"8\xff952"), "it cannot be read"),
        (b"[]", "the document is no object"),
        (b"{}", "metadata is missing"),
        (b'{"":' + WHOLE + b"}", "metadata is missing"),
        (b"<html>", "it cannot be read"),
        (b"", "it cannot be read"),
        (b'{"slashing_protection":7}', "metadata is missing"),
        (b'{"slashing_protection":"{}"}', "metadata is missing"),
        (b'{"slashing_protection":"\\ud800"}', "metadata is missing"),
    ],
)
async def test_anything_else_is_kept_under_another_name_with_the_reason(content: bytes, says: str) -> None:
    item, note = await captured(content)
    assert (item.what, item.whole) == ("slashing-protection-invalid", content)
    told = json.loads(note.whole)
    assert told["about"] == "slashing-protection-invalid"
    assert says in told["says"]


async def test_the_answer_of_a_key_manager_is_opened() -> None:
    inner = json.dumps(GOOD)
    (item,) = await captured(json.dumps({"data": [{"status": "deleted"}], "slashing_protection": inner}).encode())
    assert (item.what, item.whole) == ("slashing-protection", inner.encode())
    large = json.dumps({"slashing_protection": inner + " " * LONGEST_TEXT}).encode()
    item, _ = await captured(large)
    assert (item.what, item.whole) == ("slashing-protection-invalid", large)


async def test_a_path_with_a_query_is_asked_for_and_the_query_is_told_nowhere() -> None:
    options = {"path": "/dir/export.json?sig=s3cret"}
    async with export(WHOLE) as url, pointed(slashing_protection, url, options) as driver:
        (item,) = await taken(driver)
    assert item.what == "slashing-protection"
    assert item.source.endswith("/dir/export.json")


async def test_what_breaks_off_on_the_wire_is_no_item_at_all() -> None:
    async def cut_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(WHOLE))})
        await response.prepare(request)
        await response.write(WHOLE[:100])
        assert request.transport
        request.transport.close()
        return response

    app = web.Application()
    app.router.add_get("/", cut_off)
    async with serving(app) as url, pointed(slashing_protection, url) as driver:
        (item,) = await taken(driver)
    assert item.what == "slashing-protection"
    assert item.error is not None
    assert item.content == b""


async def test_items_may_be_read_after_the_capture_has_ended() -> None:
    async with export(WHOLE) as url, pointed(slashing_protection, f"{url}/dir/export.json") as driver:
        now = datetime.now(UTC)
        items = [item async for item in driver.capture(now, now)]
        assert b"".join([chunk async for chunk in items[0].chunks]) == WHOLE


@pytest.mark.parametrize(("votes", "space"), [(500, 100_000), (4000, 0)], ids=["50 MB", "dense"])
async def test_memory_does_not_grow_with_the_document(votes: int, space: int) -> None:
    vote = json.dumps(GOOD["data"][0]["signed_attestations"][0]).encode()
    head, tail = WHOLE.split(vote, 1)
    chunks = [head, vote, *[b"," + b" " * space + vote] * votes, tail]
    until = datetime.now(UTC)
    async with export(*chunks) as url, pointed(slashing_protection, f"{url}/dir/export.json", timeout=10) as driver:
        size, grown = await peak(driver, until - timedelta(minutes=1), until)
    assert size == sum(map(len, chunks)), "the document and no note: it is valid"
    assert size > 50_000_000 or not space
    assert grown < 4 * MEGABYTE, f"{size} bytes took {grown} bytes of memory"


async def test_more_than_a_stream_may_have_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.nodes.wire.STREAM_LIMIT", 1000)
    (item,) = await captured(b" " * 1001)
    assert isinstance(item.error, NodeBroken)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[" * 200_000, "no object"),
        (b'{"x":' * 200_000, "more than 64 deep"),
        (b'{"x":' + b"[" * 200_000, "more than 64 deep"),
        (b'{"x":"' + b"y" * 20_000_000, "longer than"),
    ],
)
def test_a_document_made_to_waste_time_wastes_little(content: bytes, says: str) -> None:
    began = time.monotonic()
    assert says in examined(io.BytesIO(content)).fault
    assert time.monotonic() - began < 10.0  # a hang, not a figure


async def test_what_is_wrong_with_the_options_is_said() -> None:
    for options in ({"path": "export.json"}, {"path": "/a#b"}, {"url": "/a"}):
        with pytest.raises(Misconfigured):
            async with pointed(slashing_protection, "http://127.0.0.1:9", options):
                pass
