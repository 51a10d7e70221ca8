"""The demo tells the whole story and checks it; each of its checks can fail, and says by name what was wrong."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.cli.demo import Stage
from bot.practice.crew import Json, Missed
from bot.practice.scenario import SUSPECTS, Places, Scenario
from bot.vault.verify import verify_folder
from tests import processes

SCALE = 120
MOST_SECONDS = 240
PLACES = Places(bot="http://bot", workspace="http://workspace", control="http://control", webhook_token="t")
STORY = ("seq-01", "seq-02", "seq-03", "seq-04")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, Path]:
    """Play the demo once; return its exit code, what it printed and its folder of results."""
    out = tmp_path_factory.mktemp("demo") / "out"
    words = (*processes.STOPSIGN, "demo", "--once", "--out", str(out), "--scale", str(SCALE))
    code, told = asyncio.run(_run(words))
    return code, told, out


async def _run(words: tuple[str, ...]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=processes.ROOT,
        env=processes.clean_environment(COLUMNS="100", NO_COLOR="1"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        told, _ = await asyncio.wait_for(process.communicate(), MOST_SECONDS)
    except TimeoutError:
        process.terminate()  # it ends the processes that it started
        told, _ = await process.communicate()
    return process.returncode or 0, told.decode()


def test_the_whole_story_is_true(demo: tuple[int, str, Path]) -> None:
    code, told, _ = demo
    print(told)
    assert code == 0, told
    assert "all true" in told
    assert "WRONG" not in told


def test_it_leaves_postmortem_timeline_and_evidence(demo: tuple[int, str, Path]) -> None:
    _, told, out = demo
    assert sorted(path.name for path in out.iterdir()) == ["evidence", "postmortem.md", "timeline.json"], told
    postmortem = (out / "postmortem.md").read_text(encoding="utf-8")
    assert "inc-1" in postmortem
    assert all(node in postmortem for node in STORY)
    timeline = json.loads((out / "timeline.json").read_text(encoding="utf-8"))
    assert [entry["n"] for entry in timeline] == list(range(1, len(timeline) + 1))
    report = verify_folder(out / "evidence")
    assert report.ok, "\n".join(report.lines())


def test_tampered_evidence_fails_its_check(demo: tuple[int, str, Path]) -> None:
    _, told, out = demo
    assert (out / "evidence").is_dir(), told
    item = max((p for p in (out / "evidence").rglob("*") if p.is_file()), key=lambda path: path.stat().st_size)
    kept = item.read_bytes()
    item.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        code, told = asyncio.run(_run((sys.executable, "-m", "bot.cli.demo_bot", "verify", str(out / "evidence"))))
    finally:
        item.write_bytes(kept)
    assert code == 1, told
    assert item.name in told or str(item.relative_to(out / "evidence")) in told, "it names what was altered"


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    code, told = asyncio.run(_run((*processes.STOPSIGN, "demo", "--once", "--out", str(tmp_path))))
    assert code == 2, told
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# ---- the checks, against a bot that says what is not so


class Stand:
    """Bot, fleet and workspace as the scenario sees them over HTTP; each says what it is told to say."""

    def __init__(self, incident: Json, *, signs: bool) -> None:
        self.incident = incident
        self._signs = signs
        self._total = 0
        self.posted: list[Json] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one call."""
        match request.url.host, request.url.path:
            case "bot", "/v1/alertmanager":
                self.posted += json.loads(request.content)["alerts"]
                return httpx.Response(200, json={"incidents": ["inc-1"]})
            case "bot", _:
                return httpx.Response(200, json=self.incident)
            case "control", _:
                self._total += self._signs
                key = {"total": self._total, "signing": self._signs}
                return httpx.Response(200, json={"nodes": {"seq-01": {"up": True, "keys": {"0xa": key}}}})
            case _:
                return httpx.Response(200, json={"channels": [], "saw": []})


def incident(state: str = "verified", verb: str = "freeze", **more: Any) -> Json:
    """Return what the API says of an incident with one target."""
    targets = {"seq-01": {verb: {"state": state}}}
    base: Json = {"status": "open", "targets": targets, "steps": {}, "prompts": [], "postmortem_due": None}
    return {**base, "alerts": {"seen": 0, "firing": 0}, "suspects": list(SUSPECTS), **more}


@pytest.fixture
async def play(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[Stand], Scenario]]:
    """Return a scenario over a Stand; time passes a hundred times as fast for whoever waits."""
    clients: list[httpx.AsyncClient] = []
    slept = asyncio.sleep

    async def briefly(seconds: float) -> None:
        await slept(seconds / 100)

    def made(stand: Stand) -> Scenario:
        client = httpx.AsyncClient(transport=httpx.MockTransport(stand.answer))
        clients.append(client)
        return Scenario(client, PLACES, scale=1000, tell=lambda _text: None)

    monkeypatch.setattr("bot.practice.scenario.asyncio.sleep", briefly)
    yield made
    for client in clients:
        await client.aclose()


@pytest.mark.parametrize(
    ("state", "verb", "signs", "wrong"),
    [
        ("verified", "freeze", False, None),
        ("verified", "freeze", True, "seq-01 is reported verified and does not sign (now)"),
        ("already", "freeze", True, "seq-01 is reported already and does not sign (now)"),
        ("unknown", "freeze", True, None),
        ("failed", "freeze", True, None),
        ("failed", "freeze", False, "seq-01 is reported failed, is up and does not sign (now)"),
        ("verified", "unfreeze", True, None),
        ("verified", "unfreeze", False, "seq-01 is reported unfrozen and signs (now)"),
    ],
)
async def test_a_reported_state_that_contradicts_the_truth_is_named(
    play: Callable[[Stand], Scenario], state: str, verb: str, signs: bool, wrong: str | None
) -> None:
    scenario = play(Stand(incident(state, verb), signs=signs))
    await scenario._compare("now")
    assert scenario.outcome.wrong == ([wrong] if wrong else [])


@pytest.mark.parametrize(("seen", "lost"), [(1, False), (0, True), (2, True)], ids=["kept", "lost", "counted twice"])
async def test_a_lost_alert_is_named(play: Callable[[Stand], Scenario], seen: int, lost: bool) -> None:
    over = incident(status="resolved", postmortem_due="2026-01-08", alerts={"seen": seen, "firing": 0})
    scenario = play(Stand(over, signs=False))
    await scenario.alarms.post(scenario.alarms.alert("EquivocationRiskSpike", signer="seq-01"))
    await scenario._resolve()
    assert scenario.outcome.wrong == (["no alert was lost and none was counted twice"] if lost else [])


async def test_a_missed_prompt_is_named(play: Callable[[Stand], Scenario], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [("internal", "15 min"), ("stakeholders", "15 min"), ("stakeholders", "30 min"), ("stakeholders", "1 h")]
    prompts = [{"id": n, "audience": a, "marks": [m], "answered_at": None} for n, (a, m) in enumerate(asked)]
    missed = play(Stand(incident(prompts=prompts[:3]), signs=False))
    monkeypatch.setattr(missed, "_wait", _impatient(missed))
    with pytest.raises(Missed, match="the status prompts of 15, 30 and 60 minutes"):
        await missed._hour_passes()
    whole = play(Stand(incident(prompts=prompts), signs=False))
    await whole.alarms.post(whole.alarms.alert("EquivocationRiskSpike", signer="seq-01"))
    await whole._hour_passes()
    assert whole.outcome.wrong == []


async def test_what_is_missed_ends_the_story_with_its_name(
    play: Callable[[Stand], Scenario], monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = play(Stand(incident(), signs=False))

    async def nothing_rises() -> None:
        raise Missed("waited 10 s in vain for the conflict counters to rise")

    monkeypatch.setattr(scenario, "_alarm", nothing_rises)
    outcome = await scenario.play()
    assert outcome.wrong == ["waited 10 s in vain for the conflict counters to rise"]


def _impatient(scenario: Scenario) -> Callable[..., Any]:
    wait = scenario._wait

    async def soon(what: Callable[[Json], bool], why: str, *, within: float = 20) -> None:
        await wait(what, why, within=0.1)

    return soon


def test_the_stage_lets_nothing_of_the_operators_own_leak_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLACK_APP_TOKEN", "xapp-real")
    monkeypatch.setenv("STOPSIGN_DATABASE_URL", "postgresql://real")
    stage = Stage(
        home=tmp_path,
        bot=1,
        workspace=2,
        control=3,
        fleet=4,
        scale=1,
        webhook_token="w",
        signing_secret="s",
        slack_token="t",
    )
    assert "SLACK_APP_TOKEN" not in stage.environment
    assert "STOPSIGN_DATABASE_URL" not in stage.environment
