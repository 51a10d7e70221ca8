"""The doctor against a small world on loopback, and the commands about configuration."""

import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import typer
import yaml
from pydantic import SecretStr
from typer.testing import CliRunner

from bot.cli.config import mount
from bot.config import load
from bot.doctor import Check, State, checks, outside
from bot.settings import Settings
from bot.store import database as db

TODAY = date(2026, 6, 1)
TEAM = """\
people:
  - {id: ada, name: Ada, slack: U001, powers: [lead]}
  - {id: ben, name: Ben, slack: U002, powers: [lead]}
shifts:
  - {from: "mon 00:00", to: "mon 00:00", people: [ada, ben]}
"""
KEY = "0x" + "ab" * 48
NODE = '  - {{name: {name}, avs: a, keys: [{key}], {more}signer: {{driver: {driver}, url: "{url}", token: "env:T"}}}}\n'
ALERTS = [{"name": name} for name in load(None).runbooks]


class World:
    """What the outside answers: path → status and JSON; `None` as JSON never answers in time."""

    def __init__(self, url: str, answers: dict[str, tuple[int, Any]]) -> None:
        self.url = url
        self.answers = answers


class Text(str):
    """An answer that is no JSON."""


@pytest.fixture
def world() -> Iterator[World]:
    answers: dict[str, tuple[int, Any]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"
        known: ClassVar = answers

        def do_GET(self) -> None:
            status, body = self.known.get(self.path.split("?")[0], (404, {}))
            if body is None:
                time.sleep(1)
            content = (body if isinstance(body, Text) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield World(f"http://127.0.0.1:{server.server_port}", answers)
    server.shutdown()
    thread.join()
    server.server_close()


Doctor = Callable[..., dict[str, list[Check]]]


@pytest.fixture
def doctor(tmp_path: Path, world: World) -> Doctor:
    """Write a home with the given nodes and return the doctor's lines by name."""
    (tmp_path / "evidence").mkdir()
    (tmp_path / "team.yaml").write_text(TEAM)

    def run(
        *nodes: Mapping[str, str], environ: Mapping[str, str] | None = None, avs: str = "a", **settings: Any
    ) -> dict[str, list[Check]]:
        usual = {"name": "n1", "key": "0x01", "driver": "sidecar", "url": world.url, "more": ""}
        rows = "".join(NODE.format(**{**usual, **node}) for node in nodes or ({},))
        (tmp_path / "inventory.yaml").write_text(f"avs: [{{name: {avs}}}]\nnodes:\n{rows}")
        chosen = Settings(**{"home": tmp_path, "port": 0, "webhook_token": SecretStr("x" * 32), **settings})
        found: dict[str, list[Check]] = {}
        for check in checks(chosen, tmp_path, environ={"T": "s3cret"} if environ is None else environ, today=TODAY):
            assert check.todo or check.state is State.OK
            found.setdefault(check.name, []).append(check)
        return found

    return run


def one(found: Mapping[str, list[Check]], name: str) -> tuple[str, str]:
    (check,) = found[name]
    return str(check.state), check.what


SIDECAR, SIGNING = "/stopsign/v1/node", "/stopsign/v1/signing"
NOW = "2026-06-01T00:00:00Z"


def signing(*keys: str) -> tuple[int, Any]:
    """Return what a sidecar says of keys that sign."""
    about = {"state": "signing", "counter": 7, "last_signed_at": NOW, "next_duty_at": None}
    return 200, {"instance_id": "i", "now": NOW, "keys": [{"key": key, **about} for key in keys]}


def test_a_healthy_world_is_ok(doctor: Doctor, world: World, tmp_path: Path) -> None:
    db.migrate(f"sqlite:///{tmp_path / 'stopsign.db'}")
    world.answers[SIDECAR] = (200, {"node": "n1", "keys": ["0x01"]})
    world.answers[SIGNING] = signing("0x01")
    world.answers["/api/auth.test"] = (200, {"ok": True, "user": "stopsign", "team": "Office", "team_id": "T1"})
    room = {"id": "C1", "name": "incidents", "is_member": True}
    world.answers["/api/conversations.list"] = (200, {"ok": True, "channels": [room]})
    world.answers["/api/users.info"] = (200, {"ok": True, "user": {"id": "U001", "team_id": "T1"}})
    world.answers["/api/v1/query"] = (200, {"data": {"result": [{"metric": {"signer": "n1"}}]}})
    world.answers["/api/v1/rules"] = (200, {"data": {"groups": [{"rules": ALERTS}]}})
    found = doctor(
        slack_bot_token=SecretStr("x"),
        slack_signing_secret=SecretStr("8f742231b10e8888abcd99edd5c85a50"),
        slack_api_url=f"{world.url}/api/",
        prometheus_url=world.url,
    )
    assert one(found, "slack") == ("ok", "connected as stopsign to Office")
    assert one(found, "slack #incidents")[0] == "ok"
    assert one(found, "slack people") == ("ok", "all 2 accounts are active members of this workspace")
    assert one(found, "telemetry")[0] == "ok"
    assert one(found, "rules")[0] == "ok"
    assert one(found, "n1 signer") == ("ok", "0x01: signing, 7 signatures, the last at 00:00:00 UTC")
    assert not [check for lines in found.values() for check in lines if check.state is State.FAIL]


@pytest.mark.parametrize(
    ("driver", "path", "answer", "words"),
    [
        ("sidecar", SIDECAR, (401, {}), "n1 refused GET /stopsign/v1/node: 401"),
        ("sidecar", SIDECAR, (403, {"detail": "not from here"}), "n1 refused GET /stopsign/v1/node: 403 not from here"),
        ("sidecar", SIDECAR, (404, {}), "n1 refused GET /stopsign/v1/node: 404"),
        ("sidecar", SIDECAR, (302, {}), "n1 answered GET /stopsign/v1/node with 302"),
        ("sidecar", SIDECAR, (200, {"node": "n2", "keys": ["0x01"]}), "this is n2, not n1"),
        ("sidecar", SIDECAR, (200, {"node": "n1", "keys": []}), "does not hold 0x01"),
        ("sidecar", SIDECAR, (200, {"node": "n1", "keys": ["0x01", "0x02"]}), "also signs with 0x02"),
        ("sidecar", SIDECAR, (200, ["what"]), "n1 answered GET /stopsign/v1/node unreadably"),
        ("sidecar", SIGNING, (200, {}), "n1 answered GET /stopsign/v1/signing unreadably"),
        ("keymanager", "/eth/v1/keystores", (200, {"data": []}), "does not hold 0x01"),
        ("keymanager", "/metrics", (404, {}), "no counter for 0x01: a freeze could never be proven"),
        ("sidecar, options: {network_capture: 'yes'}", SIDECAR, (200, {}), "network_capture must be on or off"),
        ("keymanager, options: {escro: x}", SIDECAR, (200, {}), "no option escro (did you mean escrow?)"),
    ],
)
def test_what_is_wrong_with_a_node(
    doctor: Doctor, world: World, driver: str, path: str, answer: tuple[int, Any], words: str
) -> None:
    world.answers[SIDECAR] = (200, {"node": "n1", "keys": ["0x01"]})
    world.answers[SIGNING] = signing("0x01")
    world.answers["/eth/v1/keystores"] = (200, {"data": [{"validating_pubkey": "0x01"}]})
    world.answers[path] = answer
    state, what = one(doctor({"driver": driver}), "n1 signer")
    assert state == "fail"
    assert words in what


def test_what_to_do_about_a_refusal_depends_on_what_was_refused(doctor: Doctor, world: World) -> None:
    for status, todo in ((401, "correct env:T (inventory.yaml:3)"), (403, "do what it says there")):
        world.answers[SIDECAR] = (status, {"detail": "this address may not"})
        (check,) = doctor()["n1 signer"]
        assert check.todo.startswith(todo)


def test_a_wrong_option_names_its_line(doctor: Doctor) -> None:
    (check,) = doctor({}, {"name": "n2", "driver": "keymanager, options: {escro: x}"})["n2 signer"]
    assert check.todo.startswith("correct inventory.yaml:4")


def test_two_nodes_at_one_address_are_both_looked_at(doctor: Doctor, world: World) -> None:
    world.answers[SIDECAR] = (200, {"node": "n1", "keys": ["0x01"]})
    world.answers[SIGNING] = signing("0x01")
    found = doctor({}, {"name": "n2", "key": "0x02"})
    assert one(found, "n1 signer")[0] == "ok"
    assert one(found, "n2 signer") == ("fail", "this is n1, not n2; does not hold 0x02")


@pytest.mark.parametrize("listed", ["0x0a", "0x0A"])
def test_a_key_that_a_keymanager_holds_is_found_in_either_spelling(doctor: Doctor, world: World, listed: str) -> None:
    world.answers["/eth/v1/keystores"] = (200, {"data": [{"validating_pubkey": listed}]})
    world.answers["/metrics"] = (200, Text('vc_published_attestations_total{pubkey="0x0a"} 3\n'))
    assert one(doctor({"driver": "keymanager", "key": "0x0A"}), "n1 signer")[0] == "ok"


def test_the_options_of_every_driver_are_looked_at_and_what_api_cannot_do_is_not_told(
    doctor: Doctor, world: World
) -> None:
    world.answers[SIDECAR] = (200, {"node": "n1", "keys": ["0x01"]})
    world.answers[SIGNING] = signing("0x01")
    endpoint = f'{{driver: sidecar, url: "{world.url}", token: "env:T"}}'
    found = doctor({"more": f"api: {endpoint}, "})
    assert one(found, "n1 signer")[0] == "ok"
    assert not [name for name in found if name.startswith("n1 ") and name != "n1 signer"]
    gate = '{driver: signer_gate, url: "unix:/run/x.sock", options: {mpa: x}}'
    state, what = one(doctor({"more": f"router: {gate}, "}), "n1 router")
    assert state == "fail"
    assert "no option mpa (did you mean map?); it knows program, metrics, counters, key_label, server, map" in what


def test_silent_nodes_are_waited_for_together(doctor: Doctor, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "PATIENCE", 0.2)
    world.answers.update({f"/{i}{SIDECAR}": (200, None) for i in range(20)})
    nodes = [{"name": f"n{i}", "key": f"0x{i:02}", "url": f"{world.url}/{i}"} for i in range(20)]
    begin = time.monotonic()
    found = doctor(*nodes)
    assert time.monotonic() - begin < 20 * 0.2 * 2  # one after another would take longer still
    assert one(found, "n7 signer")[1] == "n7 did not answer GET /stopsign/v1/node within 0.2 s"


def test_a_node_that_is_down_or_elsewhere_fails(doctor: Doctor) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        found = doctor(
            {"url": f"http://127.0.0.1:{port}"}, {"name": "n2", "key": "0x02", "url": "http://nowhere.invalid"}
        )
    assert "could not be reached" in one(found, "n1 signer")[1]
    assert "could not be reached" in one(found, "n2 signer")[1]


def test_a_name_that_leads_out_of_the_networks_is_not_called(
    doctor: Doctor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(*_: object, **__: object) -> list[Any]:
        return [(0, 0, 0, "", ("169.254.169.254", 80))]

    monkeypatch.setattr("socket.getaddrinfo", elsewhere)
    state, what = one(doctor({"url": "http://node.internal"}), "n1 signer")
    assert state == "fail"
    assert "node.internal stands for no address in the inventory's networks" in what


def test_secrets_that_do_not_resolve_fail_once(doctor: Doctor) -> None:
    found = doctor({}, {"name": "n2", "key": "0x02"}, environ={})
    assert one(found, "secrets") == ("fail", "env:T: is not set; needed for n1, n2")
    assert "n1 signer" not in found


def test_an_escrow_that_lacks_what_brings_a_key_back_fails(doctor: Doctor, tmp_path: Path) -> None:
    def looked(**options: str) -> list[tuple[str, str]]:
        written = "".join(f", {key}: {value}" for key, value in options.items())
        driver = "keymanager, options: {counters: c" + written + "}"
        lines = doctor({"key": KEY, "driver": driver, "more": "escrow: true, "})["escrow"]
        return [(str(line.state), line.what) for line in lines]

    assert any(state == "warn" and "by hand only" in what for state, what in looked())
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / f"{KEY}.json").write_text("{}")
    ((state, what),) = looked(escrow=str(folder))  # and no line beside it that says that all can be restored
    assert (state, f"lacks {KEY}.txt" in what) == ("fail", True)
    (folder / f"{KEY}.txt").write_text("password")
    assert [state for state, _ in looked(escrow=str(folder))] == ["ok"]


def test_an_unknown_driver_fails(doctor: Doctor) -> None:
    found = doctor({"driver": "sidcar"}, {"name": "n2", "key": "0x02", "driver": "wire"})
    assert [check.what for check in found["drivers"]] == [
        "there is no driver 'sidcar' (did you mean sidecar?); docs/drivers.md lists what there is",
        "there is no driver 'wire'; docs/drivers.md lists what there is",
    ]
    assert [check.todo for check in found["drivers"]] == [f"correct driver at inventory.yaml:{n}" for n in (3, 4)]


@pytest.mark.parametrize("answer", [{"ok": False, "error": "invalid_auth"}, ["?"]])
def test_a_bad_slack_token_fails(doctor: Doctor, world: World, answer: Any) -> None:
    world.answers["/api/auth.test"] = (200, answer)
    slack = {"slack_bot_token": SecretStr("x"), "slack_app_token": SecretStr("y"), "slack_api_url": f"{world.url}/api/"}
    assert one(doctor(**slack), "slack")[0] == "fail"


def test_slack_that_cannot_be_reached_fails(doctor: Doctor) -> None:
    slack = {
        "slack_bot_token": SecretStr("x"),
        "slack_app_token": SecretStr("y"),
        "slack_api_url": "http://127.0.0.1:1/",
    }
    assert one(doctor(**slack), "slack")[0] == "fail"


def test_nodes_and_rules_that_prometheus_lacks_fail(doctor: Doctor, world: World) -> None:
    world.answers["/api/v1/query"] = (200, {"data": {"result": [{"metric": {"signer": "other"}}]}})
    world.answers["/api/v1/rules"] = (200, {"data": {"groups": [{"rules": ALERTS[1:]}]}})
    found = doctor(prometheus_url=world.url)
    assert one(found, "telemetry") == ("fail", "no scrape target carries signer=n1: no alert can name them")
    assert one(found, "rules") == ("fail", f"Prometheus does not know {ALERTS[0]['name']}")
    world.answers["/api/v1/query"] = (200, {})
    assert one(doctor(prometheus_url=world.url), "prometheus")[0] == "fail"


def test_the_webhook_must_be_guarded(doctor: Doctor) -> None:
    assert one(doctor(webhook_token=None), "webhook")[0] == "fail"
    short = {"webhook_token": None, "webhook_user": "am", "webhook_password": SecretStr("short")}
    assert one(doctor(**short), "webhook")[0] == "warn"


def test_an_open_address_without_tls_is_told(doctor: Doctor) -> None:
    assert one(doctor(host="0.0.0.0"), "host")[0] == "warn"
    assert "host" not in doctor(host="0.0.0.0", public_url="https://stop.example")
    assert "host" not in doctor(host="127.0.0.1")


def test_folder_key_and_database_are_looked_at(doctor: Doctor, tmp_path: Path) -> None:
    key = tmp_path / "checkpoint.pem"
    key.write_text("key")
    key.chmod(0o644)
    tmp_path.chmod(0o777)
    (tmp_path / "stopsign.db").write_text("this is no database, and long enough to be looked at" * 10)
    (tmp_path / "evidence").rmdir()
    found = doctor(time_scale=2.0)
    assert one(found, "key")[1] == f"{key} can be read by others (mode 0644)"
    assert one(found, "folder")[0] == "fail"
    assert one(found, "evidence")[0] == "fail"
    assert "file is not a database" in one(found, "database")[1]
    assert one(found, "clocks")[0] == "warn"


def test_a_database_that_can_be_written_is_ok(doctor: Doctor, tmp_path: Path) -> None:
    key = tmp_path / "checkpoint.pem"
    key.write_text("key")
    key.chmod(0o600)
    assert one(doctor(), "database") == ("fail", f"{tmp_path / 'stopsign.db'} is not made yet")
    sqlite3.connect(tmp_path / "stopsign.db").close()
    state, what = one(doctor(), "database")
    assert (state, "is at schema none, this program needs" in what) == ("fail", True)
    db.migrate(f"sqlite:///{tmp_path / 'stopsign.db'}")
    found = doctor()
    assert one(found, "database")[0] == "ok"
    assert one(found, "key")[0] == "ok"


def test_another_database_is_refused(doctor: Doctor) -> None:
    assert one(doctor(database_url=SecretStr("postgresql://h/d")), "database")[0] == "fail"
    assert one(doctor(database_url=SecretStr("sqlite:////nowhere/x.db")), "database")[0] == "fail"


def test_a_port_in_use_is_told(doctor: Doctor, world: World) -> None:
    port = int(world.url.rsplit(":", 1)[1])
    assert one(doctor(port=port), "port")[0] == "warn"


def test_broken_files_are_told_and_the_rest_is_still_looked_at(doctor: Doctor) -> None:
    found = doctor(avs="b")
    assert one(found, "files")[0] == "fail"
    assert one(found, "evidence")[0] == "ok"
    assert one(found, "slack")[0] == "warn"


def test_without_a_home_the_shipped_content_is_looked_at() -> None:
    names = {check.name for check in checks(Settings(port=0), None, environ={}, today=TODAY)}
    assert names == {"webhook", "port", "slack", "prometheus"}


def build(**given: Any) -> typer.Typer:
    app = typer.Typer()
    mount(app, **given)
    return app


class TestCommands:
    """`stopsign init`, `doctor` and `rules`."""

    runner = CliRunner(env={"COLUMNS": "200", "STOPSIGN_HOME": "", "STOPSIGN_PORT": "0"})

    def test_init_then_rules(self, tmp_path: Path) -> None:
        made: list[Path] = []
        app = build(make_key=made.append)
        home = tmp_path / "home"
        assert self.runner.invoke(app, ["init", str(home)]).exit_code == 0
        assert made == [home]
        again = self.runner.invoke(app, ["init", str(home)])
        assert again.exit_code == 2
        assert again.stderr.count("is there already") == 3
        rules = self.runner.invoke(app, ["rules", "--home", str(home), "--runbook-url", "https://r.example"])
        assert rules.exit_code == 0
        assert yaml.safe_load(rules.stdout)["groups"][0]["rules"]

    def test_init_in_json(self, tmp_path: Path) -> None:
        result = self.runner.invoke(build(), ["init", str(tmp_path / "home"), "--json"])
        assert str(tmp_path / "home") in json.loads(result.stdout)["made"]

    def test_rules_into_a_file_and_in_json(self, tmp_path: Path) -> None:
        out = tmp_path / "rules.yml"
        env = {"STOPSIGN_PUBLIC_URL": "https://stop.example/"}
        assert self.runner.invoke(build(), ["rules", "--out", str(out)], env=env).exit_code == 0
        assert "https://stop.example/runbooks/Watchdog.md" in out.read_text()
        as_json = self.runner.invoke(build(), ["rules", "--json"])
        assert json.loads(as_json.stdout)["groups"][0]["name"] == "stopsign"
        bad = self.runner.invoke(build(), ["rules", "--out", str(tmp_path / "no" / "x")])
        assert bad.exit_code == 2
        assert "cannot be written" in bad.stderr

    def test_doctor_says_what_fails_and_exits_with_1(self, tmp_path: Path) -> None:
        home = tmp_path / "home"
        self.runner.invoke(build(), ["init", str(home)])
        result = self.runner.invoke(build(), ["doctor", "--home", str(home)])
        assert result.exit_code == 1
        assert "env:NODE_API_TOKEN" in result.stdout
        as_json = json.loads(self.runner.invoke(build(), ["doctor", "--home", str(home), "--json"]).stdout)
        assert {"name", "state", "what", "todo"} == set(as_json[0])

    def test_bad_settings_are_lines_on_stderr(self) -> None:
        result = self.runner.invoke(build(), ["doctor"], env={"STOPSIGN_PROT": "1", "STOPSIGN_COMMAND": "x"})
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 2
        assert result.stdout == ""


def test_who_else_holds_the_log_is_said(doctor: Doctor, tmp_path: Path) -> None:
    assert one(doctor(), "anchors")[0] == "warn"
    policy = tmp_path / "policy.yaml"
    anchor = "{name: partner, kind: http, url: 'https://partner.example/a', token: 'env:PARTNER'}"
    policy.write_text(f"evidence: {{anchors: [{anchor}, {{name: room, kind: slack, channel: incidents}}]}}\n")
    lines = [(str(check.state), check.what) for check in doctor(environ={"T": "x"})["anchors"]]
    assert [state for state, _ in lines] == ["fail", "fail"]
    assert "PARTNER" in lines[0][1]
    assert "Slack is not connected" in lines[1][1]
    lines = [(str(check.state), check.what) for check in doctor(environ={"T": "x", "PARTNER": "y"})["anchors"]]
    assert lines[0] == ("ok", "partner (http) gets a checkpoint each 0:10:00")


def test_a_bucket_that_is_not_there_fails(doctor: Doctor) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        found = doctor(evidence_url="s3://evidence/x", s3_endpoint_url=url)
    assert {str(check.state) for check in found["bucket"]} == {"fail"}
    assert "bucket" not in doctor()


def test_a_log_that_does_not_only_grow_fails(doctor: Doctor, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'stopsign.db'}"
    db.migrate(url)
    assert one(doctor(), "database")[0] == "ok"
    with closing(sqlite3.connect(tmp_path / "stopsign.db")) as connection:
        connection.execute("DROP TRIGGER journal_no_delete")
    state, what = one(doctor(), "database")
    assert state == "fail"
    assert "journal_no_delete is missing" in what
    assert "stopsign migrate --restore" in what
    engine = db.connect(url)
    assert db.restore(engine) == ["journal_no_delete"]
    engine.dispose()
    assert one(doctor(), "database")[0] == "ok"
