"""Fixtures that every room uses."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conformance.recorder import Recorder, recording
from tests.fakes import Room, room

CONFORMANCE = Path(__file__).parent / "conformance"
WAITING = {"e2e", "peers", "crash"}
"""Folders whose tests wait for real programs: begun last, they would keep one process busy and the others idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the conformance tests last: they look at what all others sent to Slack; and first those that wait longest."""
    items.sort(key=lambda item: (CONFORMANCE in item.path.parents, item.path.parent.name not in WAITING))


@pytest.fixture(scope="session", autouse=True)
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """Record what the bot sends to Slack while any test runs; SENT_TO_SLACK is the folder of several processes."""
    folder = Path(os.environ.get("SENT_TO_SLACK") or tmp_path_factory.mktemp("slack"))
    with recording(folder / f"sent-{os.getpid()}.jsonl") as opened:
        yield opened


@pytest_asyncio.fixture
async def spine(tmp_path: Path) -> AsyncIterator[Room]:
    """Return an incident room on a fresh database, its clock standing on a Friday at 3 a.m."""
    async with room(tmp_path) as opened:
        yield opened


def need(missing: bool, what: str) -> None:
    """Skip a test whose peer is missing; in CI that is a failure, not a skip."""
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"{what} is missing, and CI must have it")
        pytest.skip(f"{what} is not installed")
