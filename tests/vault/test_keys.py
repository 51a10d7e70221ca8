"""The log's key and its successor: both sign once, then the old one is gone; cut off anywhere, it goes on."""

import os
from pathlib import Path

import pytest

from bot.domain.checkpoint import Checkpoint, CheckpointError, VerifierKey, open_checkpoint
from bot.errors import Misconfigured
from bot.vault.keys import CURRENT, NEXT, Keys, both, reigns
from bot.vault.signer import create_key

ORIGIN = "stopsign.example/ops"


def point(size: int) -> Checkpoint:
    return Checkpoint(origin=ORIGIN, size=size, root=bytes(32))


def test_the_first_start_makes_a_key_and_later_ones_find_it(tmp_path: Path) -> None:
    made = Keys(tmp_path / "evidence", ORIGIN)
    assert os.listdir(tmp_path / "evidence") == [CURRENT]
    assert Keys(tmp_path / "evidence", ORIGIN).key == made.key


def test_a_rotation_signs_once_with_both_keys_and_the_old_one_is_gone(tmp_path: Path) -> None:
    keys, old = Keys(tmp_path, ORIGIN), Keys(tmp_path, ORIGIN).key
    new = keys.successor()
    assert keys.successor() == new, "a second try makes no second key"
    assert open_checkpoint(keys.sign(point(5), due=None), old) == point(5), "it signs nothing before the log says so"
    bridge = keys.sign(point(6), due=new.encode())
    assert open_checkpoint(bridge, old) == open_checkpoint(bridge, new) == point(6)
    assert not keys.settle(None)
    assert not keys.settle(keys.sign(point(5), due=None)), "only a checkpoint that both signed is a bridge"
    assert keys.settle(bridge)
    assert (os.listdir(tmp_path), keys.key) == ([CURRENT], new)
    after = keys.sign(point(7), due=new.encode())
    assert open_checkpoint(after, new) == point(7)
    with pytest.raises(CheckpointError, match="is not signed by"):
        open_checkpoint(after, old)
    assert not keys.settle(after)


def test_another_process_takes_the_new_key_as_soon_as_it_signs(tmp_path: Path) -> None:
    here, there = Keys(tmp_path, ORIGIN), Keys(tmp_path, ORIGIN)
    new = here.successor()
    here.settle(here.sign(point(1), due=new.encode()))
    assert open_checkpoint(there.sign(point(2), due=new.encode()), new) == point(2)
    assert there.key == new


def test_what_was_cut_off_between_the_record_and_the_checkpoint_goes_on_elsewhere(tmp_path: Path) -> None:
    new = Keys(tmp_path, ORIGIN).successor()  # its process died after the record was written
    later = Keys(tmp_path, ORIGIN)
    note = later.sign(point(9), due=new.encode())
    assert open_checkpoint(note, new) == point(9)
    assert later.settle(note)


def test_nothing_is_signed_when_the_key_that_is_due_is_not_here(tmp_path: Path) -> None:
    elsewhere = create_key(tmp_path / "other.pem", ORIGIN).key.encode()
    keys = Keys(tmp_path / "evidence", ORIGIN)
    for _ in range(2):
        with pytest.raises(Misconfigured, match="whose private key is not in"):
            keys.sign(point(1), due=elsewhere)
        assert not keys.settle(keys.sign(point(1), due=None))
        keys.successor()  # not the one that is due
    assert (tmp_path / "evidence" / NEXT).exists()


def test_two_notes_are_joined_only_over_the_same_text(tmp_path: Path) -> None:
    keys = Keys(tmp_path, ORIGIN)
    with pytest.raises(ValueError, match="different texts"):
        both(keys.sign(point(1), due=None), keys.sign(point(2), due=None))


def test_the_keys_of_a_log_reign_one_after_another(tmp_path: Path) -> None:
    a, b, c = (create_key(tmp_path / name, ORIGIN).key.encode() for name in "abc")
    found = reigns(c, [(4, a, b), (9, b, c)])
    assert [(one.since, one.key.encode()) for one in found] == [(0, a), (5, b), (10, c)]
    assert reigns(a, []) == reigns(a, ())
    assert reigns(a, [])[0].key == VerifierKey.parse(a)
    with pytest.raises(CheckpointError, match="as its key, not"):
        reigns(b, [(4, a, b), (9, b, c)])
    with pytest.raises(CheckpointError, match="but the key before it is"):
        reigns(c, [(4, a, b), (9, a, c)])


def test_a_key_file_that_vanishes_stops_no_signing(tmp_path: Path) -> None:
    keys = Keys(tmp_path, ORIGIN)
    (tmp_path / CURRENT).unlink()
    assert open_checkpoint(keys.sign(point(3), due=None), keys.key) == point(3)
