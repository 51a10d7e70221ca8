"""Everything that Slack is told: work kind → handler. Slack down stops none of the decisions that led here."""

from collections.abc import Mapping

from bot.chat.errands import Errands
from bot.chat.homes import Homes
from bot.chat.outbox import Desk, Handler, edge, rehoused
from bot.chat.places import Places
from bot.chat.posts import Posts
from bot.chat.rooms import Rooms
from bot.chat.settled import Settled

KINDS = frozenset(
    {
        *("slack.channel", "slack.header", "slack.invite", "slack.furnish", "slack.archive", "slack.announce"),
        *("slack.post", "slack.share", "slack.ask", "slack.watch", "slack.view", "slack.respond", "slack.pin"),
        *("slack.edited", "slack.settle", "slack.resay", "slack.file", "slack.home", "slack.homes", "slack.direct"),
        "slack.tally",
        "page.slack",
    }
)
"""All kinds of work that speak to Slack; without it, somebody else says what becomes of them."""
HOUSED = frozenset({"slack.header", "slack.post", "slack.tally", "slack.invite"})
"""Kinds that speak in an incident's own channel."""
SEVERAL = frozenset({"slack.channel", "slack.header"})
"""Kinds whose handler posts more than once or after other effects."""


def handlers(desk: Desk, places: Places, *, command: str = "/incident") -> Mapping[str, Handler]:
    """Return the handlers of all kinds of work that speak to Slack."""
    rooms, posts, errands = Rooms(desk), Posts(desk), Errands(desk, places)
    settled, homes = Settled(desk), Homes(desk, command=command)
    table: Mapping[str, Handler] = {
        "slack.channel": rooms.channel,
        "slack.header": rooms.header,
        "slack.invite": rooms.invite,
        "slack.furnish": rooms.furnish,
        "slack.archive": rooms.archive,
        "slack.announce": posts.announce,
        "slack.post": posts.post,
        "slack.tally": posts.tally,
        "slack.share": posts.share,
        "slack.ask": posts.ask,
        "slack.watch": posts.watch,
        "page.slack": posts.page,
        "slack.view": errands.view,
        "slack.respond": errands.respond,
        "slack.pin": errands.pin,
        "slack.edited": errands.edited,
        "slack.settle": settled.settle,
        "slack.resay": settled.resay,
        "slack.file": errands.file,
        "slack.home": homes.home,
        "slack.homes": homes.refresh,
        "slack.direct": homes.direct,
    }
    housed = {kind: rehoused(desk, table[kind]) if kind in HOUSED else table[kind] for kind in table}
    return {kind: edge(handler, desk.ledger.clock.now, parts=kind in SEVERAL) for kind, handler in housed.items()}
