"""The folder of one sidecar's record and denied keys: made once, on somebody's word, and held by one process.

A folder that is made in passing would be empty: a path that was mistyped at a restart would then let through whatever
was frozen in the folder that was meant.
"""

import errno
import fcntl
import os
from pathlib import Path

from bot.errors import Misconfigured, StopsignError
from bot.sidecar import lines
from bot.sidecar.denials import Denials


def denied_at(folder: Path) -> Path:
    """Return the file of the denied keys."""
    return folder / "denied.json"


def make(folder: Path) -> None:
    """Make the folder of a new sidecar, which denies nothing yet; raises Misconfigured, also when there is one."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = lock(folder)
        try:
            if _ours(folder):
                raise Misconfigured([f"--data: {folder} holds a record already: leave --init out"])
            Denials(denied_at(folder), fresh=True)
        finally:
            os.close(held)
    except OSError as error:
        raise Misconfigured([f"--data: {folder} cannot be written to ({error.strerror})"]) from None


def need(folder: Path) -> None:
    """Return if a sidecar's record is in the folder; raises Misconfigured with what to do otherwise."""
    remedy = (
        "Correct the path, or what was frozen elsewhere would be let through here; if this sidecar is new, make it "
        f"first: stopsign sidecar --init --data {folder}"
    )
    if not folder.is_dir():
        raise Misconfigured([f"--data: {folder} is no folder. {remedy}"])
    try:
        ours = _ours(folder)
    except OSError as error:
        raise Misconfigured([f"--data: {folder} cannot be read ({error.strerror})"]) from None
    if not ours:
        raise Misconfigured([f"--data: {folder} holds no record of a sidecar. {remedy}"])


def lock(folder: Path) -> int:
    """Take the folder for this process; raises StopsignError when another one has it."""
    try:
        held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Misconfigured([f"--data: {folder} cannot be written to ({error.strerror})"]) from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            raise StopsignError(f"another sidecar runs on {folder}: one record has one writer") from None
        raise Misconfigured([f"--data: {folder} cannot be locked ({error.strerror})"]) from None
    return held


def _ours(folder: Path) -> bool:
    return denied_at(folder).exists() or bool(lines.segments(folder))
