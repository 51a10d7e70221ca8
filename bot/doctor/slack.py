"""Look at Slack as the bot would: token, scopes, signing secret, socket, channels, and everybody's account."""

import asyncio
import re
from collections.abc import Awaitable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from bot.chat.client import Slack, SlackRefused
from bot.chat.directory import Directory, Flaw, flaw
from bot.chat.manifest import scopes as needed_scopes
from bot.chat.pacing import Pacer, Wait
from bot.config.review import Check, fail, ok, warn
from bot.domain.config import Config
from bot.domain.team import Person
from bot.errors import ChatError, ChatLater
from bot.render.redact import Redactor
from bot.settings import Settings

T = TypeVar("T")
PATIENCE = 5.0
"""Seconds that one question to Slack may take."""
_SIGNING = re.compile(r"[0-9a-f]{32}", re.ASCII)
_FLAWS: Mapping[Flaw, tuple[str, str]] = {
    Flaw.GONE: ("is deactivated", "take the person out of team.yaml, or correct the id"),
    Flaw.BOT: ("is a bot's", "put a person's own member id there"),
    Flaw.STRANGER: ("belongs to another workspace", "put the member id of this workspace there"),
    Flaw.GUEST: ("is a guest's, and guests are refused", "make it a full member, or take the person out"),
}


class Machine:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)


async def slack(settings: Settings, config: Config | None = None) -> list[Check]:
    """Return what can be said about Slack, a line for each subject; only reads."""
    if settings.slack_bot_token is None:
        what = "is not connected: people are reached by console and command line only"
        return [warn("slack", what, "set SLACK_BOT_TOKEN, see docs/slack.md")]
    token = settings.slack_bot_token.get_secret_value()
    app_token = settings.slack_app_token.get_secret_value() if settings.slack_app_token else ""
    clock = Machine()
    client = Slack(
        token=token, api_url=settings.slack_api_url, pacer=Pacer(clock), redactor=Redactor([token, app_token])
    )
    try:
        return await _looked(settings, config, client, Directory(client, clock), app_token)
    finally:
        await client.aclose()


async def _looked(
    settings: Settings, config: Config | None, client: Slack, directory: Directory, app_token: str
) -> list[Check]:
    signing = list(_signing(settings))
    try:
        me, granted = await _asked(client.granted())
    except SlackRefused as refused:
        return [_refused(f"refuses the bot token ({refused.error})", settings), *signing]
    except ChatLater as later:
        if "token" in str(later):
            return [_refused(str(later).partition(":")[0].removeprefix("Slack "), settings), *signing]
        return [_silent(settings, later), *signing]
    except (ChatError, TimeoutError) as error:
        return [_silent(settings, error), *signing]
    found = [ok("slack", f"connected as {me.get('user')} to {me.get('team')}"), *_scopes(granted), *signing]
    if app_token:
        found.append(await _socket(client, app_token))
    if config is not None:
        own = (service.channel for service in config.inventory.avs.values())
        for name in dict.fromkeys((config.policy.incidents_channel, config.policy.stakeholder_channel, *own)):
            if name:
                found.append(await _channel(directory, name, granted))
        found += await _people(client, config, str(me.get("team_id")))
    return found


async def _asked(question: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE):
        return await question


def _refused(what: str, settings: Settings) -> Check:
    token = settings.slack_bot_token.get_secret_value() if settings.slack_bot_token else ""
    if token.startswith("xapp-"):
        what = "SLACK_BOT_TOKEN holds an app-level token (xapp-…)"
        return fail("slack", what, "put the Bot User OAuth Token (xoxb-…) there, and this one into SLACK_APP_TOKEN")
    return fail("slack", what, "install the app again and set its SLACK_BOT_TOKEN")


def _silent(settings: Settings, error: Exception) -> Check:
    reason = f"no answer within {PATIENCE:g} s" if isinstance(error, TimeoutError) else str(error)
    return fail("slack", f"{settings.slack_api_url}: {reason}", "check the network and SLACK_API_URL")


def _scopes(granted: frozenset[str]) -> Iterator[Check]:
    if not granted:
        todo = "compare them by hand: api.slack.com/apps, OAuth & Permissions"
        yield warn("slack scopes", "Slack does not say which scopes the token has", todo)
        return
    missing, more = sorted(set(needed_scopes()) - granted), sorted(granted - set(needed_scopes()))
    if missing:
        todo = "add them (paste `stopsign slack manifest` again), then install the app again"
        yield fail("slack scopes", f"the token lacks {', '.join(missing)}", todo)
    if more:
        todo = "take them away at api.slack.com/apps, OAuth & Permissions, and install the app again"
        yield warn("slack scopes", f"the token may more than it needs: {', '.join(more)}", todo)
    if not missing and not more:
        yield ok("slack scopes", f"the {len(granted)} that it needs, and no other")


def _signing(settings: Settings) -> Iterator[Check]:
    secret = settings.slack_signing_secret
    if secret is None:
        yield ok("slack signing", "no secret is set: Slack is reached by socket only, and /slack/events is not served")
    elif not _SIGNING.fullmatch(secret.get_secret_value()):
        todo = "copy the Signing Secret from api.slack.com/apps, Basic Information, into SLACK_SIGNING_SECRET"
        yield fail("slack signing", "SLACK_SIGNING_SECRET is not 32 hex characters: every request is refused", todo)
    else:
        yield ok("slack signing", "the secret has the right form")


async def _socket(client: Slack, app_token: str) -> Check:
    """Ask for an address of a socket; it is not used."""
    name = "slack socket"
    todo = "make an app-level token with connections:write (Basic Information), switch Socket Mode on"
    if not app_token.startswith("xapp-"):
        return fail(name, "SLACK_APP_TOKEN does not begin with xapp-: it is another token", todo)
    try:
        address = await _asked(client.socket_address(app_token))
    except (ChatError, TimeoutError) as error:
        return fail(name, f"cannot be opened: {str(error) or 'no answer'}", todo)
    if not address.startswith(("wss://", "ws://")):
        return fail(name, "Slack gave no address for it", todo)
    return ok(name, "can be opened")


async def _channel(directory: Directory, name: str, granted: frozenset[str]) -> Check:
    line = f"slack #{name}"
    try:
        found = await _asked(directory.room_named(name))
    except (ChatError, TimeoutError) as error:
        return fail(line, f"cannot be looked for: {str(error) or 'no answer'}", "see the lines above")
    if found is None:
        return fail(line, "is not there, or is private and Stopsign is not in it", "make it, or invite the bot there")
    if found.archived:
        return fail(line, "is archived", "open it again, or name another channel in policy.yaml")
    if found.member:
        return ok(line, "is there, and Stopsign is in it")
    if "channels:join" in granted:
        return ok(line, "is there; Stopsign joins it with its first message")
    return fail(line, "is there, but Stopsign is not in it and may not join", "invite the bot there")


async def _people(client: Slack, config: Config, team: str) -> list[Check]:
    wanted = [person for person in config.team.people.values() if person.slack]
    lines = [line for person in wanted if (line := await _account(client, person, team))]
    if not lines and wanted:
        lines.append(ok("slack people", f"all {len(wanted)} accounts are active members of this workspace"))
    return lines


async def _account(client: Slack, person: Person, team: str) -> Check | None:
    """Return what is wrong with one person's account, or None."""
    name = f"slack {person.id}"
    try:
        user = await _user(client, str(person.slack))
    except SlackRefused as refused:
        if refused.error in {"user_not_found", "user_not_visible"}:
            return fail(name, f"{person.slack} is nobody in this workspace", "correct slack in team.yaml")
        return fail(name, f"{person.slack} cannot be looked up: {refused}", "see the lines above")
    except (ChatError, TimeoutError) as error:
        return warn(name, f"{person.slack} could not be looked up: {str(error) or 'no answer'}", "run it again")
    found = flaw(user, team)
    if found is None:
        return None
    what, todo = _FLAWS[found]
    return fail(name, f"{person.slack} {what}", todo)


async def _user(client: Slack, account: str) -> Mapping[str, Any]:
    while True:
        try:
            found: Mapping[str, Any] = (await _asked(client.call("users.info", {"user": account}))).get("user") or {}
        except Wait as wait:  # our own pace: large teams take their time
            await asyncio.sleep(wait.after)
            continue
        return found
