"""`stopsign demo`: the whole story on this machine: a practice workspace, a practice fleet, the real bot between them.

Three processes of their own, on loopback, that speak HTTP with each other; ended by their process ids.
"""

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import yaml
from rich.panel import Panel
from rich.table import Table

from bot.chat.manifest import manifest
from bot.cli.shared import FAILED, out
from bot.practice.crew import PEOPLE
from bot.practice.scenario import Outcome, Places, Scenario
from bot.practice.workspace.client import BRIEF
from bot.store import database as db

BOT, WORKSPACE, CONTROL, FLEET = 8970, 8971, 9099, 9100
READY_SECONDS = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the demo plays: its folder, its ports and its secrets, made anew each time."""

    home: Path
    bot: int
    workspace: int
    control: int
    fleet: int
    scale: float
    webhook_token: str
    signing_secret: str
    slack_token: str

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the environment of the demo's processes: nothing of the operator's own Stopsign leaks in."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("STOPSIGN_", "SLACK_"))}
        return {
            **inherited,
            "STOPSIGN_HOME": str(self.home),
            "STOPSIGN_PORT": str(self.bot),
            "STOPSIGN_WEBHOOK_TOKEN": self.webhook_token,
            "STOPSIGN_PUBLIC_URL": f"http://127.0.0.1:{self.bot}",
            "STOPSIGN_TIME_SCALE": str(self.scale),
            "STOPSIGN_LOG_LEVEL": "warning",
            "STOPSIGN_PRACTICE_NODE_TOKEN": "practice-node-token",
            "SLACK_BOT_TOKEN": self.slack_token,
            "SLACK_SIGNING_SECRET": self.signing_secret,
            "SLACK_API_URL": f"http://127.0.0.1:{self.workspace}/api/",
        }

    @property
    def places(self) -> Places:
        """Return where the scenario finds everything."""
        return Places(
            bot=f"http://127.0.0.1:{self.bot}",
            workspace=f"http://127.0.0.1:{self.workspace}",
            control=f"http://127.0.0.1:{self.control}",
            webhook_token=self.webhook_token,
        )


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Play the story unattended to its end, check it, and exit.")
    ] = False,
    folder: Annotated[Path | None, typer.Option("--out", help="With --once: where the results go.")] = None,
    scale: Annotated[float, typer.Option(min=1, max=240, help="How much faster people's clocks run.")] = 30,
) -> None:
    """Show the whole story on this machine: no Slack, no Alertmanager, no nodes are needed."""
    target = (folder or Path("demo-out")).absolute() if once else None
    if target is not None and target.exists() and any(target.iterdir()):
        raise typer.BadParameter(f"{target} is not empty: name a new folder with --out")
    home = Path(tempfile.mkdtemp(prefix="stopsign-demo-"))
    try:
        code = asyncio.run(_demo(_stage(home, scale, fixed=not once), target))
    except KeyboardInterrupt:
        code = 0
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if code:
        raise typer.Exit(code)


async def _demo(stage: Stage, target: Path | None) -> int:
    began = time.monotonic()
    _write_home(stage)
    async with _processes(stage), httpx.AsyncClient(trust_env=False, timeout=15, limits=BRIEF) as client:
        await _ready(client, stage)
        _say_where(stage, once=target is not None)
        scenario = Scenario(client, stage.places, scale=stage.scale, tell=lambda text: _tell(began, text))
        outcome = await scenario.play()
        if target is None:
            await _stay(outcome)
            return FAILED if outcome.wrong else 0
        if outcome.incident:
            await _results(client, stage, outcome, target)
        _summary(outcome, target, time.monotonic() - began)
        return FAILED if outcome.wrong else 0


async def _stay(outcome: Outcome) -> None:
    if outcome.wrong:
        out.print(f"[red]The story went wrong:[/] {'; '.join(outcome.wrong)}", soft_wrap=True)
    out.print(
        "\n[bold]The story is over; everything stays up.[/] Act as anybody on the workspace page; Ctrl-C ends it."
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


# ---- the stage


def _stage(home: Path, scale: float, *, fixed: bool) -> Stage:
    wanted = (BOT, WORKSPACE, CONTROL, FLEET)
    ports = (
        wanted if fixed and all(map(_free, (BOT, WORKSPACE, CONTROL, *range(FLEET + 1, FLEET + 17)))) else _free_ports()
    )
    return Stage(
        home=home,
        bot=ports[0],
        workspace=ports[1],
        control=ports[2],
        fleet=ports[3],
        scale=scale,
        webhook_token=secrets.token_urlsafe(24),
        signing_secret=secrets.token_hex(16),
        slack_token=f"xoxb-practice-{secrets.token_hex(8)}",
    )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_ports() -> tuple[int, int, int, int]:
    """Return free ports for bot, workspace and control, and a base with sixteen free ports after it for the fleet."""
    for base in range(20000, 60000, 40):
        if all(map(_free, range(base, base + 24))):
            return base, base + 1, base + 2, base + 3
    raise OSError("no block of free ports on 127.0.0.1")


def _write_home(stage: Stage) -> None:
    command = [sys.executable, "-m", "bot.practice.fleet", "--inventory", "--base-port", str(stage.fleet)]
    escrow = ["--escrow", str(stage.home / "escrow")]
    made = subprocess.run([*command, *escrow], check=True, capture_output=True, text=True)
    (stage.home / "inventory.yaml").write_text(made.stdout, encoding="utf-8")
    (stage.home / "team.yaml").write_text(yaml.safe_dump(_team(), sort_keys=False), encoding="utf-8")
    policy = {"incidents_channel": "incidents", "stakeholder_channel": "avs-operators", "reprove_every": "5s"}
    (stage.home / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    (stage.home / "people.json").write_text(json.dumps(PEOPLE), encoding="utf-8")
    db.migrate(f"sqlite:///{stage.home / 'stopsign.db'}")


def _team() -> Mapping[str, Any]:
    names = [str(person["name"]) for person in PEOPLE]
    return {
        "timezone": "UTC",
        "people": [
            {"id": p["name"], "name": str(p["real_name"]).split(" (")[0], "slack": p["id"], "powers": ["lead"]}
            for p in PEOPLE
        ],
        "shifts": [
            {
                "from": "mon 00:00",
                "to": "mon 00:00",
                "people": names[:4],
                "roles": {"ic": "ada", "comms": "bo", "ops": "cyn", "evidence": "dan"},
            }
        ],
    }


def _installed() -> list[str]:
    """Return the app as its manifest installs it: exactly these scopes, events, commands and shortcuts."""
    app = yaml.safe_load(manifest(None, "/incident"))
    found = ["--commands", "/incident", "--scopes", ",".join(app["oauth_config"]["scopes"]["bot"])]
    found += ["--events", ",".join(app["settings"]["event_subscriptions"]["bot_events"])]
    for shortcut in app["features"]["shortcuts"]:
        kind = "--shortcut" if shortcut["type"] == "message" else "--global-shortcut"
        found += [kind, f"{shortcut['callback_id']}={shortcut['name']}"]
    return found


@asynccontextmanager
async def _processes(stage: Stage) -> AsyncIterator[None]:
    """Run fleet, workspace and bot; end them by their process ids, the bot first."""
    python = [sys.executable, "-m"]
    bot_url = f"http://127.0.0.1:{stage.bot}/slack/events"
    people = ["--people", str(stage.home / "people.json")]
    app, logs = _installed(), stage.home / "processes.log"
    commands = [
        [*python, "bot.practice.fleet", "--base-port", str(stage.fleet), "--control-port", str(stage.control)],
        [*python, "bot.practice.workspace", "--port", str(stage.workspace), "--bot-url", bot_url, *people, *app],
        [*python, "bot.cli.demo_bot"],
    ]
    running: list[subprocess.Popen[bytes]] = []
    with logs.open("ab") as log:
        try:
            for command in commands:
                # A session of its own: Ctrl-C reaches this process, which ends the others in order.
                running.append(
                    subprocess.Popen(
                        command, env=dict(stage.environment), stdout=log, stderr=log, start_new_session=True
                    )
                )
            yield
        except Exception:
            out.print(logs.read_text(encoding="utf-8", errors="replace")[-4000:], markup=False, style="dim")
            raise
        finally:
            for process in reversed(running):
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=8)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=8)


async def _ready(client: httpx.AsyncClient, stage: Stage) -> None:
    places = stage.places
    end = time.monotonic() + READY_SECONDS
    for url in (f"{places.control}/truth", f"{places.workspace}/practice/state", f"{places.bot}/healthz"):
        while True:
            try:
                if (await client.get(url)).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if time.monotonic() > end:
                raise TimeoutError(f"{url} did not answer within {READY_SECONDS:.0f} s")
            await asyncio.sleep(0.1)


# ---- results


async def _results(client: httpx.AsyncClient, stage: Stage, outcome: Outcome, target: Path) -> None:
    """Write postmortem.md, timeline.json and the evidence folder into `target`; verify the evidence twice."""
    target.mkdir(parents=True, exist_ok=True)
    draft = stage.home / "postmortems" / f"postmortem-{outcome.incident}.md"
    if draft.exists():
        shutil.copy(draft, target / "postmortem.md")
    else:
        outcome.wrong.append("the postmortem was not written")
    journal = (await client.get(f"{stage.places.bot}/v1/incidents/{outcome.incident}/journal")).json()
    (target / "timeline.json").write_text(json.dumps(journal, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    stopsign = [sys.executable, "-m", "bot.cli.demo_bot"]
    for what, command in {
        "the evidence is exported": [*stopsign, "export", outcome.incident, str(target / "evidence")],
        "the exported evidence verifies": [*stopsign, "verify", str(target / "evidence")],
        "the live evidence log verifies": [*stopsign, "verify"],
    }.items():
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(stage.environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
        if process.returncode:
            outcome.wrong.append(f"{what}: no: {told.decode(errors='replace')[-600:].strip()}")
        else:
            outcome.checks.append(what)


def _say_where(stage: Stage, *, once: bool) -> None:
    places = stage.places
    table = Table.grid(padding=(0, 2))
    table.add_row("Workspace", f"{places.workspace}/", "[dim]act as anybody, type /incident help[/]")
    table.add_row("Console", f"{places.bot}/console", "[dim]live timeline and target states[/]")
    table.add_row("Fleet truth", f"{places.control}/truth", "[dim]what the nodes really do[/]")
    note = f"clocks run {stage.scale:g} times as fast: an hour passes in {3600 / stage.scale:.0f} s"
    out.print(Panel(table, title="Stopsign demo: equivocation on one AVS", subtitle=note))
    if not once:
        out.print("[dim]The people below are simulated. Ctrl-C ends everything.[/]")


def _tell(began: float, text: str) -> None:
    out.print(f"[dim]{time.monotonic() - began:6.1f} s[/] ", end="")
    out.print(text, markup=False, soft_wrap=True)


def _summary(outcome: Outcome, target: Path, seconds: float) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for check in dict.fromkeys(outcome.checks):
        table.add_row("[green]ok[/]", check)
    for wrong in outcome.wrong:
        table.add_row("[bold red]WRONG[/]", wrong.replace("[", "\\["))
    out.print(table)
    verdict = "[bold red]failed[/]" if outcome.wrong else "[bold green]all true[/]"
    out.print(f"{outcome.incident or 'no incident'}: {verdict} in {seconds:.0f} s. Results: {target}", soft_wrap=True)
