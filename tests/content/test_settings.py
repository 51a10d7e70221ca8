"""The environment, and the file that explains it."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from bot import settings as environment
from bot.errors import Misconfigured
from bot.settings import Settings, is_secret, load, variables

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / ".env.example").read_text()


def blocks() -> dict[str, tuple[str, str]]:
    """Return name → (comment, value) of each setting in the example."""
    found = re.findall(r"((?:^#.*\n)+)^([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE)
    return {name: (comment, value) for comment, name, value in found}


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(Misconfigured) as caught:
        load(environ)
    return caught.value.problems


def test_the_example_lists_every_setting_and_no_other() -> None:
    assert set(blocks()) == set(variables())


@pytest.mark.parametrize("name", sorted(variables()))
def test_the_example_says_default_and_nature_of_each(name: str) -> None:
    comment, value = blocks()[name]
    field = variables()[name]
    default = Settings.model_fields[field].default
    assert "Default:" in comment
    assert ("Secret." in comment) is is_secret(field)
    assert value == ("" if default is None else str(default))
    if default is not None:
        assert str(default) in comment


def test_the_example_as_it_stands_is_the_defaults() -> None:
    assert load({name: value for name, (_, value) in blocks().items()}) == Settings()


def test_an_empty_environment_is_the_defaults() -> None:
    settings = load({"PATH": "/bin", "HOME": "/root"})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.command) == ("127.0.0.1", 8970, "/incident")
    assert not settings.webhook_guarded


def test_the_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPSIGN_PORT", "1")
    monkeypatch.setenv("port", "2")
    assert Settings().port == 8970
    assert Settings(port=0, slack_bot_token=SecretStr("x"), slack_app_token=SecretStr("y")).port == 0


def test_values_are_read() -> None:
    settings = load(
        {
            "STOPSIGN_HOME": "/srv/stopsign",
            "STOPSIGN_PORT": "0",
            "STOPSIGN_WEBHOOK_USER": "am",
            "STOPSIGN_WEBHOOK_PASSWORD": "p",
            "STOPSIGN_TIME_SCALE": "20",
            "STOPSIGN_LOG_LEVEL": "debug",
            "SLACK_API_URL": "http://127.0.0.1:9/api",
            "SLACK_BOT_TOKEN": "xoxb-1",
            "SLACK_SIGNING_SECRET": "s",
            "STOPSIGN_NODE_TOKEN": "for the inventory",
            "STOPSIGN_SERVICE_HOST": "10.0.0.1",
            "STOPSIGN_PORT_8970_TCP_ADDR": "10.0.0.1",
        }
    )
    assert (settings.port, settings.time_scale, settings.slack_api_url) == (0, 20.0, "http://127.0.0.1:9/api/")
    assert settings.webhook_guarded
    assert settings.database == "sqlite:////srv/stopsign/stopsign.db"
    assert "xoxb" not in repr(settings)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        setattr(load({}), "port", 1)  # noqa: B010


def test_the_database_is_as_set_or_in_the_home_folder() -> None:
    assert load({"STOPSIGN_DATABASE_URL": "postgresql://u:p@h/d"}).database == "postgresql://u:p@h/d"
    with pytest.raises(Misconfigured, match="STOPSIGN_HOME: is not set"):
        _ = load({}).database


def test_a_secret_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("s3cret-of-the-webhook\n")
    token = load({"STOPSIGN_WEBHOOK_TOKEN_FILE": str(path)}).webhook_token
    assert token is not None
    assert token.get_secret_value() == "s3cret-of-the-webhook"
    both = {"STOPSIGN_WEBHOOK_TOKEN": "another-s3cret-of-it", "STOPSIGN_WEBHOOK_TOKEN_FILE": str(path)}
    assert problems(both) == ("STOPSIGN_WEBHOOK_TOKEN: is set twice, also as STOPSIGN_WEBHOOK_TOKEN_FILE: keep one",)
    path.write_text("\n")
    assert "is empty" in problems({"STOPSIGN_WEBHOOK_TOKEN_FILE": str(path)})[0]
    assert "cannot be read" in problems({"SLACK_BOT_TOKEN_FILE": "/nowhere"})[0]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("STOPSIGN_PROT", "1", "STOPSIGN_PROT: is not a setting: did you mean STOPSIGN_PORT?"),
        ("STOPSIGN_PORT_FILE", "1", "STOPSIGN_PORT_FILE: is not a setting"),
        ("STOPSIGN_QQQQQQQQQQQ", "1", "STOPSIGN_QQQQQQQQQQQ: is not a setting: remove it"),
        ("STOPSIGN_PORT", "x", "STOPSIGN_PORT: must be a whole number, such as 8970"),
        ("STOPSIGN_PORT", "70000", "STOPSIGN_PORT: input should be less than or equal to 65535"),
        ("STOPSIGN_PORT", "tcp://10.0.0.1:8970", "STOPSIGN_PORT: was set by Kubernetes for a Service called stopsign"),
        ("STOPSIGN_TIME_SCALE", "0", "STOPSIGN_TIME_SCALE: input should be greater than 0"),
        ("STOPSIGN_TIME_SCALE", "fast", "STOPSIGN_TIME_SCALE: must be a number"),
        ("STOPSIGN_TIME_SCALE", "nan", "STOPSIGN_TIME_SCALE: "),
        ("STOPSIGN_LOG_LEVEL", "loud", "STOPSIGN_LOG_LEVEL: must be one of debug, info, warning, error"),
        ("STOPSIGN_PUBLIC_URL", "stopsign.example", "STOPSIGN_PUBLIC_URL: must be a URL"),
        ("STOPSIGN_PROMETHEUS_URL", "http://u:p@h", "STOPSIGN_PROMETHEUS_URL: must be a URL without user"),
        ("SLACK_API_URL", "slack", "SLACK_API_URL: must be a URL"),
        ("STOPSIGN_COMMAND", "incident", "STOPSIGN_COMMAND: must be a slash command in lower case"),
        ("STOPSIGN_DATABASE_URL", "mysql://u:hunter2@h/d", "STOPSIGN_DATABASE_URL: must begin with sqlite:///"),
        ("STOPSIGN_WEBHOOK_USER", "am", "STOPSIGN_WEBHOOK_USER: is one half of a pair"),
        ("STOPSIGN_HOST", "stopsign.example", "STOPSIGN_HOST: must be an IP address or localhost"),
        ("STOPSIGN_HOST", "127.0.0.1:80", "STOPSIGN_HOST: must be an IP address or localhost"),
        ("STOPSIGN_WEBHOOK_TOKEN", "hunter2", "STOPSIGN_WEBHOOK_TOKEN: has fewer than 16 characters"),
        ("SLACK_APP_TOKEN", "hunter2", "SLACK_BOT_TOKEN: is not set, but SLACK_APP_TOKEN is"),
        ("SLACK_BOT_TOKEN", "hunter2", "SLACK_SIGNING_SECRET: is not set, but SLACK_BOT_TOKEN is"),
    ],
)
def test_each_problem_says_what_to_do_and_never_a_secret(name: str, value: str, problem: str) -> None:
    found = problems({name: value})
    assert len(found) == 1
    assert found[0].startswith(problem)
    assert "hunter2" not in found[0]


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        {"STOPSIGN_PORT": "x", "STOPSIGN_HOM": "y", "STOPSIGN_COMMAND": "z", "SLACK_BOT_TOKEN_FILE": "/no"}
    )
    assert len(found) == 4


def test_the_problems_of_pairs_are_told_at_once() -> None:
    assert len(problems({"STOPSIGN_WEBHOOK_PASSWORD": "x", "SLACK_BOT_TOKEN": "y"})) == 2


def test_every_name_is_ours_or_slacks() -> None:
    assert all(name.startswith(("STOPSIGN_", "SLACK_")) for name in environment.variables())


@pytest.mark.parametrize(
    ("environ", "address", "loopback"),
    [
        ({}, "http://127.0.0.1:8970", True),
        ({"STOPSIGN_HOST": "localhost"}, "http://localhost:8970", True),
        ({"STOPSIGN_HOST": "0.0.0.0"}, "http://127.0.0.1:8970", False),
        ({"STOPSIGN_HOST": "::"}, "http://[::1]:8970", False),
        ({"STOPSIGN_HOST": "2001:db8::1"}, "http://[2001:db8::1]:8970", False),
        ({"STOPSIGN_PUBLIC_URL": "https://stop.example/"}, "https://stop.example", True),
    ],
)
def test_the_address_that_people_are_given(environ: dict[str, str], address: str, loopback: bool) -> None:
    settings = load(environ)
    assert (settings.address, settings.loopback) == (address, loopback)
