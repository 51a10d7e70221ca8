"""The edge between the work table and Slack: what was perhaps posted is looked for before it is posted again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.chat import actions
from bot.chat.client import Slack, SlackRefused
from bot.chat.directory import Directory
from bot.chat.kit import Message
from bot.chat.messages import Setting
from bot.chat.pacing import Wait
from bot.chat.seals import Seals
from bot.domain import journal as j
from bot.domain.authority import Actor
from bot.domain.incident import Incident
from bot.domain.journal import Entry, Written
from bot.domain.work import Again, Dead, Result, Work
from bot.errors import ChatLater, ChatLost
from bot.flows import record
from bot.ledger import Ledger
from bot.ports import Blobs

Handler = Callable[[Work], Awaitable[Result]]
SLACK = Actor(person=None, via="slack")
UNSURE = "unsure"
"""In a work's body: an earlier try may have posted."""
PAGES = 5
LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What every outbound handler works with."""

    slack: Slack
    directory: Directory
    ledger: Ledger
    seals: Seals
    blobs: Blobs
    public_url: str | None = None

    def setting(self) -> Setting:
        """Return what messages may look at, as of now."""
        return Setting(config=self.ledger.world.config, seals=self.seals, now=self.ledger.clock.now())

    async def incident(self, work: Work) -> Incident | None:
        """Return the incident of a work as it stands."""
        number = work.incident or 0
        return await self.ledger.read(lambda rows: rows.incident(number))

    async def written(self, work: Work, stream: int | None) -> Written | None:
        """Return the journal entry that a work is about."""
        n = int(work.body["n"])
        return await self.ledger.read(lambda rows: rows.entry(stream, n))

    async def note(self, work: Work, entry: Entry) -> Incident:
        """Enter what was done into the incident's journal, while the work is ours."""
        command = record.Note(by=SLACK, incident=work.incident or 0, entry=entry)
        return await self.ledger.decide(record.note, command, holding=work)

    async def post(self, work: Work, channel: str, message: Message, *, part: str = "") -> str:
        """Post once under the work's key (and `part` of it) and return the message's timestamp."""
        key = f"{work.key}{f':{part}' if part else ''}"
        if unsure(work) and (found := await self._posted(channel, key, work)):
            return found
        arguments = message.arguments() | {
            "channel": channel,
            "metadata": {"event_type": actions.EVENT_TYPE, "event_payload": {"key": key}},
            "unfurl_links": False,
            "unfurl_media": False,
        }
        return str((await self.slack.call("chat.postMessage", arguments))["ts"])

    async def _posted(self, channel: str, key: str, work: Work) -> str | None:
        cursor = ""
        for _ in range(PAGES):
            arguments: dict[str, object] = {"channel": channel, "include_all_metadata": True, "limit": 200}
            page = await self.slack.call("conversations.history", arguments | ({"cursor": cursor} if cursor else {}))
            for row in page.get("messages", []):
                if ((row.get("metadata") or {}).get("event_payload") or {}).get("key") == key:
                    return str(row["ts"])
            cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                break
        return None


GONE = frozenset({"is_archived", "channel_not_found", "not_in_channel"})


def rehoused(desk: Desk, handler: Handler) -> Handler:
    """Return the handler of work in an incident's channel; a live incident whose channel was taken away gets another.

    The work then comes again, and finds it.
    """

    async def run(work: Work) -> Result:
        try:
            return await handler(work)
        except SlackRefused as refused:
            incident = await desk.incident(work)
            if refused.error not in GONE or incident is None or not incident.status.live or incident.channel is None:
                raise
            await desk.note(work, j.ChannelArchived(channel=incident.channel))
            return again(work, desk.ledger.clock.now() + timedelta(seconds=1))

    return run


def unsure(work: Work) -> bool:
    """Tell whether an earlier try may have had its effect."""
    return work.attempt > 1 or bool(work.body.get(UNSURE))


def edge(handler: Handler, now: Callable[[], datetime], *, parts: bool = False) -> Handler:
    """Return the handler with everything that Slack can do to it translated into results.

    Our own pace is no failure: the row comes again, and remembers whether a try before may have posted (with `parts`
    it always may: it posts several times). A lost answer is never a reason to bury. What Slack refuses for good is.
    """

    async def run(work: Work) -> Result:
        try:
            return await handler(work)
        except Wait as wait:
            return again(work, now() + timedelta(seconds=wait.after), posted=parts)
        except ChatLost as lost:
            raise ChatLater(str(lost), after=min(LONGEST_PAUSE, 0.25 * 2 ** min(work.attempt, 8))) from lost
        except SlackRefused as refused:
            return Dead(why=str(refused))

    return run


def again(work: Work, at: datetime, *, posted: bool = False) -> Again:
    """Return that the row comes again at `at`. That resets its tries: what they may have done is kept in its body."""
    return Again(at=at, body={**work.body, UNSURE: True} if posted or unsure(work) else None)
