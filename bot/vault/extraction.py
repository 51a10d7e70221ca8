"""Take an archive of unknown origin apart: only plain files, only under one folder, only so much.

Every name is checked before anything is written under it. What is refused is named: the first thing that is wrong.
"""

import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, Final
from unicodedata import normalize

import zstandard

from bot.errors import Invalid
from bot.vault import files
from bot.vault.listing import readable
from bot.vault.tree import parent

HIGHEST_RATIO: Final = 1100
"""Deflate cannot pack better than 1032 to 1."""
RATIO_FROM: Final = 1 << 26
"""Bytes from which on the ratio counts: a small bomb is none."""
MOST_FILES: Final = 200_000
_SPELLED: Final = 1 << 26
LONGEST_NAME: Final = 255
LONGEST_PATH: Final = 4095
_HEADERS: Final = 1 << 20
"""Bytes that the headers between two files of a tar may have."""
_WINDOW: Final = 1 << 27
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_BROKEN: Final = (
    *(tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile, zstandard.ZstdError, zlib.error, lzma.LZMAError),
    *(struct.error, EOFError, ValueError, KeyError, IndexError, OverflowError, NotImplementedError, RuntimeError),
)
"""What the libraries raise on archives that are none; RuntimeError is zipfile's word for encrypted."""


class Refusal(Invalid):
    """The archive is not taken apart: something in it is none of a pack's; `where` is the entry's name."""


class Extraction:
    """One archive on its way into the folder `root`; `packed` is its own size."""

    def __init__(self, root: int, *, most: int, packed: int) -> None:
        self.root = root
        self.most = most
        self.packed = packed
        self.written = 0
        self.top = ""
        self._names: dict[str, str] = {}
        self._spelled = 0
        self._folders: set[str] = set()
        if packed > most:
            raise Refusal(f"it has {packed} bytes, more than the {most} that are allowed unpacked")

    def tar(self, file: BinaryIO) -> str:
        """Unpack a zstd-compressed tar as it streams by; return the one folder in it."""
        with _explained():
            unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
            with unpacker.stream_reader(file, closefd=False) as stream:
                budget = _Budget(stream)
                budget.allow(_HEADERS)
                with tarfile.open(fileobj=budget, mode="r|") as tar:  # type: ignore[call-overload]
                    while (member := self._next(tar, budget)) is not None:
                        self._member(tar, member, budget)
        return self._whole()

    def zip(self, file: BinaryIO) -> str:
        """Check the whole directory of a zip, then unpack it; return the one folder in it."""
        with _explained(), zipfile.ZipFile(file) as packed:
            entries = packed.infolist()
            declared = 0
            for info in entries:
                self._entry(info)
                declared += info.file_size
                self._bounded(declared)
            for info in entries:
                if not info.is_dir():
                    with packed.open(info) as content:
                        self._write(info.orig_filename, _blocks(content))
        return self._whole()

    # ---- entries -----------------------------------------------------------------------------------------------------

    def _next(self, tar: tarfile.TarFile, budget: "_Budget") -> tarfile.TarInfo | None:
        tar.members = []  # type: ignore[attr-defined]  # it would remember every one
        budget.allow(_HEADERS)
        return tar.next()

    def _member(self, tar: tarfile.TarFile, member: tarfile.TarInfo, budget: "_Budget") -> None:
        name = self._checked(member.name)
        if member.type == tarfile.DIRTYPE:
            self._folder(name, member.name)
            return
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            raise Refusal("it is not a plain file", where=readable(member.name))
        self._file(name, member.name)
        self._bounded(self.written + member.size)
        budget.allow(member.size + _HEADERS)
        content = tar.extractfile(member)
        if content is None:
            raise Refusal("it is not a plain file", where=readable(member.name))
        self._write(member.name, _blocks(content))

    def _entry(self, info: zipfile.ZipInfo) -> None:
        """Check a zip's entry: names as they stand in it, before the library mends them."""
        kind = stat.S_IFMT(info.external_attr >> 16)
        name = self._checked(info.orig_filename.removesuffix("/"))
        if info.flag_bits & 0x1:
            raise Refusal("it is encrypted", where=readable(name))
        if info.orig_filename.endswith("/"):
            self._folder(name, info.orig_filename)
            return
        if kind not in (0, stat.S_IFREG):
            raise Refusal("it is not a plain file", where=readable(name))
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refusal("it is packed in a way that no pack is", where=readable(name))
        if info.file_size > RATIO_FROM and info.file_size > HIGHEST_RATIO * max(info.compress_size, 1):
            raise Refusal(f"it claims to unpack {info.compress_size} bytes to {info.file_size}", where=readable(name))
        self._file(name, info.orig_filename)

    # ---- names -------------------------------------------------------------------------------------------------------

    def _checked(self, name: str) -> str:
        """Return an entry's name where it is a plain relative path under the archive's one folder."""
        where = readable(name)
        if "\x00" in name:
            raise Refusal("a name has a NUL in it", where=where)
        if "\\" in name:
            raise Refusal("a name has a backslash in it", where=where)
        if name.startswith("/") or _DRIVE.match(name):
            raise Refusal("a name is absolute: it would be written elsewhere", where=where)
        parts = name.removesuffix("/").split("/")
        if ".." in parts:
            raise Refusal("a name leads out of the folder", where=where)
        if "" in parts or "." in parts:
            raise Refusal("a name is not a plain path", where=where)
        try:
            sizes = [len(part.encode()) for part in parts]
        except UnicodeEncodeError:
            raise Refusal("a name is not UTF-8", where=where) from None
        if max(sizes) > LONGEST_NAME or sum(sizes) + len(sizes) > LONGEST_PATH:
            raise Refusal(f"a name is longer than {LONGEST_NAME} or a path than {LONGEST_PATH} bytes", where=where)
        self.top = self.top or parts[0]
        if parts[0] != self.top:
            what = f"the archive holds more than one thing: beside {readable(self.top)} there is {readable(parts[0])}"
            raise Refusal(what, where=where)
        return "/".join(parts)

    def _folder(self, name: str, given: str) -> None:
        parts = name.split("/")
        for end in range(1, len(parts) + 1):
            self._unique("/".join(parts[:end]), given, folder=True)

    def _file(self, name: str, given: str) -> None:
        if "/" not in name:
            raise Refusal("it lies beside the pack's folder, not in it", where=readable(given))
        self._folder(name.rpartition("/")[0], given)
        self._unique(name, given, folder=False)

    def _unique(self, path: str, given: str, *, folder: bool) -> None:
        """Refuse a path that another one would hide, on this system or another."""
        folded = normalize("NFC", normalize("NFC", path).casefold())
        known = self._names.get(folded)
        if known is None:
            self._names[folded] = path
            self._spelled += len(path)
            if len(self._names) > MOST_FILES or self._spelled > _SPELLED:
                raise Refusal("it holds more names than any pack", where=readable(given))
            if folder:
                self._folders.add(path)
        elif known != path:
            what = f"its name differs from {readable(known)} only in case or in how it is composed"
            raise Refusal(what, where=readable(given))
        elif folder != (path in self._folders):
            raise Refusal("it stands for a file and for a folder", where=readable(given))
        elif not folder:
            raise Refusal("it is there a second time", where=readable(given))

    # ---- content -----------------------------------------------------------------------------------------------------

    def _write(self, name: str, blocks: Iterator[bytes]) -> None:
        with (
            parent(self.root, name, create=True) as (within, last),
            os.fdopen(files.create(last, within=within), "wb") as out,
        ):
            for block in blocks:
                self.written += len(block)
                self._bounded(self.written)
                out.write(block)

    def _bounded(self, size: int) -> None:
        if size > self.most:
            raise Refusal(f"unpacked it has more than the {self.most} bytes that are allowed")
        if size > RATIO_FROM and size > self.packed * HIGHEST_RATIO:
            raise Refusal(f"it is a bomb: {self.packed} bytes unpack to more than {RATIO_FROM}")

    def _whole(self) -> str:
        if not self.top:
            raise Refusal("there is nothing in it")
        return self.top


def _blocks(content: IO[bytes]) -> Iterator[bytes]:
    while block := content.read(files.BLOCK):
        yield block


class _Budget:
    """A stream of which no more may be read than was allowed: a header cannot claim gigabytes of memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = 0

    def allow(self, size: int) -> None:
        """Allow `size` bytes from now on."""
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Read on; raises Refusal beyond what was allowed."""
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise Refusal("its headers are larger than those of any pack")
        return content


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the libraries say of an archive that is broken into a sentence."""
    try:
        yield
    except _BROKEN as error:
        raise Refusal(f"it cannot be unpacked: {readable(str(error) or type(error).__name__)}") from error
