"""The incident's channel: opened, named, furnished and kept current, its people invited; archived in the end."""

import logging
import re
import unicodedata
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from bot.chat import furniture, limits
from bot.chat.client import SlackRefused
from bot.chat.directory import Room
from bot.chat.header import header
from bot.chat.outbox import SLACK, Desk, again, unsure
from bot.chat.words import clean
from bot.domain import journal as j
from bot.domain.incident import Incident, Status
from bot.domain.watch import Watch
from bot.domain.work import Dead, Done, Result, Todo, Work
from bot.flows import answer

log = logging.getLogger(__name__)

SKEW = timedelta(minutes=5)
"""How far Slack's clock and ours may be apart."""
NAMES = 9
REMEMBERED = 500
GIVE_UP = timedelta(hours=6)
"""After this long without its channel, a message is buried, which is told elsewhere."""
_ALREADY = frozenset({"already_in_channel", "cant_invite_self"})
_CANNOT = frozenset(
    {"user_not_found", "cant_invite", "user_is_restricted", "user_is_ultra_restricted", "user_disabled"}
)
_GONE = frozenset({"already_archived", "is_archived", "channel_not_found"})


class Rooms:
    """Handles `slack.channel`, `slack.header`, `slack.invite`, `slack.furnish` and `slack.archive`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._invited: set[tuple[str, str]] = set()
        self._furnished: dict[str, tuple[str, tuple[str, ...]]] = {}
        """Channel → the severity, status and runbooks that it was furnished for."""

    async def channel(self, work: Work) -> Result:
        """Open the channel and furnish it. Each part looks first whether it is done."""
        incident = await self._desk.incident(work)
        if incident is None:
            return Done(note="no such incident")
        if incident.channel is None:
            room = await self._opened(work, incident)
            incident = await self._desk.note(work, j.ChannelOpened(channel=room.id, name=room.name))
        if incident.header is None:
            incident = await self._header_posted(work, incident)
        await self._pinned(incident)
        await self._invite(incident, (*incident.people, *filter(None, [incident.declared_by])))
        await self._to_furnish(incident)
        return Done(note=incident.channel or "")

    async def _opened(self, work: Work, incident: Incident) -> Room:
        """Create the channel; a taken name is ours when an earlier try of this very work made it."""
        me = await self._desk.directory.me()
        for number in range(1, NAMES + 1):
            name = channel_name(incident, number)
            try:
                made = await self._desk.slack.call("conversations.create", {"name": name})
                return Room(
                    id=str(made["channel"]["id"]), name=name, member=True, creator=me.user, created=0, archived=False
                )
            except SlackRefused as refused:
                if refused.error != "name_taken":
                    raise
            found = await self._desk.directory.room_named(name) if unsure(work) else None
            if found and not found.archived and found.creator == me.user and _young(found, incident):
                return found
        raise SlackRefused("conversations.create", "name_taken", f"{channel_name(incident)} and all like it are taken")

    async def _header_posted(self, work: Work, incident: Incident) -> Incident:
        assert incident.channel is not None  # opened by the caller
        config, now = self._desk.ledger.world.config, self._desk.ledger.clock.now()
        message = header(incident, config, now, self._desk.seals, self._desk.public_url, await self._watch())
        ts = await self._desk.post(work, incident.channel, message, part="header")
        return await self._desk.note(work, j.HeaderPosted(ts=ts))

    async def _watch(self) -> Watch:
        return await self._desk.ledger.read(lambda rows: rows.watch())

    async def _pinned(self, incident: Incident) -> None:
        try:
            await self._desk.slack.call("pins.add", {"channel": incident.channel, "timestamp": incident.header})
        except SlackRefused as refused:
            if refused.error not in {"already_pinned", "too_many_pins", "message_not_found"}:
                raise

    async def header(self, work: Work) -> Result:
        """Bring the header up to date; one that was never posted, or that somebody deleted, is posted again.

        Without a channel there is nothing to do, and above all nothing to wait for in its lane: whoever opens the
        channel posts the header as it stands then.
        """
        incident = await self._desk.incident(work)
        if incident is None or incident.channel is None:
            return Done(note="no channel yet")
        if incident.header is None:
            await self._pinned(await self._header_posted(work, incident))
            return Done()
        config, now = self._desk.ledger.world.config, self._desk.ledger.clock.now()
        message = header(incident, config, now, self._desk.seals, self._desk.public_url, await self._watch())
        arguments = message.arguments() | {"channel": incident.channel, "ts": incident.header}
        try:
            await self._desk.slack.call("chat.update", arguments)
        except SlackRefused as refused:
            if refused.error != "message_not_found":
                raise
            await self._pinned(await self._header_posted(work, incident))
        await self._to_furnish(incident)
        return Done()

    async def _to_furnish(self, incident: Incident) -> None:
        """Have topic and bookmarks brought up to date when they need it.

        By a row of its own, in no lane: Slack takes 20 such calls a minute, and nothing that people must decide on
        shall queue behind them.
        """
        channel = incident.channel or ""
        now = (furniture.standing(incident), incident.runbooks)
        if self._furnished.get(channel) == now:
            return
        key = f"furnish:{channel}:{incident.version}"
        row = Todo(key=key, kind="slack.furnish", incident=incident.number, merge=f"furnish:{channel}", priority=6)
        await self._desk.ledger.decide(answer.say_all, answer.SayAll(by=SLACK, todo=(row,)))
        if len(self._furnished) > REMEMBERED:
            self._furnished.clear()
        self._furnished[channel] = now

    async def furnish(self, work: Work) -> Result:
        """Bring topic and bookmarks up to date; what is refused keeps nothing else from being done."""
        incident = await self._desk.incident(work)
        if incident is None or incident.channel is None:
            return Done(note="no channel")
        await self._tolerant(self._topic(incident))
        await self._tolerant(self._bookmarks(incident))
        return Done(note=incident.channel)

    async def _tolerant(self, part: Coroutine[Any, Any, None]) -> None:
        try:
            await part
        except SlackRefused as refused:
            log.warning("%s", refused)

    async def _topic(self, incident: Incident) -> None:
        """Set the topic unless it says so already, or is somebody's own: each new one is a message in the channel."""
        found = await self._desk.slack.call("conversations.info", {"channel": incident.channel})
        now = str(((found.get("channel") or {}).get("topic") or {}).get("value") or "")
        if now and (not now.startswith(furniture.OURS) or now.startswith(furniture.standing(incident) + " ")):
            return
        arguments = {"channel": incident.channel, "topic": furniture.topic(incident)}
        await self._desk.slack.call("conversations.setTopic", arguments)

    async def _bookmarks(self, incident: Incident) -> None:
        """Add the links that are not there yet."""
        alerts = await self._desk.ledger.read(lambda rows: rows.alerts(incident.number))
        wanted = furniture.links(incident, alerts, self._desk.ledger.world.config, self._desk.public_url)
        if not wanted:
            return
        found = await self._desk.slack.call("bookmarks.list", {"channel_id": incident.channel})
        there = {str(row.get("link")) for row in found.get("bookmarks") or []}
        for link in wanted:
            if link.url not in there:
                arguments = {"title": link.title, "type": "link", "link": link.url, "emoji": link.emoji}
                await self._desk.slack.call("bookmarks.add", {"channel_id": incident.channel, **arguments})

    async def archive(self, work: Work) -> Result:
        """Archive the channel of an incident that is closed, and has been for as long as the policy says."""
        incident = await self._desk.incident(work)
        if incident is None or incident.channel is None:
            return Done(note="no channel")
        if incident.status is not Status.CLOSED or incident.closed_at is None:
            return Done(note="not closed any more")
        due = incident.closed_at + self._desk.ledger.world.config.policy.archive_after
        if due > self._desk.ledger.clock.now():
            return Done(note="closed again since: that has its own time")
        channel = incident.channel
        try:
            await self._archived(channel)
        except SlackRefused as refused:
            if refused.error not in _GONE:
                raise
        self._furnished.pop(channel, None)
        await self._desk.note(work, j.ChannelArchived(channel=channel))
        return Done(note=channel)

    async def _archived(self, channel: str) -> None:
        try:
            await self._desk.slack.call("conversations.archive", {"channel": channel})
        except SlackRefused as refused:
            if refused.error != "not_in_channel":
                raise
            await self._desk.slack.call("conversations.join", {"channel": channel})
            await self._desk.slack.call("conversations.archive", {"channel": channel})

    async def invite(self, work: Work) -> Result:
        """Invite who took a role."""
        incident = await self._desk.incident(work)
        if incident is None:
            return Done(note="no such incident")
        if incident.channel is None:
            return not_yet(self._desk, incident, work)
        await self._invite(incident, (str(work.body["person"]),))
        return Done()

    async def _invite(self, incident: Incident, people: tuple[str, ...]) -> None:
        """Invite people who are not known to be there; who cannot be invited is left out."""
        team = self._desk.ledger.world.config.team.people
        accounts = [found.slack for p in people if (found := team.get(p)) and found.slack]
        channel = incident.channel or ""
        wanted = [a for a in dict.fromkeys(accounts) if (channel, a) not in self._invited]
        for start in range(0, len(wanted), limits.INVITED):
            some = wanted[start : start + limits.INVITED]
            if not await self._invited_all(channel, some) and len(some) > 1:
                for account in some:
                    await self._invited_all(channel, [account])
            self._invited |= {(channel, account) for account in some}

    async def _invited_all(self, channel: str, accounts: list[str]) -> bool:
        """Invite them; return False when somebody among them is there already, or cannot be invited."""
        try:
            # With `force` Slack lets in whom it can; where it does not, one account would keep the others out.
            arguments = {"channel": channel, "users": ",".join(accounts), "force": True}
            await self._desk.slack.call("conversations.invite", arguments)
        except SlackRefused as refused:
            if refused.error not in _ALREADY | _CANNOT:
                raise
            return False
        return True


def _young(room: Room, incident: Incident) -> bool:
    return incident.opened_at is None or room.created >= (incident.opened_at - SKEW).timestamp()


def channel_name(incident: Incident, number: int = 1) -> str:
    """Return `inc-7-two-signatures`: legal, at most 80 characters; `number` over 1 is appended."""
    ascii_text = unicodedata.normalize("NFKD", clean(incident.summary, 200)).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", ascii_text.casefold())
    tail = f"-{number}" if number > 1 else ""
    name = incident.id
    for word in words[:8]:
        if len(name) + len(word) + 1 > 60:
            break
        name += f"-{word}"
    return limits.cut(name, limits.CHANNEL_NAME - len(tail)).removesuffix("…") + tail


def not_yet(desk: Desk, incident: Incident, work: Work) -> Result:
    """Come again while the channel is not open; give up in the end, which is told through another channel."""
    if incident.status is Status.CLOSED:
        return Done(note="its channel is archived")
    now = desk.ledger.clock.now()
    age = now - (incident.severity_since or now)  # also when it was last opened again
    if age > GIVE_UP:
        return Dead(why=f"the channel of {incident.id} was never opened")
    return again(work, now + max(timedelta(seconds=0.3), min(age / 8, timedelta(seconds=30))))
