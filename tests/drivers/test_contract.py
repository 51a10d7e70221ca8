"""One contract for every driver that freezes: real HTTP against each character of the practice fleet.

What a driver says is held against the ground truth; what only samples can show is judged with the domain's `prove`.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.target import Answer, Proof, Sample, State, prove
from bot.errors import NoAnswer, NodeBroken, NodeError, NodeRefused, NotReached
from bot.nodes import keymanager, sidecar
from bot.nodes.reach import Reach
from bot.ports import Signer
from bot.practice.fleet import Api, Character, FleetSpec, NodeSpec, RunningFleet, key_of, running_fleet

PERIOD = timedelta(seconds=0.1)
TIMEOUT = timedelta(seconds=0.5)
KEYS = tuple(key_of("x", "n", index) for index in range(4))
DRIVERS: Mapping[str, Any] = {"sidecar": sidecar.connect, "keymanager": keymanager.connect}


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Peer:
    """A practice node and the driver for its signer."""

    fleet: RunningFleet
    signer: Signer

    async def freeze(self, request: str = "f1") -> Answer:
        return (await self.signer.freeze(KEYS, incident="inc-7", request=request)).answer

    def signing(self) -> list[bool]:
        """Return the ground truth, key by key."""
        return [key["signing"] for key in self.fleet.truth()["nodes"]["n"]["keys"].values()]

    def requests(self) -> list[Any]:
        return list(self.fleet.truth()["nodes"]["n"]["requests"])

    async def proof(self) -> Proof:
        """Take two samples over a duty and judge them."""
        before = await self.signer.sample(KEYS)
        await asyncio.sleep(PERIOD.total_seconds() * 2.5)
        return prove(before, await self.signer.sample(KEYS), KEYS, period=PERIOD)


@contextlib.asynccontextmanager
async def peer(api: Api, character: Character, *, token: str = "", **more: Any) -> AsyncIterator[Peer]:
    spec = NodeSpec(name="n", avs="x", api=api, character=character, keys=KEYS, delay_seconds=1.0, **more)
    async with running_fleet(FleetSpec(nodes=(spec,), duty_period_seconds=PERIOD.total_seconds())) as fleet:
        endpoint = Endpoint(driver=str(api), url=fleet.url("n"), token="env:TOKEN", timeout=TIMEOUT)
        node = Node(name="n", avs="x", keys=KEYS, reach={Capability.SIGNER: endpoint})
        async with Reach(drivers=DRIVERS, secret=lambda _: token or fleet.token, clock=SystemClock()) as reach:
            signer = reach.reach(node, Capability.SIGNER)
            assert isinstance(signer, Signer)
            yield Peer(fleet, signer)


every_api = pytest.mark.parametrize("api", list(Api))


@every_api
async def test_an_honest_signer_is_frozen_and_proven_and_a_repeat_says_already(api: Api) -> None:
    async with peer(api, Character.HONEST) as it:
        assert (await it.proof()).state is State.FAILED
        assert await it.freeze() is Answer.ACKNOWLEDGED
        assert it.signing() == [False] * 4
        proof = await it.proof()
        assert (proof.state, proof.ready) == (State.VERIFIED, True), proof
        assert await it.freeze("f2") is Answer.ALREADY


@every_api
async def test_a_lie_never_becomes_a_proof(api: Api) -> None:
    """The sidecar's lie shows in the samples; the keymanager driver sees through it and deletes once more."""
    async with peer(api, Character.LYING) as it:
        assert await it.freeze() is Answer.ACKNOWLEDGED
        verified = (await it.proof()).state is State.VERIFIED
        assert verified == (it.signing() == [False] * 4)
        assert verified == (api is Api.KEYMANAGER)
        await it.freeze("f1")
        assert (await it.proof()).state is State.VERIFIED
        assert it.signing() == [False] * 4


@every_api
async def test_silence_is_no_answer_within_the_timeout_and_is_asked_once(api: Api) -> None:
    async with peer(api, Character.SILENT) as it:
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoAnswer, match=r"did not answer .* within 0.5 s"):
            await it.freeze()
        assert asyncio.get_running_loop().time() - began < TIMEOUT.total_seconds() + 0.3
        with pytest.raises(NoAnswer):
            await it.signer.sample(KEYS)
        assert [one["method"] for one in it.requests()].count("PUT" if api is Api.SIDECAR else "DELETE") == 1
        assert it.signing() == [True] * 4


@every_api
async def test_a_closed_port_was_not_reached(api: Api) -> None:
    async with peer(api, Character.DOWN) as it:
        with pytest.raises(NotReached):
            await it.freeze()
        with pytest.raises(NotReached):
            await it.signer.sample(KEYS)


@every_api
async def test_a_slow_node_gave_no_answer_although_it_acted(api: Api) -> None:
    async with peer(api, Character.SLOW) as it:
        with pytest.raises(NoAnswer):
            await it.freeze()
        assert it.signing() == [False] * 4


@every_api
async def test_a_5xx_is_broken_and_may_have_acted(api: Api) -> None:
    async with peer(api, Character.ERRORING) as it:
        with pytest.raises(NodeBroken, match="500 Internal error"):
            await it.freeze()
        with pytest.raises(NodeBroken):
            await it.signer.sample(KEYS)


@every_api
async def test_half_a_freeze_is_failed_although_the_status_is_200(api: Api) -> None:
    async with peer(api, Character.HALF) as it:
        reply = await it.signer.freeze(KEYS, incident="inc-7", request="f1")
        assert reply.answer is Answer.FAILED
        assert KEYS[3][:6] in reply.detail
        assert it.signing()[2:] != [False, False]
        assert (await it.proof()).state is State.FAILED


@every_api
async def test_a_deaf_node_says_frozen_twice_and_is_found_out_by_its_counters(api: Api) -> None:
    async with peer(api, Character.DEAF) as it:
        assert await it.freeze() is Answer.ACKNOWLEDGED
        assert {reading.signing for reading in (await it.signer.sample(KEYS)).keys.values()} == {False}
        proof = await it.proof()
        assert (proof.state, it.signing()) == (State.FAILED, [True] * 4)
        assert "still signing" in proof.why


@every_api
async def test_a_restart_between_two_samples_proves_nothing(api: Api) -> None:
    async with peer(api, Character.HONEST) as it:
        await it.freeze()
        before = await it.signer.sample(KEYS)
        it.fleet.nodes["n"].restart()
        after = await it.signer.sample(KEYS)
        assert after.instance != before.instance
        assert prove(before, after, KEYS, period=PERIOD).state is State.UNKNOWN
        assert (await it.proof()).state is State.VERIFIED


@every_api
async def test_a_node_that_restarts_after_each_freeze_is_proven_in_the_end(api: Api) -> None:
    async with peer(api, Character.RESTARTING) as it:
        assert await it.freeze() is Answer.ACKNOWLEDGED
        await it.proof()
        assert (await it.proof()).state is State.VERIFIED


@every_api
async def test_unauthorised_is_refused_with_its_status(api: Api) -> None:
    async with peer(api, Character.UNAUTHORISED) as it:
        with pytest.raises(NodeRefused) as refusal:
            await it.freeze()
        assert refusal.value.status == 401
        assert it.signing() == [True] * 4


@every_api
async def test_no_error_and_no_repr_holds_the_token(api: Api) -> None:
    async with peer(api, Character.HONEST, token="s3cret-token") as it:
        with pytest.raises(NodeError) as refusal:
            await it.freeze()
        assert "s3cret-token" not in f"{refusal.value} {it.signer!r} {vars(it.signer)!r}"


@every_api
@pytest.mark.parametrize("keys", [(), ("*",), ("all",), ("0x",), (KEYS[0], "")])
async def test_no_key_and_any_wildcard_is_refused_before_anything_is_sent(api: Api, keys: tuple[str, ...]) -> None:
    async with peer(api, Character.HONEST) as it:
        for verb in (it.signer.freeze, it.signer.unfreeze):
            with pytest.raises(ValueError, match="key"):
                await verb(keys, incident="inc-7", request="f1")
        assert it.requests() == []


@every_api
async def test_keys_are_frozen_one_by_one_and_the_others_sign_on(api: Api) -> None:
    async with peer(api, Character.HONEST) as it:
        reply = await it.signer.freeze([KEYS[1].upper().replace("0X", "0x")], incident="inc-7", request="f1")
        assert reply.answer is Answer.ACKNOWLEDGED
        assert it.signing() == [True, False, True, True]


@every_api
async def test_a_key_that_is_not_there_has_no_counter_and_so_no_proof(api: Api) -> None:
    async with peer(api, Character.HONEST) as it:
        stranger = "0x" + "ab" * 48
        reply = await it.signer.freeze([stranger], incident="inc-7", request="f1")
        assert reply.answer in {Answer.FAILED, Answer.ALREADY}
        sample: Sample = await it.signer.sample([stranger])
        assert stranger not in sample.keys or sample.keys[stranger].counter is None
        assert it.signing() == [True] * 4


async def test_the_keymanager_hands_over_the_slashing_protection_of_every_delete() -> None:
    async with peer(Api.KEYMANAGER, Character.LYING) as it:
        await asyncio.sleep(PERIOD.total_seconds() * 1.5)
        reply = await it.signer.freeze(KEYS, incident="inc-7", request="f1")
        assert [one.what for one in reply.artifacts] == [
            "slashing-protection, delete 1",
            "slashing-protection, delete 2",
        ]
        for one in reply.artifacts:
            assert {entry["pubkey"] for entry in json.loads(one.content)["data"]} == set(KEYS)
        a_round = ["DELETE", "GET", "GET"]  # then both lists of keys are read
        assert [one["method"] for one in it.requests()] == a_round * 2


async def test_the_sidecar_thaws_and_a_late_duplicate_does_not() -> None:
    async with peer(Api.SIDECAR, Character.HONEST) as it:
        await it.freeze("f1")
        thaw = await it.signer.unfreeze(KEYS, incident="inc-7", request="u1")
        assert (thaw.answer, it.signing()) == (Answer.ACKNOWLEDGED, [True] * 4)
        await it.freeze("f2")
        late = await it.signer.unfreeze(KEYS, incident="inc-7", request="u1")
        assert (late.answer, it.signing()) == (Answer.FAILED, [False] * 4)
