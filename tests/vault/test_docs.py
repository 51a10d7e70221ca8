"""What docs/evidence.md tells a stranger to run gives the hashes that it prints, and they are ours."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.domain.leaf import fields_of, leaf_hash, reveal
from bot.errors import Invalid
from bot.vault import pack as form
from bot.vault.redaction import NEEDED, Redaction
from tests.vault.tampering import there

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "evidence.md").read_text()
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


# ---- the pack --------------------------------------------------------------------------------------------------------


def test_every_file_of_a_pack_is_in_the_table(pack: Path) -> None:
    section = TEXT[TEXT.index("## An evidence pack") : TEXT.index("### pack.json")]
    told = set(re.findall(r"`([a-z]*/?[a-zA-Z0-9.<>/-]+)`", section))
    for path in there(pack):
        plain = re.sub(r"/[0-9a-f]{64}$", "/<sha256>", path)
        plain = re.sub(r"keys/\d+/.*$", "keys/<n>/", plain)
        plain = re.sub(r"anchors/[a-z]+-\d+/.*$", "anchors/<name>-<size>/", plain)
        assert plain in told or plain == "data/custody.txt", plain


def test_the_groups_and_sections_are_those_of_the_schema() -> None:
    section = TEXT[TEXT.index("### pack.json") : TEXT.index("### Redaction")]
    schema = json.loads((DOCS / "evidence-pack-1.schema.json").read_text())
    lists = {name for name, value in schema["properties"].items() if value.get("type") == "array"}
    assert lists - {"withheld", "redactions"} <= set(re.findall(r"`([a-z_]+)`", section))


def test_every_rule_in_the_text_is_one() -> None:
    section = TEXT[TEXT.index("### Redaction") : TEXT.index("### As one file")]
    assert Redaction.parse(["by", "EvidenceKept.source", "ActionDone.note", "body.note"]).rules
    assert "`EvidenceKept.source`" in section
    for kind, names in NEEDED.items():
        assert f"`{kind}`" in section
        for name in names:
            with pytest.raises(Invalid, match="can never be redacted"):
                Redaction.parse([f"{kind}.{name.removeprefix('body.')}"])


def test_this_versions_guide_is_a_known_one() -> None:
    assert hashlib.sha256(form.guide()).hexdigest() in form.GUIDES


def test_the_guide_names_the_packages_that_it_needs() -> None:
    text = form.guide().decode()
    assert "pip install bagit rfc8785 'pymerkle>=7'" in text
    assert form.FORMAT in text
