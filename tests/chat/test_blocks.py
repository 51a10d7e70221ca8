"""Messages and forms: within Slack's limits whatever the size, inert whatever the labels, readable without blocks."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.chat import actions, kit, messages, targets, views
from bot.chat.acting import _packed, _unpacked
from bot.chat.answers import say
from bot.chat.header import header
from bot.chat.kit import Message
from bot.chat.messages import Setting
from bot.chat.rooms import channel_name
from bot.chat.seals import Seals
from bot.chat.words import clean, escape, read, said
from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.incident import Approval, Incident, Page, Prompt, Status
from bot.domain.playbook import Needs, Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State, Track
from bot.errors import Refused
from bot.practice.workspace import limits
from bot.render.redact import Redactor
from bot.render.timeline import SAYINGS
from tests.fakes import config, node, with_nodes

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
SEALS = Seals("a secret")
CONFIG = config()
SETTING = Setting(config=CONFIG, seals=SEALS, now=NOW)
EVIL = (
    "<!channel> <@U0ADA> <http://evil|good> *bold* `{{7*7}}` \u202eevil\u2066 :fire: javascript:x & \r\n" + "x" * 5000
)


def track(state: State, detail: str = "") -> Track:
    """Return a track."""
    return Track(state=state, step="freeze-1", since=NOW, detail=detail)


def incident_of(count: int, text: str = "two signatures for slot 7", **more: Any) -> Incident:
    """Return an incident with `count` targets in all states, and everything that a header can show."""
    states = list(State)
    nodes = tuple(f"node-{n:04}-{text[:40]}" if text is EVIL else f"seq-{n:04}" for n in range(count))
    tracks = {node: track(states[n % len(states)], text) for n, node in enumerate(nodes)}
    approvals = {
        str(n): Approval(
            id=f"approval-{n}",
            verb=Verb.ROLLBACK,
            targets=nodes[:500] or ("seq-1",),
            parameters={},
            digest="",
            needs=Needs.TWO,
            requester="ada",
            given=("ada",),
            reason=text,
            asked_at=NOW,
            expires_at=NOW + timedelta(minutes=30),
        )
        for n in range(8 if count else 0)
    }
    prompt = Prompt(id="internal-1", audience="internal", marks=("15 min",), due_at=NOW, asked=("bo",))
    given: dict[str, Any] = {
        "summary": text,
        "avs": text[:80],
        "severity": Severity.SEV1,
        "severity_since": NOW,
        "opened_at": NOW,
        "suspects": nodes,
        "unresolved": (text,) * min(count, 30),
        "tracks": {Verb.FREEZE: tracks, Verb.ISOLATE: tracks} if count else {},
        "approvals": approvals,
        "pages": {"p": Page(id="p", people=("ada",), level=1, reason=text, at=NOW)},
        "prompts": {"internal-1": prompt} if count else {},
        "channel": "C123",
        "roles": {Role.IC: "ada"},
    }
    return Incident(number=7, **{**given, **more})


def texts(node: Any, *, rich: bool = False) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of every text object and rich text element."""
    if isinstance(node, dict):
        if node.get("type") in {"mrkdwn", "plain_text", "text"} and isinstance(node.get("text"), str):
            yield str(node["type"]), node["text"]
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from texts(item)


def check(message: Message) -> None:
    """Hold a message to Slack's limits and to what outside text may do."""
    blocks = list(message.blocks)
    assert limits.block_problems(blocks, surface="message") == []
    assert limits.text_length(blocks) <= limits.BLOCKS_TEXT_MAX
    assert 0 < len(message.arguments()["text"]) <= limits.UPDATE_TEXT_MAX
    for kind, text in [*texts(blocks), ("mrkdwn", message.text)]:
        assert "\u202e" not in text
        assert "\u2066" not in text
        if kind == "mrkdwn":
            assert "<!channel" not in text
            assert "<http" not in text
    for block in blocks:
        if block["type"] in {"section", "context"}:
            inner = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
            assert all(t["verbatim"] for t in inner if t)


@pytest.mark.parametrize("count", [0, 1, 12, 13, 1000])
@pytest.mark.parametrize("text", ["two signatures for slot 7", EVIL, ""])
@pytest.mark.parametrize("status", list(Status))
def test_a_header_stays_within_slacks_limits_and_inert(count: int, text: str, status: Status) -> None:
    left = tuple(j.Remaining(node=f"n{n}", state=State.UNKNOWN, owner="ada") for n in range(count))
    made = header(
        incident_of(count, text, status=status, resolution=text, remaining=left),
        CONFIG,
        NOW,
        SEALS,
        "https://bot.example",
    )
    check(made)
    assert len(made.blocks) <= 30


def test_a_header_tells_states_in_words_and_names_the_troubled_of_many() -> None:
    nodes = {f"seq-{n:04}": track(State.VERIFIED) for n in range(998)}
    nodes |= {"seq-8": track(State.UNKNOWN, "no answer"), "seq-9": track(State.FAILED, "counter rose 1 to 2")}
    found = json.dumps(targets.blocks(incident_of(0, tracks={Verb.FREEZE: nodes})), ensure_ascii=False)
    assert "✅ 998 verified" in found
    assert "seq-8" in found
    assert "unknown: treat as signing" in found
    assert "counter rose 1 to 2" in found
    assert "seq-0001" not in found


def test_a_header_shows_who_is_missing_and_offers_the_role() -> None:
    made = json.dumps(header(incident_of(1), CONFIG, NOW, SEALS).blocks, ensure_ascii=False)
    assert "<@U0ADA>" in made
    assert made.count("nobody yet") == 3
    assert "role.take:comms" in made
    assert "role.take:ic" not in made
    assert "<!date^" in made


def test_the_fallback_reads_well() -> None:
    text = header(incident_of(1), CONFIG, NOW, SEALS).text
    assert text.startswith("SEV-1 inc-7 on two signatures for slot 7, open: two signatures for slot 7. Freeze: 1 held.")


@pytest.mark.parametrize("kind", [cls.__name__ for cls in SAYINGS])
@pytest.mark.parametrize("text", ["the key is safe", EVIL])
def test_every_entry_can_be_said(kind: str, text: str) -> None:
    entry = _entry(j.KINDS[kind], text)
    written = j.Written(incident=7, n=3, at=NOW, by=BOT, entry=entry)
    incident = incident_of(2, text)
    check(messages.entry(written, incident, SETTING))


def test_requests_pages_and_shares_stay_within_limits_and_inert() -> None:
    for text in ("plain", EVIL):
        incident = incident_of(20, text)
        check(messages.announcement(incident, SETTING))
        check(messages.page(incident, incident.pages["p"], SETTING))
        check(messages.ask(incident, incident.approvals["0"], SETTING))
        check(messages.paged_done(replace(incident, acknowledged_by="ada"), SETTING))
        given = j.StatusGiven(prompt=None, audience="stakeholders", text=text[:2500], person="ada")
        written = j.Written(incident=7, n=3, at=NOW, by=BOT, entry=given)
        check(messages.share(written, incident, given, SETTING))
        halted = j.Written(incident=None, n=1, at=NOW, by=BOT, entry=j.AutomationHalted(reason=text))
        check(messages.watch(halted, SETTING, halted=True))


def test_forms_are_accepted_by_slack() -> None:
    incident = incident_of(3, EVIL)
    left = dict.fromkeys(incident.suspects, State.UNKNOWN)
    for view in (
        views.declare(CONFIG, "m"),
        views.give_status(incident, "stakeholders", "m", EVIL),
        views.resolve(incident, left, CONFIG, "m"),
        views.halt("m"),
        views.hand_over(incident, CONFIG, "m"),
    ):
        assert limits.view_problems(view, kinds=("modal",)) == []


def test_a_freeze_button_says_targets_count_and_what_is_left_before_it_acts() -> None:
    held = {f"s0{n}": track(State.HELD, "leaves 17 of 20 signing, quorum 14") for n in range(1, 4)}
    blocks = header(incident_of(0, tracks={Verb.FREEZE: held}), CONFIG, NOW, SEALS).blocks
    button = next(e for b in blocks for e in b.get("elements", []) if e.get("action_id") == "step.held:freeze")
    question = button["confirm"]["text"]["text"]
    assert "Stops 3 of 20 signers" in question
    assert "about 900 duties an hour are missed. s01, s02, s03." in question
    assert button["text"]["text"] == "Freeze the 3 held"
    assert SEALS.open(actions.HELD, button["value"]) == ("7", "freeze", "s01", "s02", "s03")


def test_seals_open_only_what_was_sealed_for_this() -> None:
    value = SEALS.seal(actions.APPROVE, "7", "id")
    assert SEALS.open(actions.APPROVE, value) == ("7", "id")
    for wrong in (value[:-4] + "AAAA", "", "é", "AAAA", value[:20]):
        with pytest.raises(Refused):
            SEALS.open(actions.APPROVE, wrong)
    with pytest.raises(Refused):
        SEALS.open(actions.REJECT, value)
    with pytest.raises(Refused):
        Seals("another").open(actions.APPROVE, value)


@pytest.mark.parametrize(
    ("summary", "name"),
    [
        ("Two signatures: slot 7!", "inc-7-two-signatures-slot-7"),
        ("", "inc-7"),
        ("Ünïcode ✨ <!channel>", "inc-7-unicode-channel"),
        ("日本語", "inc-7"),
        ("x" * 200, "inc-7"),
    ],
)
def test_channel_names_are_legal(summary: str, name: str) -> None:
    assert channel_name(Incident(number=7, summary=summary)) == name
    assert limits.name_problem(channel_name(Incident(number=7, summary=summary), 9)) is None


def test_outside_text_is_made_harmless_and_read_back() -> None:
    assert said("a <!channel> & \u202eb\u0000c", 50) == "a &lt;!channel&gt; &amp; b c"
    assert clean("a\r\nb\n\n\n\nc", 50, lines=True) == "a\nb\n\nc"
    heard = read("<@U1> see <https://x.example|the page> &lt;b&gt; <!here> <#C1|ops>", {"U1": "Ada"}.get)  # type: ignore[arg-type]
    assert heard == "@Ada see the page (https://x.example) <b> @here #ops"


def test_secrets_are_blotted_out_by_value_and_by_pattern() -> None:
    redactor = Redactor(["s3cr3t-value"])
    given = {
        "text": "https://ada:hunter2@node/x Bearer abcdefgh12345 xoxb-123-abcdefghij token=abcdef123 s3cr3t-value",
        "value": "xoxb-123-abcdefghij",
        "blocks": [{"text": "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----"}],
    }
    found = redactor.walk(given)
    for secret in ("hunter2", "abcdefgh12345", "xoxb-", "abcdef123", "s3cr3t"):
        assert secret not in found["text"]
    assert found["value"] == "xoxb-123-abcdefghij"
    assert "MIIE" not in str(found["blocks"])


@pytest.mark.parametrize("letter", ["&", "<", ">", "a"])
def test_a_long_answer_is_never_cut_within_an_entity(letter: str) -> None:
    for length in range(3_890, 3_902):
        body = say(escape("x" * (length % 7) + letter * length)).body()
        assert len(body["text"]) <= 3_900
        assert re.sub(r"&(amp|lt|gt);", "", body["text"]).count("&") == 0


def test_what_a_step_carries_between_its_forms_fits_whatever_was_chosen() -> None:
    nodes = {f"n{n:05}": node(f"n{n:05}") for n in range(1_000)}
    many = with_nodes(config(), nodes)
    last = tuple(nodes)[-100:]
    for reason in ("\U0001f525" * 200, '"' * 200, "\\" * 200):
        carried = _packed(many, Verb.UNFREEZE, last, reason, "d" * 64)
        sealed = SEALS.seal(actions.SURE, "999999999", carried, "https://hooks.slack.com/actions/" + "T" * 80)
        assert len(sealed) <= 3_000
        assert _unpacked(many, carried) == (Verb.UNFREEZE, last, reason, "d" * 64)


def test_rich_text_is_never_empty() -> None:
    assert kit.rich([""])["elements"][0]["elements"] == [{"type": "text", "text": "-"}]


def _entry(cls: type[j.Entry], text: str) -> j.Entry:
    """Return an entry of a kind with hostile texts in every field that takes text."""
    from dataclasses import MISSING, fields
    from typing import get_type_hints

    made: dict[str, Any] = {}
    for f in fields(cls):
        if (f.default is MISSING and f.default_factory is MISSING) or f.type == "str":
            made[f.name] = _value(f.name, get_type_hints(cls)[f.name], text)
    return cls(**made)


def _value(name: str, hint: Any, text: str) -> Any:
    special: dict[str, Any] = {
        "approval": "0",
        "prompt": "internal-1",
        "page": "p",
        "person": "ada",
        "audience": "internal",
    }
    if name in special:
        return special[name]
    known: list[tuple[Any, Any]] = [
        (str, text),
        (int, 3),
        (bool, False),
        (datetime, NOW),
        (Verb, Verb.FREEZE),
        (State, State.UNKNOWN),
        (Severity, Severity.SEV2),
        (Role, Role.COMMS),
        (Needs, Needs.TWO),
        (str | None, text),
        (datetime | None, NOW),
        (tuple[str, ...], (text, "seq-1")),
    ]
    for kind, value in known:
        if hint == kind:
            return value
    if hint == tuple[j.AlertSeen, ...]:
        seen = j.AlertSeen(
            fingerprint="f",
            starts_at="2026-11-20T03:00:00Z",
            change="fired",
            name=text,
            labels={text: text},
            annotations={},
        )
        return (seen,) * 40
    if hint == tuple[j.TargetReport, ...]:
        return tuple(
            j.TargetReport(node=f"{text[:50]}{n}", state=s, detail=text) for n, s in enumerate(list(State) * 100)
        )
    return {}
