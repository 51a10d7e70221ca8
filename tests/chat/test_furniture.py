"""What an incident's channel is furnished with: topic, links, people, user groups; and how it ends."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.chat import furniture
from bot.chat.client import SlackRefused
from bot.chat.outbound import KINDS
from bot.domain import journal as j
from bot.domain.authority import BOT, Actor
from bot.domain.incident import Incident
from bot.domain.policy import Paging, Policy
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.flows import people, record
from tests.chat.conftest import Stage
from tests.fakes import config

ADA = Actor(person="ada", via="cli")


def lowered(stage: Stage, severity: Severity) -> Any:
    """Return the decision that changes the severity."""
    command = people.SetSeverity(by=ADA, incident=1, severity=severity, reason="it was a scrape artefact")
    return stage.room.decide(people.set_severity, command)


async def topics_of(stage: Stage) -> list[str]:
    """Return every topic that was set, in order."""
    return [call["args"]["topic"] for call in await stage.hands.calls("conversations.setTopic")]


async def bookmarks_of(stage: Stage) -> list[tuple[str, str]]:
    """Return title and address of every bookmark that was added."""
    return [(c["args"]["title"], c["args"]["link"]) for c in await stage.hands.calls("bookmarks.add")]


# ---- topic


async def test_the_topic_follows_severity_and_status_and_nothing_else(stage: Stage) -> None:
    await stage.opened()
    await stage.idle()
    for n in range(3):
        note = people.AddNote(by=ADA, incident=1, text=f"note {n}", source="note")
        await stage.room.decide(people.add_note, note)
    await stage.idle()
    assert [topic[:10] for topic in await topics_of(stage)] == ["SEV-1 open"]
    await stage.room.decide(people.take_role, people.TakeRole(by=ADA, incident=1, role=Role.IC))
    await lowered(stage, Severity.SEV2)
    await stage.idle()
    assert [topic[:10] for topic in await topics_of(stage)] == ["SEV-1 open", "SEV-2 open"]
    channel = await stage.hands.channel(str((await stage.room.incident()).channel_name))
    assert channel["topic"].startswith("SEV-2 open · ")


async def test_a_topic_that_somebody_wrote_stays(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.idle()
    own = {"channel": incident.channel, "topic": "call: https://meet.example/7"}
    await stage.chat.slack.call("conversations.setTopic", own)
    await stage.room.decide(people.take_role, people.TakeRole(by=ADA, incident=1, role=Role.IC))
    await lowered(stage, Severity.SEV2)
    await stage.idle()
    assert (await stage.hands.channel(str(incident.channel_name)))["topic"] == own["topic"]


def test_a_topic_fits_whatever_the_alert_says() -> None:
    incident = Incident(number=7, severity=Severity.SEV1, avs="a" * 300, summary="<!channel> & " * 100)
    made = furniture.topic(incident)
    assert len(made) <= 250
    assert made.startswith("SEV-1 open · aaa")
    assert "<" not in made


# ---- links


async def test_console_and_evidence_are_linked_once(stage: Stage) -> None:
    await stage.hands.fail({"method": "bookmarks.add", "count": 1, "drop_after_processing": True})
    await stage.opened()
    await stage.idle()
    await stage.idle()
    page = "https://stopsign.example/console/inc-1"
    there = await stage.chat.slack.call("bookmarks.list", {"channel_id": (await stage.room.incident()).channel or ""})
    assert [(b["title"], b["link"]) for b in there["bookmarks"]] == [
        ("Console", page),
        ("Evidence", f"{page}#evidence"),
    ]
    assert len(await bookmarks_of(stage)) == 2


async def test_bookmarks_that_are_refused_keep_nothing_else_from_being_done(stage: Stage) -> None:
    await stage.hands.fail({"method": "bookmarks.*", "http_500": True})
    incident = await stage.opened()
    furnished = await stage.hands.until(lambda s: any(c["topic"].startswith("SEV-1 open") for c in s["channels"]))
    assert next(c for c in furnished["channels"] if c["id"] == incident.channel)["pins"] == [incident.header]
    told = people.AddNote(by=ADA, incident=1, text="it goes on", source="note")
    await stage.room.decide(people.add_note, told)
    assert await stage.find(str(incident.channel), "it goes on")


def linked(annotations: Mapping[str, str], hosts: tuple[str, ...] = (), public: str | None = None) -> list[str]:
    """Return the addresses that an alert with these annotations leads to."""
    chosen = config(policy=Policy(runbook_hosts=hosts))
    found = furniture.links(Incident(number=7), [{"annotations": annotations, "name": "A"}], chosen, public)
    return [link.url for link in found if link.title.startswith("Runbook")]


@pytest.mark.parametrize(
    ("url", "hosts", "public", "follows"),
    [
        ("https://docs.example/r.md", ("docs.example",), None, True),
        ("https://DOCS.example/r.md", ("docs.example",), None, True),
        ("https://docs.example:8443/r.md", ("docs.example:8443",), None, True),
        ("https://stop.example/runbooks/A.md", (), "https://stop.example/", True),
        ("https://docs.example/r.md", (), None, False),
        ("https://docs.example/r.md", (), "https://stop.example", False),
        ("https://docs.example:8443/r.md", ("docs.example",), None, False),
        ("https://docs.example@evil.example/", ("docs.example",), None, False),
        ("https://u:p@docs.example/", ("docs.example",), None, False),
        ("https://evil.example/docs.example", ("docs.example",), None, False),
        ("https://docs.example.evil.example/", ("docs.example",), None, False),
        ("https://docs.example\\@evil.example/", ("docs.example",), None, False),
        ("javascript:alert(1)", ("docs.example",), None, False),
        ("javascript://docs.example/%0aalert(1)", ("docs.example",), None, False),
        ("https://docs.example/ <!channel>", ("docs.example",), None, False),
        ("https://docs.example/\u202egpj", ("docs.example",), None, False),
        ("https://[docs.example/", ("docs.example",), None, False),
        ("//docs.example/x", ("docs.example",), None, False),
        ("https://docs.example/" + "x" * 3000, ("docs.example",), None, False),
    ],
)
def test_a_runbook_is_linked_only_on_named_hosts(
    url: str, hosts: tuple[str, ...], public: str | None, follows: bool
) -> None:
    assert linked({"runbook_url": url}, hosts, public) == ([url] if follows else [])


def test_few_runbooks_are_linked_and_each_once() -> None:
    alerts = [{"annotations": {"runbook_url": f"https://docs.example/{n % 5}"}, "name": f"A{n}"} for n in range(20)]
    chosen = config(policy=Policy(runbook_hosts=("docs.example",)))
    assert len(furniture.links(Incident(number=7), alerts, chosen, None)) == furniture.RUNBOOKS


# ---- people


async def test_one_bad_account_does_not_keep_the_others_out(stage: Stage) -> None:
    team = stage.room.ledger.world.config.team
    gone = replace(team.people["bo"], slack="U0NOBODY")
    world = stage.room.ledger.world
    stage.room.ledger.world = replace(
        world, config=replace(world.config, team=replace(team, people={**team.people, "bo": gone}))
    )
    incident = await stage.opened()
    await stage.idle()
    members = (await stage.hands.channel(str(incident.channel_name)))["members"]
    assert {"U0ADA", "U0CYN", "U0DAN"} <= set(members)
    assert [key for key, _ in stage.buried if "page" not in key] == []


async def test_people_are_invited_one_by_one_where_slack_takes_all_or_nobody(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stage.chat.slack.call

    async def strict(method: str, arguments: Mapping[str, object]) -> Mapping[str, Any]:
        if method == "conversations.invite" and "," in str(arguments["users"]):
            raise SlackRefused(method, "cant_invite")
        return await real(method, arguments)

    monkeypatch.setattr(stage.chat.slack, "call", strict)
    incident = await stage.opened()
    await stage.idle()
    members = (await stage.hands.channel(str(incident.channel_name)))["members"]
    assert {"U0ADA", "U0BO", "U0CYN", "U0DAN"} <= set(members)
    assert stage.buried == []


# ---- user groups


def test_the_groups_of_a_severity_are_mentioned() -> None:
    paging = Paging(slack_groups={Severity.SEV1: ("S0123ABCD", "S0456EFGH", "S0123ABCD"), Severity.SEV2: ()})
    chosen = config(policy=Policy(paging=paging))
    parts = furniture.groups_line(Incident(number=1, severity=Severity.SEV1), chosen)
    assert [p["usergroup_id"] for p in parts if isinstance(p, dict)] == ["S0123ABCD", "S0456EFGH"]
    assert furniture.groups_line(Incident(number=1, severity=Severity.SEV2), chosen) == []
    assert furniture.groups_line(Incident(number=1, severity=Severity.SEV3), chosen) == []


class TestGroups:
    """With groups in the policy."""

    @pytest.fixture
    def policy(self) -> Policy:
        """A policy that has a group called."""
        return Policy(paging=Paging(slack_groups={Severity.SEV1: ("S0123ABCD",)}))

    async def test_the_announcement_calls_them(self, stage: Stage) -> None:
        await stage.opened()
        await stage.idle()
        [told] = await stage.hands.messages("incidents")
        assert {"type": "usergroup", "usergroup_id": "S0123ABCD"} in told["blocks"][0]["elements"][0]["elements"]


# ---- the end


async def note(stage: Stage, entry: j.Entry) -> None:
    """Write an entry."""
    await stage.room.decide(record.note, record.Note(by=BOT, incident=1, entry=entry))


async def entries(stage: Stage, kind: type[j.Entry]) -> list[Any]:
    """Return the incident's entries of a kind."""
    return [w.entry for w in await stage.room.journal() if isinstance(w.entry, kind)]


class TestArchiving:
    """With a policy that archives at once."""

    @pytest.fixture
    def policy(self) -> Policy:
        """A policy that waits for a moment only."""
        return Policy(archive_after=timedelta(seconds=0.3))

    async def closed(self, stage: Stage) -> Incident:
        """Return an incident with a channel, just closed."""
        incident = await stage.opened()
        await stage.idle()
        await note(stage, j.Resolved(summary="over"))
        await note(stage, j.Closed(reason="nothing is left"))
        return incident

    async def test_the_channel_of_a_closed_incident_is_archived_and_that_is_written_down(self, stage: Stage) -> None:
        incident = await self.closed(stage)
        after = await stage.until(lambda i: i.channel is None)
        assert after.header is None
        assert (await stage.hands.channel(str(incident.channel_name)))["archived"]
        assert [e.channel for e in await entries(stage, j.ChannelArchived)] == [incident.channel]
        await stage.idle()
        assert stage.buried == []

    async def test_a_channel_that_somebody_archived_before_is_well(self, stage: Stage) -> None:
        incident = await stage.opened()
        await stage.idle()
        await note(stage, j.Resolved(summary="over"))
        await stage.idle()
        await stage.chat.slack.call("conversations.archive", {"channel": str(incident.channel)})
        await note(stage, j.Closed(reason="nothing is left"))
        await stage.until(lambda i: i.channel is None)
        assert [e.channel for e in await entries(stage, j.ChannelArchived)] == [incident.channel]

    async def test_a_lost_answer_writes_it_down_once(self, stage: Stage) -> None:
        await stage.hands.fail({"method": "conversations.archive", "count": 1, "drop_after_processing": True})
        await self.closed(stage)
        await stage.until(lambda i: i.channel is None)
        await stage.idle()
        assert len(await entries(stage, j.ChannelArchived)) == 1

    async def test_an_incident_that_is_open_again_keeps_its_channel(self, stage: Stage) -> None:
        await self.closed(stage)
        await note(stage, j.Reopened(reason="it was not over", was="closed"))
        await asyncio.sleep(0.5)
        await stage.idle()
        incident = await stage.room.incident()
        assert incident.channel is not None
        assert not (await stage.hands.channel(str(incident.channel_name)))["archived"]

    async def test_one_that_is_reopened_after_it_was_archived_gets_a_new_channel(self, stage: Stage) -> None:
        first = await self.closed(stage)
        await stage.until(lambda i: i.channel is None)
        await note(stage, j.Reopened(reason="it was not over", was="closed"))
        again = await stage.until(lambda i: i.header is not None)
        await stage.idle()
        assert (again.channel_name, again.channel != first.channel) == (f"{first.channel_name}-2", True)
        channel = await stage.hands.channel(str(again.channel_name))
        assert channel["pins"] == [again.header]
        assert set(again.people) <= {p.removeprefix("U0").lower() for p in channel["members"]}
        assert stage.buried == []


async def test_every_kind_that_speaks_to_slack_is_known_without_it(stage: Stage) -> None:
    assert set(stage.chat.handlers) == KINDS
