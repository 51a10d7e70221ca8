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
        """Add what an interchange document says of each of `keys` to what is stored of it; nothing is ever lowered.

        Raises OSError or ValueError when it cannot be stored, is no interchange document, or of another chain.
        """
        tree = _interchange(document)
        for entry in tree["data"]:
            key = entry["pubkey"].lower()
            if key in keys:
                path = self._folder / f"{key}.protection.json"
                stored = (
                    _interchange(path.read_bytes()) if path.exists() else {"metadata": tree["metadata"], "data": []}
                )
                if stored["metadata"] != tree["metadata"]:
                    raise ValueError(f"what is stored for key {short(key)} is of another chain")
                joined = _joined(key, [*stored["data"], entry])
                _written(path, json.dumps({"metadata": tree["metadata"], "data": [joined]}).encode())

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


_LISTS = {"signed_blocks": ("slot",), "signed_attestations": ("source_epoch", "target_epoch")}


def _interchange(document: bytes) -> Any:
    """Return the document's tree if it is an interchange as far as it is read here; raises ValueError."""
    try:
        tree = json.loads(document)
        if isinstance(tree["metadata"], dict) and isinstance(tree["data"], list):
            for entry in tree["data"]:
                _joined(entry["pubkey"].lower(), [entry])
            return tree
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError("the slashing protection is not an interchange document")


def _joined(key: str, entries: Sequence[Any]) -> Mapping[str, object]:
    """Return one entry for `key` with all that `entries` say was signed, in order, each once."""
    joined: dict[str, object] = {"pubkey": key}
    for name, numbers in _LISTS.items():
        signed = {json.dumps(one, sort_keys=True): one for entry in entries for one in entry.get(name, ())}
        joined[name] = sorted(signed.values(), key=lambda one: [int(one[number]) for number in numbers])
    return joined


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
