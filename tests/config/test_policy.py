"""policy.yaml."""

from datetime import timedelta
from typing import Any

import pytest

from bot.domain.policy import Cadence, Policy
from bot.domain.severity import Severity


def test_without_a_file_every_default_holds(home: Any) -> None:
    assert home.load().policy == Policy()


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}\n"])
def test_an_empty_file_is_every_default(home: Any, text: str) -> None:
    assert home.write("policy.yaml", text).load().policy == Policy()


def test_only_the_severities_that_are_named_change(home: Any) -> None:
    policy = (
        home.write("policy.yaml", "internal: {SEV-2: {every: 10m}}\nstakeholders: {sev2: {every: 2h}}\n").load().policy
    )
    assert policy.internal[Severity.SEV2] == Cadence(every=timedelta(minutes=10))
    assert policy.internal[Severity.SEV1] == Policy().internal[Severity.SEV1]
    assert set(policy.stakeholders) == {Severity.SEV1, Severity.SEV2}


def test_a_part_keeps_its_other_defaults(home: Any) -> None:
    policy = home.write("policy.yaml", "paging: {page: [wake]}\nbudget: {fraction: 0.2}\n").load().policy
    assert policy.paging.page == {"wake"}
    assert policy.paging.ticket == Policy().paging.ticket
    assert (policy.budget.fraction, policy.budget.window) == (0.2, timedelta(hours=1))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prompt_escalates: 0s", "prompt_escalates: must be longer than 0 and at most 28d"),
        ("reprove_every: 100d", "reprove_every: must be longer than 0 and at most 28d"),
        ("internal: {SEV-1: {every: 0m}}", "internal.SEV-1.every: must be longer than 0"),
        ("internal: {SEV-1: {}}", "internal.SEV-1.every: is required"),
        ("stakeholders: {SEV-1: {at: [30m, 15m], every: 1h}}", "stakeholders.SEV-1.at: must rise from entry to entry"),
        ("paging: {page: []}", "paging.page: is empty, so nothing would ever page"),
        ("paging: {ticket: [page]}", "paging.ticket: 'page' also stands under page: keep it in one list"),
        ("paging: {rounds: 0}", "paging.rounds: must be at least 1"),
        ("paging: {escalate_after: 5}", "paging.escalate_after: must be a duration"),
        ("budget: {fraction: 5}", "budget.fraction: must be a share between 0 and 1: write 0.05 for 5 %"),
        ("budget: {fraction: nan}", "budget.fraction: must be a share"),
        ("budget: {at_least: -1}", "budget.at_least: must be 0 or more"),
        ("deadline_objective: 0", "deadline_objective: must be a share"),
        ("proof_windows: 0", "proof_windows: must be a whole number from 1 to 1000"),
        ("postmortem_days: soon", "postmortem_days: must be a whole number"),
        ("incidents_channel: '#incidents'", "incidents_channel: must be a channel's name in lower case, without #"),
        ("paging: {slack_groups: {sev1: ['@oncall']}}", "paging.slack_groups.sev1[0]: must be a user group's id"),
        ("runbook_hosts: ['https://docs.example']", "runbook_hosts[0]: must be a host in lower case, without https://"),
        ("archive_after: 0d", "archive_after: must be longer than 0"),
        ("country: Germany", "country: must be an ISO country code"),
        ("capture_windw: 1m", "capture_windw: is not known here: did you mean 'capture_window'?"),
        ("scale: 10", "scale: is not known here"),
        ("- a", "must be a mapping"),
    ],
)
def test_each_problem_has_its_line_and_a_remedy(home: Any, text: str, problem: str) -> None:
    problems = home.write("policy.yaml", text + "\n").problems()
    assert len(problems) == 1
    assert problems[0].startswith(f"policy.yaml:1: {problem}")


def test_groups_and_hosts_are_read(home: Any) -> None:
    text = (
        "runbook_hosts: [docs.example, 'wiki.example:8443']\npaging: {slack_groups: {sev-1: [S0123ABCD], SEV-2: []}}\n"
    )
    policy = home.write("policy.yaml", text).load().policy
    assert policy.runbook_hosts == ("docs.example", "wiki.example:8443")
    assert policy.paging.slack_groups == {Severity.SEV1: ("S0123ABCD",), Severity.SEV2: ()}
