"""The escrow of a signer whose freeze destroys: keystores, passwords, and the slashing protection to come back with.

A folder with `<key>.json` (keystore), `<key>.txt` (its password) and `<key>.protection.json` (EIP-3076) for each key.
The last is written here, durably and before anything else, when a node gives it out: it may be the only copy there is.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bot.domain.target import short


class Escrow:
    """The escrow in one folder. Keys are lower-case 0x-hex strings. Blocking: call it in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, document: bytes, keys: Sequence[str]) -> None:
        """Store what an interchange document says of each of `keys`, unless what is stored is higher.

        Raises OSError or ValueError when it cannot be stored or is not an interchange document.
        """
        tree = _interchange(document)
        for entry in tree["data"]:
            key = entry["pubkey"].lower()
            path = self._folder / f"{key}.protection.json"
            if key in keys and not (path.exists() and _level(_interchange(path.read_bytes())) > _level(tree, key)):
                _written(path, json.dumps({"metadata": tree["metadata"], "data": [entry]}).encode())

    def protection(self, keys: Sequence[str]) -> bytes:
        """Return one interchange document for `keys`; raises ValueError, a sentence, when a key has none."""
        try:
            trees = [_interchange((self._folder / f"{key}.protection.json").read_bytes()) for key in keys]
        except OSError as error:
            raise ValueError(f"the escrow lacks {Path(str(error.filename)).name}") from error
        for key, tree in zip(keys, trees, strict=True):
            if [entry["pubkey"].lower() for entry in tree["data"]] != [key]:
                raise ValueError(f"the slashing protection kept for key {short(key)} is of another key")
            if tree["metadata"] != trees[0]["metadata"]:
                raise ValueError("the slashing protection of two keys is of different chains")
        data = [entry for tree in trees for entry in tree["data"]]
        return json.dumps({"metadata": trees[0]["metadata"], "data": data}).encode()

    def import_body(self, keys: Sequence[str]) -> Mapping[str, object]:
        """Return the body that imports `keys`; raises ValueError, a sentence, when something is missing."""
        protection = self.protection(keys)
        try:
            keystores = [(self._folder / f"{key}.json").read_text() for key in keys]
            passwords = [(self._folder / f"{key}.txt").read_text().rstrip("\n") for key in keys]
        except OSError as error:
            raise ValueError(f"the escrow lacks {Path(str(error.filename)).name}") from error
        return {"keystores": keystores, "passwords": passwords, "slashing_protection": protection.decode()}


def _interchange(document: bytes) -> Any:
    """Return the document's tree if it is an interchange as far as it is read here; raises ValueError."""
    try:
        tree = json.loads(document)
        if isinstance(tree["metadata"], dict) and isinstance(tree["data"], list) and _level(tree) >= -1:
            return tree
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError("the slashing protection is not an interchange document")


def _level(tree: Any, key: str | None = None) -> int:
    """Return the highest slot or target epoch that the document names, of one key or of all; -1 for none."""
    entries = [entry for entry in tree["data"] if entry["pubkey"].lower() == key or key is None]
    blocks = [int(block["slot"]) for entry in entries for block in entry.get("signed_blocks", ())]
    votes = [int(vote["target_epoch"]) for entry in entries for vote in entry.get("signed_attestations", ())]
    return max(blocks + votes, default=-1)


def _written(path: Path, content: bytes) -> None:
    """Replace a file so that after a crash it is whole: the old or the new one."""
    beside = path.with_suffix(".new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
