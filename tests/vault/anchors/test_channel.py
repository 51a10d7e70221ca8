"""Checkpoints in a channel: the note can be copied from the message and verified."""

import json

import pytest
import rfc8785

from bot.domain.checkpoint import open_checkpoint, verifier_of
from bot.errors import ChatError
from bot.vault.anchors import describe
from bot.vault.anchors.channel import Channel, text_of
from tests.vault.anchors.notes import KEY, ORIGIN, signed


async def test_the_whole_note_is_in_the_message_and_verifies() -> None:
    posted: list[tuple[str, str]] = []

    async def post(channel: str, text: str) -> str:
        posted.append((channel, text))
        return "1700000000.000100"

    proof = await Channel("room", "incidents", post).anchor(signed(1234), 1234)
    assert json.loads(proof) == {"channel": "incidents", "ts": "1700000000.000100"}
    assert proof == rfc8785.dumps(json.loads(proof))
    assert describe("slack", proof) == "the message 1700000000.000100 in the channel incidents"
    [(channel, text)] = posted
    assert channel == "incidents"
    note = text.split("```")[1].removeprefix("\n")
    assert note == signed(1234)
    assert open_checkpoint(note, verifier_of(ORIGIN, KEY)).size == 1234


def test_the_message_says_origin_size_root_and_key_and_is_short() -> None:
    text, key = text_of(signed(1234)), verifier_of(ORIGIN, KEY)
    line = text.split("\n")[0]
    root = signed(1234).split("\n")[2]
    assert line.startswith(f"Checkpoint of the evidence log {ORIGIN}: 1234 records, root {root}, ")
    assert f"signed by {key.name}+{key.id.hex()}." in line
    assert key.encode().startswith(f"{key.name}+{key.id.hex()}+")
    assert len(text) < 600


def test_a_checkpoint_that_two_keys_signed_names_both() -> None:
    note = signed(5)
    both = note + note.split("\n\n")[1].replace(ORIGIN, "other")
    assert f"signed by {ORIGIN}+" in text_of(both)
    assert ", other+" in text_of(both)


async def test_what_the_chat_service_says_is_passed_on() -> None:
    async def post(channel: str, text: str) -> str:
        raise ChatError("channel_not_found")

    with pytest.raises(ChatError, match="channel_not_found"):
        await Channel("room", "incidents", post).anchor(signed(3), 3)
