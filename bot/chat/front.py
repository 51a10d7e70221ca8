"""The counter at which people's acts arrive: who is it, what is decided, what is answered. Knows no Bolt."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.chat.actions import kind
from bot.chat.answers import BROKEN, WORKING, Answer, say, sorry
from bot.chat.client import Slack
from bot.chat.commands import Scene
from bot.chat.directory import Directory
from bot.chat.places import Places
from bot.chat.seals import Seals
from bot.domain.authority import Actor
from bot.domain.team import Person
from bot.errors import Invalid, Refused, StopsignError
from bot.flows import answer, people
from bot.ledger import Ledger

log = logging.getLogger(__name__)

IN_TIME = 2.2
"""Seconds for a decision before the person hears `Working on it…`; Slack gives up after three."""
URL_LIVES = timedelta(minutes=25)
MINUTE = timedelta(minutes=1)
_LOOKED_AT = frozenset({"slack.view", "slack.respond", "slack.direct"})
BOT = Actor(person=None, via="slack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that somebody did in Slack. `id` is unique for it: the trigger or the event."""

    id: str
    user: str
    workspace: str = ""
    channel: str = ""
    response_url: str = ""
    what: str = ""
    """The command or the button, for the record of who was turned away."""


def act_of(body: Mapping[str, Any]) -> Act:
    """Read a slash command's or an interaction's body."""
    user = body.get("user") or {}
    channel = body.get("channel") or {}
    return Act(
        id=str(body.get("trigger_id") or ""),
        user=str(body.get("user_id") or user.get("id") or ""),
        workspace=str(user.get("team_id") or body.get("team_id") or (body.get("team") or {}).get("id") or ""),
        channel=str(body.get("channel_id") or channel.get("id") or ""),
        response_url=str(body.get("response_url") or ""),
        what=str(body.get("command") or body.get("callback_id") or _first(body.get("actions")) or body.get("type")),
    )


def _first(pressed: Any) -> str:
    return kind(str(pressed[0].get("action_id"))) if isinstance(pressed, list) and pressed else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An identified person with what they did."""

    person: Person
    act: Act

    @property
    def by(self) -> Actor:
        """Return who acts, for the journal."""
        return Actor(person=self.person.id, via="slack")


Decision = Callable[[Caller], Awaitable[Answer]]


class Front:
    """Identifies, decides in time, and enqueues what has to be said later."""

    def __init__(
        self, *, ledger: Ledger, directory: Directory, places: Places, slack: Slack, seals: Seals, command: str
    ) -> None:
        self.ledger = ledger
        self.places = places
        self.seals = seals
        self.command = command
        self._directory = directory
        self._slack = slack
        self._tasks: set[asyncio.Task[Any]] = set()
        self._turned: dict[str, datetime] = {}

    async def scene(self, act: Act) -> Scene:
        """Return what a command typed here may refer to."""
        inventory = self.ledger.world.config.inventory
        here = await self.places.incident_of(act.channel)
        live = await self.ledger.read(lambda rows: tuple(i.number for i in rows.incidents(live_only=True, limit=50)))
        team = self.ledger.world.config.team
        avs, nodes = tuple(inventory.avs), tuple(inventory.nodes)
        return Scene(
            here=here, live=live, avs=avs, nodes=nodes, person=lambda text: p.id if (p := team.named(text)) else None
        )

    async def decided(self, act: Act, decision: Decision) -> Answer:
        """Identify who acts and decide; whatever goes wrong becomes an answer."""
        try:
            person = await self._person(act)
            return await decision(Caller(person=person, act=act))
        except StopsignError as error:
            return sorry(error)
        except Exception:  # the listeners' outermost edge: recorded, and told to the person
            log.exception("an act in Slack failed")
            return BROKEN

    async def _person(self, act: Act) -> Person:
        """Return who acts; who has no standing is refused, and that is written down, at most once a minute each."""
        try:
            return await self._directory.person(self.ledger.world.config.team, act.user, act.workspace)
        except Refused as refused:
            now = self.ledger.clock.now()
            if self._turned.get(act.user, now - MINUTE) <= now - MINUTE:
                self._turned = {user: at for user, at in self._turned.items() if at > now - MINUTE} | {act.user: now}
                self._spawn(self._turn_away(act, str(refused)))
            raise

    async def _turn_away(self, act: Act, why: str) -> None:
        try:
            number = await self.places.incident_of(act.channel)
            command = people.TurnAway(by=BOT, incident=number, account=act.user, command=act.what, reason=why)
            await self.ledger.decide(people.turn_away, command)
        except StopsignError:
            log.exception("%s was turned away, which could not be written down", act.user)

    async def in_time(self, act: Act, decision: Decision) -> Answer:
        """Return the answer, or after a moment `Working on it…`; the answer then comes by itself."""
        task = self._spawn(self.decided(act, decision))
        try:
            return await asyncio.wait_for(asyncio.shield(task), IN_TIME)
        except TimeoutError:
            self._spawn(self._late(act, task))
            return WORKING

    async def tell(self, act: Act, given: Answer, *, part: str = "") -> Answer | None:
        """Enqueue what cannot travel in the acknowledgement: a form to open, or an answer by response address.

        One act is answered once; `part` tells a second answer to it from the first. What was decided stands even if
        this cannot be stored: then the reason is returned, and the act is still acknowledged.
        """
        try:
            await self._tell(act, given, part)
        except StopsignError as error:
            log.exception("an answer could not be enqueued")
            return sorry(error)
        return None

    async def _tell(self, act: Act, given: Answer, part: str) -> None:
        if given.form is not None:
            body = {
                "trigger_id": act.id,
                "view": given.form,
                "response_url": act.response_url,
                "instead": given.instead,
            }
            await self.enqueue("slack.view", f"view:{act.id}", body)
        elif not act.response_url:
            await self.enqueue("slack.direct", f"direct:{act.id}{part}", {"user": act.user, "message": given.body()})
        else:
            until = self.ledger.clock.now() + URL_LIVES
            body = {"url": act.response_url, "message": given.body(), "until": until.isoformat()}
            await self.enqueue("slack.respond", f"respond:{act.id}{part}", body)

    async def pin(self, caller: Caller, ts: str) -> Answer:
        """Have one message written into the timeline of the channel's incident, with its files as evidence."""
        act = caller.act
        number = await self.places.incident_of(act.channel)
        if number is None:
            raise Invalid("This channel belongs to no incident: messages of an incident's channel can be kept.")
        await self.pinned(act.channel, ts, act.user, act.workspace)
        return say(f"📌 It goes into the timeline of inc-{number}; files become evidence.")

    async def pinned(self, channel: str, ts: str, user: str, workspace: str) -> None:
        """Enqueue the reading of one message, once for each person who points at it."""
        body = {"channel": channel, "ts": ts, "user": user, "workspace": workspace}
        await self.enqueue("slack.pin", f"pin:{channel}:{ts}:{user}", body)

    async def edited(self, event: Mapping[str, Any]) -> None:
        """Enqueue the change of a message, if it was noted; what else is said in channels is never kept."""
        channel, now = str(event.get("channel") or ""), event.get("message") or {}
        was = event.get("previous_message") or {}
        ts = str(event.get("deleted_ts") or now.get("ts") or was.get("ts") or "")
        me = self._directory.known_self
        if me is not None and (now or was).get("user") == me.user:
            return  # our own header, each second
        number = await self.places.incident_of(channel)
        incident = await self.places.get(number) if number is not None else None
        if incident is None or f"slack:{channel}/{ts}" not in incident.noted:
            return
        gone = event.get("subtype") == "message_deleted" or now.get("subtype") == "tombstone"
        text = None if gone else str(now.get("text") or "")
        body = {"channel": channel, "ts": ts, "incident": number, "text": text}
        await self.enqueue("slack.edited", f"edited:{channel}:{ts}:{event.get('event_ts') or event.get('ts')}", body)

    async def enqueue(self, kind: str, key: str, body: Mapping[str, Any]) -> None:
        """Make a work row of something to be said."""
        priority = 0 if kind in _LOOKED_AT else 6
        await self.ledger.decide(answer.say, answer.Say(by=BOT, kind=kind, key=key, body=body, priority=priority))

    def redacted(self, view: dict[str, Any]) -> dict[str, Any]:
        """Return a view as it may leave, without secrets."""
        return self._slack.redacted(view)

    def outgoing(self, given: Answer) -> dict[str, Any]:
        """Return an answer as an acknowledgement's body, without secrets."""
        body = self._slack.redacted(given.body())
        body.pop("replace_original")
        return body

    async def aclose(self) -> None:
        """Let late answers end for a moment."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        for task in self._tasks:
            task.cancel()

    async def _late(self, act: Act, task: "asyncio.Task[Answer]") -> None:
        await self.tell(act, await task, part=":late")

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
