"""Fixtures that every room uses."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fakes import Room, room


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
