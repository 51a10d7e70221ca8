"""Slack: what people type and press becomes commands, what happens becomes messages.

Listeners decide and acknowledge; everything that is said goes through the work table. What never lives here: rules
about who may do what (flows), tables (store), what nodes do (nodes).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.chat.client import Slack
from bot.chat.directory import Directory
from bot.chat.forms import Forms
from bot.chat.front import Front
from bot.chat.guard import SlackGuard, asgi
from bot.chat.listeners import bolt_app
from bot.chat.orders import Orders
from bot.chat.outbound import handlers
from bot.chat.outbox import Desk, Handler
from bot.chat.pacing import Pacer
from bot.chat.places import Places
from bot.chat.presses import Presses
from bot.chat.seals import Seals
from bot.chat.socket import Socket
from bot.ledger import Ledger
from bot.ports import Blobs, Clock
from bot.render.redact import Redactor

__all__ = ["Chat", "build"]

INCIDENT = "incident"
_UNFURLED = {"unfurl_links": False, "unfurl_media": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """Slack, built: `asgi`, mounted at `/slack`, answers `/slack/events`; `handlers` are the worker's.

    `slack` is a `ports.Chat`. `asgi` is None without a signing secret: nothing could then be told from a forgery.
    `socket` is None without an app token; who runs the app starts it.
    """

    asgi: SlackGuard | None
    handlers: Mapping[str, Handler]
    slack: Slack
    front: Front
    directory: Directory
    socket: Socket | None = None

    async def post(self, channel: str, text: str) -> str:
        """Post a text in a channel by name, as it is; return the message's id. Raises ChatError.

        `incident` stands for the channels of all open incidents, and for the channel of all incidents while none is.
        """
        config = self.front.ledger.world.config
        rooms = [await self.directory.joined(config.policy.incidents_channel if channel == INCIDENT else channel)]
        if channel == INCIDENT:
            live = await self.front.ledger.read(lambda rows: rows.incidents(live_only=True, limit=20))
            rooms = [incident.channel for incident in live if incident.channel] or rooms
        said = [
            await self.slack.call("chat.postMessage", {"channel": room, "text": text, **_UNFURLED}) for room in rooms
        ]
        return str(said[0]["ts"])

    async def aclose(self) -> None:
        """Let late answers end, close the connections."""
        if self.socket is not None:
            await self.socket.stop()
        await self.front.aclose()
        await self.slack.aclose()


def build(
    *,
    ledger: Ledger,
    bot_token: str,
    signing_secret: str | None,
    api_url: str,
    command: str,
    public_url: str | None,
    blobs: Blobs,
    clock: Clock,
    spacing: float = 1.0,
    secrets: tuple[str, ...] = (),
    app_token: str | None = None,
) -> Chat:
    """Build the Slack side; nothing is sent yet.

    With a `signing_secret` Slack may call us, with an `app_token` we call Slack (Socket Mode), with both, both.
    What buttons carry is sealed under the signing secret, and without one under the bot token.
    `spacing` are the seconds between two messages in one channel; `secrets` further values that Slack must never see.
    """
    redactor = Redactor([bot_token, *filter(None, (signing_secret, app_token)), *secrets])
    slack = Slack(token=bot_token, api_url=api_url, pacer=Pacer(clock, spacing=spacing), redactor=redactor)
    seals, directory, places = Seals(signing_secret or bot_token), Directory(slack, clock), Places(ledger)
    front = Front(ledger=ledger, directory=directory, places=places, slack=slack, seals=seals, command=command)
    forms = Forms(front)
    orders, presses = Orders(front, forms, public_url), Presses(front, forms)
    app = bolt_app(
        front=front,
        forms=forms,
        orders=orders,
        presses=presses,
        directory=directory,
        signing_secret=signing_secret or "",
        command=command,
    )
    desk = Desk(slack=slack, directory=directory, ledger=ledger, seals=seals, blobs=blobs, public_url=public_url)
    return Chat(
        asgi=asgi(app, secret=signing_secret, now=clock.now) if signing_secret else None,
        handlers=handlers(desk, places, command=command),
        slack=slack,
        front=front,
        directory=directory,
        socket=Socket(app=app, slack=slack, app_token=app_token, now=clock.now) if app_token else None,
    )
