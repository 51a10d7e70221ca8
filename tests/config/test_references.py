"""Secrets by reference."""

from pathlib import Path

import pytest

from bot.config.references import secret
from bot.errors import Misconfigured


def test_a_secret_from_the_environment_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    assert secret("env:T", {"T": " s3cret "}) == "s3cret"
    assert secret(f"file:{path}", {}) == "s3cret"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("env:T", "is not set: put the secret into the environment variable T"),
        ("file:/nowhere/token", "cannot be read (No such file or directory)"),
        ("file:/dev/null", "is empty"),
        ("hunter2", "write env:NAME or file:/absolute/path"),
    ],
)
def test_what_does_not_resolve_says_what_to_do(reference: str, words: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        secret(reference, {})
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Misconfigured, match="not text"):
        secret(f"file:{path}", {})
