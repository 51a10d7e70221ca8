"""Everything that Slack is told: work kind → handler. Slack down stops none of the decisions that led here."""

from collections.abc import Mapping

from bot.chat.errands import Errands
from bot.chat.outbox import Desk, Handler, edge
from bot.chat.places import Places
from bot.chat.posts import Posts
from bot.chat.rooms import Rooms

SEVERAL = frozenset({"slack.channel", "slack.header", "slack.ask"})
"""Kinds whose handler posts more than once or after other effects."""


def handlers(desk: Desk, places: Places) -> Mapping[str, Handler]:
    """Return the handlers of all kinds of work that speak to Slack."""
    rooms, posts, errands = Rooms(desk), Posts(desk), Errands(desk, places)
    table: Mapping[str, Handler] = {
        "slack.channel": rooms.channel,
        "slack.header": rooms.header,
        "slack.invite": rooms.invite,
        "slack.announce": posts.announce,
        "slack.post": posts.post,
        "slack.share": posts.share,
        "slack.ask": posts.ask,
        "slack.watch": posts.watch,
        "page.slack": posts.page,
        "slack.view": errands.view,
        "slack.respond": errands.respond,
        "slack.pin": errands.pin,
        "slack.file": errands.file,
    }
    return {kind: edge(handler, desk.ledger.clock.now, parts=kind in SEVERAL) for kind, handler in table.items()}
