"""What we ship for the bot."""

from bot.config import load
from bot.domain.playbook import Needs, OnFailure, OnlyIf, Pages, Targets, Verb

PLAYBOOKS = load(None).playbooks


def test_the_sev1_card() -> None:
    sev1 = PLAYBOOKS["sev1"]
    assert [(s.step, s.after, s.authority) for s in sev1.steps] == [
        (Verb.FREEZE, None, Needs.AUTO),
        (Verb.CAPTURE, Verb.FREEZE, Needs.AUTO),
        (Verb.ISOLATE, Verb.CAPTURE, Needs.AUTO),
        (Verb.ROLLBACK, Verb.ISOLATE, Needs.ONE),
        (Verb.COMMUNICATE, Verb.ISOLATE, Needs.AUTO),
    ]
    rollback = sev1.steps[3]
    assert rollback.wait is not None
    assert rollback.wait.total_seconds() == 300
    assert rollback.only_if is OnlyIf.SYMPTOM_PERSISTS
    assert rollback.on_failure is OnFailure.HOLD
    assert sev1.page is Pages.ALL_HANDS


def test_sev2_slows_down_once_somebody_agrees() -> None:
    sev2 = PLAYBOOKS["sev2"]
    assert {s.step: s.authority for s in sev2.steps} == {
        Verb.THROTTLE: Needs.ONE,
        Verb.CAPTURE: Needs.AUTO,
        Verb.COMMUNICATE: Needs.AUTO,
    }
    assert sev2.page is Pages.PRIMARY


def test_sev3_touches_nothing_and_wakes_nobody() -> None:
    sev3 = PLAYBOOKS["sev3"]
    assert [(s.step, s.targets) for s in sev3.steps] == [(Verb.COMMUNICATE, Targets.NONE)]
    assert sev3.page is Pages.NOBODY


def test_nothing_else_is_automatic() -> None:
    automatic = {s.step for playbook in PLAYBOOKS.values() for s in playbook.steps if s.authority is Needs.AUTO}
    assert automatic <= {Verb.FREEZE, Verb.CAPTURE, Verb.ISOLATE, Verb.COMMUNICATE}
