"""The documents of one long night, and of hostile ones."""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.domain import journal as j
from bot.domain.authority import BOT, Actor
from bot.domain.config import Config
from bot.domain.incident import Incident, fold
from bot.domain.journal import Written
from bot.domain.playbook import Verb
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.render.documents import holding_statement, metrics_of, postmortem, status_draft

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = "|x`\n# owned\n[a](javascript:1) <img src=x> \u202e https://evil.example {{7*7}}"
SECTIONS = [
    "1. What happened",
    "2. Why it happened",
    "3. Where the sensors failed",
    "4. Fixes",
    "5. Follow-up drill",
    "Appendix",
]


def later(incident: Incident, **more: float) -> datetime:
    """Return a time after the opening."""
    assert incident.opened_at is not None
    return incident.opened_at + timedelta(**more)


def golden(name: str, text: str) -> None:
    """Compare with a golden file; `UPDATE_GOLDEN=1` writes it anew."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def headings(text: str, level: str) -> list[str]:
    """Return the headings of a document as a Markdown reader sees them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [
        tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open" and token.tag == level
    ]


def test_the_postmortem_of_a_night(incident: Incident, night: tuple[Written, ...], config: Config) -> None:
    text = postmortem(incident, night, config, later(incident, hours=1))
    golden("postmortem.md", text)
    assert headings(text, "h2") == SECTIONS
    assert "SECRET" not in text


def test_the_holding_statement_and_the_drafts(incident: Incident, night: tuple[Written, ...], config: Config) -> None:
    early = fold(7, night[:25])
    now = later(incident, minutes=5)
    texts = [
        holding_statement(early, config, now),
        status_draft(early, config, now, "internal"),
        status_draft(incident, config, later(incident, hours=1), "stakeholders"),
    ]
    golden("statements.txt", "\n\n".join(texts) + "\n")


def test_the_holding_statement_names_nothing_inside(night: tuple[Written, ...], config: Config) -> None:
    for n in range(1, len(night) + 1):
        text = holding_statement(fold(7, night[:n]), config, night[n - 1].at)
        assert "seq-0" not in text
        assert "0xkey" not in text
        assert len(text) < 1000


@pytest.mark.parametrize("summary", ["two signatures for slot 7", "SEQ-01 signs twice"])
def test_a_person_s_words_never_go_outside_by_themselves(
    summary: str, config: Config, night: tuple[Written, ...]
) -> None:
    opened = night[0].entry
    assert isinstance(opened, j.IncidentOpened)
    entry = replace(opened, summary=summary, declared=True)
    declared = fold(7, [replace(night[0], entry=entry)])
    text = holding_statement(declared, config, later(declared, minutes=1))
    assert "our operators report a problem that we treat as serious" in text
    assert "No signer has been stopped for this incident." in text


def test_a_status_is_never_too_long(night: tuple[Written, ...], config: Config) -> None:
    many = tuple(f"very-long-signer-name-{i:04}" for i in range(1000))
    held = [
        Written(incident=7, n=2 + i, at=night[0].at, by=BOT, entry=j.TargetsHeld(verb=verb, targets=many, reason="x"))
        for i, verb in enumerate(Verb)
    ]
    text = status_draft(fold(7, [night[0], *held]), config, night[0].at, "internal")
    assert len(text) <= 2500


def test_hostile_labels_stay_text(night: tuple[Written, ...], config: Config) -> None:
    entries = [_hostile(written) for written in night]
    incident = fold(7, entries)
    text = postmortem(incident, entries, config, later(incident, hours=1))
    assert headings(text, "h2") == SECTIONS
    assert len(headings(text, "h1")) == 1
    assert "\u202e" not in text
    assert "{{7*7}}" in text
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    kinds = {token.type for token in tokens} | {c.type for token in tokens for c in token.children or ()}
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "hr", "code_block"}
    for row in _rows(tokens):
        assert row[0] == row[1], "a row has as many cells as its head"


def _rows(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """Return for each table row its number of cells and that of its table's head."""
    rows: list[tuple[int, int]] = []
    head = cells = 0
    for token in tokens:
        kind = token.type
        head = 0 if kind == "thead_open" else head + (kind == "th_open")
        cells = 0 if kind == "tr_open" else cells + (kind == "td_open")
        if kind == "tr_close" and cells:
            rows.append((cells, head))
    return rows


def _hostile(written: Written) -> Written:
    match written.entry:
        case j.IncidentOpened():
            return replace(written, entry=replace(written.entry, summary=HOSTILE, reason=HOSTILE, key=HOSTILE))
        case j.AlertsJoined(alerts=alerts):
            bad = tuple(
                replace(a, name=HOSTILE, labels={HOSTILE: HOSTILE}, unresolved=(HOSTILE,), starts_at=HOSTILE)
                for a in alerts
            )
            return replace(written, entry=replace(written.entry, alerts=bad, reason=HOSTILE))
        case j.TargetsReported(reports=reports):
            return replace(
                written, entry=replace(written.entry, reports=tuple(replace(r, detail=HOSTILE) for r in reports))
            )
        case j.StatusGiven():
            return replace(written, entry=replace(written.entry, text=HOSTILE))
        case j.EvidenceMissing():
            return replace(written, entry=replace(written.entry, reason=HOSTILE))
        case j.EvidenceKept():
            return replace(written, entry=replace(written.entry, what=HOSTILE, source=HOSTILE))
        case j.Resolved():
            return replace(written, entry=replace(written.entry, summary=HOSTILE))
        case j.ActionAdded():
            return replace(written, entry=replace(written.entry, text=HOSTILE))
        case _:
            return written


def test_times_come_from_the_journal(incident: Incident, night: tuple[Written, ...]) -> None:
    times = metrics_of(incident, night)
    assert times.time_to_detect == timedelta(seconds=12)
    assert times.time_to_acknowledge == timedelta(seconds=20)
    assert times.time_to_freeze == timedelta(seconds=0.2)
    assert times.time_to_contain == timedelta(minutes=25)
    assert times.time_to_resolve == timedelta(seconds=2000)


def test_what_did_not_happen_has_no_time(night: tuple[Written, ...], config: Config) -> None:
    young = fold(7, night[:1])
    times = metrics_of(young, night[:1])
    assert times.time_to_detect is None
    assert times.time_to_contain is None
    text = postmortem(young, night[:1], config, later(young, minutes=1))
    assert "not contained" in text
    assert "nobody acknowledged" in text
    assert "nothing was frozen" in text
    assert "not resolved" in text


def test_an_incident_that_opened_again_is_not_contained(night: tuple[Written, ...]) -> None:
    again = Written(incident=7, n=39, at=night[37].at, by=BOT, entry=j.Reopened(reason="seq-01 signs"))
    entries = [*night[:38], again]
    assert metrics_of(fold(7, entries), entries).time_to_contain is None


def test_a_declared_incident_was_found_by_no_alert(config: Config) -> None:
    opened = j.IncidentOpened(
        key="declared=x",
        severity=Severity.SEV2,
        summary="odd",
        avs=None,
        playbook="sev2",
        reason="declared by ada",
        declared=True,
    )
    at = datetime.fromisoformat("2026-03-13T03:12:04+00:00")
    entries = [Written(incident=7, n=1, at=at, by=Actor(person="ada", via="cli"), entry=opened)]
    incident = fold(7, entries)
    assert metrics_of(incident, entries).time_to_detect is None
    text = postmortem(incident, entries, config, at)
    assert "People declared this incident: no alert had found it." in text
    assert "None: people declared this incident." in text


def test_a_clock_that_runs_ahead_is_said(night: tuple[Written, ...], config: Config) -> None:
    joined = night[6].entry
    assert isinstance(joined, j.AlertsJoined)
    ahead = replace(joined, alerts=tuple(replace(a, starts_at="2026-03-13T03:12:09Z") for a in joined.alerts))
    entries = [*night[:6], replace(night[6], entry=ahead)]
    incident = fold(7, entries)
    assert metrics_of(incident, entries).time_to_detect == timedelta(seconds=-5)
    assert "clock is ahead of ours by at least 5 s" in postmortem(incident, entries, config, night[6].at)


def test_the_course_of_a_target_is_told_whole(incident: Incident, night: tuple[Written, ...], config: Config) -> None:
    text = postmortem(incident, night, config, later(incident, hours=1))
    assert "asked → answered yes → proven → not in force → proven stopped" in text
    assert "held for a person → asked → back on the last good build" in text
    assert State.UNKNOWN.next_means in text
