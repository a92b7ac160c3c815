"""Safe unpacking of zip and tar archives: no paths outside the folder, no links, no zip bombs, no litter."""

import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from hsisr import temporary
from hsisr.datasets.layout import is_litter
from hsisr.errors import HsisrError
from hsisr.files import cannot_write

#: An archive may unpack to this many times its size. A small one may always unpack to MOST_BYTES_IN_ANY_CASE.
#: Image and MATLAB archives stay below 10 times; deflate can reach 1,030.
MOST_EXPANSION = 100
MOST_BYTES_IN_ANY_CASE = 64 * 2**20
MOST_MEMBERS = 1_000_000

_BLOCK_BYTES = 2**20
_YOURSELF = "unpack it yourself if you trust it"


def is_archive(path: str | os.PathLike) -> bool:
    """Whether a file is a zip, gzip or tar archive. Its content decides, not its name."""
    try:
        with open(path, "rb") as file:
            head = file.read(264)
    except OSError:
        return False
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b")) or head[257:262] == b"ustar"


def unpack(archive: str | os.PathLike, folder: str | os.PathLike) -> list[Path]:
    """Unpack a zip, tar or tar.gz archive into `folder`, completely or not at all. Returns the files' paths.

    Raises HsisrError for a damaged archive, and for a member that is a link, a device or encrypted, stands twice, or
    has a path outside the folder. Also for more bytes than the archive declares, or than an honest archive holds.
    """
    archive, folder = Path(archive), Path(folder)
    with temporary.new_folder(folder, "unpack") as staging:
        budget = _Budget(archive, folder)
        with _damage(archive):
            if zipfile.is_zipfile(archive):
                names = _unpack_zip(archive, staging, budget)
            else:
                names = _unpack_tar(archive, staging, budget)
        if not names:
            raise HsisrError(f"{archive}: an archive without files")
        return [_move(staging / name, folder / name) for name in names]


class _Budget:
    """Counts members and real bytes, and stops an archive that has too many of either.

    folder: where the members are written. writes: False if the members are only read, inside the archive.
    """

    def __init__(self, archive: Path, folder: Path, writes: bool = True) -> None:
        self._archive, self.folder = archive, folder
        self._most = max(archive.stat().st_size * MOST_EXPANSION, MOST_BYTES_IN_ANY_CASE)
        self._free = shutil.disk_usage(folder).free if writes else self._most
        self._bytes = self._members = 0

    def check_declared(self, size: int) -> None:
        if size > self._most:
            raise HsisrError(
                f"{self._archive}: declares {size:,} bytes in an archive of {self._archive.stat().st_size:,}; refused "
                "as a decompression bomb"
            )
        if size > self._free:
            raise HsisrError(f"{self._archive}: needs {size:,} bytes of disk, {self._free:,} are free")

    def add_member(self) -> None:
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise HsisrError(f"{self._archive}: more than {MOST_MEMBERS:,} members; refused")

    def add_bytes(self, count: int) -> None:
        self._bytes += count
        self.check_declared(self._bytes)


def zip_members(archive: str | os.PathLike) -> dict[str, str]:
    """The files of a zip archive that is read without unpacking: path -> the name that the archive uses.

    A path has / between its parts. Errors as `unpack`.
    """
    archive = Path(archive)
    with _damage(archive), zipfile.ZipFile(archive) as content:
        members = _check_members(archive, content, _Budget(archive, archive.parent, writes=False))
        return {str(name): member.filename for name, member in members.items()}


def tar_members(archive: str | os.PathLike) -> dict[str, tuple[int, int]]:
    """The files of a tar archive that is not compressed: path -> its first byte in the archive, and its length.

    Errors as `unpack`.
    """
    archive = Path(archive)
    with _damage(archive), tarfile.open(archive, "r:") as content:
        files = _tar_files(archive, content, _Budget(archive, archive.parent, writes=False))
        return {str(name): (member.offset_data, member.size) for name, member in files if not member.issparse()}


class _Names:
    """The members so far. On many disks, two names that differ only in case are one file."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._written: dict[str, PurePosixPath] = {}

    def check(self, archive: Path, name: PurePosixPath) -> None:
        """Raise HsisrError if an earlier member has the same name, or the same name in other letters."""
        for path in (name, *name.parents):
            other = self._written.setdefault(_fold(path), path)
            if other != path:
                raise HsisrError(
                    f"{archive}: holds {str(other)!r} and {str(path)!r}, which are one name on many disks; refused"
                )
        if _fold(name) in self._files:
            raise HsisrError(f"{archive}: holds {str(name)!r} twice; refused")
        self._files.add(_fold(name))


def _fold(path: PurePosixPath) -> str:
    """A path without differences in case or in the encoding of accents, which some disks ignore."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _unpack_zip(archive: Path, staging: Path, budget: _Budget) -> list[PurePosixPath]:
    with zipfile.ZipFile(archive) as content:
        members = _check_members(archive, content, budget)
        for name, member in members.items():
            with content.open(member) as source:
                _copy(archive, source, staging / name, member.file_size, budget)
    return list(members)


def _check_members(archive: Path, content: zipfile.ZipFile, budget: _Budget) -> dict[PurePosixPath, zipfile.ZipInfo]:
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    seen = _Names()
    for member in content.infolist():
        name = _safe_name(archive, member.filename)
        budget.add_member()
        if stat.S_ISLNK(member.external_attr >> 16):
            raise HsisrError(f"{archive}: holds a link, {member.filename!r}; refused; {_YOURSELF}")
        if member.flag_bits & 1:
            raise HsisrError(f"{archive}: its member {member.filename!r} is encrypted")
        if member.is_dir() or name is None:
            continue
        seen.check(archive, name)
        members[name] = member
    budget.check_declared(sum(member.file_size for member in members.values()))
    return members


def _unpack_tar(archive: Path, staging: Path, budget: _Budget) -> list[PurePosixPath]:
    names: list[PurePosixPath] = []
    with tarfile.open(archive, "r|*") as content:
        for name, member in _tar_files(archive, content, budget):
            source = content.extractfile(member)
            if source is not None:
                _copy(archive, source, staging / name, member.size, budget)
                names.append(name)
    return names


def _tar_files(
    archive: Path, content: tarfile.TarFile, budget: _Budget
) -> Iterator[tuple[PurePosixPath, tarfile.TarInfo]]:
    """The files of a tar archive in its order, each checked before it is read."""
    seen = _Names()
    for member in content:
        name = _safe_name(archive, member.name)
        budget.add_member()
        if member.isdir():
            continue
        if not member.isreg():
            kind = "link" if member.issym() or member.islnk() else "special file"
            raise HsisrError(f"{archive}: holds a {kind}, {member.name!r}; refused; {_YOURSELF}")
        if name is None:
            continue
        seen.check(archive, name)
        budget.check_declared(member.size)
        yield name, member


def _safe_name(archive: Path, name: str) -> PurePosixPath | None:
    """The member's path below the folder; None for litter, and for the folder itself.

    Raises HsisrError if the path leads out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or "\0" in name:
        raise HsisrError(f"{archive}: its member {name!r} would be written outside the folder; refused")
    return None if not path.parts or any(is_litter(part) for part in path.parts) else path


def _copy(archive: Path, source: IO[bytes], target: Path, declared: int, budget: _Budget) -> None:
    written = 0
    with _create(target, budget.folder) as file:
        while block := source.read(_BLOCK_BYTES):
            written += len(block)
            budget.add_bytes(len(block))
            if written > declared:
                raise HsisrError(f"{archive}: a member holds more than the {declared:,} bytes it declares; refused")
            _put(file, block, budget.folder)
    if written != declared:
        raise HsisrError(f"{archive}: cut: a member holds {written:,} of the {declared:,} bytes it declares")


def _create(target: Path, folder: Path) -> IO[bytes]:
    """A new file in the staging folder, open for writing. Raises HsisrError, which names `folder`, if this fails."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return open(target, "wb", buffering=0)
    except OSError as error:
        raise cannot_write(folder, error) from error


def _put(file: IO[bytes], block: bytes, folder: Path) -> None:
    try:
        while block:
            block = block[file.write(block) :]
    except OSError as error:
        raise cannot_write(folder, error) from error


def _move(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    return target


@contextmanager
def _damage(archive: Path) -> Iterator[None]:
    """Turn the errors of zipfile, tarfile and zlib into one line."""
    try:
        yield
    except (
        zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RuntimeError,
        NotImplementedError, KeyError, OverflowError, IndexError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split()) or type(error).__name__
        raise HsisrError(f"{archive}: damaged or cut archive ({reason}); delete it and fetch again") from error
