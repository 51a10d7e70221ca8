"""The inventory of a practice fleet is one that Stopsign itself accepts, and the command prints it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bot.config.inventory import read_inventory
from bot.config.sheet import Sheet
from bot.domain.inventory import Capability, Inventory
from bot.practice.fleet import default_fleet, inventory_yaml, running_fleet, write_escrow
from bot.practice.fleet.__main__ import main


def read(text: str) -> Inventory:
    """Return the inventory after the product's own reader found nothing wrong with it."""
    sheet = Sheet.of("inventory.yaml", text.encode())
    inventory = read_inventory(sheet)
    assert sheet.problems == []
    return inventory


def test_the_printed_inventory_of_the_default_fleet_is_valid_and_complete(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--inventory", "--escrow", str(tmp_path)]) == 0
    inventory = read(capsys.readouterr().out)
    assert {name: service.quorum for name, service in inventory.avs.items()} == {"shared-sequencer": 8, "oracle": 2}
    assert len(inventory.nodes) == 16
    assert inventory.shared_keys() == {}
    lying = inventory.nodes["seq-02"]
    assert (lying.reach[Capability.SIGNER].driver, lying.reach[Capability.ROUTER].driver) == ("keymanager", "sidecar")
    assert (lying.reach[Capability.SIGNER].url, lying.escrow) == ("http://127.0.0.1:9102", True)
    assert (Path(lying.reach[Capability.SIGNER].options["escrow"]) / f"{lying.keys[0]}.json").is_file()
    assert inventory.find("signer", "seq-02", "shared-sequencer") == ("seq-02",)


async def test_a_running_fleets_inventory_names_its_ports_and_releases(tmp_path: Path) -> None:
    spec = default_fleet(duty_period_seconds=0.2)
    write_escrow(spec, tmp_path)
    async with running_fleet(spec) as fleet:
        inventory = read(inventory_yaml(spec, url=fleet.url, escrow=tmp_path))
        for name, node in inventory.nodes.items():
            assert node.reach[Capability.SIGNER].url == fleet.url(name)
            previous = fleet.nodes[name].previous
            assert node.rollback
            assert previous
            assert (node.rollback.build_hash, node.rollback.config_checksum) == (
                previous.build_hash,
                previous.config_checksum,
            )


def test_the_fleet_runs_as_a_command_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    spec = tmp_path / "fleet.json"
    nodes = [{"name": "a", "avs": "x"}, {"name": "b", "avs": "x", "character": "down"}]
    spec.write_text(json.dumps({"duty_period_seconds": 0.2, "nodes": nodes}))
    command = [
        sys.executable,
        "-m",
        "bot.practice.fleet",
        "--base-port",
        "0",
        "--control-port",
        "0",
        "--fleet",
        str(spec),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout
        lines = [process.stdout.readline().split() for _ in range(3)]
        process.send_signal(2)
        assert process.wait(10) == 0
    assert [line[0] for line in lines] == ["a", "b", "control"]
    assert lines[1][2:] == ["sidecar", "down"]
