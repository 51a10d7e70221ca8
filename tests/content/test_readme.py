"""The README says only what is so: its commands, targets, files and figures exist."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.main import get_command

from bot.cli import app
from bot.domain.policy import FreezeBudget
from bot.flows.rules import CONTRACT_AGE

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"stopsign ((?:[a-z]+ ?)+)", README)))
MAKE = (ROOT / "Makefile").read_text(encoding="utf-8")


def _known(words: list[str]) -> bool:
    command: Any = get_command(app)
    for word in words:
        if not hasattr(command, "get_command"):
            return True
        command = command.get_command(None, word)
        if command is None:
            return False
    return True


def test_every_command_in_it_exists() -> None:
    assert isinstance(app, typer.Typer)
    assert len(COMMANDS) > 5
    unknown = [c for c in COMMANDS if not _known(c.split()[:1])]
    assert unknown == []


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"`make ([a-z]+)`", README) + re.findall(r"^make ([a-z]+)", README, re.M)))
)
def test_every_make_target_in_it_exists(target: str) -> None:
    assert re.search(rf"^{target}:", MAKE, re.M)


def test_every_link_in_it_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert len(links) > 6
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_alertmanager_receiver_is_the_samples() -> None:
    block = yaml.safe_load(re.search(r"```yaml\n(.*?)```", README, re.S).group(1))  # type: ignore[union-attr]
    sample = yaml.safe_load((ROOT / "docs" / "alertmanager.yml").read_text(encoding="utf-8"))
    ours = next(r for r in sample["receivers"] if r["name"] == "stopsign")["webhook_configs"][0]
    shown = block["receivers"][0]["webhook_configs"][0]
    assert {k: ours[k] for k in shown} == shown


def test_its_figures_are_the_defaults() -> None:
    budget = FreezeBudget()
    assert f"up to {budget.fraction:.0%} of an AVS's fleet an hour (at least one)".replace("%", " %") in README
    assert f"tested in the last {CONTRACT_AGE.days} days" in README


def test_the_version_and_help_answer() -> None:
    done = subprocess.run([sys.executable, "-m", "bot.cli.run", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "incident" in done.stdout
