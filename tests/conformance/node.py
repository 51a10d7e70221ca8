"""Node and what its registry gives: installed once into this folder, exactly as the lock file says."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import need

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
LOCK = HERE / "package-lock.json"
SECONDS = 240


def program(name: str) -> str:
    """Return the path of `node` or `npm`; without it the test is skipped, and in CI it fails."""
    path = shutil.which(name)
    need(path is None, name)
    return path or name


def installed() -> Path:
    """Return the folder of the packages, which `npm ci` fills when the lock file is newer."""
    program("node")
    npm = program("npm")
    with (HERE / ".npm.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # another test session may be installing
        if not _fresh():
            done = _npm_ci(npm)
            need(done.returncode != 0, f"what `npm ci` installs ({_why(done)})")
            (MODULES / ".lock-of").write_bytes(LOCK.read_bytes())
    return MODULES


def _fresh() -> bool:
    stamp = MODULES / ".lock-of"
    return stamp.is_file() and stamp.read_bytes() == LOCK.read_bytes()


def _npm_ci(npm: str) -> "subprocess.CompletedProcess[str]":
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no end after {SECONDS} s")


def _why(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line for line in done.stderr.splitlines() if "error" in line.casefold()] or done.stderr.splitlines()
    return " ".join(lines[:2])[:200] or f"exit {done.returncode}"


def environment() -> dict[str, str]:
    """Return the environment for a Node program: no proxy between us and this machine, no colours."""
    return {**os.environ, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1"}
