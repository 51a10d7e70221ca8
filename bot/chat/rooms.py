"""The incident's channel: opened, named, its header posted, pinned and kept current, its people invited."""

import re
import unicodedata
from datetime import timedelta

from bot.chat import limits
from bot.chat.client import SlackRefused
from bot.chat.directory import Room
from bot.chat.header import header
from bot.chat.outbox import Desk, again, unsure
from bot.chat.words import clean, said
from bot.domain import journal as j
from bot.domain.incident import Incident
from bot.domain.work import Dead, Done, Result, Work

SKEW = timedelta(minutes=5)
"""How far Slack's clock and ours may be apart."""
NAMES = 9
GIVE_UP = timedelta(hours=6)
"""After this long without its channel, a message is buried, which is told elsewhere."""
_ALREADY = frozenset({"already_in_channel", "cant_invite_self"})
_CANNOT = frozenset(
    {"user_not_found", "cant_invite", "user_is_restricted", "user_is_ultra_restricted", "user_disabled"}
)


class Rooms:
    """Handles `slack.channel`, `slack.header` and `slack.invite`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._invited: set[tuple[str, str]] = set()

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
        await self._invite(incident, incident.people)
        topic = limits.cut(
            f"{incident.severity} {said(incident.avs or '', 60)} {said(incident.summary, 150)}", limits.TOPIC
        )
        await self._desk.slack.call("conversations.setTopic", {"channel": incident.channel, "topic": topic})
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
        message = header(incident, config, now, self._desk.seals, self._desk.public_url)
        ts = await self._desk.post(work, incident.channel, message, part="header")
        return await self._desk.note(work, j.HeaderPosted(ts=ts))

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
        message = header(incident, config, now, self._desk.seals, self._desk.public_url)
        arguments = message.arguments() | {"channel": incident.channel, "ts": incident.header}
        try:
            await self._desk.slack.call("chat.update", arguments)
        except SlackRefused as refused:
            if refused.error != "message_not_found":
                raise
            await self._pinned(await self._header_posted(work, incident))
        return Done()

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
            try:
                arguments = {"channel": channel, "users": ",".join(some), "force": True}
                await self._desk.slack.call("conversations.invite", arguments)
            except SlackRefused as refused:
                if refused.error not in _ALREADY | _CANNOT:
                    raise
        self._invited |= {(channel, account) for account in wanted}


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
    now = desk.ledger.clock.now()
    age = now - (incident.opened_at or now)
    if age > GIVE_UP:
        return Dead(why=f"the channel of {incident.id} was never opened")
    return again(work, now + max(timedelta(seconds=0.3), min(age / 8, timedelta(seconds=30))))
