"""A home that is valid, to be broken one line at a time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bot.config import load
from bot.domain.config import Config
from bot.errors import Misconfigured

INVENTORY = """\
networks: ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"]
avs:
  - {name: alpha, quorum: 1, duty_period: 12s}
nodes:
  - name: seq-01
    avs: alpha
    keys: [0xdead]
    signer: {driver: sidecar, url: "http://127.0.0.1:9101", token: "env:T"}
"""
TEAM = """\
people:
  - {id: ada, name: Ada, slack: U001, login: ada, powers: [lead]}
  - {id: ben, name: Ben, slack: U002, powers: [responder]}
shifts:
  - {from: "mon 00:00", to: "mon 00:00", people: [ada, ben]}
"""


class Home:
    """An operator's folder under test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("inventory.yaml", INVENTORY)
        self.write("team.yaml", TEAM)

    def write(self, name: str, text: str) -> "Home":
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return self

    def load(self) -> Config:
        return load(self.path)

    def problems(self) -> tuple[str, ...]:
        with pytest.raises(Misconfigured) as caught:
            load(self.path)
        return caught.value.problems


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def inventory(home: Home) -> Callable[[str, str], tuple[str, ...]]:
    """Replace a text of the valid inventory and return what is then wrong."""

    def broken(old: str, new: str) -> tuple[str, ...]:
        assert old in INVENTORY
        return home.write("inventory.yaml", INVENTORY.replace(old, new)).problems()

    return broken


@pytest.fixture
def team(home: Home) -> Callable[[str, str], tuple[str, ...]]:
    """Replace a text of the valid team and return what is then wrong."""

    def broken(old: str, new: str) -> tuple[str, ...]:
        assert old in TEAM
        return home.write("team.yaml", TEAM.replace(old, new)).problems()

    return broken
