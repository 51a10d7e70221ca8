"""What the bot sent: in this session's other tests, in a story of our own, and in the exhibits."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conformance.payloads import Payload, exhibited, recorded
from tests.conformance.recorder import Recorder
from tests.conformance.story import night

Json = dict[str, Any]


def _alone(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run something asynchronous for a fixture of the whole session, on an event loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result(timeout=120)


@pytest.fixture(scope="session")
def story(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    """Return the recorded lines of a whole night in the practice workspace, in order."""
    before = len(recorder.lines())
    _alone(lambda: night(tmp_path_factory.mktemp("story")))
    return recorder.lines()[before:]


@pytest.fixture(scope="session")
def payloads(recorder: Recorder, story: list[Json]) -> list[Payload]:
    """Return all that is checked."""
    return [*_alone(exhibited), *recorded(recorder.lines())]
