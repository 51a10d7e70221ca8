"""People and the bot in a workspace: an alert becomes a channel, and what is pressed there becomes what happens."""

from datetime import timedelta

from bot.chat import actions
from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.incident import Status
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.flows import record
from tests.chat.conftest import Stage


async def test_an_alert_opens_a_channel_with_a_pinned_header_and_pages_everybody(stage: Stage) -> None:
    incident = await stage.opened("s01")
    await stage.idle()
    channel = await stage.hands.channel(str(incident.channel_name))
    assert channel["name"].startswith("inc-1-")
    assert channel["pins"] == [incident.header]
    assert {"U0ADA", "U0BO", "U0CYN", "U0DAN"} <= set(channel["members"])
    assert "SEV-1" in channel["topic"]
    [told] = await stage.hands.messages("incidents")
    assert "SEV-1 inc-1" in told["text"]
    page = await stage.find(await stage.direct("U0EVE"), "PAGE SEV-1 inc-1")
    assert page["metadata"]["event_payload"]["key"].startswith("inc-1:")
    assert stage.buried == []


async def test_acknowledging_a_page_stops_it_and_replaces_it(stage: Stage) -> None:
    await stage.opened()
    direct = await stage.direct("U0BO")
    page = await stage.find(direct, "PAGE")
    assert (await stage.hands.press("U0BO", direct, page["ts"], actions.PAGE_ACK))["ok"]
    incident = await stage.until(lambda i: i.acknowledged_by == "bo")
    assert all(p.acknowledged for p in incident.pages.values())
    assert "acknowledged by Bo" in (await stage.find(direct, "acknowledged by Bo"))["text"]


async def test_a_role_is_taken_by_command_and_the_header_says_so(stage: Stage) -> None:
    incident = await stage.opened()
    answer = await stage.hands.command("U0BO", str(incident.channel), "/incident role me ic")
    assert "Bo is Incident Commander" in answer["saw"][0]["text"]
    await stage.until(lambda i: i.roles[Role.IC] == "bo")
    await stage.idle()
    header = await stage.message(str(incident.channel), str(incident.header))
    assert "<@U0BO>" in str(header["blocks"])


async def test_what_is_held_is_frozen_by_one_button_on_exactly_these_targets(stage: Stage) -> None:
    await stage.opened("s01", "s02", "s03")
    await stage.room.advance()
    incident = await stage.until(lambda i: i.state(Verb.FREEZE, "s02") is State.HELD)
    await stage.idle()
    channel = str(incident.channel)
    header = await stage.message(channel, str(incident.header))
    button = next(
        e for b in header["blocks"] for e in b.get("elements", []) if e.get("action_id") == "step.held:freeze"
    )
    assert "s02, s03" in button["confirm"]["text"]["text"]
    assert "17 go on signing, quorum 14" in button["confirm"]["text"]["text"]
    await stage.hands.press("U0ADA", channel, header["ts"], "step.held:freeze")
    incident = await stage.until(lambda i: "freeze-2" in i.steps)
    assert incident.steps["freeze-2"].targets == ("s02", "s03")
    await stage.told("U0ADA", "begins")
    stale = next(m for m in await stage.hands.messages(channel) if "step.held:freeze" in str(m["blocks"]))
    await stage.hands.press("U0BO", channel, stale["ts"], "step.held:freeze")
    await stage.told("U0BO", "does not wait any more")
    assert [s for s in (await stage.room.incident()).steps if s.startswith("freeze")] == ["freeze-1", "freeze-2"]


async def test_unfreezing_takes_a_second_person_who_approves_in_a_direct_message(stage: Stage) -> None:
    incident = await stage.opened("s01")
    await stage.room.advance()
    await stage.run(Verb.FREEZE, State.VERIFIED)
    channel = str(incident.channel)
    answer = await stage.hands.command("U0ADA", channel, "/incident unfreeze s01 the key is safe")
    assert "waits for a second person" in answer["saw"][0]["text"]
    direct = await stage.direct("U0BO")
    asked = await stage.find(direct, "waits for you")
    state = await stage.hands.state()
    own = next((c["id"] for c in state["channels"] if c["kind"] == "im" and "U0ADA" in c["members"]), None)
    assert own is None or not any("waits for you" in m["text"] for m in await stage.hands.messages(own))
    public = await stage.find(channel, "unfreeze")
    await stage.hands.press("U0ADA", channel, public["ts"], actions.APPROVE)
    await stage.told("U0ADA", "different person must agree")
    await stage.hands.press("U0BO", direct, asked["ts"], actions.APPROVE)
    incident = await stage.until(lambda i: "unfreeze-1" in i.steps)
    [approval] = incident.approvals.values()
    assert approval.given == ("ada", "bo")


async def test_a_status_is_given_by_form_and_shared_with_the_stakeholders(stage: Stage) -> None:
    incident = await stage.opened()
    channel = str(incident.channel)
    pressed = await stage.hands.press("U0BO", channel, str(incident.header), actions.STATUS_FORM, wait_view=True)
    assert pressed["view"]["callback_id"] == actions.STATUS
    choice = {"audience": {"field": "stakeholders"}, "text": {"field": "Two signers are stopped. Next word at four."}}
    done = await stage.hands.submit("U0BO", choice)
    assert done["open"][-1]["submit"]["text"] == "Tell stakeholders"
    assert "Two signers are stopped" in str(done["open"][-1])
    assert "stakeholders" not in (await stage.room.incident()).told_at
    done = await stage.hands.submit("U0BO", choice)
    assert done["ok"], done
    shared = await stage.find("avs-operators", "Two signers are stopped")
    assert "inc-1" not in shared["text"]
    assert (await stage.until(lambda i: "stakeholders" in i.told_at)).told_at


async def test_a_form_that_is_refused_stays_open_and_says_why(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.hands.press("U0BO", str(incident.channel), str(incident.header), actions.RESOLVE_FORM, wait_view=True)
    done = await stage.hands.submit("U0BO", {"summary": {"field": "it is over"}})
    assert "Only the Incident Commander may" in str(done["errors"])
    assert done["open"]


async def test_a_role_is_handed_over_by_button(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.idle()
    header = str(incident.header)
    pressed = await stage.hands.press("U0ADA", str(incident.channel), header, actions.ROLES_FORM, wait_view=True)
    assert pressed["view"]["callback_id"] == actions.ROLES
    done = await stage.hands.submit("U0ADA", {"role": {"field": "ops"}, "person": {"field": "bo"}})
    assert done["ok"], done
    assert (await stage.until(lambda i: i.roles[Role.OPS] == "bo")).roles[Role.IC] == "ada"


async def test_declaring_by_form_opens_an_incident(stage: Stage) -> None:
    opened = await stage.hands.command("U0ADA", "general", "/incident declare", wait_view=True)
    assert opened["view"]["callback_id"] == actions.DECLARE
    done = await stage.hands.submit(
        "U0ADA", {"summary": {"field": "the oracle lies <!channel>"}, "severity": {"field": "SEV-1"}}
    )
    assert done["ok"], done
    incident = await stage.until(lambda i: i.channel is not None)
    assert (incident.severity, incident.declared) == (Severity.SEV1, True)
    assert "inc-1 is open" in (await stage.told("U0ADA", "inc-1 is open"))["text"]


async def test_a_pinned_message_stands_in_the_timeline_once_with_its_author(stage: Stage) -> None:
    incident = await stage.opened()
    channel = str(incident.channel)
    said = await stage.hands.say("U0BO", channel, "gateway restarted at 03:12 &amp; came back")
    await stage.hands.act("react", user="U0ADA", channel=channel, ts=said["ts"], name="pushpin")
    await stage.hands.act("react", user="U0CYN", channel=channel, ts=said["ts"], name="pushpin")
    await stage.find(channel, "gateway restarted")
    await stage.idle()
    entries = await stage.room.ledger.read(lambda rows: rows.entries(1))
    [note] = [w.entry for w in entries if isinstance(w.entry, j.NoteAdded)]
    assert (note.text, note.author) == ("gateway restarted at 03:12 & came back", "bo")
    assert note.source == f"slack:{channel}/{said['ts']}"


async def test_a_status_prompt_mentions_who_is_asked_and_has_its_form(stage: Stage) -> None:
    incident = await stage.opened()
    entry = j.StatusPrompted(
        prompt="internal-1",
        audience="internal",
        marks=("15 min",),
        due_at=stage.room.clock.now() - timedelta(seconds=1),
        asked=("bo",),
    )
    await stage.room.decide(record.note, record.Note(by=BOT, incident=1, entry=entry))
    asked = await stage.find(str(incident.channel), "tatus")
    assert "U0BO" in str(asked["blocks"])
    pressed = await stage.hands.press("U0BO", str(incident.channel), asked["ts"], actions.STATUS_FORM, wait_view=True)
    await stage.hands.submit("U0BO", {"text": {"field": "all stopped"}})
    assert pressed["view"]
    incident = await stage.until(lambda i: i.prompts["internal-1"].answered_by == "bo")
    assert incident.status is Status.OPEN


async def test_the_postmortem_is_posted_as_a_file(stage: Stage) -> None:
    incident = await stage.opened()
    command = record.Drafted(by=BOT, incident=1, item="ev-1-1", sha256="0" * 64)
    await stage.room.decide(record.drafted, command)
    await stage.idle()
    messages = await stage.hands.messages(str(incident.channel))
    assert any(m["files"] for m in messages)


async def test_halting_is_told_and_rearmed_by_two(stage: Stage) -> None:
    answer = await stage.hands.command("U0ADA", "incidents", "/incident halt the freeze hits healthy nodes")
    assert "halted" in answer["saw"][0]["text"]
    told = await stage.find("incidents", "healthy nodes")
    await stage.hands.press("U0ADA", "incidents", told["ts"], actions.REARM)
    await stage.told("U0ADA", "a different person")
    await stage.hands.press("U0BO", "incidents", told["ts"], actions.REARM)
    await stage.told("U0BO", "runs again")
    assert not (await stage.room.ledger.read(lambda rows: rows.watch())).halted
