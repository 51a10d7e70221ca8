"""What people type, as a table: text → order, or the sentence that helps them."""

from dataclasses import replace
from datetime import date

import pytest

from bot.chat.commands import USAGE, Order, Scene, help_text, parse
from bot.chat.orders import CARRIED_OUT
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.errors import Invalid

HERE = Scene(
    here=7,
    live=(7, 9),
    avs=("oracle", "sequencer"),
    nodes=("seq-01", "seq-02", "lagoon"),
    person=lambda text: "bo" if text.casefold() in {"bo", "@bo", "bo berg"} else None,
)
ELSEWHERE = replace(HERE, here=None)
ONE_LIVE = replace(ELSEWHERE, live=(9,))
NEEDY = ("contained", "reopen", "breakglass")


@pytest.mark.parametrize(
    ("text", "scene", "order"),
    [
        ("", HERE, Order(name="help")),
        ("inc-7", ELSEWHERE, Order(name="show", incident=7)),
        ("declare", HERE, Order(name="declare")),
        (
            "declare sev-1 Oracle two signatures",
            HERE,
            Order(name="declare", severity=Severity.SEV1, avs="oracle", text="two signatures"),
        ),
        ("declare something is off", HERE, Order(name="declare", text="something is off")),
        ("ack", HERE, Order(name="ack", incident=7)),
        ("ACK", ONE_LIVE, Order(name="ack", incident=9)),
        ("ack inc-9", HERE, Order(name="ack", incident=9)),
        ("inc-9 ack", HERE, Order(name="ack", incident=9)),
        ("role me ic", HERE, Order(name="role", incident=7, role=Role.IC)),
        ("role ic", HERE, Order(name="role", incident=7, role=Role.IC)),
        ("role <@U0BO|bo> comms", HERE, Order(name="role", incident=7, role=Role.COMMS, person="<@U0BO|bo>")),
        ("role evidence Ada Berg", HERE, Order(name="role", incident=7, role=Role.EVIDENCE, person="Ada Berg")),
        ("role ops ops", HERE, Order(name="role", incident=7, role=Role.OPS, person="ops")),
        (
            "sev SEV-2 was an artefact",
            HERE,
            Order(name="sev", incident=7, severity=Severity.SEV2, text="was an artefact"),
        ),
        ("status all is well", HERE, Order(name="status", incident=7, text="all is well")),
        ("status Stakeholders soon", HERE, Order(name="status", incident=7, audience="stakeholders", text="soon")),
        ("status", HERE, Order(name="status", incident=7)),
        ("freeze", HERE, Order(name="step", incident=7, verb=Verb.FREEZE)),
        (
            "freeze seq-01 seq-02 they lie",
            HERE,
            Order(name="step", incident=7, verb=Verb.FREEZE, targets=("seq-01", "seq-02"), text="they lie"),
        ),
        ("freeze seq-01,seq-02", HERE, Order(name="step", incident=7, verb=Verb.FREEZE, targets=("seq-01", "seq-02"))),
        (
            "unfreeze inc-9 lagoon because 3 of 4 agree",
            HERE,
            Order(name="step", incident=9, verb=Verb.UNFREEZE, targets=("lagoon",), text="3 of 4 agree"),
        ),
        ("freeze all", HERE, Order(name="step", incident=7, verb=Verb.FREEZE, targets=("all",))),
        ("approve", HERE, Order(name="approve", incident=7)),
        ("approve reject too soon", HERE, Order(name="approve", incident=7, reject=True, text="too soon")),
        ("reject too soon", HERE, Order(name="approve", incident=7, reject=True, text="too soon")),
        ("note inc-7 the gateway <!channel>", ELSEWHERE, Order(name="note", incident=7, text="the gateway <!channel>")),
        ("halt it hits the wrong ones", HERE, Order(name="halt", text="it hits the wrong ones")),
        ("rearm", ELSEWHERE, Order(name="rearm")),
        ("approve rollback tested", HERE, Order(name="approve", incident=7, verb=Verb.ROLLBACK, text="tested")),
        ("reject unfreeze", HERE, Order(name="approve", incident=7, reject=True, verb=Verb.UNFREEZE)),
        ("handover", HERE, Order(name="handover", incident=7)),
        ("handover Bo Berg watch it", HERE, Order(name="handover", incident=7, person="bo", text="watch it")),
        ("action", HERE, Order(name="actions", incident=7)),
        ("action list", HERE, Order(name="actions", incident=7)),
        ("action add fix it", HERE, Order(name="action", incident=7, text="fix it")),
        (
            "action add @bo rotate the key by 2026-12-01",
            HERE,
            Order(name="action", incident=7, person="bo", text="rotate the key", due=date(2026, 12, 1)),
        ),
        ("action done 2 merged", HERE, Order(name="done", incident=7, action="act-2", text="merged")),
        ("reopen inc-3 it is back", ONE_LIVE, Order(name="reopen", incident=3, text="it is back")),
        ("close", HERE, Order(name="close", incident=7)),
        ("breakglass bo is on a plane", HERE, Order(name="breakglass", incident=7, text="bo is on a plane")),
        ("status public all is well", HERE, Order(name="status", incident=7, audience="public", text="all is well")),
    ],
)
def test_what_is_typed_becomes_an_order(text: str, scene: Scene, order: Order) -> None:
    assert parse(text, scene) == order


@pytest.mark.parametrize(
    ("text", "scene", "says"),
    [
        ("freez seq-01", HERE, "Did you mean `freeze`?"),
        ("xyzzy", HERE, "`help` lists all"),
        ("<!channel>", HERE, "There is no `that`"),
        ("ack", ELSEWHERE, "`inc-7`, `inc-9` are open"),
        ("ack", Scene(), "No incident is open"),
        ("declare sev-1", HERE, "what is wrong"),
        ("declare sev-4 x", HERE, "not a severity"),
        ("sev down", HERE, "Write SEV-1"),
        ("role @ada", HERE, "Which role?"),
        ("note", HERE, "`note text"),
        ("contained", HERE, "`contained why`"),
        ("freeze seq-1", HERE, "Did you mean `seq-01`"),
        ("freeze seq-01 seq-99", HERE, "no node 'seq-99'"),
        ("freeze seq-01 lagon", HERE, "Did you mean `lagoon`"),
        ("freeze please", HERE, "so nothing was done"),
        ("show inc-99999999999", HERE, "no incident of so high a number"),
        ("ack the page", HERE, "takes nothing after it"),
        ("rearm now", HERE, "takes nothing after it"),
        ("handover zoe", HERE, "Nobody in team.yaml"),
        ("action add", HERE, "`action add @ben"),
        ("action add @bo", HERE, "`action add @ben"),
        ("action frobnicate", HERE, "`action list`"),
        ("action add x by 2026-02-30", HERE, "no day"),
        ("reopen it is back", ONE_LIVE, "Which incident?"),
        ("close", ONE_LIVE, "Which incident?"),
    ],
)
def test_what_cannot_be_meant_is_answered_with_help(text: str, scene: Scene, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(text, scene)
    assert says in str(refused.value)


def test_a_target_that_is_not_there_never_falls_back_to_the_suspects() -> None:
    for word in ("seq-03", "seq03", "SEQ-77", "s1"):
        with pytest.raises(Invalid):
            parse(f"freeze {word}", HERE)


def test_help_fits_a_phone() -> None:
    lines = help_text("/incident").splitlines()
    assert all(len(line) <= 48 for line in lines[1:-1])
    assert sum(line.startswith("`") for line in lines) == len(USAGE)


def test_every_command_of_the_help_is_carried_out() -> None:
    typed = {"waive": "waive capture seq-01 because", "sev": "sev SEV-1", "role": "role ic", "note": "note x"}
    more = (
        "action done 1",
        "action add x",
        "contained x",
        "reopen x",
        "breakglass x",
        "evidence hold x",
        "evidence lift x",
    )
    texts = [typed.get(name, f"{name} seq-01" if name in set(Verb) else name) for name in USAGE if name not in NEEDY]
    assert {parse(text, HERE).name for text in (*texts, *more)} == set(CARRIED_OUT)
