"""What a signer says of itself against the inventory, and keys that are told apart however much they look alike."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.cli.nodes import _unsure
from bot.domain.inventory import Avs, Capability, Endpoint, Node, told_apart
from bot.domain.target import KeyReading, Sample
from bot.errors import NodeRefused
from bot.nodes.introduction import Introduction, differences
from bot.nodes.probe import probe
from bot.ports import Item
from tests.drivers.contract import SystemClock
from tests.fakes import SIDECAR

LIKE = "0x" + "0" * 20 + "a" + "0" * 75
ALIKE = "0x" + "0" * 20 + "b" + "0" * 75
NODE = Node(name="n1", avs="a", keys=("0x0A", LIKE))


def said(*keys: str, node: str | None = None) -> list[str]:
    return list(differences(Introduction(keys=frozenset(keys), node=node), NODE, others=["0x0C"]))


def test_keys_are_the_same_in_either_case_and_those_of_other_nodes_are_theirs() -> None:
    assert said("0x0a", LIKE.upper().replace("X", "x")) == []
    assert said("0x0a", LIKE, "0x0c", node="n1") == []
    assert said("0x0a", LIKE, node="n2") == ["this is n2, not n1"]


def test_keys_that_look_alike_are_shown_with_the_digits_in_which_they_differ() -> None:
    missing, extra = said("0x0a", ALIKE)
    assert missing == "does not hold 0x00000000000000000000a00000000000…00000000000000000000000000000000"
    assert extra.startswith("also signs with 0x00000000000000000000b0")
    assert told_apart(["0x" + "ab" * 48]) == ["0xabab…abab"]
    assert told_apart(["0x" + "ab" * 48], [LIKE]) == ["0xabab…abab"]
    assert len(set(told_apart([LIKE, ALIKE]))) == 2


class Signer:
    """A signer that lists what it is told to, and counts or does not."""

    traits = SIDECAR

    def __init__(self, *listed: str, counter: int | None = 3) -> None:
        self.listed = listed
        self.counter = counter

    async def freeze(self, keys: object, *, incident: str, request: str) -> object:
        raise NotImplementedError

    unfreeze = freeze

    async def slashing_protection(self) -> bytes:
        raise NotImplementedError

    async def introduce(self) -> Introduction:
        return Introduction(keys=frozenset(self.listed), node="n1")

    async def sample(self, keys: object) -> Sample:
        readings = {key: KeyReading(signing=True, counter=self.counter) for key in NODE.keys if key in self.listed}
        return Sample(at=datetime.now(UTC), instance="i", keys=readings)


@pytest.mark.parametrize(
    ("signer", "well", "words"),
    [
        (Signer(*NODE.keys), True, "signing, 3 signatures"),
        (Signer(*NODE.keys, "0x0d"), False, "also signs with 0x0d, which a freeze would leave on"),
        (Signer("0x0A"), False, "does not hold 0x0000…0000"),
        (Signer(*NODE.keys, counter=None), False, "no counter for 0x0a, 0x0000…0000: a freeze could never be proven"),
    ],
)
async def test_a_probe_tells_of_keys_that_a_freeze_would_leave_on(signer: Signer, well: bool, words: str) -> None:
    endpoint = Endpoint(driver="x", url="http://127.0.0.1:1")
    found = await probe(
        lambda _node, _endpoint: signer,
        NODE,
        Avs(name="a"),
        Capability.SIGNER,
        endpoint,
        clock=SystemClock(),
        wait=False,
    )
    assert (found.well, words in found.says[0]) == (well, True), found.says


class Recorder:
    """A recorder whose API has no such path."""

    traits = SIDECAR

    def __init__(self, status: int) -> None:
        self.status = status

    may_lack = frozenset({"slashing-protection"})

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        async def no() -> AsyncIterator[bytes]:
            raise NodeRefused(f"n1 refused GET /x: {self.status} the signer keeps it", status=self.status)
            yield b""

        async def yes() -> AsyncIterator[bytes]:
            yield b"x"

        for what, chunks in (("node", yes()), ("slashing-protection", no())):
            yield Item(what=what, source="s", media_type="m", chunks=chunks, tool="t")


@pytest.mark.parametrize(("status", "well"), [(404, True), (403, False)])
async def test_what_a_driver_says_may_lack_is_told_and_no_failure(status: int, well: bool) -> None:
    found = await probe(
        lambda _node, _endpoint: Recorder(status),
        NODE,
        Avs(name="a"),
        Capability.RECORDER,
        Endpoint(driver="x", url="http://127.0.0.1:1"),
        clock=SystemClock(),
    )
    assert found.well is well
    assert any("the signer keeps it" in line for line in found.says)


def test_each_state_that_is_unknown_has_its_reason() -> None:
    whole = Sample(at=datetime.now(UTC), instance="i", keys={k: KeyReading(signing=True, counter=1) for k in NODE.keys})
    assert _unsure(whole, NODE) == ""
    assert _unsure(replace(whole, keys={}), NODE).startswith("it does not hold 0x0a, 0x0000")
    assert _unsure(whole, replace(NODE, keys=())) == "the inventory names no key of it"
    blind = replace(
        whole, at=whole.at + timedelta(0), keys={k: KeyReading(signing=True, counter=None) for k in NODE.keys}
    )
    assert _unsure(blind, NODE).startswith("nothing counts the signatures of 0x0a")
