"""Everything that the bot says in Slack, byte for byte: `UPDATE_GOLDEN=1` writes the files anew, and git shows why."""

import importlib
import json
import os
import pkgutil
from collections import Counter
from pathlib import Path

import pytest

import bot.chat
from bot.chat.commands import USAGE
from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.flows import consequences
from tests.chat.exhibits import COMMANDS, EXHIBITS, START, Exhibit, builders

GOLDEN = Path(__file__).parent / "golden"
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=[exhibit.slug for exhibit in EXHIBITS])
async def test_it_is_sent_as_its_golden_file_says(exhibit: Exhibit) -> None:
    path = GOLDEN / f"{exhibit.slug}.json"
    text = json.dumps(await exhibit.sent(), ensure_ascii=False, indent=1) + "\n"
    if UPDATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path.name} is new: look at it, and write it with UPDATE_GOLDEN=1"
    assert text == path.read_text(encoding="utf-8")


def test_every_exhibit_has_a_file_of_its_own_and_every_file_an_exhibit() -> None:
    assert [slug for slug, count in Counter(exhibit.slug for exhibit in EXHIBITS).items() if count > 1] == []
    strangers = {path.stem for path in GOLDEN.glob("*.json")} - {exhibit.slug for exhibit in EXHIBITS}
    if UPDATE:
        for slug in strangers:
            (GOLDEN / f"{slug}.json").unlink()
    else:
        assert strangers == set()


def test_no_builder_of_messages_and_views_is_forgotten() -> None:
    rooms = [importlib.import_module(f"bot.chat.{found.name}") for found in pkgutil.iter_modules(bot.chat.__path__)]
    known = {f"{builder.__module__}.{builder.__name__}" for room in rooms for builder in builders(room)}
    shown = {f"{exhibit.builder.__module__}.{exhibit.builder.__name__}" for exhibit in EXHIBITS}
    assert {"bot.chat.messages.page", "bot.chat.header.header", "bot.chat.views.halt"} <= known
    assert known - shown == set(), "add one line for each to tests/chat/exhibits.py"


def test_no_kind_of_entry_that_is_said_is_forgotten() -> None:
    shown = {exhibit.name.split()[1] for exhibit in EXHIBITS if exhibit.name.startswith("entry ")}
    assert {kind.__name__ for kind in consequences._SPOKEN} - shown == set(), "add a line to exhibits.night"


def test_no_kind_of_the_watch_that_is_told_is_forgotten() -> None:
    shown = {exhibit.name.split()[1] for exhibit in EXHIBITS if exhibit.name.startswith("watch ")}
    told = {name for name, kind in j.KINDS.items() if consequences._watch(_written(kind))}
    assert "AutomationHalted" in told
    assert told - shown == set(), "add a line to exhibits._watches"


def test_no_command_that_only_looks_is_forgotten() -> None:
    looks = {name for name, usage in USAGE.items() if usage.how.split()[0] in {"list", "show", "timeline", "help"}}
    assert looks - set(COMMANDS) == set()


def _written(kind: type[j.Entry]) -> j.Written:
    """Return an entry of a kind, empty: what follows from it looks at its kind only."""
    return j.Written(incident=None, n=1, at=START, by=BOT, entry=kind.__new__(kind))
