"""Which scope each Web API method needs, and Slack's refusal when the token does not have it."""

from collections.abc import Iterable, Mapping

from bot.practice.workspace.arguments import flag, names, text
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal

# A scope in braces depends on the kind of conversation; a blank one means that no scope is needed.
_SCOPES: Mapping[str, str] = {
    "": "api.test auth.test apps.connections.open chat.getPermalink views.open views.push views.update views.publish",
    "team:read": "team.info",
    "users:read": "users.info users.list",
    "users:read.email": "users.lookupByEmail",
    "usergroups:read": "usergroups.list usergroups.users.list",
    "chat:write": "chat.postMessage chat.postEphemeral chat.update chat.delete",
    "channels:join": "conversations.join",
    "{read}": "conversations.info conversations.list conversations.members users.conversations",
    "{history}": "conversations.history conversations.replies",
    "{write}": "conversations.create conversations.archive conversations.unarchive conversations.invite "
    "conversations.kick conversations.leave conversations.open conversations.rename conversations.setTopic "
    "conversations.setPurpose",
    "reactions:write": "reactions.add reactions.remove",
    "reactions:read": "reactions.get",
    "pins:write": "pins.add pins.remove",
    "pins:read": "pins.list",
    "bookmarks:write": "bookmarks.add bookmarks.edit bookmarks.remove",
    "bookmarks:read": "bookmarks.list",
    "files:write": "files.getUploadURLExternal files.completeUploadExternal",
    "files:read": "files.info",
}
METHOD_SCOPES: Mapping[str, str] = {method: scope for scope, methods in _SCOPES.items() for method in methods.split()}

_FAMILY = {"public": "channels", "private": "groups", "mpim": "mpim", "im": "im"}
_TYPES = {"public_channel": "public", "private_channel": "private", "mpim": "mpim", "im": "im"}
# Narrower scopes that do as well.
_INSTEAD: Mapping[str, Mapping[str, str]] = {
    "conversations.invite": {"channels:manage": "channels:write.invites", "groups:write": "groups:write.invites"},
    "conversations.setTopic": {
        "channels:manage": "channels:write.topic",
        "groups:write": "groups:write.topic",
        "im:write": "im:write.topic",
        "mpim:write": "mpim:write.topic",
    },
}


def check(office: Office, method: str, args: Json) -> None:
    """Refuse a call for which the bot's token has not the scope (`missing_scope`, with `needed` and `provided`)."""
    provided = office.installation.scopes
    needed, any_of = _needed(office, method, args)
    if any_of and any(_has(provided, method, scope) for scope in needed):
        return
    missing = [scope for scope in needed if not _has(provided, method, scope)]
    if missing:
        raise Refusal("missing_scope", extra={"needed": ",".join(missing), "provided": ",".join(sorted(provided))})


def accepted(method: str) -> str:
    """Return what the header `x-accepted-oauth-scopes` says of a method."""
    scope = METHOD_SCOPES.get(method, "")
    return ",".join(_of_kinds(scope.strip("{}"), _FAMILY)) if scope.startswith("{") else scope


def _has(provided: frozenset[str], method: str, scope: str) -> bool:
    return scope in provided or _INSTEAD.get(method, {}).get(scope, "") in provided


def _needed(office: Office, method: str, args: Json) -> tuple[list[str], bool]:
    """Return the scopes, and whether one of them is enough."""
    scope = METHOD_SCOPES.get(method, "")
    if not scope.startswith("{"):
        return ([scope] if scope else []), False
    kinds = _kinds(office, method, args)
    return _of_kinds(scope.strip("{}"), kinds or _FAMILY), not kinds


def _kinds(office: Office, method: str, args: Json) -> list[str]:
    """Return the kinds of conversation that a call is about; none if that cannot be told."""
    if method in ("conversations.list", "users.conversations"):
        return [_TYPES[word] for word in names(args, "types") or ["public_channel"] if word in _TYPES]
    if method == "conversations.create":
        return ["private" if flag(args, "is_private") else "public"]
    if method == "conversations.open" and not text(args, "channel"):
        return ["im" if len(names(args, "users")) <= 1 else "mpim"]
    found = office.world.channels.get(text(args, "channel"))
    return [found.kind] if found else []


def _of_kinds(what: str, kinds: Iterable[str]) -> list[str]:
    suffix = {"public": "manage"} if what == "write" else {}
    return [f"{_FAMILY[kind]}:{suffix.get(kind, what)}" for kind in kinds]
