"""The manifest: Slack's shape, our address, and no scope that is not used."""

import yaml

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
    assert set(PER_MINUTE) - set(NEEDED) == {"views.open"}
