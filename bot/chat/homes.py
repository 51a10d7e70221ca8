"""Home tabs and direct answers: what one person sees outside of any channel."""

import hashlib
from collections import OrderedDict

from bot.chat import home
from bot.chat.client import SlackRefused
from bot.chat.kit import Message
from bot.chat.outbox import SLACK, Desk
from bot.domain.incident import Incident
from bot.domain.watch import Watch
from bot.domain.work import Backlog, Done, Result, Todo, Work
from bot.errors import Refused
from bot.flows import answer
from bot.ports import Rows
from bot.render.backlog import behind

FOLLOWED = 200
"""So many people's homes are kept current: those who looked last."""
READ = 200
_OFF = frozenset({"not_enabled", "user_not_found", "access_denied", "not_found"})


class Homes:
    """Handles `slack.home`, `slack.homes` and `slack.direct`."""

    def __init__(self, desk: Desk, *, command: str) -> None:
        self._desk = desk
        self._command = command
        self._opened: OrderedDict[str, None] = OrderedDict()
        """Who has looked at home in this process's life, the last at the end."""

    async def home(self, work: Work) -> Result:
        """Publish one person's home as it stands now; somebody who does not belong is told so."""
        user = str(work.body["user"])
        team = self._desk.ledger.world.config.team
        try:
            person = await self._desk.directory.checked(team, user, "")
        except Refused as refused:
            self._opened.pop(user, None)
            view = home.stranger(str(refused))
        else:
            self._follow(user)
            ledger = self._desk.ledger
            now = ledger.clock.now()
            incidents, watch, waits = await ledger.read(lambda rows: (_shown(rows), rows.watch(), rows.backlog(now)))
            view = self._view(person.id, incidents, watch, waits)
        try:
            await self._desk.slack.call("views.publish", {"user_id": user, "view": view})
        except SlackRefused as refused:
            if refused.error not in _OFF:
                raise
            self._opened.pop(user, None)
            return Done(note=str(refused))
        return Done(note=user)

    def _view(self, person: str, incidents: tuple[Incident, ...], watch: Watch, waits: Backlog) -> dict[str, object]:
        config, now = self._desk.ledger.world.config, self._desk.ledger.clock.now()
        return home.home(
            config.team.people[person],
            incidents,
            watch,
            config,
            now,
            self._desk.seals,
            self._desk.public_url,
            command=self._command,
            behind=behind(waits, now),
        )

    def _follow(self, user: str) -> None:
        self._opened[user] = None
        self._opened.move_to_end(user)
        while len(self._opened) > FOLLOWED:
            self._opened.popitem(last=False)

    async def refresh(self, work: Work) -> Result:
        """Have the homes of those who looked published anew, each by a row of its own: one waits for no other."""
        rows = tuple(
            Todo(
                key=f"home:{user}:{hashlib.sha256(work.key.encode()).hexdigest()[:12]}",
                kind="slack.home",
                body={"user": user},
                merge=f"home:{user}",
                priority=7,
            )
            for user in self._opened
        )
        if rows:
            await self._desk.ledger.decide(answer.say_all, answer.SayAll(by=SLACK, todo=rows))
        return Done(note=f"{len(rows)} homes")

    async def direct(self, work: Work) -> Result:
        """Answer somebody by direct message, where what they did has no place to answer at."""
        user, told = str(work.body["user"]), work.body["message"]
        if not user:
            return Done(note="nobody to tell")
        message = Message(text=str(told["text"]), blocks=tuple(told.get("blocks") or ()))
        room = await self._desk.directory.direct(user)
        return Done(note=await self._desk.post(work, room, message))


def _shown(rows: Rows) -> tuple[Incident, ...]:
    """Return the live incidents, and resolved ones on which something may still wait for agreement."""
    live = rows.incidents(live_only=True, limit=READ)
    known = {incident.number for incident in live}
    return (*live, *(incident for incident in rows.holding() if incident.number not in known))
