"""Runbooks → Prometheus rules."""

import yaml

from bot.config import load
from bot.config.rules import prometheus_rules
from bot.domain.runbook import Runbook
from bot.domain.severity import Severity

RUNBOOK = Runbook(
    alert="B",
    title="t",
    expr="up == 0",
    severity=Severity.SEV2,
    labels={"severity": "page"},
    annotations={"summary": "{{ $labels.x }}: 'no'"},
    playbook="sev2",
    correlate=(),
    hold="2m",
)


def test_a_rule_carries_all_that_its_runbook_says() -> None:
    text = prometheus_rules({"B": RUNBOOK}, runbook_url="https://r.example/")
    assert yaml.safe_load(text)["groups"] == [
        {
            "name": "stopsign",
            "rules": [
                {
                    "alert": "B",
                    "expr": "up == 0",
                    "for": "2m",
                    "labels": {"severity": "page", "sev": "SEV-2"},
                    "annotations": {"summary": "{{ $labels.x }}: 'no'", "runbook_url": "https://r.example/B.md"},
                }
            ],
        }
    ]


def test_rules_are_in_order_so_that_a_diff_shows_changes_only() -> None:
    runbooks = load(None).runbooks
    backwards = dict(reversed(list(runbooks.items())))
    assert prometheus_rules(runbooks, runbook_url="r") == prometheus_rules(backwards, runbook_url="r")


def test_a_heartbeat_has_no_sev_and_no_for() -> None:
    tree = yaml.safe_load(prometheus_rules(load(None).runbooks, runbook_url="r"))
    (watchdog,) = [rule for rule in tree["groups"][0]["rules"] if rule["alert"] == "Watchdog"]
    assert watchdog["labels"] == {"severity": "none"}
    assert "for" not in watchdog
