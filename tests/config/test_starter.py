"""What `stopsign init` writes."""

import stat
from datetime import date
from pathlib import Path

import pytest
import yaml

from bot.config import load, starter
from bot.config.review import State, review
from bot.domain import policy as policies
from bot.domain.policy import Policy
from bot.errors import Misconfigured


def test_what_is_written_loads_and_is_well(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    made = starter.write(home)
    assert {path.name for path in made} == {"home", *starter.FILES, *starter.FOLDERS}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    config = load(home)
    assert config.policy == Policy()
    lines = list(review(config, today=date(2026, 1, 1), destructive=lambda at: False))
    assert not [line for line in lines if line.state is State.FAIL]


def test_every_choice_stands_in_the_policy_file() -> None:
    text = starter.template("policy.yaml")
    missing = [name for name in policies.names() if f"\n{name}:" not in text and f"\n# {name}:" not in text]
    assert missing == ["scale"]


def test_every_value_in_the_policy_file_is_the_default(tmp_path: Path) -> None:
    starter.write(tmp_path)
    assert set(yaml.safe_load(starter.template("policy.yaml"))) <= set(policies.names())
    assert load(tmp_path).policy == Policy()


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text("mine")
    with pytest.raises(Misconfigured, match=r"team\.yaml: is there already"):
        starter.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["team.yaml"]
    assert (tmp_path / "team.yaml").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="cannot be written"):
        starter.write(tmp_path / "file" / "home")


def test_the_key_is_made_last_in_the_new_folder(tmp_path: Path) -> None:
    seen: list[tuple[Path, bool]] = []
    starter.write(tmp_path / "home", make_key=lambda path: seen.append((path, (path / "evidence").is_dir())))
    assert seen == [(tmp_path / "home", True)]
