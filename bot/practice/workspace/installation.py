"""How the app is installed in the workspace: its scopes, subscriptions, commands and shortcuts.

Slack calls it the app's configuration; `/practice/app` changes it while the workspace runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bot.practice.workspace.refusals import Json, Refusal


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Everything that Slack may grant a bot for what is here, but chat:write.public (with that it posts where it is not).
ALL_SCOPES = _words(
    "app_mentions:read bookmarks:read bookmarks:write channels:history channels:join channels:manage channels:read "
    "chat:write chat:write.customize commands files:read files:write groups:history groups:read groups:write "
    "im:history im:read im:write mpim:history mpim:read mpim:write pins:read pins:write reactions:read "
    "reactions:write team:read usergroups:read users:read users:read.email"
)
APP_SCOPES = frozenset({"connections:write"})

# What an app may subscribe to here, and the scopes of which one must be granted for it ("" needs none).
EVENTS: Mapping[str, str] = {
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "message.mpim": "mpim:history",
    "app_mention": "app_mentions:read",
    "app_home_opened": "",
    "reaction_added": "reactions:read",
    "reaction_removed": "reactions:read",
    "member_joined_channel": "channels:read groups:read",
    "member_left_channel": "channels:read groups:read",
    "channel_archive": "channels:read",
    "channel_unarchive": "channels:read",
    "channel_rename": "channels:read",
    "channel_created": "channels:read",
    "file_shared": "files:read",
    "pin_added": "pins:read",
    "pin_removed": "pins:read",
}
DEFAULT_EVENTS = _words(
    "message.channels message.groups message.im message.mpim app_home_opened reaction_added reaction_removed "
    "member_joined_channel member_left_channel file_shared"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the app may do and hear; `commands` None lets every slash command through to it."""

    scopes: frozenset[str] = ALL_SCOPES
    events: frozenset[str] = DEFAULT_EVENTS
    commands: frozenset[str] | None = None
    message_shortcuts: Mapping[str, str] = field(default_factory=dict)
    global_shortcuts: Mapping[str, str] = field(default_factory=dict)

    def hears(self, subscription: str) -> bool:
        """Return whether events of that subscription reach the app: it asked for them, and has a scope for them."""
        scopes = EVENTS[subscription].split()
        return subscription in self.events and (not scopes or not self.scopes.isdisjoint(scopes))

    def with_(self, changes: Mapping[str, Any]) -> "Installation":
        """Return it changed by the keys that are there; null puts the default back; raises Refusal."""
        unknown = set(changes) - {"scopes", "events", "commands", "shortcuts", "global_shortcuts"}
        if unknown:
            raise Refusal("unknown_setting", extra={"settings": sorted(unknown)})
        given: dict[str, Any] = {}
        if "scopes" in changes:
            given["scopes"] = granted(changes["scopes"])
        if "events" in changes:
            given["events"] = subscribed(changes["events"])
        if "commands" in changes:
            given["commands"] = None if changes["commands"] is None else frozenset(changes["commands"])
        for key, name in (("shortcuts", "message_shortcuts"), ("global_shortcuts", "global_shortcuts")):
            if key in changes:
                given[name] = dict(changes[key] or {})
        return replace(self, **given)

    def row(self) -> Json:
        """Return it for people and page."""
        return {
            "scopes": sorted(self.scopes),
            "events": sorted(self.events),
            "commands": None if self.commands is None else sorted(self.commands),
        }


def granted(scopes: Iterable[str] | None) -> frozenset[str]:
    """Return the scopes as a set; None is everything but chat:write.public."""
    return ALL_SCOPES if scopes is None else frozenset(scopes)


def subscribed(events: Iterable[str] | None) -> frozenset[str]:
    """Return the subscriptions as a set, None being the default; raises Refusal for one that is not there."""
    if events is None:
        return DEFAULT_EVENTS
    wanted = frozenset(events)
    if unknown := wanted - EVENTS.keys():
        raise Refusal("unknown_event", extra={"unknown": sorted(unknown), "events": sorted(EVENTS)})
    return wanted
