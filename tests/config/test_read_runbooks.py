"""runbooks/*.md."""

from typing import Any

import pytest

from bot.domain.runbook import Suspects
from bot.domain.severity import Severity

VALID = """\
---
expr: up == 0
for: 2m
severity: SEV-2
labels: {severity: page}
annotations: {summary: "down"}
correlate: [avs]
playbook: sev2
suspects: {by: {signer: name}}
persists: up{avs="$avs", signer!~"$not_frozen"} == 0
safety: no
---
# It is down

## Meaning

## Impact

## Diagnosis

## Mitigation
"""


def test_a_runbook_of_the_operator(home: Any) -> None:
    config = home.write("runbooks/Mine.md", VALID).load()
    runbook = config.runbooks["Mine"]
    assert (runbook.title, runbook.hold, runbook.severity, runbook.safety) == ("It is down", "2m", Severity.SEV2, False)
    assert runbook.suspects == Suspects(by={"signer": "name"}, avs="avs")
    assert runbook.body.startswith("# It is down")
    assert config.runbook_for({"alertname": "Mine", "x": "y"}) is runbook
    assert config.runbook_for({"alertname": "Other"}) is None
    assert config.runbook_for({}) is None


def test_matchers_must_match_too(home: Any) -> None:
    config = home.write("runbooks/Mine.md", VALID.replace("for: 2m", "matchers: {job: avs}")).load()
    assert config.runbook_for({"alertname": "Mine", "job": "avs"}) is not None
    assert config.runbook_for({"alertname": "Mine", "job": "node"}) is None


def test_the_operators_runbook_replaces_a_shipped_one(home: Any) -> None:
    assert home.write("runbooks/Watchdog.md", VALID).load().runbooks["Watchdog"].title == "It is down"


def test_a_readme_is_no_runbook(home: Any) -> None:
    assert "README" not in home.write("runbooks/README.md", "hello").load().runbooks


def test_the_operators_objective_is_filled_in(home: Any) -> None:
    home.write("policy.yaml", "deadline_objective: 0.01\n")
    assert home.load().runbooks["AVSDeadlineMissRateCritical"].expr.endswith("> 10 * 0.01")


def test_windows_line_ends_are_read(home: Any) -> None:
    (home.path / "runbooks").mkdir()
    (home.path / "runbooks" / "Mine.md").write_bytes(VALID.replace("\n", "\r\n").encode())
    assert home.load().runbooks["Mine"].title == "It is down"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("---\nexpr", "expr", "1: has no front matter"),
        ("for: 2m", "for: two minutes", "3: for: must be a duration"),
        ("for: 2m", "hold: 2m", "3: hold: is not known here"),
        ("SEV-2", "SEV-9", "4: severity: 'SEV-9' is not a severity"),
        ("{severity: page}", "{team: a}", "5: labels: must have severity"),
        ("{severity: page}", "{severity: page, a-b: c}", "5: labels.a-b: is not a label's name"),
        ("{severity: page}", "{severity: page, alertname: c}", "5: labels.alertname: is not a label's name"),
        ("summary", "sumary", "6: annotations: must have summary"),
        ("correlate: [avs]", "corelate: [avs]", "7: corelate: is not known here: did you mean 'correlate'?"),
        ("sev2", "sve2", " playbook: 'sve2' does not exist: did you mean 'sev2'?"),
        ("{signer: name}", "{'a b': name}", "9: suspects: 'a b' is not a label's name"),
        ("$avs", "$afs", "10: persists: $afs is not known: did you mean 'avs'?"),
        ('signer!~"$not_frozen"', "$not_frozen", "10: persists: $not_frozen is a regular expression: write signer!~"),
        ("safety: no", "safety: maybe", "11: safety: must be true or false"),
        ("safety: no", "safety: true\nheartbeat: true", "11: safety: cannot be true for a heartbeat"),
        ("suspects: {by: {signer: name}}", "safety: true", "2: suspects: must name targets"),
        ("# It is down\n", "", "2: title: is required"),
        (
            "## Impact",
            "## Impacts",
            "2: text: must have the headings ## Meaning, ## Impact, ## Diagnosis, ## Mitigation",
        ),
    ],
)
def test_each_problem_has_its_line_and_a_remedy(home: Any, old: str, new: str, problem: str) -> None:
    assert old in VALID
    text = VALID.replace(old, new, 1)
    if new == "safety: true":
        text = text.replace("safety: no\n", "")
    problems = home.write("runbooks/Mine.md", text).problems()
    assert any(line.startswith(f"runbooks/Mine.md:{problem}") for line in problems), problems


def test_a_name_that_no_alert_can_have_is_told(home: Any) -> None:
    assert "call the file AlertName.md" in home.write("runbooks/my alert.md", VALID).problems()[0]
