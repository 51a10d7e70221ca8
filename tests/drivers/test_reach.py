"""Before anything is asked: which drivers there are, and what is wrong with how the inventory names them."""

from pathlib import Path

import pytest

from bot import nodes
from bot.config.inventory import read_inventory
from bot.config.sheet import Sheet
from bot.domain.inventory import Inventory
from bot.errors import Misconfigured
from bot.nodes import sidecar
from bot.nodes.catalog import broken, driver, drivers
from bot.nodes.reach import Connect, Reach
from tests.drivers.test_keymanager import SystemClock

INVENTORY = """\
avs: [{name: a}]
defaults:
  signer:
    driver: sidecar
    options: {network_capture: "yes"}
nodes:
  - {name: n1, avs: a, keys: [0x01], signer: {url: "http://127.0.0.1:1"}}
  - {name: n2, avs: a, keys: [0x02], signer: {url: "http://127.0.0.1:1"}}
  - {name: n3, avs: a, keys: [0x03], signer: {driver: keymanagr, url: "http://127.0.0.1:1", options: {}}}
  - name: n4
    avs: a
    keys: [0x04]
    router: {driver: keymanager, url: "http://127.0.0.1:1"}
    signer:
      driver: keymanager
      url: "http://127.0.0.1:1"
      options:
        escro: /x
        key_labl: y
  - {name: n5, avs: a, keys: [0x05], api: {driver: sidecar, url: "http://127.0.0.1:1", token: "env:NONE"},
     signer: {options: {network_capture: "off"}}}
"""


def inventory(written: str) -> Inventory:
    sheet = Sheet.of("inventory.yaml", written.encode())
    found = read_inventory(sheet)
    assert sheet.problems == []
    return found


def reach() -> Reach:
    def secret(reference: str) -> str:
        raise Misconfigured([f"the token {reference} is not set"])

    found: dict[str, Connect] = {name: driver(name).connect for name in ("sidecar", "keymanager")}  # type: ignore[union-attr]
    return Reach(drivers=found, secret=secret, clock=SystemClock())


async def test_everything_that_is_wrong_with_the_endpoints_is_told_at_once_with_its_line() -> None:
    found = inventory(INVENTORY)
    wrong = await reach().problems(found.nodes.values())
    assert wrong[0] == "inventory.yaml:5: n1 signer, n2 signer (sidecar): network_capture must be on or off, not 'yes'"
    (no_driver,) = [line for line in wrong if "n3" in line]
    assert no_driver.startswith("inventory.yaml:9: n3 signer (keymanagr): there is no driver 'keymanagr' (did you mean")
    n4 = [line.split("; ")[0] for line in wrong if "n4" in line]
    assert n4 == [
        "inventory.yaml:13: n4 router (keymanager): does not offer router",
        "inventory.yaml:17: n4 signer (keymanager): has no option escro (did you mean escrow?)",
        "inventory.yaml:17: n4 signer (keymanager): has no option key_labl (did you mean key_label?)",
        "inventory.yaml:17: n4 signer (keymanager): has no option network_capture",
    ]
    n5 = [line for line in wrong if "n5" in line]
    assert all("the token env:NONE is not set" in line for line in n5)
    assert any("n5 router, n5 deployer, n5 recorder and 1 more" in line for line in n5)


async def test_one_api_for_all_that_a_node_can_do_is_nothing_wrong() -> None:
    api = '{driver: sidecar, url: "http://127.0.0.1:1"}'
    found = inventory(f"avs: [{{name: a}}]\nnodes: [{{name: n, avs: a, keys: [0x01], api: {api}}}]\n")
    it = reach()
    assert await it.problems(found.nodes.values()) == []
    assert it._clients == {}  # nothing of this loop is left in it


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("import no_such_program\n", "needs no_such_program, which is not installed"),
        ("def connect(way:\n", "cannot be imported (SyntaxError"),
        ("connect = print\n", "exports connect, and no TRAITS"),
        (
            "from dataclasses import replace\nfrom bot.nodes.sidecar import TRAITS, connect\n"
            "TRAITS = replace(TRAITS, tier='prooved')\n",
            "its tier is 'prooved': it may be real or emulated",
        ),
    ],
)
def test_a_broken_driver_names_its_file_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, told: str
) -> None:
    (tmp_path / "crooked_one.py").write_text(content)
    monkeypatch.setattr(nodes, "__path__", [*nodes.__path__, str(tmp_path)])
    monkeypatch.delitem(__import__("sys").modules, "bot.nodes.crooked_one", raising=False)
    with pytest.raises(Misconfigured) as wrong:
        driver("crooked_one")
    assert str(wrong.value).startswith(f"bot/nodes/crooked_one.py: {told}")
    assert drivers()["sidecar"] is sidecar.TRAITS
    assert broken() == wrong.value.problems
