"""The sealed store: secrets that a node gives out once, kept encrypted until people bring them where they belong.

A folder with `<node>.<key>.sealed` for each node and key, only the newest. The content is a Fernet token (AES-128-CBC
and HMAC-SHA256) of a JSON object. To open one: `python -m bot.nodes.sealed FILE < SEAL`.
"""

import base64
import binascii
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import TypeAdapter, ValidationError

from bot.domain.target import short
from bot.errors import Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What is sealed: the API key of one signing key on one node, and how it came about."""

    node: str
    key: str
    api_key: str = field(repr=False)
    incident: str
    at: str
    """When it was sealed, RFC 3339."""


_SECRET = TypeAdapter(Secret)


class Sealed:
    """The store in one folder. Keys are lower-case 0x-hex strings. Blocking: call it in a thread.

    `seal` returns the seal: Fernet keys (32 bytes in URL-safe Base64) by white space, the first for new files, all for
    opening. It is asked each time, so that a rotated seal is used at once.
    """

    def __init__(self, folder: Path, seal: Callable[[], str]) -> None:
        self._folder = folder
        self._seal = seal

    def path(self, node: str, key: str) -> Path:
        """Return where the secret of a node's key is kept."""
        return self._folder / f"{quote(node, safe='')}.{key}.sealed"

    def keep(self, secret: Secret) -> Path:
        """Store a secret durably, instead of an older one; raises ValueError, a sentence, when it cannot be."""
        token = self._fernet().encrypt(json.dumps(asdict(secret)).encode())
        path = self.path(secret.node, secret.key)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _written(path, token)
        except OSError as error:
            raise ValueError(f"{error.filename or path}: {(error.strerror or type(error).__name__).lower()}") from error
        return path

    def forget(self, node: str, key: str) -> None:
        """Remove the secret of a node's key, which may be void by now; raises OSError when it cannot be."""
        self.path(node, key).unlink(missing_ok=True)

    def open(self, node: str, key: str) -> Secret:
        """Return the newest secret of a node's key; raises ValueError, a sentence, when there is none to be read."""
        path = self.path(node, key)
        try:
            token = path.read_bytes()
        except FileNotFoundError:
            raise ValueError(f"nothing is sealed for key {short(key)} of {node}") from None
        except OSError as error:
            raise ValueError(f"{path}: {(error.strerror or type(error).__name__).lower()}") from error
        secret = _opened(self._fernet(), token, path)
        if (secret.node, secret.key) != (node, key):
            raise ValueError(f"{path} is sealed for another key or node")
        return secret

    def _fernet(self) -> MultiFernet:
        try:
            return _fernet(self._seal())
        except (Misconfigured, OSError) as error:
            raise ValueError(f"the seal cannot be had: {error}") from error


def _fernet(seal: str) -> MultiFernet:
    """Return what seals and opens; raises ValueError, without the seal, when it is none."""
    try:
        keys = [base64.urlsafe_b64decode(part) for part in seal.split()]
    except (binascii.Error, ValueError):
        keys = []
    if not keys or any(len(key) != 32 for key in keys):
        raise ValueError("the seal is not a Fernet key: 32 bytes in URL-safe Base64")
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])


def _opened(fernet: MultiFernet, token: bytes, path: Path) -> Secret:
    try:
        return _SECRET.validate_json(fernet.decrypt(token))
    except InvalidToken:
        raise ValueError(f"{path} was sealed with another seal, or altered") from None
    except ValidationError:
        raise ValueError(f"{path} holds no secret of this kind") from None


def _written(path: Path, content: bytes) -> None:
    """Replace a file, readable by its owner alone, so that after a crash it is whole: the old or the new one."""
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def main(arguments: list[str], seal: TextIO, out: TextIO) -> int:
    """Open one sealed file for a person: the seal comes on standard input, the secret goes out as one JSON object."""
    if len(arguments) != 1:
        out.write("usage: python -m bot.nodes.sealed FILE < SEAL\n")
        return 2
    path = Path(arguments[0])
    try:
        secret = _opened(_fernet(seal.read()), path.read_bytes(), path)
    except (OSError, ValueError) as error:
        out.write(f"{error}\n")
        return 1
    out.write(json.dumps(asdict(secret), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin, sys.stdout))
