"""Real HAProxy and Envoy, with the configuration of docs/gates.md, before a stub of a remote signer."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes.reach import Reach
from tests.drivers.contract import SystemClock

_GUIDE = Path(__file__).parents[3] / "docs" / "gates.md"


def guide(kind: str) -> str:
    """Return what stands in the guide's code blocks of one kind, in order."""
    blocks = re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", _GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks, f"docs/gates.md has no block of {kind}"
    return "\n".join(blocks)


def put_in(text: str, places: dict[str, str]) -> str:
    """Return `text` with the guide's addresses and paths replaced by those of a test, of which none may be missing."""
    for there, here in places.items():
        assert there in text, f"docs/gates.md no longer says {there}"
        text = text.replace(there, here)
    return text


@asynccontextmanager
async def driving(
    module: ModuleType, url: str, options: dict[str, str], *, keys: Sequence[str] = (), seconds: float = 2.0
) -> AsyncIterator[Any]:
    """Yield the driver that `module` makes for a node that holds `keys`."""
    name = module.__name__.rpartition(".")[2]
    endpoint = Endpoint(driver=name, url=url, timeout=timedelta(seconds=seconds), options=options)
    node = Node(name="n", avs="x", keys=tuple(keys), reach={Capability.SIGNER: endpoint})
    drivers: dict[str, Any] = {name: module.connect}
    async with Reach(drivers=drivers, secret=lambda reference: reference, clock=SystemClock()) as reach:
        yield reach.reach(node, Capability.SIGNER)
