"""What is at stake is counted, not guessed."""

import pytest

from bot.domain.playbook import Verb
from bot.flows.stakes import stakes
from tests.fakes import config

INVENTORY = config().inventory


def test_a_freeze_says_who_goes_on_and_what_is_missed() -> None:
    said = stakes(INVENTORY, Verb.FREEZE, ("s01", "s02", "s03"))
    assert said == (
        "Stops 3 of 20 signers of sequencer; 17 go on signing, quorum 14; about 900 duties an hour are missed."
    )


def test_signers_that_are_stopped_already_do_not_go_on() -> None:
    assert "13 go on signing, BELOW quorum 14" in stakes(
        INVENTORY, Verb.FREEZE, ("s01",), [f"s{n:02}" for n in range(2, 8)]
    )


def test_each_service_is_told_by_itself() -> None:
    assert stakes(INVENTORY, Verb.ISOLATE, ("s01", "o1")) == (
        "Takes 1 of 20 nodes of sequencer out of traffic. Takes 1 of 2 nodes of oracle out of traffic."
    )


@pytest.mark.parametrize("verb", [v for v in Verb if v is not Verb.COMMUNICATE])
def test_every_verb_says_how_many(verb: Verb) -> None:
    assert "1 of 2" in stakes(INVENTORY, verb, ("o1",))


def test_what_the_inventory_does_not_know_is_left_out() -> None:
    assert stakes(INVENTORY, Verb.FREEZE, ("gone",)) == ""
