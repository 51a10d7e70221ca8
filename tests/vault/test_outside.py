"""A stranger checks a pack as its own VERIFY.md says: openssl, sha256sum, bagit, pymerkle, and none of our code."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.vault.tampering import fit, item, lines, relined, replaced, without, written

pytestmark = [pytest.mark.peer("openssl")]
SIGNED = "Signature Verified Successfully\n"


def blocks(pack: Path) -> tuple[list[str], str]:
    """Return the shell blocks of VERIFY.md in order, and its one script."""
    text = (pack / "VERIFY.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL), script


def run(command: list[str], pack: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    whole = {"PATH": path, "HOME": str(pack), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(command, cwd=pack, env=whole, capture_output=True, text=True, timeout=60)


class Stranger:
    """Somebody in an empty shell; each step is one block of VERIFY.md, as it stands there."""

    def __init__(self, guide: Path, pack: Path, roots: Path) -> None:
        need(shutil.which("openssl") is None, "openssl")
        (self.key, self.whole, self.signed, self.stamped), self.script = blocks(guide)
        self.pack = pack
        self.roots = roots

    def shell(self, block: str) -> subprocess.CompletedProcess[str]:
        return run(["bash", "-eu", "-o", "pipefail", "-c", block], self.pack, CA=str(self.roots))

    def check(self) -> subprocess.CompletedProcess[str]:
        return run([sys.executable, "-c", self.script], self.pack)

    def convinced(self) -> bool:
        """Go through all steps; tell whether none failed."""
        shells = [self.shell(block).returncode for block in (self.whole, self.signed, self.stamped)]
        return not any(shells) and self.check().returncode == 0


@pytest.fixture
def stranger(pack: Path, authority: Any) -> Stranger:
    guide = pack.parent / "guide"
    guide.mkdir()
    shutil.copy(pack / "VERIFY.md", guide)
    return Stranger(guide, pack, authority.roots)


def test_a_stranger_verifies_with_public_tools_only(rich: Any, stranger: Stranger) -> None:
    assert stranger.shell(stranger.key).stdout == f"{rich.vkey}\n"
    whole = stranger.shell(stranger.whole)
    assert whole.stdout == "whole\n", whole.stderr
    signed = stranger.shell(stranger.signed)
    assert signed.stdout == f"{SIGNED * 3}manifest-sha256.txt: OK\n", signed.stderr
    checked = stranger.check()
    assert checked.stdout == "all records, items and trees verified\n", checked.stderr
    stamped = stranger.shell(stranger.stamped)
    assert (stamped.stdout + stamped.stderr).count("Verification: OK") == 1, stamped.stderr
    assert stranger.convinced()


def test_none_of_our_code_is_needed(stranger: Stranger) -> None:
    imported = re.findall(r"^(?:import|from) (.*?)(?: import.*)?$", stranger.script, re.MULTILINE)
    assert imported == ["base64, glob, hashlib, json, os", "rfc8785", "pymerkle"]
    known = run([sys.executable, "-c", f"{stranger.script}\nimport sys; print('bot' in sys.modules)"], stranger.pack)
    assert known.stdout.endswith("False\n"), known.stderr


def test_the_way_from_an_older_key_is_walked_with_openssl(stranger: Stranger) -> None:
    """VERIFY.md, step 5: each handover is signed by the older key and by the next one."""
    steps = [
        ("data/keys/1/checkpoint.txt", "data/keys/1/vkey.txt", True),
        ("data/keys/1/checkpoint.txt", "data/keys/2/vkey.txt", True),
        ("data/keys/2/checkpoint.txt", "data/keys/2/vkey.txt", True),
        ("data/keys/2/checkpoint.txt", "data/vkey.txt", True),
        ("data/keys/1/checkpoint.txt", "data/vkey.txt", False),
    ]
    function = stranger.signed[: stranger.signed.index("\n}\n") + 3]
    for note, key, holds in steps:
        done = stranger.shell(f"{function}signed {note} {key}")
        assert (done.stdout == SIGNED) == holds, (note, key, done.stderr)


def test_a_pack_without_anchors_and_a_redacted_one_convince_too(
    rich: Any, story: Any, authority: Any, stranger: Stranger, tmp_path: Path
) -> None:
    for target in (
        story.export(tmp_path / "plain"),
        rich.export(tmp_path / "redacted", redact=("by", "body.reason", "EvidenceKept.source")),
    ):
        stranger.pack = target
        assert stranger.convinced(), stranger.check().stderr


def foreign(pack: Path) -> None:
    row = lines(pack)[4].replace(b"first", b"worst")
    relined(lambda rows: [*rows[:4], row, *rows[5:]])(pack)


ALTERED: dict[str, Callable[[Path], object]] = {
    "a record altered": foreign,
    "a record dropped": relined(lambda rows: rows[:4] + rows[5:]),
    "the end cut off": relined(lambda rows: rows[:-1]),
    "two records exchanged": relined(lambda rows: [*rows[:3], rows[4], rows[3], *rows[5:]]),
    "an item altered": lambda pack: item(pack, 2).write_bytes(b"{}"),
    "an item missing": lambda pack: item(pack, 2).unlink(),
    "an item added": written(f"data/items/{'0' * 64}", b"x"),
    "a document altered": written("data/custody.html", b"x"),
    "a document added": written("data/more.txt", b"x"),
    "a tag file added": written("more.txt", b"x"),
    "the checkpoint altered": replaced("data/checkpoint.txt", "\n28\n", "\n27\n"),
    "the seal's consistency altered": written("seal/consistency.txt", b"0" * 64 + b"\n"),
    "an anchor altered": replaced("data/anchors/host-20/checkpoint.txt", "\n20\n", "\n21\n"),
    "a timestamp altered": written("data/anchors/tsa-8/token.tsr", b"x"),
    "the seal missing": without("seal/manifest.note"),
    "the key exchanged": written("data/vkey.txt", b"stopsign.example/ops+00000000+AQ==\n"),
    "a link": lambda pack: (pack / "data/x").symlink_to("/etc/passwd"),
}


@pytest.mark.parametrize("fitted", [False, True], ids=["plain", "manifests made to fit"])
@pytest.mark.parametrize("name", ALTERED)
def test_a_stranger_finds_what_was_altered(stranger: Stranger, name: str, fitted: bool) -> None:
    ALTERED[name](stranger.pack)
    if fitted:
        fit(stranger.pack)
    assert not stranger.convinced()
