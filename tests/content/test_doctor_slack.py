"""The doctor in a practice workspace: what is wrong with Slack is one line each, with what to do."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from bot.chat.manifest import scopes as needed
from bot.chat.pacing import PER_MINUTE
from bot.config.review import Check, State
from bot.doctor import slack as looking
from bot.doctor.slack import slack
from bot.domain.config import Config
from bot.domain.policy import Policy
from bot.domain.team import Person
from bot.practice.workspace import Person as Account
from bot.practice.workspace import build
from bot.practice.workspace.app import APP_TOKEN
from bot.practice.workspace.client import People
from bot.practice.workspace.serving import served
from bot.settings import Settings
from tests.fakes import config

TOKEN = "xoxb-practice-token"
SECRET = "8f742231b10e8888abcd99edd5c85a50"
ACCOUNTS = [
    *(Account(id=f"U0{name}", name=name.lower(), real_name=name) for name in ("ADA", "BO", "CYN", "DAN", "EVE")),
    Account(id="U0GUEST", name="gus", real_name="Gus", is_restricted=True),
    Account(id="U0GONE", name="gone", real_name="Gone", deleted=True),
    Account(id="U0ROBOT", name="robot", real_name="Robot", is_bot=True),
    Account(id="U0OUT", name="olga", real_name="Olga", team_id="T0ELSEWHERE"),
]
Look = Callable[..., Any]


@asynccontextmanager
async def workspace(**more: Any) -> AsyncIterator[tuple[str, People]]:
    """Serve a workspace; return its API's address and everybody's hands."""
    given: dict[str, Any] = {"scopes": needed(), **more}
    app = build(bot_url=None, signing_secret=SECRET, bot_token=TOKEN, people=ACCOUNTS, rate_limits=False, **given)
    async with served(app) as base, People(base) as hands:
        yield f"{base}/api/", hands


async def looked(url: str, chosen: Config | None = None, **more: Any) -> dict[str, Check]:
    """Return the doctor's lines by name."""
    given: dict[str, Any] = {
        "slack_bot_token": SecretStr(TOKEN),
        "slack_signing_secret": SecretStr(SECRET),
        "slack_api_url": url,
        **more,
    }
    lines = await slack(Settings(**given), chosen or config())
    for line in lines:
        assert line.todo or line.state is State.OK
        assert TOKEN not in line.what + line.todo
        assert APP_TOKEN not in line.what + line.todo
    assert len({line.name for line in lines}) == len(lines)
    return {line.name: line for line in lines}


def states(found: Iterable[Check]) -> set[State]:
    """Return the states."""
    return {line.state for line in found}


async def test_a_workspace_that_is_in_order() -> None:
    async with workspace() as (url, _):
        found = await looked(
            url, config(policy=Policy(stakeholder_channel="avs-operators")), slack_app_token=SecretStr(APP_TOKEN)
        )
    assert states(found.values()) == {State.OK}
    assert list(found) == [
        "slack",
        "slack scopes",
        "slack signing",
        "slack socket",
        "slack #incidents",
        "slack #avs-operators",
        "slack people",
    ]
    assert found["slack people"].what.startswith("all 5 accounts")


async def test_scopes_that_lack_and_scopes_that_are_too_many_are_named() -> None:
    granted = {*needed(), "chat:write.customize", "users:read.email"} - {"pins:write"}
    async with workspace(scopes=granted) as (url, _):
        lines = await slack(
            Settings(slack_bot_token=SecretStr(TOKEN), slack_signing_secret=SecretStr(SECRET), slack_api_url=url)
        )
    told = {line.state: line.what for line in lines if line.name == "slack scopes"}
    assert told == {
        State.FAIL: "the token lacks pins:write",
        State.WARN: "the token may more than it needs: chat:write.customize, users:read.email",
    }


@pytest.mark.parametrize(
    ("account", "what"),
    [
        ("U0GUEST", "is a guest's"),
        ("U0GONE", "is deactivated"),
        ("U0ROBOT", "is a bot's"),
        ("U0OUT", "belongs to another workspace"),
        ("U0NOBODY", "is nobody in this workspace"),
    ],
)
async def test_every_account_that_would_be_refused_is_named(account: str, what: str) -> None:
    usual = config()
    people = {**usual.team.people, "zed": Person(id="zed", name="Zed", slack=account)}
    people["nix"] = Person(id="nix", name="Nix")
    async with workspace() as (url, _):
        found = await looked(url, replace(usual, team=replace(usual.team, people=people)))
    assert found["slack zed"].state is State.FAIL
    assert what in found["slack zed"].what
    assert "slack people" not in found
    assert "slack nix" not in found


async def test_channels_are_looked_for() -> None:
    chosen = config(policy=Policy(incidents_channel="alarms", stakeholder_channel="avs-operators"))
    async with workspace() as (url, hands):
        await hands.act("archive", user="U0ADA", channel="avs-operators")
        found = await looked(url, chosen)
    assert (found["slack #alarms"].state, "is not there" in found["slack #alarms"].what) == (State.FAIL, True)
    assert found["slack #avs-operators"].what == "is archived"


async def test_a_channel_that_the_bot_may_not_join_is_told() -> None:
    chosen = config(policy=Policy(incidents_channel="alarms"))
    for missing, what in ((set(), "joins it with its first message"), ({"channels:join"}, "may not join")):
        async with workspace(scopes=set(needed()) - missing) as (url, hands):
            await hands.act("create", user="U0ADA", name="alarms")
            found = await looked(url, chosen)
        assert what in found["slack #alarms"].what


@pytest.mark.parametrize("secret", ["short", "8F742231B10E8888ABCD99EDD5C85A50", "x" * 32, SECRET + "0"])
async def test_a_signing_secret_of_another_form_is_told(secret: str) -> None:
    async with workspace() as (url, _):
        found = await looked(url, slack_signing_secret=SecretStr(secret))
    assert found["slack signing"].state is State.FAIL
    assert secret not in str(found["slack signing"])


async def test_by_socket_no_signing_secret_is_needed() -> None:
    async with workspace() as (url, _):
        found = await looked(url, slack_signing_secret=None, slack_app_token=SecretStr(APP_TOKEN))
    assert found["slack signing"].state is State.OK
    assert found["slack socket"] == Check(name="slack socket", state=State.OK, what="can be opened")


@pytest.mark.parametrize(
    ("token", "what"), [("xapp-other", "invalid_auth"), (TOKEN, "does not begin with xapp-"), ("x", "xapp-")]
)
async def test_an_app_token_that_opens_nothing_is_told(token: str, what: str) -> None:
    async with workspace() as (url, _):
        found = await looked(url, slack_app_token=SecretStr(token))
    assert found["slack socket"].state is State.FAIL
    assert what in found["slack socket"].what


@pytest.mark.parametrize(
    ("token", "what"),
    [("xoxb-other", "invalid_auth"), (APP_TOKEN, "holds an app-level token"), ("xoxb-", "invalid_auth")],
)
async def test_a_bot_token_that_is_refused_is_told(token: str, what: str) -> None:
    async with workspace() as (url, _):
        found = await looked(url, slack_bot_token=SecretStr(token))
    assert found["slack"].state is State.FAIL
    assert what in found["slack"].what
    assert list(found) == ["slack", "slack signing"]


async def test_a_slack_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "PATIENCE", 0.2)
    async with workspace() as (url, hands):
        await hands.fail({"method": "auth.test", "latency_ms": 2000})
        found = await looked(url)
        assert found["slack"].what.endswith("no answer within 0.2 s")
        await hands.fail({"method": "conversations.list", "latency_ms": 2000})
        found = await looked(url)
    assert "cannot be looked for: no answer" in found["slack #incidents"].what
    assert found["slack people"].state is State.OK


async def test_a_large_team_takes_its_time_and_no_more_than_slack_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PER_MINUTE, "users.info", 60)
    usual = config()
    people = {f"p{n}": Person(id=f"p{n}", name=f"P{n}", slack="U0ADA") for n in range(31)}
    async with workspace() as (url, _):
        found = await looked(url, replace(usual, team=replace(usual.team, people=people)))
    assert found["slack people"].what.startswith("all 31 accounts")


async def test_without_slack_one_line_says_so() -> None:
    [line] = await slack(Settings(), None)
    assert (line.name, line.state) == ("slack", State.WARN)
