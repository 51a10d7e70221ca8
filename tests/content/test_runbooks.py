"""What we ship for people at three in the morning."""

import re

import pytest

from bot.config import load
from bot.config.load import shipped
from bot.config.runbooks import HEADINGS
from bot.domain.policy import Policy
from bot.domain.runbook import Runbook
from bot.domain.severity import Severity

CONFIG = load(None)
RUNBOOKS = list(CONFIG.runbooks.values())
SEVERITIES = {
    "EquivocationRiskSpike": Severity.SEV1,
    "SignerMisbehaviour": Severity.SEV1,
    "AVSDeadlineMissRateCritical": Severity.SEV1,
    "AVSDeadlineMissRateHigh": Severity.SEV2,
    "ExporterBlackhole": Severity.SEV2,
    "ClockSkewHigh": Severity.SEV2,
    "SignerRateLimitSaturated": Severity.SEV2,
    "DAPostingLag": Severity.SEV2,
    "Watchdog": Severity.SEV2,
    "PreconfirmationLatencySLO": Severity.SEV3,
}


def sections(runbook: Runbook) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", runbook.body, flags=re.MULTILINE)
    return {title.strip(): text.strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_the_alerts_that_we_know_have_their_severity() -> None:
    assert {runbook.alert: runbook.severity for runbook in RUNBOOKS} == SEVERITIES


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda runbook: runbook.alert)
def test_each_section_says_something(runbook: Runbook) -> None:
    found = sections(runbook)
    assert tuple(found) == HEADINGS
    assert all(len(text.split()) >= 12 for text in found.values())
    for steps in (found["Diagnosis"], found["Mitigation"]):
        assert re.search(r"^1\. ", steps, re.MULTILINE)


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda runbook: runbook.alert)
def test_each_names_a_real_playbook_and_known_severity_labels(runbook: Runbook) -> None:
    paging = Policy().paging
    expected = paging.beat if runbook.heartbeat else paging.ticket if runbook.severity is Severity.SEV3 else paging.page
    assert runbook.playbook in CONFIG.playbooks
    assert runbook.labels["severity"] in expected
    assert runbook.heartbeat or runbook.playbook == f"sev{runbook.severity.value}"


@pytest.mark.parametrize("runbook", [r for r in RUNBOOKS if not r.heartbeat], ids=lambda runbook: runbook.alert)
def test_each_alert_names_its_target_and_can_be_asked_about(runbook: Runbook) -> None:
    assert runbook.suspects.by["signer"] == "name"
    assert runbook.suspects.avs == "avs"
    assert runbook.correlate == ("avs",)
    assert runbook.persists is not None
    assert 'signer!~"$not_frozen"' in runbook.persists
    assert '"$avs"' in runbook.persists


def test_only_signing_itself_may_freeze_automatically() -> None:
    assert {r.alert for r in RUNBOOKS if r.safety} == {"EquivocationRiskSpike", "SignerMisbehaviour"}


def test_equivocation_waits_for_nothing() -> None:
    assert CONFIG.runbooks["EquivocationRiskSpike"].hold is None


def test_mentions_of_other_alerts_are_real() -> None:
    for runbook in RUNBOOKS:
        named = set(re.findall(r"\b(?:see|See|by|in) ([A-Z][a-z]*(?:[A-Z]+[a-z]+)+|AVS\w+)\b", runbook.body))
        assert named <= set(CONFIG.runbooks), (runbook.alert, named)


def test_every_file_is_loaded() -> None:
    assert {path.stem for path in shipped("runbooks").glob("*.md")} == set(CONFIG.runbooks)
