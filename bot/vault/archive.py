"""A pack as one file: `.tar.zst` or `.zip`, written and read as a stream, one folder in it (RFC 8493 §4).

An archive is transport: what is signed and under the log is the pack in it. So it is taken apart into a temporary
folder, every name checked before anything is written, and the folder is verified.
"""

import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

import zstandard

from bot.errors import Invalid
from bot.vault import files, pack
from bot.vault.extraction import HIGHEST_RATIO, RATIO_FROM, Extraction, Refusal
from bot.vault.report import Problem, Progress, Report
from bot.vault.tree import parent
from bot.vault.verify import verify_folder

TAR: Final = ".tar.zst"
ZIP: Final = ".zip"
_LEVEL: Final = 6
_MODE: Final = 0o644


def is_archive(path: Path) -> bool:
    """Tell whether a name is that of an archive of ours."""
    return path.name.endswith((TAR, ZIP))


def check_name(target: Path) -> tuple[str, str]:
    """Return suffix and folder name of an archive; raises Invalid for a name that some reader would not take."""
    suffix = next((one for one in (TAR, ZIP) if target.name.endswith(one)), "")
    top = target.name.removesuffix(suffix)
    if not suffix or not pack.ANCHOR_NAME.fullmatch(top.replace(".", "-").lower()):
        raise Invalid(f"{target}: write a plain name that ends in {TAR} or {ZIP}", where=str(target))
    return suffix, top


def pack_into(folder: Path, target: Path) -> None:
    """Write the files under `folder`, by path, with plain modes and no times or owners, into a new archive.

    Raises:
        Invalid: the name ends neither in `.tar.zst` nor in `.zip`, the target is taken, there is something else than
            plain files in the folder, or it can be packed so well that every reader would take it for a bomb.
    """
    suffix, top = check_name(target)
    with ExitStack() as stack:
        root = stack.enter_context(files.directory(folder))
        within = stack.enter_context(files.directory(target.absolute().parent))
        paths = list(_plain(root, ""))
        try:
            out = stack.enter_context(os.fdopen(files.create(target.name, within=within), "w+b"))
        except FileExistsError:
            raise Invalid(f"{target} is there already; nothing was written", where=str(target)) from None
        try:
            (_write_tar if suffix == TAR else _write_zip)(out, root, top, paths)
            out.flush()
            os.fsync(out.fileno())
            _not_a_bomb(out, root, paths)
        except BaseException:
            os.unlink(target.name, dir_fd=within)
            raise
        os.fsync(within)


def verify_archive(
    path: Path,
    *,
    most: int,
    vkey: str | None = None,
    roots: bytes | None = None,
    progress: Progress | None = None,
    within: Path | None = None,
) -> Report:
    """Return what is wrong with the pack in an archive; nothing is written outside a temporary folder.

    Args:
        path: a `.tar.zst` or `.zip`, told apart by content.
        most: bytes that the pack may have when it is unpacked.
        vkey, roots, progress: as for `verify_folder`.
        within: where the temporary folder is made, if not where the system makes them.
    """
    with tempfile.TemporaryDirectory(prefix="stopsign-", dir=within) as temporary:
        try:
            with files.open_plain(path) as file:
                top = _extract(file, Path(temporary), most)
        except (Refusal, OSError) as error:
            where = error.where if isinstance(error, Refusal) and error.where else path.name
            means = "Nothing was verified, and nothing was unpacked outside a temporary folder"
            problem = Problem(where=where, what=str(error), means=means)
            return Report(subject=str(path), problems=(problem,), notes=(), records=0, items=0)
        return verify_folder(Path(temporary) / top, vkey=vkey, roots=roots, progress=progress, subject=str(path))


def verify_pack(
    path: Path,
    *,
    most: int,
    vkey: str | None = None,
    roots: bytes | None = None,
    progress: Progress | None = None,
) -> Report:
    """Return what is wrong with a pack, whether it is a folder or an archive."""
    if path.is_file():
        return verify_archive(path, most=most, vkey=vkey, roots=roots, progress=progress)
    return verify_folder(path, vkey=vkey, roots=roots, progress=progress)


def _extract(file: BinaryIO, into: Path, most: int) -> str:
    beginning = file.read(4)
    file.seek(0)
    with files.directory(into) as root:
        extraction = Extraction(root, most=most, packed=os.fstat(file.fileno()).st_size)
        if beginning == b"\x28\xb5\x2f\xfd":  # RFC 8878 §3.1.1
            return extraction.tar(file)
        if beginning[:2] == b"PK":
            return extraction.zip(file)
    raise Refusal("it is neither a folder, nor a .tar.zst, nor a .zip")


def _plain(fd: int, prefix: str) -> Iterator[str]:
    """Yield the paths of all files, sorted; anything that is no plain file is refused."""
    with os.scandir(fd) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            with files.directory(entry.name, within=fd) as folder:
                yield from _plain(folder, f"{path}/")
        elif entry.is_file(follow_symlinks=False):
            yield path
        else:
            raise Invalid(f"{path} is not a plain file: this is no pack that was just exported", where=path)


def _write_tar(out: BinaryIO, root: int, top: str, paths: list[str]) -> None:
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with (
        packer.stream_writer(out, closefd=False) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in paths:
            with parent(root, path) as (within, name), files.open_plain(name, within=within) as file:
                info = tarfile.TarInfo(f"{top}/{path}")
                info.size, info.mode = os.fstat(file.fileno()).st_size, _MODE
                tar.addfile(info, file)


def _write_zip(out: BinaryIO, root: int, top: str, paths: list[str]) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as packed:
        for path in paths:
            with parent(root, path) as (within, name), files.open_plain(name, within=within) as file:
                info = zipfile.ZipInfo(f"{top}/{path}")  # 1980-01-01, the first day that a zip knows
                info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
                info.external_attr = (stat.S_IFREG | _MODE) << 16
                info.file_size = os.fstat(file.fileno()).st_size
                with packed.open(info, "w") as entry:
                    for block in files.blocks(file):
                        entry.write(block)


def _not_a_bomb(out: BinaryIO, root: int, paths: list[str]) -> None:
    size, packed = 0, os.fstat(out.fileno()).st_size
    for path in paths:
        with parent(root, path) as (within, name):
            size += os.stat(name, dir_fd=within, follow_symlinks=False).st_size
    if size > RATIO_FROM and size > packed * HIGHEST_RATIO:
        raise Invalid(f"it packs {size // packed} to 1, as only bombs do: hand the folder out, or a {ZIP}")
