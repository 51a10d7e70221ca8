"""Read the operator's folder and the shipped content into one Config."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import TypeVar

import bot
from bot.config.inventory import read_inventory
from bot.config.playbooks import read_playbook
from bot.config.policy import read_policy
from bot.config.runbooks import read_runbook
from bot.config.sheet import Sheet, did_you_mean, open_sheet, read_limited
from bot.config.team import read_team
from bot.domain.config import Config
from bot.domain.inventory import Inventory
from bot.domain.playbook import Playbook
from bot.domain.policy import Policy
from bot.domain.runbook import Runbook
from bot.domain.team import Team
from bot.errors import Invalid, Misconfigured

T = TypeVar("T")


def load(home: Path | None) -> Config:
    """Return what is configured in the folder `home`; None gives the shipped content with no fleet and no people.

    `inventory.yaml` and `team.yaml` must exist, `policy.yaml` may. Runbooks and playbooks of `home` replace shipped
    ones of the same name. Raises Misconfigured with every problem of every file.
    """
    problems: list[str] = []
    if home is not None and not home.is_dir():
        raise Misconfigured([f"{home}: is not a folder: make it with `stopsign init {home}`, or correct STOPSIGN_HOME"])
    inventory = _file(home, "inventory.yaml", read_inventory, problems) or Inventory(avs={}, nodes={})
    team = _file(home, "team.yaml", read_team, problems) or Team(people={})
    policy = _file(home, "policy.yaml", read_policy, problems, required=False) or Policy()
    playbooks = _playbooks(home, problems)
    runbooks = {name: _filled(book, policy) for name, book in _runbooks(home, playbooks, problems).items()}
    if problems:
        raise Misconfigured(problems)
    return Config(inventory=inventory, team=team, policy=policy, runbooks=runbooks, playbooks=playbooks)


def shipped(kind: str) -> Path:
    """Return the folder of the shipped `runbooks` or `playbooks`: in an installed wheel, or in a source checkout."""
    package = Path(bot.__file__).parent
    installed = package / "_content" / kind
    return installed if installed.is_dir() else package.parent / kind


def content(kind: str, suffix: str, home: Path | None) -> Mapping[str, tuple[str, Path]]:
    """Return name → (name for messages, path) of all runbooks or playbooks; those of `home` win over shipped ones."""
    found: dict[str, tuple[str, Path]] = {}
    folders = [shipped(kind)] + ([home / kind] if home else [])
    for folder in folders:
        for path in sorted(folder.glob(f"*{suffix}")):
            if path.stem != "README" and path.is_file():
                found[path.stem] = (f"{kind}/{path.name}", path)
    return found


def _filled(runbook: Runbook, policy: Policy) -> Runbook:
    """Return the runbook with the operator's figures in its queries; other placeholders stay."""
    figures = {"deadline_objective": f"{policy.deadline_objective:g}"}
    expr = Template(runbook.expr).safe_substitute(figures).strip()
    persists = runbook.persists and Template(runbook.persists).safe_substitute(figures).strip()
    return replace(runbook, expr=expr, persists=persists)


def _file(
    home: Path | None, name: str, read: Callable[[Sheet], T], problems: list[str], *, required: bool = True
) -> T | None:
    if home is None:
        return None
    path = home / name
    if not path.exists():
        if required:
            problems.append(f"{name}: is not in {home}: write one, or begin with `stopsign init`")
        return None
    sheet = open_sheet(path, name)
    result = read(sheet) if sheet.readable else None
    problems += sheet.problems
    return result


def _playbooks(home: Path | None, problems: list[str]) -> dict[str, Playbook]:
    found = {}
    for stem, (name, path) in content("playbooks", ".yaml", home).items():
        sheet = open_sheet(path, name)
        playbook = read_playbook(sheet, stem) if sheet.readable else None
        problems += sheet.problems
        if playbook is not None:
            found[stem] = playbook
    return found


def _runbooks(home: Path | None, playbooks: Mapping[str, Playbook], problems: list[str]) -> dict[str, Runbook]:
    found = {}
    broken = any(line.startswith("playbooks/") for line in problems)
    for alert, (name, path) in content("runbooks", ".md", home).items():
        try:
            runbook, wrong = read_runbook(name, alert, read_limited(path))
        except Invalid as error:
            runbook, wrong = None, [f"{name}: {error}"]
        problems += wrong
        if runbook is None:
            continue
        found[alert] = runbook
        if runbook.playbook not in playbooks and not broken:
            near = did_you_mean(runbook.playbook, playbooks)
            problems.append(f"{name}: playbook: {runbook.playbook!r} does not exist{near}")
    return found
