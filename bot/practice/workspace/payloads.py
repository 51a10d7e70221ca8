"""The bodies that Slack sends to an app for what a person did, as pure functions."""

from typing import Any

from bot.practice.workspace.people import Person
from bot.practice.workspace.shown import message_object, view_object
from bot.practice.workspace.state import APP_ID, TEAM_DOMAIN, Channel, Message, View, World

Json = dict[str, Any]


def slash_command(person: Person, channel: Channel, line: str, *, trigger_id: str, response_url: str) -> dict[str, str]:
    """Return the form of a slash command; `line` is all that was typed."""
    command, _, rest = line.strip().partition(" ")
    return {
        "token": "practice",
        "team_id": person.team_id,
        "team_domain": TEAM_DOMAIN,
        "channel_id": channel.id,
        "channel_name": _command_channel_name(channel),
        "user_id": person.id,
        "user_name": person.name,
        "command": command,
        "text": rest.strip(),
        "api_app_id": APP_ID,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": trigger_id,
    }


def message_actions(
    person: Person,
    channel: Channel,
    message: Message,
    action: Json,
    *,
    world: World,
    state: Json,
    trigger_id: str,
    response_url: str,
) -> Json:
    """Return the block_actions payload of a press in a message; ephemeral ones do not carry the message."""
    payload = _from(person, "block_actions") | {
        "container": message_container(channel, message),
        "trigger_id": trigger_id,
        "channel": named(channel),
        "state": {"values": state},
        "response_url": response_url,
        "actions": [action],
    }
    if message.ephemeral_to is None:
        payload["message"] = message_object(message, world)
    return payload


def view_actions(person: Person, view: View, action: Json, *, trigger_id: str) -> Json:
    """Return the block_actions payload of a press in a modal or home tab."""
    return _from(person, "block_actions") | {
        "container": {"type": "view", "view_id": view.id},
        "trigger_id": trigger_id,
        "view": view_object(view),
        "actions": [action],
    }


def view_submission(person: Person, view: View, *, trigger_id: str, response_urls: list[Json]) -> Json:
    """Return the payload of a submitted modal."""
    return _from(person, "view_submission") | {
        "trigger_id": trigger_id,
        "view": view_object(view),
        "response_urls": response_urls,
    }


def view_closed(person: Person, view: View, *, cleared: bool) -> Json:
    """Return the payload of a modal that was closed without submitting."""
    return _from(person, "view_closed") | {"view": view_object(view), "is_cleared": cleared}


def message_shortcut(
    person: Person, message: Message, channel: Channel, callback_id: str, *, world: World, trigger_id: str, url: str
) -> Json:
    """Return the payload of a message shortcut (its type is message_action)."""
    return _from(person, "message_action") | {
        "callback_id": callback_id,
        "trigger_id": trigger_id,
        "response_url": url,
        "action_ts": world.next_ts(),
        "message_ts": message.ts,
        "channel": named(channel),
        "message": message_object(message, world),
    }


def global_shortcut(person: Person, callback_id: str, *, world: World, trigger_id: str) -> Json:
    """Return the payload of a global shortcut: it knows neither channel nor response_url."""
    return _from(person, "shortcut") | {
        "callback_id": callback_id,
        "trigger_id": trigger_id,
        "action_ts": world.next_ts(),
    }


def suggestion(person: Person, container: Json, block: Json, element: Json, typed: str, **where: Json) -> Json:
    """Return the payload that asks for an external menu's options; `where` is channel and message, or view."""
    return _from(person, "block_suggestion") | {
        "container": container,
        "block_id": block["block_id"],
        "action_id": element["action_id"],
        "value": typed,
        **where,
    }


def message_container(channel: Channel, message: Message) -> Json:
    """Return where in a message somebody acted."""
    container: Json = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": channel.id,
        "is_ephemeral": message.ephemeral_to is not None,
    }
    return container | ({"thread_ts": message.thread_ts} if message.thread_ts else {})


def named(channel: Channel) -> Json:
    """Return the channel as payloads show it."""
    return {"id": channel.id, "name": _command_channel_name(channel)}


def _from(person: Person, kind: str) -> Json:
    user = {"id": person.id, "username": person.name, "name": person.name, "team_id": person.team_id}
    return {
        "type": kind,
        "user": user,
        "api_app_id": APP_ID,
        "token": "practice",
        "team": {"id": person.team_id, "domain": TEAM_DOMAIN},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def _command_channel_name(channel: Channel) -> str:
    return {"im": "directmessage", "private": "privategroup"}.get(channel.kind, channel.name)
