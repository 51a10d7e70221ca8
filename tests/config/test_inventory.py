"""inventory.yaml."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from bot.domain.addresses import address_problem, url_problem
from bot.domain.inventory import Capability, Cohort

Broken = Callable[[str, str], tuple[str, ...]]
NETWORKS = ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8")


def test_a_node_with_everything(home: Any) -> None:
    home.write(
        "inventory.yaml",
        """\
avs:
  beta: {quorum: 1, duty_period: 1m, network: mainnet}
defaults:
  avs: beta
  client: reth
  labels: {dc: one}
  api: {driver: sidecar, token: "env:T", timeout: 3s}
nodes:
  seq-01:
    keys: [0xdead, 0x010e]
    cohort: canary
    region: eu
    zone: eu-a
    provider: p
    labels: {instance: "127.0.0.1:9100"}
    api: {url: "http://127.0.0.1:1/base"}
    signer: {driver: keymanager, url: "http://127.0.0.1:2", options: {escrow: /secure}}
    rollback: {build_hash: "sha256:ab", config_checksum: "sha256:cd", tested_on: 2026-01-31}
    escrow: yes
  seq-02:
    keys: [0x01]
    client: geth
""",
    )
    node = home.load().inventory.nodes["seq-01"]
    assert (node.avs, node.keys, node.cohort, node.client) == ("beta", ("0xdead", "0x010e"), Cohort.CANARY, "reth")
    assert node.labels == {"dc": "one", "instance": "127.0.0.1:9100"}
    assert node.escrow
    assert node.rollback is not None
    assert node.rollback.tested_on == date(2026, 1, 31)
    signer, router = node.reach[Capability.SIGNER], node.reach[Capability.ROUTER]
    assert (signer.driver, signer.url, signer.token, signer.options) == (
        "keymanager",
        "http://127.0.0.1:2",
        "env:T",
        {"escrow": "/secure"},
    )
    assert (router.driver, router.url, router.timeout) == ("sidecar", "http://127.0.0.1:1/base", timedelta(seconds=3))
    assert set(node.reach) == set(Capability)
    other = home.load().inventory.nodes["seq-02"]
    assert (other.client, dict(other.reach)) == ("geth", {})


def test_a_default_with_a_url_reaches_every_node(home: Any) -> None:
    text = (home.path / "inventory.yaml").read_text()
    home.write("inventory.yaml", text + 'defaults: {router: {driver: haproxy, url: "http://127.0.0.1:5"}}\n')
    assert home.load().inventory.nodes["seq-01"].reach[Capability.ROUTER].driver == "haproxy"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("seq-01", "seq 01", "5: nodes[0].name: must be letters, digits, '.', '_' and '-', at most 63: write seq-01"),
        ("seq-01", "all", "5: nodes[0].name: 'all' could be read as a wildcard: choose another name"),
        ("avs: alpha", "avs: alhpa", "6: nodes[0].avs: 'alhpa' is not listed under avs: did you mean 'alpha'?"),
        ("[0xdead]", "[]", "7: nodes[0].keys: is empty: list the keys"),
        ("[0xdead]", "0xdead", "7: nodes[0].keys: must be a list: write [a, b]"),
        ("[0xdead]", "['*']", "7: nodes[0].keys[0]: '*' is not a key: write its public key as 0x and"),
        ("[0xdead]", "[deadbeef]", "7: nodes[0].keys[0]: 'deadbeef' is not a key: write 0x before it: 0xdeadbeef"),
        ("[0xdead]", "[0xabc]", "7: nodes[0].keys[0]: '0xabc' is not a key: it has 3 digits, and two make a byte"),
        ("[0xdead]", "['validator-7']", "7: nodes[0].keys[0]: 'validator-7' is not a key: write its public key as 0x"),
        ("[0xdead]", "[0x0a, 0x0b, 0x0A]", "7: nodes[0].keys[2]: is listed twice for this node"),
        ("[0xdead]", "[a]\n    lables: {}", "8: nodes[0].lables: is not known here: did you mean 'labels'?"),
        ("[0xdead]", "[a]\n    reach: {}", "8: nodes[0].reach: is not known here"),
        ("[0xdead]", "[a]\n    labels: {name: x}", "8: nodes[0].labels.name: is reserved"),
        (
            "[0xdead]",
            "[a]\n    rollback: {build_hash: latest}",
            "8: nodes[0].rollback.build_hash: must be an immutable",
        ),
        ("[0xdead]", "[a]\n    rollback: {}", "8: nodes[0].rollback.build_hash: is required"),
        ("quorum: 1", "quorum: 0", "3: avs[0].quorum: must be at least 1"),
        ("quorum: 1", "quorum: 2", "3: avs[0].quorum: is more than the 1 nodes listed"),
        ("12s", "0s", "3: avs[0].duty_period: must be longer than 0"),
        ("12s", "12", "3: avs[0].duty_period: must be a duration"),
        ("alpha, q", "alpha, beta: 1, q", "3: avs[0].beta: is not known here"),
        ('"env:T"', "abc123", "8: nodes[0].signer.token: must be a reference, never the secret itself"),
        ('"env:T"', '"env:A B"', "8: nodes[0].signer.token: must be a reference"),
        ('"env:T"', "x, options: {password: hunter2}", "8: nodes[0].signer.options.password: must be a reference"),
        (
            '"env:T"',
            '"env:T", options: {metrics: "http://8.8.8.8/"}',
            "8: nodes[0].signer.options.metrics: 8.8.8.8 lies",
        ),
        ('"env:T"', '"env:T", timeout: 2m', "8: nodes[0].signer.timeout: must be longer than 0 and at most 1m"),
        ("driver: sidecar, ", "", "8: nodes[0].signer.driver: is required"),
        ("driver: sidecar", "driver: ../x", "8: nodes[0].signer.driver: must be the name of a driver"),
        ("127.0.0.1:9101", "8.8.8.8", "8: nodes[0].signer.url: 8.8.8.8 lies outside networks: add its range there"),
        ("127.0.0.0/8", "127.0.0.1/8", "1: networks[0]: must be an address range without host bits"),
        ("127.0.0.0/8", "0.0.0.0/0", "1: networks[0]: would allow every address there is"),
        ("networks: [", "netwroks: [", "1: netwroks: is not known here: did you mean 'networks'?"),
        ("networks: [", "x: [", "1: x: is not known here: known are networks, avs, defaults, nodes"),
    ],
)
def test_each_problem_has_its_line_and_a_remedy(inventory: Broken, old: str, new: str, problem: str) -> None:
    problems = inventory(old, new)
    assert any(line.startswith(f"inventory.yaml:{problem}") for line in problems), problems
    assert all(": " in line.split(": ", 1)[1] for line in problems)


def test_a_secret_never_shows_in_a_problem(inventory: Broken) -> None:
    assert "hunter2" not in str(inventory('"env:T"', "hunter2, options: {token: hunter2}"))


def test_names_are_told_when_given_twice(home: Any) -> None:
    text = (home.path / "inventory.yaml").read_text()
    twice = text.replace("12s}", "12s}\n  - {name: alpha}") + "  - {name: seq-01, avs: alpha, keys: [0xbeef]}\n"
    assert home.write("inventory.yaml", twice).problems() == (
        "inventory.yaml:4: avs[1].name: 'alpha' is listed twice: keep one",
        "inventory.yaml:10: nodes[1].name: 'seq-01' is listed twice: give each node its own name",
    )


def test_a_problem_in_defaults_points_at_defaults(home: Any) -> None:
    text = (home.path / "inventory.yaml").read_text()
    problems = home.write("inventory.yaml", text + "defaults:\n  cohort: canry\n").problems()
    assert problems == ("inventory.yaml:10: nodes[0].cohort: 'canry' is not known: did you mean 'canary'?",)


def test_an_empty_inventory_says_what_to_list(home: Any) -> None:
    assert [line.split(": ")[1] for line in home.write("inventory.yaml", "").problems()] == ["avs", "nodes"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9101",
        "https://10.1.2.3/base/",
        "http://[fd00::1]:80",
        "http://node-01.internal:9101",
        "http://localhost:9",
        "http://[::ffff:10.0.0.1]/",
    ],
)
def test_urls_that_may_be_called(url: str) -> None:
    assert url_problem(url, NETWORKS) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://10.0.0.1", "not a node's URL"),
        ("10.0.0.1:80", "not a"),
        ("http://", "not a node's URL"),
        ("http://10.0.0.1:99999", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://10.0.0.1:0", "port 0"),
        ("http://u:p@10.0.0.1", "user or password"),
        ("http://10.0.0.1?a=b", "? or #"),
        ("http://10.0.0.1#x", "? or #"),
        ("http://10.0.0.1\\@8.8.8.8", "not a node's URL"),
        ("http://10.0.0.1 .x", "not a node's URL"),
        ("http://8.8.8.8", "outside networks"),
        ("http://[2001:db8::1]", "outside networks"),
        ("http://169.254.169.254/latest", "metadata"),
        ("http://[::ffff:169.254.169.254]", "metadata"),
        ("http://[fd00:ec2::254]", "metadata"),
        ("http://metadata.google.internal.", "metadata"),
        ("http://2852039166", "neither a name nor a plain address"),
        ("http://0xa9fea9fe", "neither a name nor a plain address"),
        ("http://169.254.43518", "neither a name nor a plain address"),
        ("http://0251.0376.0251.0376", "neither a name nor a plain address"),
        ("http://0.0.0.0", "not one machine's address"),
        ("http://224.0.0.1", "not one machine's address"),
        ("http://[fe80::1%25eth0]", "metadata"),
    ],
)
def test_urls_that_are_refused(url: str, words: str) -> None:
    assert words in str(url_problem(url, NETWORKS))


def test_a_metadata_address_is_refused_even_when_networks_allow_it() -> None:
    assert "metadata" in str(address_problem("169.254.169.254", ["169.254.0.0/16"]))
