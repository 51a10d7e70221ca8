"""A sidecar before a signer, for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sidecar.bench import Place, place


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path) as made:
        yield made
