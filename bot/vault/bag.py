"""The files that make a pack a BagIt 1.0 bag (RFC 8493), each a function of the rest."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bot.vault import pack
from bot.vault.pack import FileSeen

DECLARATION: Final = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


def info(*, incident: str, exported_at: str, vkey: str, seen: Mapping[str, FileSeen]) -> str:
    """Return `bag-info.txt` (RFC 8493 §2.2.2); the date is that of the record of the export."""
    payload = [file.size for path, file in seen.items() if path.startswith(pack.DATA)]
    return (
        f"External-Identifier: {incident}\n"
        f"Payload-Oxum: {sum(payload)}.{len(payload)}\n"
        f"Bagging-Date: {exported_at[:10]}\n"
        "Bag-Software-Agent: Stopsign\n"
        f"Stopsign-Pack: {pack.FORMAT}\n"
        f"Stopsign-Key: {vkey}\n"
    )


def manifest(seen: Mapping[str, FileSeen]) -> str:
    """Return `manifest-sha256.txt` over the files in data/, by path, as sha256sum writes it (RFC 8493 §2.1.3)."""
    return _lines((path for path in seen if path.startswith(pack.DATA)), seen)


def tagmanifest(seen: Mapping[str, FileSeen]) -> str:
    """Return `tagmanifest-sha256.txt` over the files beside data/ but itself (RFC 8493 §2.2.1)."""
    return _lines((path for path in seen if not path.startswith(pack.DATA) and path != pack.TAGMANIFEST), seen)


def _lines(paths: Iterable[str], seen: Mapping[str, FileSeen]) -> str:
    return "".join(f"{seen[path].sha256}  {path}\n" for path in sorted(paths))


def listed(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, hash, path) of a manifest's lines; hash and path are empty where a line is none."""
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        name, gap, path = line[:64], line[64:66], line[66:]
        ok = pack.SHA256.fullmatch(name) and gap == "  " and path
        yield (number, name, path) if ok else (number, "", "")
