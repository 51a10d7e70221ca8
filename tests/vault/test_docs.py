"""What docs/evidence.md tells a stranger to run gives the hashes that it prints, and they are ours."""

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.domain.leaf import fields_of, leaf_hash, reveal

TEXT = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text()
SALT = bytes(range(32))
RECORD = fields_of(
    incident="inc-7",
    n=3,
    at=datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC),
    kind="RoleTaken",
    by="ada",
    body={"role": "ic", "person": "ada", "because": "on-call"},
)


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found[1]


def test_the_leaf_hash_is_the_printed_one() -> None:
    printed = re.search(r"Leaf hash: `([0-9a-f]{64})`", TEXT)
    assert printed
    assert leaf_hash(RECORD, SALT).hex() == printed[1]
    run = subprocess.run([sys.executable, "-I", "-c", block("python")], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == printed[1]


def test_every_field_is_in_the_table() -> None:
    rows = re.findall(r"^\| `\{\"(.*?)\":.*\}` \| `([0-9a-f]{64})` \| `([0-9a-f]{64})` \|$", TEXT, re.MULTILINE)
    shown: Any = reveal(RECORD, SALT)
    hidden: Any = reveal(RECORD, SALT, redact=RECORD.keys() - {"v", "incident", "n", "at", "kind"})
    assert {name: salt for name, salt, _ in rows} == {name: field["salt"] for name, field in shown["fields"].items()}
    assert hidden["redacted"].items() <= {(name, commitment) for name, _, commitment in rows}


@pytest.mark.peer("openssl")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_gives_the_commitment_of_by() -> None:
    run = subprocess.run(["bash", "-euc", block("sh")], capture_output=True, text=True, check=True)
    hidden: Any = reveal(RECORD, SALT, redact=["by"])
    assert run.stdout.strip() == hidden["redacted"]["by"]
