"""The tests' signer signs as Ethereum does, where its BLS library is installed."""

import importlib.util

import pytest

from tests.conftest import need
from tests.sidecar.signer import BlsKey, interop


@pytest.mark.peer("blspy")
def test_its_signatures_are_those_of_the_consensus_specification() -> None:
    """A vector of the consensus specification's tests (bls/sign), and the key of interop validator 0."""
    need(importlib.util.find_spec("blspy") is None, "blspy")
    key = BlsKey(0x263DBD792F5B1BE47ED85F8938C0F29586AF0D3AC7B977F21C278FE1462040E3)
    assert key.sign(b"\x56" * 32) == (
        "0x882730e5d03f6b42c3abc26d3372625034e1d871b65a8a6b900a56dae22da98abbe1b68f85e49fe7652a55ec3d0591c2"
        "0767677e33e5cbb1207315c41a9ac03be39c2e7668edc043d6cb1d9fd93033caa8a1c5b0e84bedaeb6c64972503a43eb"
    )
    assert BlsKey(interop(0)).public.startswith("0xa99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4")
