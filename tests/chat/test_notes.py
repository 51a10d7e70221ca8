"""What people point at in a channel is kept: messages, their edits and deletions, and their files as evidence."""

import asyncio
import hashlib
from base64 import b64encode
from typing import Any

import pytest
from sqlalchemy import text

from bot.chat import actions
from bot.chat.client import SlackRefused
from bot.domain import journal as j
from bot.practice.workspace.client import Impossible
from tests.chat.conftest import Stage

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


async def room_of(stage: Stage) -> str:
    """Open an incident; return its channel once everybody is in it."""
    incident = await stage.opened()
    await stage.idle()
    return str(incident.channel)


async def entries(stage: Stage, *kinds: type[j.Entry]) -> list[Any]:
    """Return the journal's entries of these kinds."""
    return [w.entry for w in await stage.room.journal() if isinstance(w.entry, kinds)]


async def told(stage: Stage, count: int, *kinds: type[j.Entry]) -> list[Any]:
    """Return the entries of these kinds once there are so many."""
    async with asyncio.timeout(8):
        while len(found := await entries(stage, *kinds)) < count:
            await asyncio.sleep(0.03)
    return found


async def pinned(stage: Stage, channel: str, words: str) -> str:
    """Let Bo say something and Ada pin it; return the message's ts once it is noted."""
    said = await stage.hands.say("U0BO", channel, words)
    await stage.hands.act("react", user="U0ADA", channel=channel, ts=said["ts"], name="pushpin")
    await told(stage, 1, j.NoteAdded)
    return str(said["ts"])


async def test_edits_and_the_deletion_of_a_pinned_message_are_written_down(stage: Stage) -> None:
    channel = await room_of(stage)
    ts = await pinned(stage, channel, "seq-03 restarted at 03:12")
    for words in ("seq-03 restarted at 03:14", "seq-03 never restarted &lt;sorry&gt;"):
        await stage.hands.act("edit", user="U0BO", channel=channel, ts=ts, text=words)
    await stage.hands.act("delete", user="U0BO", channel=channel, ts=ts)
    changes = await told(stage, 3, j.NoteChanged)
    assert [c.text for c in changes] == ["seq-03 restarted at 03:14", "seq-03 never restarted <sorry>", None]
    [note] = await entries(stage, j.NoteAdded)
    assert note.text == "seq-03 restarted at 03:12"


async def test_what_nobody_pinned_is_never_kept(stage: Stage) -> None:
    channel = await room_of(stage)
    await pinned(stage, channel, "this one")
    said = await stage.hands.say("U0BO", channel, "my private worry")
    await stage.hands.act("edit", user="U0BO", channel=channel, ts=said["ts"], text="my private worries")
    await stage.hands.act("delete", user="U0BO", channel=channel, ts=said["ts"])
    await stage.idle()
    assert await entries(stage, j.NoteChanged) == []
    bodies = await stage.room.database.reading(
        lambda connection: list(connection.execute(text("SELECT body FROM work")))
    )
    assert not any("worr" in str(row) for row in bodies)


async def test_the_bot_s_own_edits_are_no_news(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.hands.command("U0BO", str(incident.channel), "/incident role me ic")
    await stage.idle()
    assert await entries(stage, j.NoteChanged) == []


async def test_a_message_is_added_by_its_shortcut_once(stage: Stage) -> None:
    channel = await room_of(stage)
    said = await stage.hands.say("U0BO", channel, "gateway is back")
    for _ in range(2):
        done = await stage.hands.act(
            "shortcut", user="U0ADA", channel=channel, ts=said["ts"], callback_id=actions.ADD_NOTE
        )
        assert done["ok"], done
    assert "timeline of inc-1" in (await stage.told("U0ADA", "timeline of inc-1"))["text"]
    await stage.idle()
    [note] = await entries(stage, j.NoteAdded)
    assert (note.text, note.author) == ("gateway is back", "bo")


async def test_the_shortcut_says_no_outside_an_incident_s_channel(stage: Stage) -> None:
    await stage.opened()
    said = await stage.hands.say("U0BO", "general", "hello")
    await stage.hands.act("shortcut", user="U0BO", channel="general", ts=said["ts"], callback_id=actions.ADD_NOTE)
    await stage.told("U0BO", "belongs to no incident")


async def test_declaring_from_anywhere_opens_the_form(stage: Stage) -> None:
    await stage.hands.act("app", global_shortcuts={actions.DECLARE_ANYWHERE: "Declare an incident"})
    done = await stage.hands.act("shortcut", user="U0ADA", callback_id=actions.DECLARE_ANYWHERE, wait_view=True)
    assert done["view"]["callback_id"] == actions.DECLARE
    await stage.hands.submit("U0ADA", {"summary": {"field": "a key signs twice"}, "severity": {"field": "SEV-1"}})
    assert (await stage.until(lambda i: i.declared)).summary == "a key signs twice"
    await stage.find(await stage.direct("U0ADA"), "inc-1 is open")


async def posted(stage: Stage, channel: str, content: bytes, name: str = "screen.png") -> str:
    """Let Bo post a file and Ada pin it; return the message's ts."""
    up = await stage.hands.act(
        "upload",
        user="U0BO",
        channel=channel,
        text="look at this",
        filename=name,
        base64=b64encode(content).decode(),
    )
    await stage.hands.act("react", user="U0ADA", channel=channel, ts=up["message"]["ts"], name="pushpin")
    return str(up["message"]["ts"])


async def test_a_posted_image_becomes_evidence_with_its_custody(stage: Stage) -> None:
    channel = await room_of(stage)
    ts = await posted(stage, channel, PNG)
    [kept] = await told(stage, 1, j.EvidenceKept)
    assert (kept.sha256, kept.size) == (hashlib.sha256(PNG).hexdigest(), len(PNG))
    assert (kept.what, kept.media_type) == ("chat_file", "image/png")
    assert kept.source.startswith(f"slack:{channel}/{ts}/F")
    assert kept.source.endswith(" screen.png")
    assert kept.reason == "posted by bo, kept by ada"
    assert stage.shelf.content[kept.sha256] == PNG


async def test_the_same_file_pinned_by_two_is_one_item(stage: Stage) -> None:
    channel = await room_of(stage)
    ts = await posted(stage, channel, PNG)
    await stage.hands.act("react", user="U0CYN", channel=channel, ts=ts, name="pushpin")
    await told(stage, 1, j.EvidenceKept)
    await stage.idle()
    assert len(await entries(stage, j.EvidenceKept)) == 1


async def test_without_the_scope_the_log_in_page_is_not_taken_for_the_file(stage: Stage) -> None:
    channel = await room_of(stage)
    scopes = (await stage.hands.state())["app"]["scopes"]
    await stage.hands.act("app", scopes=[s for s in scopes if s != "files:read"])
    await posted(stage, channel, PNG)
    [missing] = await told(stage, 1, j.EvidenceMissing)
    assert "chat_file screen.png" in missing.what
    assert await entries(stage, j.EvidenceKept) == []


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/f", "http://files.slack.com/f", "https://files.slack.com.evil.example/f", "", "file:///etc"],
)
async def test_the_token_goes_to_no_other_host(stage: Stage, url: str) -> None:
    with pytest.raises(SlackRefused, match="does not lie with Slack"):
        [chunk async for chunk in stage.chat.slack.download(url)]


async def test_a_guest_cannot_pin(stage: Stage) -> None:
    channel = await room_of(stage)
    said = await stage.hands.say("U0BO", channel, "x")
    with pytest.raises(Impossible):
        await stage.hands.act("react", user="U0GUEST", channel=channel, ts=said["ts"], name="pushpin")
    await stage.hands.act("invite", user="U0ADA", channel=channel, who="U0GUEST")
    await stage.hands.act("react", user="U0GUEST", channel=channel, ts=said["ts"], name="pushpin")
    await stage.idle()
    assert await entries(stage, j.NoteAdded) == []
