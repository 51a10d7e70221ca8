"""Marks and EIP-3076: blocks climb by slot, attestations by target epoch, and never against each other."""

import json

import pytest

from bot.domain.protection import mark_of, protected

KEY = "0x" + "Ab" * 48
LOW = KEY.lower()


@pytest.mark.parametrize(
    ("message", "mark"),
    [
        ({"duty": "block_v2", "slot": 4096}, (f"block:{LOW}", 4096)),
        ({"duty": "ATTESTATION", "slot": 4096, "source": 126, "target": 128}, (f"attestation:{LOW}", 128)),
        ({"duty": "sequence", "slot": 7}, (f"block:{LOW}", 7)),
        ({"slot": "7"}, (f"block:{LOW}", 7)),
        ({"duty": "sync_committee_message", "slot": 4097}, None),
        ({"duty": "RANDAO_REVEAL", "slot": 128}, None),
    ],
)
def test_a_message_climbs_its_own_ladder(message: dict[str, object], mark: tuple[str, int] | None) -> None:
    assert mark_of({"key": KEY, **message}) == mark


@pytest.mark.parametrize("message", [{}, {"key": KEY}, {"key": KEY, "slot": None}, {"key": KEY, "slot": "x"}])
def test_what_is_no_message_says_so(message: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        mark_of(message)


def test_an_interchange_tells_both_ladders_of_each_key_and_joins_what_stands_twice() -> None:
    one = {"pubkey": KEY, "signed_blocks": [{"slot": "9"}], "signed_attestations": [{"target_epoch": "3"}]}
    two = {"pubkey": LOW, "signed_blocks": [{"slot": "4"}, {"slot": "11"}], "signed_attestations": []}
    assert protected(json.dumps({"data": [one, two]}).encode()) == {f"block:{LOW}": 11, f"attestation:{LOW}": 3}
    none = {"pubkey": "0x01", "signed_blocks": []}
    assert protected(json.dumps({"data": [none]}).encode()) == {"block:0x01": -1, "attestation:0x01": -1}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"data": [{}]}', b'{"data": [{"pubkey": "0x1", "signed_blocks": [1]}]}']
)
def test_what_is_no_interchange_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        protected(content)
