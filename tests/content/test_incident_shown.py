"""`stopsign incident show`: what is proven, when it was, and whether anybody still looks."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from bot.cli import incident as module
from bot.domain.incident import Incident
from bot.domain.playbook import Verb
from bot.domain.severity import Severity
from bot.domain.target import State, Track
from tests.fakes import START


@pytest.mark.parametrize("watched", [True, False])
def test_a_proof_has_a_time_and_a_freeze_that_nobody_watches_says_so(
    monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    shown = StringIO()
    monkeypatch.setattr(module, "out", Console(file=shown, width=200))
    track = Track(state=State.VERIFIED, step="freeze-1", since=START, detail="flat")
    frozen = replace(
        Incident(number=1), severity=Severity.SEV1, suspects=("s01",), tracks={Verb.FREEZE: {"s01": track}}
    )
    module.print_incident(frozen, watched=watched)
    again = ", and again since" if watched else ""
    assert f"proven at 03:00:00 UTC{again}: flat" in shown.getvalue()
    assert ("Nobody is watching: no bot serves" in shown.getvalue()) is not watched
