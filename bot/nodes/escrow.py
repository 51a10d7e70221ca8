"""The escrow of a signer whose freeze destroys: keystores, passwords, and the slashing protection to come back with.

A folder with `<key>.json` (keystore), `<key>.txt` (its password), `<key>.protection.json` (EIP-3076, written here: it
may be the only copy there is) and `<key>.freeze.json`, the record of the last freeze. Old protection is worse than
none: whoever comes back with it signs again what was signed since, and is slashed. So a key is imported only when its
record says `kept`, of the incident that asks. It says so from the end of a freeze that stored the protection of the
key's last DELETE until an import begins; before the first DELETE, and before an import, it is durably set to not kept.
Killed at any moment, the process leaves a record that refuses too much, never too little:

    before a DELETE            {incident, deleted: false, kept: false}  refused; a repeat asks for the protection again
    the node said deleted      {incident, deleted: true, kept: false}   refused, likewise
    protection stored, gone    {incident, deleted: true, kept: true}    may come back, once, in this incident
    before an import           {incident, deleted: true, kept: false}   refused unless the node lists the key again
    imported                   {incident, deleted: false, kept: false}  the next freeze needs its own protection

A repeat to which the node says that the key was gone, and gives nothing out, puts the record back as it was. Where a
record cannot be written it is removed; where not even that can be done, the incident in it still tells it from others.
"""

import asyncio
import contextlib
import json
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from bot.domain.target import short

P = ParamSpec("P")
T = TypeVar("T")
_ONE_AT_A_TIME: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
"""A write that hangs must not end after a later one began."""


async def apart(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `call` returns, from a thread of its own: neither a busy pool nor a disk that hangs holds it up."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = call(*args, **kwargs)
        except Exception as caught:  # noqa: BLE001 - it is raised where it is awaited
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop was closed in the meantime
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await future


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the last freeze of a key came to: `deleted` if the node said so, `kept` if it may be imported."""

    incident: str
    deleted: bool = False
    kept: bool = False


class Escrow:
    """The escrow in one folder. Keys are lower-case 0x-hex strings. Blocking: call it in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = _ONE_AT_A_TIME[folder]

    def records(self, keys: Sequence[str]) -> dict[str, Record]:
        """Return the records of `keys` that are there and can be read."""
        found = {}
        for key in keys:
            with contextlib.suppress(OSError, ValueError, TypeError):
                told = json.loads(self._record(key).read_bytes())
                record = Record(**told)
                if (type(record.incident), type(record.deleted), type(record.kept)) == (str, bool, bool):
                    found[key] = record
        return found

    def write(self, records: Mapping[str, Record | None]) -> None:
        """Set records durably, or remove them; one that cannot be written is removed. Raises OSError at the end."""
        failed: OSError | None = None
        with self._lock:
            for key, record in records.items():
                try:
                    if record is not None:
                        _written(self._record(key), json.dumps(asdict(record)).encode())
                    else:
                        self._record(key).unlink(missing_ok=True)
                        _synced(self._folder)
                except OSError as error:
                    failed = error
                    with contextlib.suppress(OSError):
                        self._record(key).unlink()
        if failed is not None:
            raise failed

    def keep(self, document: bytes, keys: Sequence[str]) -> frozenset[str]:
        """Add what an interchange document says of each of `keys` to what is stored of it; nothing is ever lowered.

        Returns the keys that it speaks of. Raises OSError or ValueError when it cannot be stored, is no interchange
        document, or of another chain; then none of them counts as stored.
        """
        tree = _interchange(document)
        stored = set()
        with self._lock:
            for entry in tree["data"]:
                key = entry["pubkey"].lower()
                if key in keys:
                    self._add(key, tree["metadata"], entry)
                    stored.add(key)
        return frozenset(stored)

    def protection(self, keys: Sequence[str]) -> bytes:
        """Return one interchange document for `keys`; raises ValueError, a sentence, when a key has none to come back.

        That of a key whose record does not say `kept` is not given out: more may have been signed since.
        """
        try:
            trees = [_interchange((self._folder / f"{key}.protection.json").read_bytes()) for key in keys]
        except OSError as error:
            raise ValueError(f"the escrow lacks {Path(str(error.filename)).name}") from error
        records = self.records(keys)
        for key, tree in zip(keys, trees, strict=True):
            if not ((record := records.get(key)) and record.kept):
                raise ValueError(why_not(key, record, record.incident if record else ""))
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

    def lacking(self, keys: Sequence[str]) -> str | None:
        """Return what can be seen to be missing of what brings `keys` back, for people; None: nothing can.

        Whether a keystore is the right one, and its password opens it, only trying to restore it shows.
        """
        if not self._folder.is_dir():
            return f"{self._folder} is no folder that can be read"
        names = [f"{key.lower()}{end}" for key in keys for end in (".json", ".txt")]
        if lacking := [name for name in names if not _holds_something(self._folder / name)]:
            more = f" and {len(lacking) - 2} more" if lacking[2:] else ""
            return f"{self._folder} lacks {', '.join(lacking[:2])}{more}"
        if not os.access(self._folder, os.W_OK | os.X_OK):
            return f"{self._folder} cannot be written, so that its slashing protection would be lost"
        return None

    def _record(self, key: str) -> Path:
        return self._folder / f"{key}.freeze.json"

    def _add(self, key: str, metadata: Any, entry: Any) -> None:
        path = self._folder / f"{key}.protection.json"
        stored = _interchange(path.read_bytes()) if path.exists() else {"metadata": metadata, "data": []}
        if stored["metadata"] != metadata:
            raise ValueError(f"what is stored for key {short(key)} is of another chain")
        joined = _joined(key, [*stored["data"], entry])
        _written(path, json.dumps({"metadata": metadata, "data": [joined]}).encode())


def why_not(key: str, record: Record | None, incident: str) -> str:
    """Return why a key must not be imported in an incident, and what is to be done, for people."""
    by_hand = "import it by hand, with slashing protection exported from where it signed last"
    if record is None:
        return f"the escrow has no record that key {short(key)} was deleted here: {by_hand}"
    if not record.kept:
        return f"no slashing protection of the last delete of key {short(key)} is kept: {by_hand}"
    if record.incident != incident:
        return f"what is kept for key {short(key)} is of incident {record.incident}: thaw it there, or {by_hand}"
    return f"the last freeze of key {short(key)} could not be noted in the escrow: {by_hand}"


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


def _holds_something(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0 and os.access(path, os.R_OK)
    except OSError:
        return False


def _written(path: Path, content: bytes) -> None:
    """Replace a file so that after a crash it is whole: the old or the new one."""
    beside = path.with_suffix(".new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _synced(path.parent)


def _synced(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
