"""The whole folder."""

import os
from pathlib import Path
from typing import Any

import pytest

import bot
from bot.config import load
from bot.config.load import shipped
from bot.errors import Misconfigured


def test_without_a_home_there_is_the_shipped_content_and_nobody() -> None:
    config = load(None)
    assert {"sev1", "sev2", "sev3"} <= set(config.playbooks)
    assert "EquivocationRiskSpike" in config.runbooks
    assert not config.inventory.nodes
    assert not config.team.people


def test_the_problems_of_all_files_are_told_at_once(home: Any) -> None:
    home.write("inventory.yaml", "x: 1\n").write("team.yaml", "[").write("policy.yaml", "y: 1\n")
    home.write("runbooks/A.md", "z").write("playbooks/b.yaml", "z: 1\n")
    files = {line.split(":")[0] for line in home.problems()}
    assert files == {"inventory.yaml", "team.yaml", "policy.yaml", "runbooks/A.md", "playbooks/b.yaml"}


def test_a_folder_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="stopsign init"):
        load(tmp_path / "nowhere")


def test_files_that_are_not_there_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path)
    assert [line.split(":")[0] for line in caught.value.problems] == ["inventory.yaml", "team.yaml"]


def test_a_file_that_cannot_be_read_says_so(home: Any) -> None:
    (home.path / "policy.yaml").mkdir()
    assert home.problems() == (
        "policy.yaml: cannot be read (Is a directory): check that it exists and its permissions",
    )


def test_a_file_that_is_too_large_is_refused(home: Any) -> None:
    home.write("runbooks/Big.md", "x" * 1_000_001).write("policy.yaml", "#" * 1_000_001)
    assert home.problems() == (
        "policy.yaml: is larger than 1 MB: split it or remove what is not needed",
        "runbooks/Big.md: is larger than 1 MB: split it or remove what is not needed",
    )


def test_a_broken_playbook_does_not_make_its_runbooks_broken(home: Any) -> None:
    assert len(home.write("playbooks/sev1.yaml", "summary: s\n").problems()) == 1


def test_content_is_found_in_a_checkout_and_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped("runbooks") == Path(bot.__file__).parents[1] / "runbooks"
    installed = tmp_path / "bot" / "_content" / "playbooks"
    installed.mkdir(parents=True)
    monkeypatch.setattr(bot, "__file__", os.fspath(tmp_path / "bot" / "__init__.py"))
    assert shipped("playbooks") == installed
