"""A pack as one file: what is packed verifies; whatever is no pack is refused by name, and nothing is written."""

import io
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bagit
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import Invalid
from bot.vault import extraction
from bot.vault.archive import is_archive, pack_into, verify_archive, verify_pack
from bot.vault.report import Report
from tests.conftest import need
from tests.vault.tampering import there, valued

MOST = 1 << 28
Entries = dict[str, bytes]


def checked(path: Path, **changes: Any) -> Report:
    """Verify an archive in a folder of its own, and make sure that nothing is left or written anywhere else."""
    room = path.parent / "room"
    room.mkdir(exist_ok=True)
    before = {found for found in path.parent.rglob("*") if room not in found.parents}
    whole: dict[str, Any] = {"most": MOST, "within": room}
    report = verify_archive(path, **(whole | changes))
    assert list(room.iterdir()) == []
    assert {found for found in path.parent.rglob("*") if room not in found.parents} == before
    return report


@pytest.fixture(params=["inc-7.tar.zst", "inc-7.zip"])
def archive(request: pytest.FixtureRequest, pack: Path) -> Path:
    target = pack.parent / str(request.param)
    pack_into(pack, target)
    return target


# ---- what is honest --------------------------------------------------------------------------------------------------


def test_what_was_packed_verifies(rich: Any, archive: Path) -> None:
    assert is_archive(archive)
    report = checked(archive, vkey=rich.vkey)
    assert report.lines()[0] == f"{archive}: verified: 14 records, 5 items"
    assert verify_pack(archive, most=MOST, vkey=rich.vkey).ok
    assert verify_pack(archive.parent / "inc-7", most=MOST, vkey=rich.vkey).ok


def test_the_same_pack_gives_the_same_archive(archive: Path, pack: Path) -> None:
    again = archive.parent / "again" / archive.name
    again.parent.mkdir()
    os.utime(pack / "VERIFY.md", (1, 1))
    (pack / "bagit.txt").chmod(0o640)
    pack_into(pack, again)
    assert again.read_bytes() == archive.read_bytes()


def test_an_archive_has_plain_entries_of_nobody(archive: Path, pack: Path) -> None:
    if archive.name.endswith("zip"):
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            assert {(e.date_time, e.external_attr >> 16) for e in entries} == {
                ((1980, 1, 1, 0, 0, 0), stat.S_IFREG | 0o644)
            }
            names = [e.filename for e in entries]
    else:
        with tarfile.open(fileobj=io.BytesIO(untarred(archive))) as tar:
            members = tar.getmembers()
            assert {(m.mtime, m.mode, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0o644, 0, 0, "", "")}
            names = [m.name for m in members]
    assert set(names) == {f"inc-7/{path}" for path in there(pack)}
    assert len(set(names)) == len(names)


@pytest.mark.peer("tar")
def test_others_unpack_it(archive: Path, pack: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    if archive.name.endswith("zip"):
        shutil.unpack_archive(archive, into)
    else:
        need(shutil.which("tar") is None, "tar")
        into.mkdir()
        subprocess.run(["tar", "-xf", "-", "-C", str(into)], input=untarred(archive), check=True, timeout=20)
    assert there(into / "inc-7") == there(pack)
    assert bagit.Bag(str(into / "inc-7")).validate()


def untarred(archive: Path) -> bytes:
    with archive.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read()


def test_what_is_wrong_with_the_pack_is_told_as_for_a_folder(rich: Any, pack: Path) -> None:
    valued(2, "body.person", "eve")(pack)
    for name in ("x.zip", "x.tar.zst"):
        pack_into(pack, pack.parent / name)
        first = checked(pack.parent / name, vkey=rich.vkey).first
        assert "data/records.jsonl line 2 (inc-7 record 2, RoleTaken): its content is not in the log" in str(first)


def test_a_taken_name_another_suffix_and_a_link_are_refused(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "there.zip").write_text("mine")
    with pytest.raises(Invalid, match="is there already; nothing was written"):
        pack_into(pack, tmp_path / "there.zip")
    assert (tmp_path / "there.zip").read_text() == "mine"
    for name in ("x.rar", ".zip", "a b.zip"):
        with pytest.raises(Invalid, match="write a plain name"):
            pack_into(pack, tmp_path / name)
    (pack / "data/x").symlink_to("/etc/passwd")
    for name in ("x.zip", "x.tar.zst"):
        with pytest.raises(Invalid, match="data/x is not a plain file"):
            pack_into(pack, tmp_path / name)
        assert not (tmp_path / name).exists()


def test_a_pack_that_would_be_taken_for_a_bomb_is_not_packed(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.vault.archive.RATIO_FROM", 1 << 16)
    (pack / "data/custody.txt").write_bytes(bytes(1 << 28))
    with pytest.raises(Invalid, match="as only bombs do"):
        pack_into(pack, tmp_path / "x.tar.zst")
    assert not (tmp_path / "x.tar.zst").exists()


# ---- what is not -----------------------------------------------------------------------------------------------------


def zipped(path: Path, *entries: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644, system: int = 3) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile's own, of a name that is there twice
        for name, content in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.external_attr, info.create_system, info.compress_type = mode << 16, system, zipfile.ZIP_DEFLATED
            packed.writestr(info, content)
    return path


def tarred(path: Path, *entries: tuple[str, bytes], **fields: Any) -> Path:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(zstandard.ZstdCompressor().compress(raw.getvalue()))
    return path


NAMES: dict[str, tuple[list[str], str]] = {
    "a step up": (["inc-7/../../evil"], "a name leads out of the folder"),
    "a step up at once": (["../evil"], "a name leads out of the folder"),
    "an absolute name": (["/tmp/evil"], "a name is absolute"),
    "a drive": (["C:/evil"], "a name is absolute"),
    "a drive without a slash": (["c:evil"], "a name is absolute"),
    "a backslash": (["inc-7\\..\\evil"], "a name has a backslash in it"),
    "a dot": (["inc-7/./x"], "a name is not a plain path"),
    "two slashes": (["inc-7//x"], "a name is not a plain path"),
    "no name": (["inc-7/ok", ""], "a name is not a plain path"),
    "a second time": (["inc-7/x", "inc-7/x"], "it is there a second time"),
    "another case": (["inc-7/x", "inc-7/X"], "its name differs from inc-7/x only in case"),
    "another case of a folder": (["inc-7/d/x", "inc-7/D/y"], "its name differs from inc-7/d only in case"),
    "a long s": (["inc-7/s", "inc-7/ſ"], "its name differs from inc-7/s only in case"),
    "composed otherwise": (["inc-7/\u00e9", "inc-7/e\u0301"], "only in case or in how it is composed"),
    "a file and a folder": (["inc-7/x", "inc-7/x/y"], "it stands for a file and for a folder"),
    "a folder and a file": (["inc-7/x/y", "inc-7/x"], "it stands for a file and for a folder"),
    "a name of 256 bytes": (["inc-7/" + "n" * 256], "a name is longer than 255"),
    "a path of 4 KB": (["inc-7/" + "/".join(["n" * 250] * 17)], "or a path than 4095 bytes"),
    "two folders": (["inc-7/x", "inc-8/x"], "the archive holds more than one thing"),
    "beside the folder": (["bagit.txt"], "it lies beside the pack's folder, not in it"),
    "control characters": (["inc-7/ok", "inc-7/../\x1b[2J"], "a name leads out of the folder"),
}


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("name", NAMES)
def test_no_name_leads_elsewhere(tmp_path: Path, kind: str, name: str) -> None:
    names, says = NAMES[name]
    entries = [(one, b"evil") for one in names]
    path = zipped(tmp_path / "x.zip", *entries) if kind == "zip" else tarred(tmp_path / "x.tar.zst", *entries)
    first = checked(path).first
    assert says in str(first), first
    assert str(first).isprintable()
    assert not Path("/tmp/evil").exists()


def test_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "x.zip", ("inc-7/axb", b"x"), ("inc-7/ok", b"x")).read_bytes()
    (tmp_path / "x.zip").write_bytes(whole.replace(b"inc-7/axb", b"inc-7/a\0b"))
    assert "a name has a NUL in it" in str(checked(tmp_path / "x.zip").first)
    tar = tarred(tmp_path / "x.tar.zst", ("x", b"x"), pax_headers={"path": "inc-7/a\0b"})
    assert "a name has a NUL in it" in str(checked(tar).first)


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE,
        b"Z",
    ],
    ids=["symlink", "hard link", "character device", "block device", "pipe", "sparse", "unknown"],
)
def test_only_plain_files_come_out_of_a_tar(tmp_path: Path, kind: bytes) -> None:
    path = tarred(tmp_path / "x.tar.zst", ("inc-7/x", b""), type=kind, linkname="/etc/passwd")
    assert not checked(path).ok
    says = str(checked(path).first)
    assert says.startswith("inc-7/x: it is not a plain file") or "cannot be unpacked" in says, says


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR])
def test_only_plain_files_come_out_of_a_zip(tmp_path: Path, mode: int) -> None:
    path = zipped(tmp_path / "x.zip", ("inc-7/x", b"/etc/passwd"), mode=mode | 0o777)
    assert "inc-7/x: it is not a plain file" in str(checked(path).first)


def test_encrypted_entries_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("inc-7/x", b"x"))
    whole = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = whole.index(magic) + offset
        whole[place] |= 1
    path.write_bytes(whole)
    assert "inc-7/x: it is encrypted" in str(checked(path).first)


def test_another_way_of_packing_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("inc-7/x", b"x" * 1000)
    assert "it is packed in a way that no pack is" in str(checked(tmp_path / "x.zip").first)


def test_another_name_in_the_entry_than_in_the_directory_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("inc-7/x", b"x"))
    path.write_bytes(path.read_bytes().replace(b"inc-7/x", b"inc-7/y", 1))
    assert "it cannot be unpacked: File name in directory" in str(checked(path).first)


# ---- bombs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_more_bytes_than_the_caller_allows_are_refused(tmp_path: Path, kind: str) -> None:
    for filled, says in (
        (bytes, "unpacked it has more than the 100000 bytes that are allowed"),
        (os.urandom, "bytes, more than the 100000 that are allowed unpacked"),
    ):
        entries = [(f"inc-7/{n}", filled(30_000)) for n in range(4)]
        path = zipped(tmp_path / "x.zip", *entries) if kind == "zip" else tarred(tmp_path / "x.tar.zst", *entries)
        assert says in str(checked(path, most=100_000).first)
        assert "allowed" not in str(checked(path, most=200_000).first)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_bomb_is_found_by_its_ratio(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "HIGHEST_RATIO", 100)
    monkeypatch.setattr(extraction, "RATIO_FROM", 1 << 20)
    entries = [("inc-7/x", bytes(1 << 24))]
    path = zipped(tmp_path / "x.zip", *entries) if kind == "zip" else tarred(tmp_path / "x.tar.zst", *entries)
    says = str(checked(path).first)
    assert "it is a bomb" in says or "it claims to unpack" in says, says


def test_a_size_that_is_a_lie_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("inc-7/x", b"x" * 5000))
    whole = bytearray(path.read_bytes())
    place = whole.index(b"PK\x01\x02") + 24
    whole[place : place + 4] = struct.pack("<I", 10)
    path.write_bytes(whole)
    assert "it cannot be unpacked" in str(checked(path).first)


def test_a_header_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar.zst", ("inc-7/x", b"x"), pax_headers={"comment": "n" * (3 << 20)})
    assert "its headers are larger than those of any pack" in str(checked(path).first)


def test_more_names_than_any_pack_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "MOST_FILES", 10)
    entries = [(f"inc-7/{n}", b"") for n in range(11)]
    for path in (zipped(tmp_path / "x.zip", *entries), tarred(tmp_path / "x.tar.zst", *entries)):
        assert "it holds more names than any pack" in str(checked(path).first)


# ---- broken ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is neither a folder, nor a .tar.zst, nor a .zip"),
        (b"nonsense", "it is neither a folder"),
        (b"PK\x03\x04", "it cannot be unpacked"),
        (b"\x28\xb5\x2f\xfd", "it cannot be unpacked"),
        (zstandard.compress(b"nonsense" * 1000), "it cannot be unpacked"),
        (zstandard.compress(bytes(10240)), "there is nothing in it"),
    ],
    ids=["empty", "nonsense", "half a zip", "half a zstd", "no tar", "an empty tar"],
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x").write_bytes(content)
    report = checked(tmp_path / "x")
    assert says in str(report.first)
    assert "nothing was unpacked outside a temporary folder" in str(report.first)


def test_a_link_to_an_archive_and_nothing_at_all_are_refused(archive: Path) -> None:
    link = archive.parent / "link"
    link.symlink_to(archive)
    assert not checked(link).ok
    assert not checked(archive.parent / "nowhere").ok


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_archive_breaks_the_verifier_or_passes_with_another_pack(
    rich: Any, archive: Path, data: st.DataObject
) -> None:
    """An archive may differ in what means nothing (times, modes); what it verifies as is then the very pack."""
    old = archive.read_bytes()
    place = data.draw(st.integers(0, len(old) - 1))
    how: Callable[[], bytes] = data.draw(
        st.sampled_from(
            [
                lambda: old[:place] + data.draw(st.binary(min_size=1, max_size=4)) + old[place + 1 :],
                lambda: old[:place],
                lambda: old[:place] + old[place + 1 :],
            ]
        )
    )
    path = archive.parent / "changed"
    path.write_bytes(how())
    report = checked(path, vkey=rich.vkey)
    if report.ok:
        assert (report.records, report.items) == (14, 5)
