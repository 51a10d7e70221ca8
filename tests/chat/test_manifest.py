"""The manifest: Slack's shape, our address, and no scope that is not used."""

import re
from pathlib import Path

import yaml
from slack_sdk.web.async_client import AsyncWebClient

import bot.chat as package
from bot.chat import actions
from bot.chat.manifest import manifest, scopes
from bot.chat.pacing import PER_MINUTE

NEEDED = {
    "conversations.create": "channels:manage",
    "conversations.setTopic": "channels:manage",
    "conversations.invite": "channels:manage",
    "conversations.list": "channels:read",
    "conversations.join": "channels:join",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "conversations.open": "im:write",
    "conversations.archive": "channels:manage",
    "conversations.info": "channels:read",
    "bookmarks.list": "bookmarks:read",
    "bookmarks.add": "bookmarks:write",
    "chat.postEphemeral": "chat:write",
    "users.list": "users:read",
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "pins.add": "pins:write",
    "users.info": "users:read",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
}


def test_the_manifest_is_filled_in() -> None:
    found = yaml.safe_load(manifest("https://bot.example/", "/inc"))
    assert found["features"]["slash_commands"][0]["command"] == "/inc"
    assert found["features"]["slash_commands"][0]["url"] == "https://bot.example/slack/events"
    assert found["settings"]["interactivity"]["request_url"] == "https://bot.example/slack/events"
    assert "stopsign.example" not in manifest("https://bot.example", "/incident")


def test_every_method_that_is_called_has_its_scope() -> None:
    found = yaml.safe_load(manifest(None, "/incident"))["oauth_config"]["scopes"]["bot"]
    assert list(scopes()) == found
    assert {NEEDED[method] for method in PER_MINUTE if method in NEEDED} <= set(found)
    assert set(PER_MINUTE) - set(NEEDED) == {"views.open", "views.publish"}


def test_what_people_can_start_is_what_the_bot_hears() -> None:
    found = yaml.safe_load(manifest(None, "/incident"))
    shortcuts = {(row["type"], row["callback_id"]) for row in found["features"]["shortcuts"]}
    assert shortcuts == {("message", actions.ADD_NOTE), ("global", actions.DECLARE_ANYWHERE)}
    assert all(len(row["name"]) <= 24 and len(row["description"]) <= 150 for row in found["features"]["shortcuts"])
    assert found["features"]["app_home"]["home_tab_enabled"] is True
    heard = {"app_home_opened", "message.channels", "message.groups", "reaction_added"}
    assert set(found["settings"]["event_subscriptions"]["bot_events"]) == heard


def test_for_socket_mode_no_address_is_in_it() -> None:
    text = manifest("https://bot.example", "/inc", socket=True)
    found = yaml.safe_load(text)
    assert found["settings"]["socket_mode_enabled"] is True
    assert "bot.example" not in text
    assert "stopsign.example" not in text
    assert found["settings"]["interactivity"] == {"is_enabled": True}
    assert found["features"]["slash_commands"][0]["command"] == "/inc"
    by_http = yaml.safe_load(manifest("https://bot.example", "/inc"))
    assert by_http["settings"]["socket_mode_enabled"] is False
    assert by_http["oauth_config"] == found["oauth_config"]
    assert (
        by_http["settings"]["event_subscriptions"]["bot_events"]
        == found["settings"]["event_subscriptions"]["bot_events"]
    )


def test_every_method_that_the_bot_calls_keeps_its_pace() -> None:
    source = "".join(path.read_text() for path in Path(package.__file__).parent.glob("*.py"))
    called = {
        word
        for word in re.findall(r'"([a-z]+\.[a-zA-Z0-9_.]+)"', source)
        if hasattr(AsyncWebClient, word.replace(".", "_"))
    }
    assert {"chat.postMessage", "bookmarks.add", "views.publish"} <= called
    assert called - set(PER_MINUTE) == {"auth.test", "apps.connections.open", "files.upload_v2"}
