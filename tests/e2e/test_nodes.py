"""`stopsign nodes`: what the fleet says of itself, which calls that took, and what they prove."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.config.inventory import read_inventory
from bot.config.sheet import Sheet
from bot.nodes import keymanager
from bot.nodes.catalog import drivers
from bot.nodes.reach import Reach
from bot.render.drivers import GUIDES, drivers_page
from tests import processes
from tests.drivers.contract import SystemClock
from tests.processes import ROOT, Bot, Fleet

DONE, FAILED, USAGE = 0, 1, 2


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[tuple[Bot, Fleet]]:
    """Run the practice fleet and write a bot's folder for it."""
    async with processes.fleet(tmp_path) as fleet:
        yield processes.write_bot(tmp_path / "home", fleet_base=fleet.base), fleet


async def test_the_fleet_is_listed_and_a_node_is_probed_with_the_calls_that_it_took(desk: tuple[Bot, Fleet]) -> None:
    bot, fleet = desk
    told = await bot.command("nodes", "--json")
    assert (told.code, told.err) == (DONE, "")
    rows = {row["node"]: row for row in json.loads(told.out)}
    assert rows["seq-01"]["signing"] == "signing"
    assert rows["seq-01"]["traffic"] == "serving"
    assert rows["seq-01"]["build"].startswith("sha256:")
    assert rows["seq-04"]["signing"] == "unknown"  # it is down, and that is said
    assert "could not be reached" in rows["seq-04"]["why"]

    shown = (await bot.command("nodes")).out
    assert max(map(len, shown.splitlines()[: len(rows) + 1])) <= 80, shown
    assert "Traceback" not in shown

    probed = await bot.command("nodes", "probe", "seq-01")
    assert (probed.code, probed.err) == (DONE, "")
    assert probed.out.startswith("This takes about ")
    assert "--no-wait" in probed.out.partition("telemetry")[0]
    assert "telemetry is alive" in probed.out
    assert "/stopsign/v1/signing" in probed.out
    assert "200 OK" in probed.out
    assert {one["method"] for one in (await fleet.truth("seq-01"))["requests"]} == {"GET"}

    down = await bot.command("nodes", "probe", "seq-04", "--no-wait", "--json")
    assert down.code == FAILED
    (signer, *_) = json.loads(down.out)
    assert not signer["well"]
    assert "could not be reached" in signer["says"][0]

    nobody = await bot.command("nodes", "probe", "seq-99")
    assert nobody.code == USAGE
    assert "There is no node seq-99" in nobody.err
    assert len(nobody.err.splitlines()) == 1


def test_the_page_of_drivers_is_what_they_declare() -> None:
    page = (ROOT / "docs" / "drivers.md").read_text(encoding="utf-8")
    assert page == drivers_page(drivers()), "run `stopsign nodes drivers --markdown > docs/drivers.md`"


def test_every_driver_leads_to_a_page_that_explains_its_options() -> None:
    for name, traits in drivers().items():
        page = (ROOT / "docs" / GUIDES[name]).read_text(encoding="utf-8")
        assert f"`{name}`" in page or f"driver: {name}" in page, (
            f"{GUIDES[name]} does not tell of {name} ({traits.tested})"
        )
        assert f"docs/{GUIDES[name]}" in (ROOT / "README.md").read_text(encoding="utf-8")


async def test_the_inventory_in_the_page_about_the_keymanager_is_a_whole_one() -> None:
    page = (ROOT / "docs" / "keymanager.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    sheet = Sheet.of("inventory.yaml", block.encode())
    found = read_inventory(sheet)
    assert sheet.problems == []
    reach = Reach(drivers={"keymanager": keymanager.connect}, secret=lambda _: "t", clock=SystemClock())
    assert await reach.problems(found.nodes.values()) == []
    for option in ("metrics", "counters", "key_label", "escrow", "remote_signer"):
        assert f"| `{option}` |" in page
