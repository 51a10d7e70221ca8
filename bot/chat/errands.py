"""Small things for one person: a form, an answer, a pinned message, a file."""

import asyncio
from datetime import datetime
from typing import Any

from bot.chat.client import SlackRefused
from bot.chat.outbox import SLACK, Desk, unsure
from bot.chat.places import Places
from bot.chat.words import read
from bot.domain.authority import Actor
from bot.domain.journal import EvidenceMissing
from bot.domain.work import Done, Result, Work
from bot.errors import ChatError, ChatLater, Invalid, Refused
from bot.flows import people
from bot.steps.evidence import Keeper, Where

NOTHING = "(a message without text)"
CHAT_FILE = "chat_file"
PATIENCE = 5
"""Times that a file which does not come is asked for."""
FILES = 20
"""Files of one message that are kept; Slack takes ten in one."""


class Errands:
    """Handles `slack.view`, `slack.respond`, `slack.pin`, `slack.edited` and `slack.file`."""

    def __init__(self, desk: Desk, places: Places) -> None:
        self._desk = desk
        self._places = places
        self._keeper = Keeper(desk.ledger, desk.blobs)

    async def view(self, work: Work) -> Result:
        """Open a form. Its trigger lives three seconds: when that fails, the person is told what to type instead."""
        body = work.body
        if work.attempt > 1:
            return await self._instead(body)
        try:
            await self._desk.slack.call("views.open", {"trigger_id": body["trigger_id"], "view": body["view"]})
        except ChatError as error:
            await self._instead(body)
            return Done(note=str(error))
        return Done()

    async def _instead(self, body: Any) -> Result:
        url = str(body.get("response_url") or "")
        if url:
            text = f"The form came too late: Slack gives it three seconds. {body.get('instead', 'Please try again.')}"
            try:
                await self._desk.slack.answer(
                    url, {"text": text, "response_type": "ephemeral", "replace_original": False}
                )
            except ChatError as error:
                return Done(note=f"not told either: {error}")
        return Done(note="too late for a form")

    async def respond(self, work: Work) -> Result:
        """Answer a person by the address that Slack gave for it, which lives half an hour."""
        until = datetime.fromisoformat(str(work.body["until"]))
        if self._desk.ledger.clock.now() > until:
            return Done(note="too late: the address is no longer good")
        try:
            await self._desk.slack.answer(str(work.body["url"]), dict(work.body["message"]))
        except SlackRefused as refused:
            return Done(note=str(refused))
        return Done()

    async def pin(self, work: Work) -> Result:
        """Write a message that somebody pinned with 📌 into the timeline, once."""
        channel, ts = str(work.body["channel"]), str(work.body["ts"])
        number = await self._places.incident_of(channel)
        if number is None:
            return Done(note="not an incident's channel")
        found = await self._message(channel, ts)
        if found is None:
            return Done(note="the message is gone")
        text, author = await self._read(found)
        team, user = self._desk.ledger.world.config.team, str(work.body["user"])
        source = f"slack:{channel}/{ts}"
        try:
            person = await self._desk.directory.checked(team, user, str(work.body["workspace"]))
            by = Actor(person=person.id, via="slack")
            command = people.AddNote(by=by, incident=number, text=text, source=source, author=author)
            await self._desk.ledger.decide(people.add_note, command)
        except (Refused, Invalid) as error:
            return Done(note=str(error))
        why = f"posted by {author or 'somebody'}, kept by {person.id}"
        for file in list(found.get("files") or [])[:FILES]:
            await self._keep(work, number, source, dict(file), why)
        return Done()

    async def _keep(self, work: Work, number: int, source: str, file: dict[str, Any], why: str) -> None:
        """Keep a posted file as evidence; what cannot be had is written down, with the reason."""
        name, id_ = str(file.get("name") or "")[:200], str(file.get("id") or "")
        where = Where(
            incident=number,
            node=None,
            source=f"{source}/{id_} {name}",
            tool="Slack files, url_private_download",
            by=SLACK,
            reason=why,
        )
        media_type = str(file.get("mimetype") or "application/octet-stream")[:100]
        try:
            chunks = self._desk.slack.download(str(file.get("url_private_download") or ""), size=file.get("size"))
            await self._keeper.keep(where, what=CHAT_FILE, media_type=media_type, chunks=chunks, holding=work)
        except (SlackRefused, ChatLater, ValueError) as refused:
            if isinstance(refused, ChatLater) and work.attempt < PATIENCE:
                raise
            what, said = f"{CHAT_FILE} {name}", str(refused)
            known = [w.entry for w in await self._desk.ledger.read(lambda rows: rows.entries(number))]
            if EvidenceMissing(what=what, node=None, reason=said) not in known:
                await self._keeper.missing(where, what, said)

    async def edited(self, work: Work) -> Result:
        """Write down that a noted message was edited or deleted."""
        text = work.body["text"]
        words = read(str(text), self._name) if text is not None else None
        source = f"slack:{work.body['channel']}/{work.body['ts']}"
        command = people.ChangeNote(by=SLACK, incident=int(work.body["incident"]), source=source, text=words)
        changed = await self._desk.ledger.decide(people.change_note, command)
        return Done(note="" if changed else "nothing new")

    def _name(self, user: str) -> str:
        found = self._desk.ledger.world.config.team.by_slack(user)
        return found.name if found else user

    async def _message(self, channel: str, ts: str) -> dict[str, Any] | None:
        window = {"channel": channel, "latest": ts, "oldest": ts, "inclusive": True, "limit": 5}
        rows = (await self._desk.slack.call("conversations.history", window)).get("messages", [])
        if not any(row.get("ts") == ts for row in rows):
            try:
                rows = (await self._desk.slack.call("conversations.replies", window | {"ts": ts})).get("messages", [])
            except SlackRefused:
                return None
        return next((dict(row) for row in rows if row.get("ts") == ts), None)

    async def _read(self, message: dict[str, Any]) -> tuple[str, str | None]:
        """Return a message's words and who wrote them: a person's id where we know them."""
        team = self._desk.ledger.world.config.team
        user = str(message.get("user") or "")
        known = team.by_slack(user)
        files = ", ".join(str(f.get("name")) for f in message.get("files", []))
        words = read(str(message.get("text") or ""), self._name)
        text = words + (f" [files: {files}]" if files else "")
        author = known.id if known else (await self._desk.directory.name(user) if user else None)
        return text.strip() or NOTHING, author

    async def file(self, work: Work) -> Result:
        """Post the postmortem's draft as a file, once."""
        incident = await self._desk.incident(work)
        if incident is None or incident.channel is None:
            return Done(note="no channel to post to")
        name = f"postmortem-{incident.id}-{work.body['item']}.md"  # each resolution has its own
        if unsure(work) and await self._shared(incident.channel, name):
            return Done(note="was posted already")
        content = await asyncio.to_thread(self._desk.blobs.read, str(work.body["sha256"]))
        due = f" It is due on {incident.postmortem_due}." if incident.postmortem_due else ""
        arguments = {
            "channel": incident.channel,
            "filename": name,
            "title": f"Postmortem {incident.id}, draft",
            "content": content.decode("utf-8", "replace"),
            "initial_comment": f"📄 The postmortem's draft, from the journal and the evidence.{due}",
        }
        await self._desk.slack.call("files.upload_v2", arguments)
        return Done(note=name)

    async def _shared(self, channel: str, name: str) -> bool:
        page = await self._desk.slack.call("conversations.history", {"channel": channel, "limit": 200})
        return any(f.get("name") == name for row in page.get("messages", []) for f in row.get("files", []))
