"""What a forger does to a pack, and how the forger then makes its manifests fit again, as bagit.py would."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot.domain.leaf import canonical
from bot.vault import bag
from bot.vault.pack import DATA, INFO, MANIFEST, TAGMANIFEST, FileSeen

Tamper = Callable[[Path], object]
RECORDS = "data/records.jsonl"


def lines(pack: Path) -> list[bytes]:
    return (pack / RECORDS).read_bytes().splitlines(keepends=True)


def relined(change: Callable[[list[bytes]], list[bytes]]) -> Tamper:
    return lambda pack: (pack / RECORDS).write_bytes(b"".join(change(lines(pack))))


def recorded(number: int, change: Callable[[Any], object]) -> Tamper:
    """Change one shown record and spell it canonically again."""

    def tamper(pack: Path) -> None:
        all_lines = lines(pack)
        shown = json.loads(all_lines[number - 1])
        change(shown)
        all_lines[number - 1] = (canonical(shown) + "\n").encode()
        (pack / RECORDS).write_bytes(b"".join(all_lines))

    return tamper


def valued(number: int, name: str, value: Any) -> Tamper:
    return recorded(number, lambda shown: shown["fields"][name].update(value=value))


def replaced(name: str, old: str, new: str) -> Tamper:
    def tamper(pack: Path) -> None:
        text = (pack / name).read_text()
        assert old in text
        (pack / name).write_text(text.replace(old, new, 1))

    return tamper


def written(name: str, content: bytes) -> Tamper:
    def tamper(pack: Path) -> None:
        path = pack / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.chmod(0o600)
        path.write_bytes(content)

    return tamper


def without(name: str) -> Tamper:
    return lambda pack: (pack / name).unlink()


def item(pack: Path, number: int) -> Path:
    groups = json.loads((pack / "data/pack.json").read_text())
    entries = [e for group in groups.values() if isinstance(group, list) for e in group if isinstance(e, dict)]
    name = next(e["sha256"] for e in entries if e.get("item") == f"ev-{number}" and "content" in e)
    path = pack / "data" / "items" / str(name)
    path.chmod(0o600)
    return path


def there(pack: Path) -> dict[str, bytes]:
    """Return the content of every plain file by path."""
    return {
        str(path.relative_to(pack)): path.read_bytes()
        for path in sorted(pack.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def fit(pack: Path) -> None:
    """Recompute both manifests and the sum of the payload over what is there now."""
    if not (pack / TAGMANIFEST).exists():
        return
    seen = {
        path: FileSeen(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        for path, content in there(pack).items()
        if path.isprintable()
    }
    remake(pack, MANIFEST, bag.manifest(seen).encode(), seen)
    if (pack / INFO).exists():
        payload = [file.size for path, file in seen.items() if path.startswith(DATA)]
        told = (pack / INFO).read_bytes().decode(errors="replace").split("\n")
        oxum = f"Payload-Oxum: {sum(payload)}.{len(payload)}"
        changed = [oxum if line.startswith("Payload-Oxum: ") else line for line in told]
        remake(pack, INFO, "\n".join(changed).encode(), seen)
    remake(pack, TAGMANIFEST, bag.tagmanifest(seen).encode(), seen)


def remake(pack: Path, name: str, content: bytes, seen: dict[str, FileSeen]) -> None:
    path = pack / name
    if path.exists() and os.path.isfile(path):
        path.write_bytes(content)
        seen[name] = FileSeen(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
