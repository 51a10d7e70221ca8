"""Every entry of the journal is one plain sentence."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_type_hints

import pytest

from bot.domain import journal as j
from bot.domain.authority import BOT, Actor
from bot.domain.config import Config
from bot.domain.journal import KINDS, Entry, Written
from bot.domain.playbook import Needs, Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.render.timeline import SAYINGS, as_json, line, worth_reading
from bot.render.words import state_words

NOW = datetime(2026, 3, 13, 3, 12, 4, tzinfo=UTC)
HOSTILE = "a\r\nb\u202ec <script>"
SECRET = "s3cr3t-button"
SAMPLES: Mapping[Any, Any] = {
    str: HOSTILE,
    int: 2,
    bool: False,
    datetime: NOW,
    Severity: Severity.SEV1,
    Role: Role.IC,
    Verb: Verb.FREEZE,
    Needs: Needs.TWO,
    State: State.UNKNOWN,
}


def sample(kind: type[Entry]) -> Entry:
    """Return an entry of a kind, its texts hostile and its button ids secret."""
    hints = get_type_hints(kind)
    values = {f.name: value_of(hints[f.name], f.name) for f in fields(kind)}
    return kind(**values)


def value_of(hint: Any, name: str) -> Any:
    """Return a value of a field's type."""
    if name in {"page", "approval"}:
        return SECRET
    text = str(hint)
    if "AlertSeen" in text:
        return (
            j.AlertSeen(**{f.name: value_of(get_type_hints(j.AlertSeen)[f.name], f.name) for f in fields(j.AlertSeen)}),
        )
    if "TargetReport" in text:
        return (j.TargetReport(node=HOSTILE, state=State.UNKNOWN, detail=HOSTILE),)
    if "Remaining" in text:
        return (j.Remaining(node="n", state=State.UNKNOWN, owner=HOSTILE),)
    if "Mapping" in text:
        return {HOSTILE: HOSTILE}
    if "tuple" in text:
        return (HOSTILE, HOSTILE)
    return next(SAMPLES[kind] for kind in (*getattr(hint, "__args__", ()), hint) if kind in SAMPLES)


def written(entry: Entry, by: Actor = BOT, n: int = 1) -> Written:
    """Put an entry into its place."""
    return Written(incident=7, n=n, at=NOW, by=by, entry=entry, leaf=41)


def said(entry: Entry, config: Config, by: Actor = BOT) -> str:
    """Return the sentence."""
    return line(written(entry, by), config).text


def test_no_kind_is_without_a_sentence() -> None:
    assert set(SAYINGS) == set(KINDS.values())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_sentence_is_one_visible_line_and_holds_no_secret(kind: type[Entry], config: Config) -> None:
    told = line(written(sample(kind), Actor(person="nobody-known", via="cli")), config)
    assert told.text
    assert len(told.text) <= 600
    assert told.kind == kind.__name__
    for part in (told.text, told.by, *told.detail.splitlines()):
        assert "\u202e" not in part
        assert "\r" not in part
        assert SECRET not in part
    assert "\n" not in told.text


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("state", State)
def test_every_state_of_every_verb_has_words(verb: Verb, state: State) -> None:
    assert state_words(verb, state)
    assert "proven" not in state_words(verb, state) or state.proven or "not proven" in state_words(verb, state)


def test_people_are_called_by_name(config: Config) -> None:
    ada = Actor(person="ada", via="slack")
    told = line(written(j.Acknowledged(person="ada"), ada), config)
    assert told.text == "Ada acknowledged: somebody is on it"
    assert told.by == "Ada (slack)"
    assert line(written(j.Acknowledged(person="ada")), config).by == "Stopsign"


def test_a_proof_is_told_with_its_reason_and_item(config: Config) -> None:
    proof = j.TargetReport(node="seq-01", state=State.VERIFIED, detail="counter flat for 12 s", item="ev-7-1")
    lie = j.TargetReport(node="seq-02", state=State.FAILED, detail="counter rose 3 to 4")
    entry = j.TargetsReported(step="freeze-1", verb=Verb.FREEZE, reports=(proof, lie))
    text = said(entry, config)
    assert text == (
        "Freeze: seq-01 proven stopped (counter flat for 12 s) [ev-7-1]; seq-02 not in force (counter rose 3 to 4)"
    )


def test_many_targets_are_counted_by_state(config: Config) -> None:
    reports = tuple(
        j.TargetReport(node=f"n{i}", state=State.UNKNOWN if i < 2 else State.ACKNOWLEDGED, detail="") for i in range(40)
    )
    told = line(written(j.TargetsReported(step="freeze-1", verb=Verb.FREEZE, reports=reports)), config)
    assert told.text == (
        "Freeze: 38 targets answered yes, not proven (n2, n3, n4 and 35 more); "
        "2 targets unknown, treat as signing (n0, n1)"
    )
    assert told.icon == "⚠"
    assert "n39" in told.detail


def test_alerts_name_their_suspects_and_own_effects(config: Config, night: tuple[Written, ...]) -> None:
    texts = [line(w, config).text for w in night if isinstance(w.entry, j.AlertsJoined)]
    assert texts[0] == (
        "Alert EquivocationRiskSpike fired, pointing at seq-01, seq-02; "
        "3 further alerts left out of the notification, unnamed"
    )
    assert texts[1] == "Alert DeadlineMiss fired, caused by our own freeze, pointing at seq-01"
    assert "target not found: signer=ghost" in texts[2]


def test_a_long_detail_is_cut_and_says_so(config: Config) -> None:
    reports = tuple(j.TargetReport(node=f"n{i}", state=State.VERIFIED, detail="") for i in range(100))
    told = line(written(j.TargetsReported(step="freeze-1", verb=Verb.FREEZE, reports=reports)), config)
    assert told.detail.splitlines()[-1] == "… and 41 more"


@pytest.mark.parametrize(
    ("entry", "worth"),
    [
        (j.HeaderPosted(ts="1"), False),
        (j.AlertsJoined(alerts=(), reason="repeat"), False),
        (j.AlertsJoined(alerts=(), reason="cut", truncated=4), True),
        (j.FreezeRepeated(node="n", attempt=2, reason=""), True),
        (j.FreezeRepeated(node="n", attempt=7, reason=""), False),
        (j.FreezeRepeated(node="n", attempt=20, reason=""), True),
        (j.TargetsReported(step="s", verb=Verb.FREEZE, reports=()), False),
        (j.CommandRefused(command="Request", reason="no"), True),
    ],
)
def test_noise_is_told_apart(entry: Entry, worth: bool) -> None:
    assert worth_reading(written(entry)) is worth


def test_timeline_json_has_every_entry_with_its_place_in_the_log(config: Config, night: tuple[Written, ...]) -> None:
    told = json.loads(json.dumps(as_json(night, config)))
    assert [row["n"] for row in told] == list(range(1, len(night) + 1))
    assert told[0] == {
        "n": 1,
        "at": "2026-03-13T03:12:04.000000Z",
        "kind": "IncidentOpened",
        "by": "stopsign/alertmanager",
        "text": "inc-7 opened at SEV-1, a recurrence of inc-3: Conflicting signatures seen on oracle",
        "leaf": 101,
    }
    assert "SECRET" not in json.dumps(told)
