"""The second look: what will hurt on the night it is needed."""

from datetime import date
from typing import Any

import pytest

from bot.config.review import State, review, some, spans
from bot.domain.team import HOURS_A_WEEK

TODAY = date(2026, 6, 1)
NODE = (
    '  - {{name: {name}, avs: {avs}, keys: [{key}], {more} signer: {{driver: {driver}, url: "http://127.0.0.1:1"}}}}\n'
)


def fleet(*nodes: dict[str, str], quorum: int = 1) -> str:
    rows = [
        NODE.format(**{"name": f"n{i}", "avs": "alpha", "key": f"0xa{i}", "more": "", "driver": "sidecar", **node})
        for i, node in enumerate(nodes)
    ]
    beta = "  - {name: beta}\n" if any(node.get("avs") == "beta" for node in nodes) else ""
    return f"avs:\n  - {{name: alpha, quorum: {quorum}}}\n{beta}nodes:\n" + "".join(rows)


def found(home: Any, name: str) -> list[tuple[str, str]]:
    lines = [
        line
        for line in review(home.load(), today=TODAY, destructive=lambda at: at.driver == "keymanager")
        if line.name == name
    ]
    assert all(line.todo for line in lines if line.state is not State.OK)
    return [(str(line.state), line.what) for line in lines]


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        ([], ""),
        (range(HOURS_A_WEEK), "the whole week"),
        (range(120, 128), "Sat 00:00–08:00"),
        ([0], "Mon 00:00–01:00"),
        (range(120, 144), "Sat 00:00–24:00"),
        (range(120, 168), "Sat 00:00–Sun 24:00"),
        ([*range(166, 168), *range(6)], "Sun 22:00–Mon 06:00"),
        ([*range(22, 30), 40], "Mon 22:00–Tue 06:00, Tue 16:00–17:00"),
    ],
)
def test_hours_are_told_compactly(hours: Any, text: str) -> None:
    assert spans(hours) == text


def test_many_names_are_counted() -> None:
    assert some([str(i) for i in range(7)]) == "0, 1, 2, 3, 4 and 2 more"


def test_a_key_in_two_places_fails(home: Any) -> None:
    home.write("inventory.yaml", fleet({"key": "0x0c"}, {"key": "0x0c"}))
    assert found(home, "keys") == [("fail", "key 0x0c is in 2 places: n0, n1")]


def test_a_key_of_two_services_is_slashed_twice(home: Any) -> None:
    home.write("inventory.yaml", fleet({"key": "0x0c"}, {"key": "0x0c", "avs": "beta"}))
    assert found(home, "keys")[0][1].endswith("and serves alpha, beta: one mistake is slashed 2 times")


def test_a_signer_of_two_services_is_told_with_what_it_takes_along(home: Any) -> None:
    home.write("inventory.yaml", fleet({"key": "0x0a"}, {"key": "0x0b", "avs": "beta"}))
    ((state, what),) = found(home, "signers")
    assert state == "warn"
    assert "signs for alpha, beta (n0, n1)" in what
    assert "2 keys of 2 services" in what


GATE = "{{driver: {}, url: 'unix:/run/h.sock', options: {{{}}}}}"
WHOLE, ROUTER = GATE.format("signer_gate", "server: be/n1"), GATE.format("haproxy", "server: 'be/n2, be/n1'")
MAP, LIMIT = GATE.format("signer_gate", "map: /m"), GATE.format("haproxy", "server: be/n1, maxconn: '5'")
EDS = "file: /e/a.json, cluster: c, endpoint: '10.0.0.7:9000'"
ENVOY_GATE = f"{{driver: signer_gate, url: 'http://127.0.0.1:1', options: {{program: envoy, {EDS}}}}}"
ENVOY_ROUTER = f"{{driver: envoy, url: 'http://127.0.0.1:2', options: {{{EDS.replace('/e/', '/e/./')}}}}}"


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        (
            (f"signer: {WHOLE}, router: {ROUTER}",),
            ["n0 is frozen at be/n1 of unix:/run/h.sock, where the router of n0"],
        ),
        (
            (f"signer: {WHOLE}", f"router: {ROUTER}"),
            ["n0 is frozen at be/n1 of unix:/run/h.sock, where the router of n1"],
        ),
        ((f"signer: {WHOLE}", f"signer: {WHOLE}"), ["n0 is frozen at be/n1", "n1 is frozen at be/n1"]),
        ((f"signer: {ENVOY_GATE}, router: {ENVOY_ROUTER}",), ["n0 is frozen at 10.0.0.7:9000 in /e/a.json, where"]),
        ((f"signer: {WHOLE}, throttle: {LIMIT}",), []),
        ((f"signer: {WHOLE}", f"signer: {WHOLE.replace('n1', 'n2')}"), []),
        ((f"signer: {MAP}, router: {ROUTER}", f"signer: {MAP}"), []),
        ((f"router: {ROUTER}", f"router: {ROUTER}"), []),
    ],
)
def test_a_whole_signer_that_somebody_else_can_give_back_fails(
    home: Any, nodes: tuple[str, ...], says: list[str]
) -> None:
    rows = "".join(f"  - {{name: n{i}, avs: a, keys: [0xa{i}], {reach}}}\n" for i, reach in enumerate(nodes))
    home.write("inventory.yaml", f"avs: [{{name: a}}]\nnodes:\n{rows}")
    lines = [what for state, what in found(home, "gates") if state == "fail"]
    assert len(lines) == len(says)
    assert all(what.startswith(start) for what, start in zip(lines, says, strict=True))


def test_a_zone_that_takes_the_quorum_with_it_is_told(home: Any) -> None:
    here = {"more": "zone: a, provider: p,"}
    home.write("inventory.yaml", fleet(here, here, here))
    assert found(home, "zones") == [
        ("warn", "alpha: all 3 nodes are in p a: losing it leaves 0, the quorum is 1"),
    ]
    home.write("inventory.yaml", fleet(here, here, {"more": "zone: b,"}, quorum=2))
    assert found(home, "zones") == [("warn", "alpha: 2 of 3 nodes are in p a: losing it leaves 1, the quorum is 2")]
    home.write("inventory.yaml", fleet(here, {"more": "zone: b,"}, {"more": "zone: c,"}, quorum=2))
    assert found(home, "zones")[0][0] == "ok"


def test_nodes_without_a_zone_are_told(home: Any) -> None:
    assert found(home, "zones")[0] == ("warn", "alpha: nobody knows which zone seq-01 stand in")


def test_a_node_without_a_signer_cannot_be_stopped(home: Any) -> None:
    home.write("inventory.yaml", "avs: [{name: a}]\nnodes: [{name: n, avs: a, keys: [0x0c]}]\n")
    assert found(home, "reach") == [("fail", "n cannot be frozen: no signer endpoint is written")]


RUNBOOK = """\
---
expr: x
severity: SEV-1
labels: {severity: page}
annotations: {summary: s}
correlate: [avs]
playbook: sev1
safety: true
suspects: {by: {validator: validator}}
---
# T
## Meaning
## Impact
## Diagnosis
## Mitigation
"""


def test_a_node_that_no_label_can_name_fails(home: Any) -> None:
    home.write("runbooks/Slash.md", RUNBOOK)
    home.write("inventory.yaml", fleet({"more": "labels: {validator: v1},"}, {}))
    assert found(home, "alerts") == [("fail", "Slash cannot name n1: no label of theirs is validator")]


def test_a_label_that_names_two_nodes_is_told(home: Any) -> None:
    home.write("runbooks/Slash.md", RUNBOOK)
    both = {"more": "labels: {validator: v1},"}
    home.write("inventory.yaml", fleet(both, both))
    assert found(home, "alerts") == [
        ("warn", "the label validator=v1 names n0, n1 alike, so an alert with it names nobody")
    ]


def test_a_destructive_freeze_needs_escrow(home: Any) -> None:
    home.write("inventory.yaml", fleet({"driver": "keymanager"}, {"driver": "keymanager", "more": "escrow: true,"}))
    assert found(home, "escrow") == [("fail", "n0 will not be frozen: that deletes keys that nobody else holds")]
    home.write("policy.yaml", "require_escrow: false\n")
    assert found(home, "escrow") == [("warn", "freezing n0 deletes keys for good")]


def test_contracts_that_are_missing_untested_or_old_are_told(home: Any) -> None:
    def contract(tested: str) -> dict[str, str]:
        return {"more": f'rollback: {{build_hash: "sha256:1"{tested}}},'}

    home.write(
        "inventory.yaml",
        fleet(
            {},
            contract(""),
            contract(", tested_on: 2026-06-02"),
            contract(", tested_on: 2026-03-02"),
            contract(", tested_on: 2026-03-03"),
        ),
    )
    assert [what.split(",")[0].split(":")[0] for _, what in found(home, "rollback")] == ["n0", "n1", "n3"]
    assert found(home, "rollback")[1][1].startswith("n1, n2: a rollback contract that was never tested")


def test_hours_with_fewer_than_two_who_may_start_things_fail(home: Any) -> None:
    team = (home.path / "team.yaml").read_text()
    assert found(home, "on-call") == [
        ("fail", "fewer than two people on call may unfreeze or rollback or rearm: the whole week")
    ]
    home.write("team.yaml", team.replace("[responder]", "[lead]"))
    assert found(home, "on-call")[0][0] == "ok"
    shifts = (
        '  - {from: "mon 08:00", to: "sat 00:00", people: [ada, ben]}\n'
        '  - {from: "sat 08:00", to: "mon 08:00", people: [ada]}\n'
    )
    home.write("team.yaml", team.replace("[responder]", "[lead]").split("shifts:")[0] + "shifts:\n" + shifts)
    assert found(home, "on-call") == [
        ("fail", "nobody is on call Sat 00:00–08:00"),
        ("fail", "fewer than two people on call may unfreeze or rollback or rearm: Sat 08:00–Mon 08:00"),
    ]


def test_without_shifts_nobody_is_on_call(home: Any) -> None:
    home.write("team.yaml", (home.path / "team.yaml").read_text().split("shifts:")[0])
    assert found(home, "on-call") == [("fail", "nobody is on call at any hour")]


def test_people_on_call_without_slack_are_told(home: Any) -> None:
    home.write("team.yaml", (home.path / "team.yaml").read_text().replace("slack: U002, ", ""))
    assert found(home, "people") == [("warn", "Ben on call cannot be written to in Slack")]
