"""playbooks/*.yaml."""

from datetime import timedelta
from typing import Any

import pytest

from bot.domain.playbook import Needs, OnlyIf, Pages, Verb

VALID = """\
summary: Stop.
steps:
  - {step: freeze, authority: auto}
  - {step: rollback, after: freeze, wait: 5m, only_if: symptom-persists, timeout: 2m, on_failure: hold}
  - {step: communicate, targets: none}
"""


def test_a_playbook_of_the_operator(home: Any) -> None:
    playbook = home.write("playbooks/mine.yaml", VALID).load().playbooks["mine"]
    freeze, rollback, _ = playbook.steps
    assert (playbook.name, playbook.page, freeze.authority) == ("mine", Pages.PRIMARY, Needs.AUTO)
    assert (rollback.after, rollback.wait, rollback.only_if, rollback.authority) == (
        Verb.FREEZE,
        timedelta(minutes=5),
        OnlyIf.SYMPTOM_PERSISTS,
        Needs.ONE,
    )


def test_the_operators_playbook_replaces_a_shipped_one(home: Any) -> None:
    assert home.write("playbooks/sev1.yaml", VALID).load().playbooks["sev1"].summary == "Stop."


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("step: freeze", "step: freze", "3: steps[0].step: 'freze' is not known: did you mean 'freeze'?"),
        ("step: freeze", "step: unfreeze", "3: steps[0].step: starts what was stopped"),
        ("step: rollback", "step: freeze", "4: steps[1].step: 'freeze' stands here twice"),
        ("auto}", "auto, loop: 3}", "3: steps[0].loop: is not known here"),
        ("auto}", "three}", "3: steps[0].authority: 'three' is not known: known are auto, one, two"),
        ("auto}", "auto, name: x}", "3: steps[0].name: is not known here"),
        ("after: freeze", "authority: auto", "4: steps[1].authority: must be one or two"),
        ("after: freeze", "after: isolate", "4: steps[1].after: 'isolate' is not an earlier step"),
        ("symptom-persists", "a > b", "4: steps[1].only_if: 'a > b' is not known: known are symptom-persists"),
        ("timeout: 2m", "timeout: 2h", "4: steps[1].timeout: must be longer than 0 and at most 1h"),
        ("wait: 5m", "wait: 0s", "4: steps[1].wait: must be longer than 0"),
        ("targets: none", "targets: suspects", "5: steps[2].targets: must be none for communicate"),
        ("targets: none", "targets: all", "5: steps[2].targets: 'all' is not known: known are suspects, none"),
        ("summary: Stop.", "sumary: Stop.", "1: sumary: is not known here: did you mean 'summary'?"),
        ("summary: Stop.", "summary: Stop.\nname: x", "2: name: is not known here"),
        ("summary: Stop.", "summary: Stop.\npage: everybody", "2: page: 'everybody' is not known"),
    ],
)
def test_each_problem_has_its_line_and_a_remedy(home: Any, old: str, new: str, problem: str) -> None:
    assert old in VALID
    problems = home.write("playbooks/mine.yaml", VALID.replace(old, new, 1)).problems()
    assert any(line.startswith(f"playbooks/mine.yaml:{problem}") for line in problems), problems


def test_an_empty_playbook_and_a_bad_name_are_told(home: Any) -> None:
    home.write("playbooks/empty.yaml", "summary: s\nsteps: []\n")
    home.write("playbooks/Bad Name.yaml", VALID)
    first, second = home.problems()
    assert first.startswith("playbooks/Bad Name.yaml:1: has a name that cannot be used")
    assert second == "playbooks/empty.yaml:2: steps: is empty: list at least one step, such as communicate"
