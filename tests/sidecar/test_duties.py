"""What a signing request asks for, read from bodies as Web3Signer's API and its clients write them."""

import json
from typing import Any

import pytest

from bot.sidecar import duties

ROOT = "0x" + "56" * 32
CHECKPOINT = {"epoch": "3", "root": ROOT}


def body(kind: str, **members: Any) -> bytes:
    return json.dumps({"type": kind, "fork_info": {}, "signingRoot": ROOT, **members}).encode()


AGGREGATE = {"aggregate": {"data": {"slot": "9"}}}
SLOTS: list[tuple[str, dict[str, Any], int]] = [
    ("BLOCK", {"block": {"slot": "9"}}, 9),
    ("BLOCK_V2", {"beacon_block": {"version": "ELECTRA", "block_header": {"slot": "9"}}}, 9),
    ("BLOCK_V2", {"beacon_block": {"version": "PHASE0", "block": {"slot": 9}}}, 9),
    ("AGGREGATION_SLOT", {"aggregation_slot": {"slot": "9"}}, 9),
    ("AGGREGATE_AND_PROOF", {"aggregate_and_proof": AGGREGATE}, 9),
    ("AGGREGATE_AND_PROOF_V2", {"aggregate_and_proof": {"version": "ELECTRA", "data": AGGREGATE}}, 9),
    ("RANDAO_REVEAL", {"randao_reveal": {"epoch": "9"}}, 9),
    ("VOLUNTARY_EXIT", {"voluntary_exit": {"epoch": "9"}}, 9),
    ("SYNC_COMMITTEE_MESSAGE", {"sync_committee_message": {"slot": "9"}}, 9),
    ("SYNC_COMMITTEE_SELECTION_PROOF", {"sync_aggregator_selection_data": {"slot": "9"}}, 9),
    ("SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF", {"contribution_and_proof": {"contribution": {"slot": "9"}}}, 9),
    ("VALIDATOR_REGISTRATION", {"validator_registration": {"timestamp": "9"}}, 0),
    ("SOMETHING_LATER", {"something_later": {"slot": "9"}}, 9),
]


@pytest.mark.parametrize(("kind", "members", "slot"), SLOTS, ids=[f"{n}-{one[0]}" for n, one in enumerate(SLOTS)])
def test_each_type_has_its_slot(kind: str, members: dict[str, Any], slot: int) -> None:
    duty = duties.eth2(body(kind, **members))
    assert (duty.kind, duty.slot, duty.digest, duty.digest_of) == (kind, slot, ROOT, "signing_root")
    assert duty.mark == (("block", 9) if kind.startswith("BLOCK") else None)


def test_an_attestation_is_marked_by_its_target() -> None:
    told = {"slot": "100", "index": "0", "source": {**CHECKPOINT, "epoch": "2"}, "target": CHECKPOINT}
    duty = duties.eth2(body("ATTESTATION", attestation=told))
    assert (duty.slot, duty.source, duty.target, duty.mark) == (100, 2, 3, ("attestation", 3))


@pytest.mark.parametrize("name", ["signingRoot", "signing_root"])
@pytest.mark.parametrize("root", [ROOT, ROOT.upper().replace("0X", "0x"), ROOT[2:]])
def test_the_root_has_two_names_and_one_spelling(name: str, root: str) -> None:
    assert duties.eth2(json.dumps({"type": "deposit", name: root}).encode()).digest == ROOT


def test_without_a_root_the_request_is_hashed_and_that_is_said() -> None:
    duty = duties.eth2(b'{"type":"BLOCK","block":{"slot":"1"}}')
    assert (len(duty.digest), duty.digest_of, duty.mark) == (66, "request", ("block", 1))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"signingRoot":"0x' + b"5" * 64 + b'"}',
        b'{"type":7}',
        b'{"type":"a b"}',
        b'{"type":"BLOCK","signingRoot":"0x12"}',
        b'{"type":"BLOCK","signingRoot":"0x' + b"5" * 64 + b'","signing_root":"0x' + b"6" * 64 + b'"}',
    ],
)
def test_what_cannot_be_read_is_malformed(content: bytes) -> None:
    with pytest.raises(duties.Malformed):
        duties.eth2(content)


@pytest.mark.parametrize("number", ["-1", "1e3", "٣", True, 1.5, None, 2**64, "9" * 21])
def test_a_slot_that_is_no_number_is_no_mark(number: Any) -> None:
    duty = duties.eth2(body("BLOCK", block={"slot": number}))
    assert (duty.slot, duty.mark) == (0, None)
