"""Intake: what notifications become, in any order, repeated, concurrently."""

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain import incident as incidents
from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.incident import Incident, Status
from bot.domain.playbook import Verb
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.flows import intake, people, resolve
from bot.web.alertmanager import Body, notification_of
from tests.fakes import Room, alert, person, room

BODIES = sorted((Path(__file__).parent.parent / "alertmanager").glob("*.json"))


async def test_an_equivocation_alert_opens_a_sev1_with_its_reason_roles_and_pages(spine: Room) -> None:
    received = await spine.receive(alert(signer="s03"))
    incident = await spine.incident()
    assert received.incidents == ("inc-1",)
    assert (incident.severity, incident.status, incident.avs) == (Severity.SEV1, Status.OPEN, "sequencer")
    assert incident.suspects == incident.mapped == ("s03",)
    assert incident.reason == "runbook EquivocationRiskSpike"
    assert list(incident.roles.values()) == ["ada", "bo", "cyn", "dan"]
    assert (await spine.last(j.Paged)).people == ("ada", "bo", "cyn", "dan", "eve")


async def test_the_same_episode_again_changes_nothing(spine: Room) -> None:
    await spine.receive(alert(signer="s03"))
    version = (await spine.incident()).version
    again = await spine.receive(alert(signer="s03"))
    assert (again.incidents, again.known) == (("inc-1",), 1)
    assert (await spine.incident()).version == version


async def test_a_watchdog_only_beats(spine: Room) -> None:
    received = await spine.receive(alert("Watchdog", severity="none"), alert("Custom", severity="none"))
    assert received.beats == ("Watchdog", "Custom")
    assert received.incidents == ()


@pytest.mark.parametrize(
    ("labels", "severity", "reason"),
    [
        ({"severity": "critical"}, Severity.SEV2, "no runbook for this paging alert"),
        ({"severity": "page"}, Severity.SEV2, "no runbook for this paging alert"),
        ({"severity": "warning"}, Severity.SEV3, "makes a ticket"),
        ({"severity": "weird"}, Severity.SEV2, "assumed worse"),
    ],
)
async def test_an_unknown_alert_is_assumed_worse(
    spine: Room, labels: dict[str, str], severity: Severity, reason: str
) -> None:
    await spine.receive(alert("NobodyWroteMe", **labels))
    incident = await spine.incident()
    assert incident.severity is severity
    assert reason in incident.reason
    assert incident.suspects == ()


async def test_conflicting_signatures_raise_an_open_sev2_of_the_same_avs(spine: Room) -> None:
    await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s05"))
    assert (await spine.incident()).severity is Severity.SEV2
    await spine.receive(alert(signer="s03"))
    incident = await spine.incident()
    assert (incident.severity, incident.peak, incident.playbook) == (Severity.SEV1, Severity.SEV1, "sev1")
    assert incident.mapped == ("s03",)


async def test_a_deadline_ratio_of_ten_times_its_objective_raises_too(spine: Room) -> None:
    await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s05"))
    await spine.receive(alert("AVSDeadlineMissRateCritical", signer="s05"))
    assert (await spine.incident()).severity is Severity.SEV1


async def test_lowering_is_for_the_ic_with_a_reason_and_a_new_episode_raises_again(spine: Room) -> None:
    await spine.receive(alert(signer="s03"))
    lower = people.SetSeverity(by=person("ada"), incident=1, severity=Severity.SEV2, reason="scrape artefact")
    with pytest.raises(Exception, match="Only the Incident Commander"):
        await spine.decide(people.set_severity, replace(lower, by=person("bo")))
    with pytest.raises(Exception, match="needs a reason"):
        await spine.decide(people.set_severity, replace(lower, reason=" "))
    await spine.decide(people.set_severity, lower)
    await spine.receive(alert(signer="s03"))
    assert (await spine.incident()).severity is Severity.SEV2
    await spine.receive(alert(signer="s03", start="2026-11-20T03:05:00Z"))
    incident = await spine.incident()
    assert (incident.severity, incident.peak) == (Severity.SEV1, Severity.SEV1)


async def test_a_resolved_notification_marks_the_alert_and_closes_nothing(spine: Room) -> None:
    await spine.receive(alert(signer="s03"))
    await spine.receive(alert(signer="s03", status="resolved"))
    incident = await spine.incident()
    assert (incident.firing, incident.symptoms, incident.status) == (0, 0, Status.OPEN)


async def test_a_resolved_incident_never_absorbs_alerts_and_the_new_one_is_a_recurrence(spine: Room) -> None:
    await spine.receive(alert(signer="s03"))
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await spine.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="reverted"))
    await spine.receive(alert(signer="s03", start="2026-11-20T03:30:00Z"))
    assert (await spine.incident(2)).recurrence_of == 1
    assert (await spine.incident(1)).status is Status.RESOLVED


async def test_flapping_while_open_is_one_incident(spine: Room) -> None:
    for minute in range(5):
        start = f"2026-11-20T03:0{minute}:00Z"
        await spine.receive(alert("PreconfirmationLatencySLO", severity="ticket", region="eu", start=start))
        await spine.receive(alert("PreconfirmationLatencySLO", "resolved", severity="ticket", region="eu", start=start))
        spine.clock.go(minutes=1)
    incident = await spine.incident()
    assert (incident.seen, incident.firing) == (5, 0)
    spine.clock.go(minutes=5)
    assert await spine.decide(intake.settle, intake.Quiet(by=BOT, incident=1)) is not None
    spine.clock.go(minutes=6)
    assert await spine.decide(intake.settle, intake.Quiet(by=BOT, incident=1)) is None
    assert (await spine.incident()).status is Status.RESOLVED


async def test_unmapped_and_ambiguous_targets_are_named_and_never_widened(spine: Room) -> None:
    await spine.receive(alert(signer="nobody"), alert())
    incident = await spine.incident()
    assert incident.suspects == ()
    assert incident.unresolved == (
        "signer=nobody (names nobody in the inventory)",
        "EquivocationRiskSpike: no label of key, signer",
    )


async def test_truncated_notifications_are_remembered(spine: Room) -> None:
    await spine.receive(alert(signer="s03"), truncated=20)
    assert (await spine.incident()).truncated == 20
    assert not (await spine.incident()).all_stopped


async def test_alerts_caused_by_our_own_freeze_add_no_suspects(spine: Room) -> None:
    await spine.receive(alert(signer="s03"))
    await spine.advance()
    await spine.run(Verb.FREEZE, State.ACKNOWLEDGED)
    before = await spine.incident()
    await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s03"))
    await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s09"))
    incident = await spine.incident()
    assert incident.suspects == (*before.suspects, "s09")
    assert incident.symptoms == before.symptoms + 1
    assert incident.firing == before.firing + 2


async def test_an_own_effect_after_the_incident_is_resolved_opens_nothing(spine: Room) -> None:
    await spine.receive(alert(signer="s03"))
    await spine.advance()
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await spine.run(Verb.CAPTURE, State.VERIFIED)
    await spine.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="stays frozen"))
    received = await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s03"))
    assert (received.incidents, received.ignored) == ((), ("AVSDeadlineMissRateHigh",))
    assert "caused by our own freeze of s03 in inc-1" in (await spine.last(j.AlertIgnored, None)).reason


def _final(incident: Incident) -> dict[str, object]:
    """Return what must not depend on the order of delivery: everything but ids and times."""
    return {
        "key": incident.key,
        "severity": incident.severity,
        "status": incident.status,
        "summary": incident.summary,
        "firing": incident.firing,
        "seen": incident.seen,
        "truncated": incident.truncated,
        "alerts": set(incident.alert_names),
        "suspects": set(incident.suspects),
        "unresolved": set(incident.unresolved),
        "roles": dict(incident.roles),
    }


@pytest.mark.parametrize("seed", range(8))
async def test_real_bodies_lead_to_the_same_state_in_any_order_repeated_and_concurrently(
    tmp_path: Path, seed: int
) -> None:
    bodies = [notification_of(Body.model_validate(json.loads(path.read_text())["body"])) for path in BODIES]
    chaos = random.Random(seed)
    states = []
    for name, order in (("plain", list(bodies)), ("chaos", chaos.sample(bodies * 3, len(bodies) * 3))):
        (tmp_path / name).mkdir()
        async with room(tmp_path / name) as spine:
            commands = [intake.Receive(by=BOT, notification=body) for body in order]
            if name == "chaos":
                await asyncio.gather(*(spine.decide(intake.receive, command) for command in commands))
            else:
                for command in commands:
                    await spine.decide(intake.receive, command)
            found = await spine.ledger.read(lambda rows: rows.incidents(live_only=False, limit=100))
            states.append(sorted((_final(incident) for incident in found), key=lambda state: str(state["key"])))
    assert len(states[0]) == 3
    assert states[0] == states[1]


async def test_the_journal_folds_to_the_same_rows(spine: Room) -> None:
    await spine.receive(alert(signer="s03"), alert(signer="s04"))
    await spine.advance()
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await spine.run(Verb.CAPTURE, State.FAILED)
    await spine.decide(people.acknowledge, people.Acknowledge(by=person("bo"), incident=1))
    assert incidents.fold(1, await spine.journal()) == await spine.incident()
