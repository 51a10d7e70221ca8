"""The evidence commands as a person types them, with the mistakes that a person makes."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOGIN = pwd.getpwuid(os.getuid()).pw_name
INVENTORY = "avs: [{name: sequencer}]\nnodes: [{name: n1, avs: sequencer, keys: ['0xaa01']}]\n"


class Shell:
    """Runs `stopsign` over one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = {"PATH": os.environ["PATH"], "STOPSIGN_HOME": str(home), "COLUMNS": "80"}

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run a command that must end with `code`; return what it said on both channels."""
        done = subprocess.run(
            [sys.executable, "-m", "bot.cli.run", *words], cwd=ROOT, env=self.environ, capture_output=True, timeout=60
        )
        said = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == code, said
        return said


@pytest.fixture
def stopsign(tmp_path: Path) -> Shell:
    home = tmp_path / "home"
    home.mkdir()
    (home / "inventory.yaml").write_text(INVENTORY)
    (home / "team.yaml").write_text(f"people:\n- {{id: ada, name: Ada, login: {LOGIN}, powers: [lead]}}\n")
    shell = Shell(home)
    shell("migrate")
    shell("incident", "declare", "SEV-2", "two signatures for slot 7")
    return shell


def test_evidence_on_the_command_line(stopsign: Shell, tmp_path: Path) -> None:
    key = stopsign("evidence", "key").strip()
    assert key.startswith("stopsign/evidence+")
    assert "ITEM" in stopsign("evidence", "list", "inc-1")
    assert "Say why" in stopsign("evidence", "export", "inc-1", "--out", str(tmp_path / "p"), "--reason", " ", code=2)
    said = stopsign("evidence", "export", "inc-1", "--out", str(tmp_path / "p.tar.zst"), "--reason", "arbitration")
    assert key in said.replace("\n", "")
    assert "verified" in stopsign("evidence", "verify", str(tmp_path / "p.tar.zst"), "--vkey", key)
    told = json.loads(stopsign("evidence", "verify", str(tmp_path / "p.tar.zst"), "--json"))
    assert told["ok"] is True
    assert "arbitration" in stopsign("evidence", "access", "inc-1")
    assert "legal hold" in stopsign("evidence", "hold", "inc-1", "--reason", "dispute 12")
    assert "Nothing is older than 90 days" in stopsign("evidence", "expire")
    assert "lifted" in stopsign("evidence", "lift", "inc-1", "--reason", "settled")
    new = stopsign("evidence", "rotate-key", "--reason", "yearly").strip().splitlines()[-1]
    assert new == stopsign("evidence", "key").strip() != key
    assert "verified" in stopsign("evidence", "verify")
    stopsign("evidence", "export", "inc-1", "--out", str(tmp_path / "p"), "--reason", "again", "--redact", "by")
    assert "is an older one" in stopsign("evidence", "verify", str(tmp_path / "p"), "--vkey", key)
    (tmp_path / "p/data/custody.txt").write_text("nothing was wrong\n")
    assert "custody.txt" in stopsign("evidence", "verify", str(tmp_path / "p"), code=1)


def test_what_cannot_be_done_says_why(stopsign: Shell, tmp_path: Path) -> None:
    assert "no incident inc-9" in stopsign("evidence", "list", "inc-9", code=2)
    assert "There is no item 'ev-1-9'" in stopsign("evidence", "show", "inc-1", "ev-1-9", "--reason", "r", code=2)
    out = ("--out", str(tmp_path / "p"), "--reason", "r")
    assert "body.nonsense" in stopsign("evidence", "export", "inc-1", *out, "--redact", "body.nonsense", code=2)
    assert "no item and no kind 'pcap'" in stopsign("evidence", "export", "inc-1", *out, "--withhold", "pcap", code=2)
    assert not (tmp_path / "p").exists()
    team = stopsign.home / "team.yaml"
    team.write_text(team.read_text().replace("[lead]", "[responder]"))
    said = stopsign("evidence", "export", "inc-1", *out, code=3)
    assert "power 'evidence'" in said
    assert "team.yaml" in stopsign("evidence", "verify", str(team), code=1)
    assert "nowhere" in stopsign("evidence", "verify", str(tmp_path / "nowhere"), code=1)
    assert "key" in stopsign("evidence", "verify", str(tmp_path), "--vkey", "rubbish", code=2)
