"""Archives: unpacked whole, or refused with nothing left behind."""

import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib

import pytest

from hsisr.datasets import archives
from hsisr.datasets.archives import unpack
from hsisr.errors import HsisrError

CONTENT = {"a_ms/a_ms/a_01.png": b"one" * 100, "a_ms/a_ms/a_02.png": b"two" * 100}


def zip_of(path, members: dict, **kwargs):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else str(name), content)
    return path


def tar_of(path, members: dict, mode: str = "w:gz", change=None):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            facts = tarfile.TarInfo(name)
            facts.size = len(content)
            if change:
                change(facts)
            archive.addfile(facts, io.BytesIO(content))
    return path


def tree(folder) -> dict:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("make", [zip_of, tar_of, lambda path, members: tar_of(path, members, "w")])
def test_unpacks_all_files_but_litter(tmp_path, make):
    litter = {"a_ms/Thumbs.db": b"x", "__MACOSX/a": b"x", "a_ms/.DS_Store": b"x", "desktop.ini": b"x"}
    archive = make(tmp_path / "archive", CONTENT | litter)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_bytes(b"kept")
    unpack(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == CONTENT | {"kept": b"kept"}
    assert archives.is_archive(archive)


def test_unpacking_again_replaces(tmp_path):
    for _ in range(2):
        unpack(zip_of(tmp_path / "z.zip", CONTENT), tmp_path / "out")
    assert tree(tmp_path / "out") == CONTENT


OUTSIDE = ["../../x", "/etc/x", "a/../../x", "..\\..\\x", "C:\\x", "C:x", "a/..", "..", "/"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_paths_that_leave_the_folder(tmp_path, make, name):
    refused(make(tmp_path / "archive", CONTENT | {name: b"x"}), "outside the folder|device|without files")


def test_links_in_zip(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(zip_of(tmp_path / "z.zip", CONTENT | {link: "/etc/passwd"}), "holds a link")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_tar(tmp_path, kind):
    def change(facts):
        if facts.name == "special":
            facts.type, facts.linkname = kind, "/etc/passwd"

    refused(tar_of(tmp_path / "t.tgz", CONTENT | {"special": b""}, change=change), "holds a (link|special file)")


def test_declared_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES_IN_ANY_CASE", 2**20)
    refused(zip_of(tmp_path / "z.zip", {"zeros": bytes(3 * 2**20)}), "declares 3,145,728 .* decompression bomb")


def test_bomb_in_tar_is_stopped_while_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES_IN_ANY_CASE", 2**20)
    refused(tar_of(tmp_path / "t.tgz", {f"zeros{i}": bytes(2**18) for i in range(20)}), "decompression bomb")


def test_zip_that_declares_less_than_it_holds(tmp_path):
    archive = zip_of(tmp_path / "z.zip", {"zeros": bytes(2**20)})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", 10)
    archive.write_bytes(data)
    refused(archive, "damaged|more than the 10 bytes")


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    refused(zip_of(tmp_path / "z.zip", {str(i): b"" for i in range(4)}), "more than 3 members")


def test_same_member_twice(tmp_path):
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("a", "2")
    refused(tmp_path / "z.zip", "'a' twice")


def test_encrypted_member(tmp_path):
    archive = zip_of(tmp_path / "z.zip", {"a": b"x"})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    archive.write_bytes(data)
    refused(archive, "encrypted")


@pytest.mark.parametrize("make", [zip_of, tar_of])
@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_cut_archive(tmp_path, make, keep):
    archive = make(tmp_path / "archive", {name: os.urandom(50_000) for name in CONTENT})
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * keep)])
    refused(archive, "damaged or cut")


def test_flipped_byte_in_zip(tmp_path):
    archive = zip_of(tmp_path / "z.zip", {name: os.urandom(5000) for name in CONTENT})
    data = bytearray(archive.read_bytes())
    data[3000] ^= 1
    archive.write_bytes(data)
    refused(archive, "damaged or cut archive")


@pytest.mark.parametrize("content", [b"", b"text", b"<html>404</html>", zlib.compress(b"x")])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "z.zip").write_bytes(content)
    assert not archives.is_archive(tmp_path / "z.zip")
    refused(tmp_path / "z.zip", "damaged or cut archive")


def refused(archive, fault: str) -> None:
    out = archive.parent / "deep" / "out"
    with pytest.raises(HsisrError, match=fault) as caught:
        unpack(archive, out)
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tree(archive.parent) == {archive.name: archive.read_bytes()}
    assert list(out.iterdir()) == []
