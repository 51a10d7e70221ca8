"""The generated rules under a real Prometheus' own test runner: each alert fires, and does not."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import pytest
import yaml

from bot.config import load
from bot.config.rules import prometheus_rules

ROOT = Path(__file__).parents[2]
RUNBOOKS = load(None).runbooks


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(*command: str, cwd: Path) -> None:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yml"
    path.write_text(prometheus_rules(RUNBOOKS, runbook_url="https://runbooks.example"))
    return path


@dataclass(frozen=True, kw_only=True)
class Case:
    """Series scraped each `scrape`; at each moment, exactly the named signers have the alert firing."""

    alert: str
    name: str
    series: Mapping[str, str]
    firing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scrape: str = "5s"
    by: str = "signer"

    def __str__(self) -> str:
        return f"{self.alert}: {self.name}"

    def document(self) -> Mapping[str, object]:
        query = f'count by ({self.by}) (ALERTS{{alertname="{self.alert}", alertstate="firing"}})'
        checks = [
            {
                "expr": query,
                "eval_time": moment,
                "exp_samples": [{"labels": f'{{{self.by}="{who}"}}', "value": 1} for who in sorted(signers)],
            }
            for moment, signers in self.firing.items()
        ]
        series = [{"series": name, "values": values} for name, values in self.series.items()]
        return {
            "rule_files": ["rules.yml"],
            "evaluation_interval": "5s",
            "tests": [{"interval": self.scrape, "input_series": series, "promql_expr_test": checks}],
        }


def _of(metric: str, signer: str = "seq-01", more: str = "") -> str:
    return f'{metric}{{avs="alpha", signer="{signer}", instance="10.0.0.1:9100", job="avs"{more}}}'


CONFLICTS = "avs_conflicting_signatures_seen_total"
DENIED = "avs_signer_denied_total"
PROTECTION = ', reason="slashing-protection"'
REQUIRED = "avs_required_attestations_total"
MISSED = "avs_missed_deadlines_total"
NOBODY: tuple[str, ...] = ()
ONE = ("seq-01",)

EQUIVOCATION = [
    Case(
        alert="EquivocationRiskSpike",
        name="one step 0 to 1 at 5 s scrapes, at once, and only the signer that did it",
        series={_of(CONFLICTS): "0x20 1x60", _of(CONFLICTS, "seq-02"): "0x80"},
        firing={"100s": NOBODY, "105s": ONE, "150s": ONE, "6m": NOBODY},
    ),
    Case(
        alert="EquivocationRiskSpike",
        name="one step 0 to 1 at 15 s scrapes",
        series={_of(CONFLICTS): "0x10 1x20"},
        scrape="15s",
        firing={"160s": NOBODY, "165s": ONE, "4m30s": NOBODY},
    ),
    Case(
        alert="EquivocationRiskSpike",
        name="one step 0 to 1 at 60 s scrapes, where a rate sees nothing",
        series={_of(CONFLICTS): "0x5 1x10"},
        scrape="60s",
        firing={"5m": NOBODY, "6m10s": ONE, "9m": NOBODY},
    ),
    Case(
        alert="EquivocationRiskSpike",
        name="a series born at 1",
        series={_of(CONFLICTS): "_x20 1x60"},
        firing={"90s": NOBODY, "105s": ONE, "6m": NOBODY},
    ),
    Case(
        alert="EquivocationRiskSpike",
        name="a step while nobody scraped",
        series={_of(CONFLICTS): "0x20 _x120 1x60"},
        firing={"100s": NOBODY, "12m": ONE},
    ),
    Case(
        alert="EquivocationRiskSpike",
        name="a restart in a gap, and a conflict after it",
        series={_of(CONFLICTS): "5x20 _x120 1x60"},
        firing={"12m": ONE},
    ),
    Case(
        alert="EquivocationRiskSpike",
        name="silent on no conflict, an old count, a restart to zero, and an old count after a gap",
        series={
            _of(CONFLICTS): "0x300",
            _of(CONFLICTS, "seq-02"): "3x300",
            _of(CONFLICTS, "seq-03"): "5x100 0x200",
            _of(CONFLICTS, "seq-04"): "3x100 _x80 3x120",
        },
        firing={"8m": NOBODY, "8m25s": NOBODY, "8m30s": NOBODY, "15m5s": NOBODY, "15m30s": NOBODY, "20m": NOBODY},
    ),
    Case(
        alert="EquivocationRiskSpike",
        name="keeps the key when the exporter tells it",
        series={_of(CONFLICTS, more=', key="0xdead"'): "0x20 1x20"},
        firing={"105s": ("0xdead",)},
        by="key",
    ),
]

MISBEHAVIOUR = [
    Case(
        alert="SignerMisbehaviour",
        name="slashing protection refused once",
        series={_of(DENIED, more=PROTECTION): "0x20 1x60"},
        firing={"100s": NOBODY, "105s": ONE, "6m": NOBODY},
    ),
    Case(
        alert="SignerMisbehaviour",
        name="slashing protection refused, series born at 1",
        series={_of(DENIED, more=PROTECTION): "_x20 1x60"},
        firing={"90s": NOBODY, "105s": ONE},
    ),
    Case(
        alert="SignerMisbehaviour",
        name="signs although frozen for a minute",
        series={
            _of("avs_signatures_total", more=', key="0xa"'): "0+1x60",
            _of("avs_signer_frozen", more=', key="0xa"'): "0x20 1x40",
        },
        firing={"120s": NOBODY, "150s": NOBODY, "180s": ONE},
    ),
    Case(
        alert="SignerMisbehaviour",
        name="signs although frozen, in a gauge born with the freeze and without key labels",
        series={_of("avs_signatures_total"): "0+1x60", _of("avs_signer_frozen"): "_x20 1x40"},
        firing={"110s": NOBODY, "150s": NOBODY, "180s": ONE},
    ),
    Case(
        alert="SignerMisbehaviour",
        name="silent on other refusals, a freeze that holds, and one key of two frozen",
        series={
            _of(DENIED, more=', reason="rate-limit"'): "0x20 1x60",
            _of("avs_signatures_total", "seq-02"): "0+1x20 20x60",
            _of("avs_signer_frozen", "seq-02"): "0x20 1x60",
            _of("avs_signatures_total", "seq-03", ', key="0xa"'): "0+1x80",
            _of("avs_signer_frozen", "seq-03", ', key="0xa"'): "0x80",
            _of("avs_signer_frozen", "seq-03", ', key="0xb"'): "1x80",
        },
        firing={"110s": NOBODY, "160s": NOBODY, "200s": NOBODY, "5m": NOBODY},
    ),
]

DEADLINES = [
    Case(
        alert="AVSDeadlineMissRateHigh",
        name="one signer misses 0.2 %, its neighbour nothing",
        series={
            _of(REQUIRED): "0+1000x240",
            _of(MISSED): "0+2x240",
            _of(REQUIRED, "seq-02"): "0+1000x240",
            _of(MISSED, "seq-02"): "0x240",
        },
        firing={"4m": NOBODY, "8m": ONE},
    ),
    Case(
        alert="AVSDeadlineMissRateHigh",
        name="silent at 0.05 %, and when nothing is required",
        series={
            _of(REQUIRED): "0+10000x240",
            _of(MISSED): "0+5x240",
            _of(REQUIRED, "seq-02"): "7x240",
            _of(MISSED, "seq-02"): "7x240",
        },
        firing={"8m": NOBODY, "19m": NOBODY},
    ),
    Case(
        alert="AVSDeadlineMissRateHigh",
        name="silent on a burst shorter than five minutes",
        series={_of(REQUIRED): "0+1000x240", _of(MISSED): "0x60 2x180"},
        firing={"6m": NOBODY, "9m55s": NOBODY, "15m": NOBODY},
    ),
    Case(
        alert="AVSDeadlineMissRateCritical",
        name="one signer misses 1 %",
        series={_of(REQUIRED): "0+1000x240", _of(MISSED): "0+10x240"},
        firing={"1m": NOBODY, "4m": ONE},
    ),
    Case(
        alert="AVSDeadlineMissRateCritical",
        name="silent at 0.2 %",
        series={_of(REQUIRED): "0+1000x240", _of(MISSED): "0+2x240"},
        firing={"15m": NOBODY},
    ),
]

OTHERS = [
    Case(
        alert="PreconfirmationLatencySLO",
        name="p99.9 above 300 ms",
        series={
            _of("avs_preconf_latency_ms_bucket", more=', le="300", region="eu"'): "0+990x60",
            _of("avs_preconf_latency_ms_bucket", more=', le="600", region="eu"'): "0+1000x60",
            _of("avs_preconf_latency_ms_bucket", more=', le="+Inf", region="eu"'): "0+1000x60",
        },
        firing={"1m": NOBODY, "4m": ONE},
    ),
    Case(
        alert="PreconfirmationLatencySLO",
        name="silent at p99.9 below 300 ms, and without traffic",
        series={
            _of("avs_preconf_latency_ms_bucket", more=', le="300", region="eu"'): "0+1000x60",
            _of("avs_preconf_latency_ms_bucket", more=', le="+Inf", region="eu"'): "0+1000x60",
            _of("avs_preconf_latency_ms_bucket", "seq-02", ', le="300", region="eu"'): "5x60",
            _of("avs_preconf_latency_ms_bucket", "seq-02", ', le="+Inf", region="eu"'): "50x60",
        },
        firing={"4m": NOBODY},
    ),
    Case(
        alert="ExporterBlackhole",
        name="a scrape fails: within three minutes",
        series={_of("up"): "1x20 0x60", _of("up", "seq-02"): "1x80"},
        firing={"100s": NOBODY, "2m": NOBODY, "4m30s": ONE},
    ),
    Case(
        alert="ExporterBlackhole",
        name="one of many nodes vanishes altogether: within three minutes, for an hour",
        series={
            _of("up", "seq-01"): "1x20 stale",
            **{_of("up", f"seq-{n:02}"): "1x800" for n in range(2, 12)},
        },
        firing={"100s": NOBODY, "4m30s": ONE, "30m": ONE, "61m": ONE, "63m": NOBODY},
    ),
    Case(
        alert="ExporterBlackhole",
        name="the exporter answers and has forgotten its signer",
        series={_of("up"): "1x100", _of("avs_signatures_total", more=', key="0xa"'): "0+1x20 stale"},
        firing={"100s": NOBODY, "4m30s": ONE},
    ),
    Case(
        alert="ExporterBlackhole",
        name="is one alert when scrape, target and metrics fail together",
        series={_of("up"): "1x20 0x100", _of("avs_signatures_total", more=', key="0xa"'): "0+1x20 stale"},
        firing={"4m30s": ONE},
    ),
    Case(
        alert="ExporterBlackhole",
        name="silent on health, a hiccup of a minute, and targets that sign nothing",
        series={
            _of("up"): "1x20 0x12 1x80",
            _of("avs_signatures_total", more=', key="0xa"'): "0+1x112",
            'up{job="node", instance="10.0.0.9:9100"}': "1x20 0x92",
        },
        firing={"2m": NOBODY, "3m": NOBODY, "6m": NOBODY, "9m": NOBODY},
    ),
    Case(
        alert="ClockSkewHigh",
        name="fast, slow, and seen by node_exporter",
        series={
            _of("avs_clock_offset_ms", "seq-01"): "0x10 120x60",
            _of("avs_clock_offset_ms", "seq-02"): "0x10 -120x60",
            _of("node_timex_offset_seconds", "seq-03"): "0x10 0.12x60",
        },
        firing={"55s": NOBODY, "3m": ("seq-01", "seq-02", "seq-03")},
    ),
    Case(
        alert="ClockSkewHigh",
        name="silent at 90 ms, and on a jump of some seconds",
        series={_of("avs_clock_offset_ms", "seq-01"): "90x60", _of("avs_clock_offset_ms", "seq-02"): "0x10 300x5 0x60"},
        firing={"1m": NOBODY, "2m": NOBODY, "4m": NOBODY},
    ),
    Case(
        alert="SignerRateLimitSaturated",
        name="two keys together at 95 % of the limit",
        series={
            _of("avs_signatures_total", more=', key="0xa"'): "0+45x100",
            _of("avs_signatures_total", more=', key="0xb"'): "0+50x100",
            _of("avs_signer_rate_limit_per_second"): "20x100",
        },
        firing={"1m": NOBODY, "5m": ONE},
    ),
    Case(
        alert="SignerRateLimitSaturated",
        name="requests refused by the limit, again and again",
        series={_of(DENIED, more=', reason="rate-limit"'): "0+1x100"},
        firing={"5m": ONE},
    ),
    Case(
        alert="SignerRateLimitSaturated",
        name="silent at half the limit, and without one",
        series={
            _of("avs_signatures_total", more=', key="0xa"'): "0+50x100",
            _of("avs_signer_rate_limit_per_second"): "20x100",
            _of("avs_signatures_total", "seq-02"): "0+5000x100",
        },
        firing={"5m": NOBODY},
    ),
    Case(
        alert="DAPostingLag",
        name="three minutes behind",
        series={_of("avs_da_posting_lag_seconds"): "0x10 180x60"},
        firing={"2m": NOBODY, "4m": ONE},
    ),
    Case(
        alert="DAPostingLag",
        name="silent a minute behind, and on a peak",
        series={
            _of("avs_da_posting_lag_seconds"): "60x100",
            _of("avs_da_posting_lag_seconds", "seq-02"): "0x10 180x20 0x70",
        },
        firing={"2m30s": NOBODY, "5m": NOBODY},
    ),
]

CASES = [*EQUIVOCATION, *MISBEHAVIOUR, *DEADLINES, *OTHERS]


@pytest.mark.peer("promtool")
def test_promtool_accepts_the_rules(rules: Path) -> None:
    run(program("promtool"), "check", "rules", rules.name, cwd=rules.parent)


@pytest.mark.peer("promtool")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule(case: Case, rules: Path) -> None:
    cases = rules.parent / "cases.yml"
    cases.write_text(yaml.safe_dump(case.document()))
    run(program("promtool"), "test", "rules", cases.name, cwd=rules.parent)


@pytest.mark.peer("promtool")
def test_the_watchdog_fires_from_the_first_evaluation(rules: Path) -> None:
    check = {"expr": 'count(ALERTS{alertname="Watchdog", severity="none"})', "eval_time": "5s"}
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "5s",
        "tests": [{"interval": "5s", "promql_expr_test": [{**check, "exp_samples": [{"labels": "{}", "value": 1}]}]}],
    }
    (rules.parent / "cases.yml").write_text(yaml.safe_dump(document))
    run(program("promtool"), "test", "rules", "cases.yml", cwd=rules.parent)


def test_every_alert_has_cases_that_fire_and_that_do_not() -> None:
    fires = {case.alert for case in CASES if any(case.firing.values())}
    silent = {case.alert for case in CASES if not any(case.firing.values())}
    assert fires == silent == {name for name, runbook in RUNBOOKS.items() if not runbook.heartbeat}


@pytest.mark.peer("promtool")
def test_annotations_and_labels_are_rendered(rules: Path) -> None:
    labels = {"avs": "alpha", "signer": "seq-01", "severity": "page", "sev": "SEV-2"}
    annotations = {
        "summary": "Clock of seq-01 on alpha is off by 120 ms",
        "action": RUNBOOKS["ClockSkewHigh"].annotations["action"],
        "value": "120",
        "runbook_url": "https://runbooks.example/ClockSkewHigh.md",
    }
    expected = {"exp_labels": labels, "exp_annotations": annotations}
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "5s",
        "tests": [
            {
                "interval": "5s",
                "input_series": [{"series": _of("avs_clock_offset_ms"), "values": "120x60"}],
                "alert_rule_test": [{"alertname": "ClockSkewHigh", "eval_time": "3m", "exp_alerts": [expected]}],
            }
        ],
    }
    (rules.parent / "cases.yml").write_text(yaml.safe_dump(document))
    run(program("promtool"), "test", "rules", "cases.yml", cwd=rules.parent)


@pytest.mark.peer("promtool")
@pytest.mark.parametrize("alert", [name for name, runbook in RUNBOOKS.items() if runbook.persists])
@pytest.mark.parametrize("frozen", ["(nobody)", "seq-01|b.x"])
def test_every_persists_query_is_promql(alert: str, frozen: str, tmp_path: Path) -> None:
    query = Template(RUNBOOKS[alert].persists or "").substitute(avs="alpha", not_frozen=frozen)
    rule = {"groups": [{"name": "g", "rules": [{"record": "symptom", "expr": query}]}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule))
    run(program("promtool"), "check", "rules", "rules.yml", cwd=tmp_path)


@pytest.mark.peer("amtool")
def test_amtool_accepts_the_sample_configuration() -> None:
    run(program("amtool"), "check-config", "docs/alertmanager.yml", cwd=ROOT)


@pytest.mark.peer("amtool")
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (["alertname=EquivocationRiskSpike", "sev=SEV-1", "avs=alpha"], "stopsign"),
        (["alertname=ClockSkewHigh", "sev=SEV-2"], "stopsign"),
        (["alertname=Watchdog"], "deadman,stopsign"),
        (["alertname=SomethingElse"], "stopsign"),
    ],
)
def test_routes(labels: list[str], receivers: str) -> None:
    config = "--config.file=docs/alertmanager.yml"
    run(program("amtool"), "config", "routes", "test", config, f"--verify.receivers={receivers}", *labels, cwd=ROOT)


def test_sev1_waits_for_nothing() -> None:
    tree = yaml.safe_load((ROOT / "docs" / "alertmanager.yml").read_text())
    routes = [route for route in tree["route"]["routes"] if 'sev="SEV-1"' in route["matchers"]]
    assert [route["group_wait"] for route in routes] == ["0s"]
