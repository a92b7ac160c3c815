"""The one door to HDF5: it checks our own files before anything uses them, and follows no link out of a file.

Our files - scenes, pairs, patches, previews - carry a stamp. A file without it is somebody else's, and is only refused;
one with it that does not hold what it should is damaged, and may be deleted and made again. Whoever reads an object
says what it expects: `dataset`, `group` and `attribute` check it. Links to other files, virtual data sets and external
storage are refused, in our files and in others', as they would bring other files of the user into a result.
"""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hsisr import limits
from hsisr.errors import HsisrError
from hsisr.files import atomic_path, check_stamp, stamp

#: What h5py, numpy and json raise for what is damaged.
_DAMAGE = (
    *(OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, MemoryError, OverflowError),
    *(RecursionError, IndexError),
)
#: Our compression (deflate) makes no more than so many bytes of one; a file that says more is made to exhaust memory.
_MOST_RATIO = 1100
#: First bytes of any HDF5 file.
MAGIC = b"\x89HDF\r\n\x1a\n"
#: Bytes that an attribute can hold; a longer text is an object of its own (`write_text`).
_MOST_OF_AN_ATTRIBUTE = 60_000
#: Kind of file -> what to do where one is damaged, and where there is none.
_REMEDIES = {
    "scene": ("convert again", "`hsisr convert` makes it"),
    "pair": ("make it again", "`hsisr pairs` makes it"),
    "patches": ("make it again", "`hsisr patches` makes it"),
    "preview": ("evaluate again", "`hsisr evaluate` makes it"),
}
#: What else a user may have meant.
_OTHER_FORMATS = {"scene": "; another format is read by `hsisr export` and `hsisr.read_scene`"}
#: What a kind of file is called.
_WORDS = {"patches": "patch"}


@contextmanager
def writing(path: str | os.PathLike, kind: str, identity: Any = None) -> Iterator[h5py.File]:
    """A new file of a kind, stamped with what made it; written whole or not at all."""
    with atomic_path(path) as temporary, create(temporary) as file:
        set_attributes(file, stamp(kind, identity))
        yield file


@contextmanager
def create(path: str | os.PathLike, **options: Any) -> Iterator[h5py.File]:
    """A new HDF5 file, open for writing. options: of `h5py.File`. Raises OSError, at the end, if the disk was full.

    The library ends the process where a write fails while it closes a file. So it never hears of a failure.
    """
    with _Disk(path, "w+") as disk:
        try:
            with h5py.File(disk, "w", **options) as file:
                yield file
        except Exception:
            if disk.fault is None:
                raise
        if disk.fault is not None:
            raise disk.fault


class _Disk(io.FileIO):
    """A file whose writes never fail: the first fault is kept in `fault`, and what comes after it is thrown away."""

    fault: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data."""
        left = memoryview(data).cast("B")
        count = len(left)
        try:
            while self.fault is None and len(left):
                left = left[super().write(left) :]
        except OSError as error:
            self.fault = error
        return count

    def truncate(self, size: int | None = None) -> int:
        """Set the size."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.fault = self.fault or error
            return self.tell() if size is None else size


@contextmanager
def reading(path: str | os.PathLike, kind: str) -> Iterator[h5py.File]:
    """A file of a kind, open; whatever turns out to be wrong with it inside the block is one line.

    Raises HsisrError if it is absent, damaged, or not of this kind.
    """
    path = Path(path)
    with explain_damage(path, kind), open_file(path, kind) as file:
        yield file


def open_file(path: str | os.PathLike, kind: str) -> h5py.File:
    """A file of a kind, open for reading, its stamp checked. Errors as `reading`."""
    path = Path(path)
    if not path.is_file():
        raise HsisrError(f"{path}: no such {_word(kind)} file; {_REMEDIES[kind][1]}")
    try:
        file = open_any(path)
    except OSError as error:
        # whether it was ever ours cannot be seen, so that nobody is told to delete it
        raise HsisrError(
            f"{path}: damaged {_word(kind)} file, or none at all ({_reason(error)}); if hsisr made it, "
            f"{_REMEDIES[kind][0]}{_OTHER_FORMATS.get(kind, '')}"
        ) from error
    try:
        with explain_damage(path, kind):
            check_stamp(path, {"schema": attribute(file, "schema", str, "")}, kind)
    except BaseException:
        file.close()
        raise
    return file


def schema_of(path: str | os.PathLike) -> str:
    """The schema of a file's stamp, such as hsisr/pair/1; empty for any file that is not ours or cannot be opened."""
    try:
        with open_any(path) as file:
            return str(attribute(file, "schema", str, ""))
    except _DAMAGE:
        return ""


def open_any(path: str | os.PathLike, **options: Any) -> h5py.File:
    """Any HDF5 file, open for reading. options: of `h5py.File`. Raises what the library raises.

    Without HDF5's own locks, which some network file systems do not have; nobody changes a file in place. Through the
    driver `stdio`, since the library does not open one file both with and without locks through one driver.
    """
    return h5py.File(path, "r", driver="stdio", locking=False, **options)


def members(file: h5py.File, path: str | os.PathLike, depth: int = 8) -> Iterator[tuple[str, Any, str | None]]:
    """Path, object and leak of all that lies in a file; of what leads out of it the object is None.

    depth: how many groups deep. By hand: the library's own visit never ends where a damaged index points to itself. A
    group that lies in itself is not entered again. Raises HsisrError for more objects than `limits.OBJECTS`.
    """
    for number, found in enumerate(_below(file, "", depth, ()), 1):
        limits.check(path, limits.OBJECTS, number, "groups and data sets")
        yield found


def _below(group: h5py.Group, start: str, depth: int, parents: tuple) -> Iterator[tuple[str, Any, str | None]]:
    parents = (*parents, _place(group))
    for name in group:
        reason = leak(group, name)
        item = None if reason else group[name]
        yield start + name, item, reason
        if isinstance(item, h5py.Group) and depth > 1 and _place(item) not in parents:
            yield from _below(item, f"{start}{name}/", depth - 1, parents)


def _place(group: h5py.Group) -> tuple[int, int]:
    """Where in its file a group lies."""
    place: tuple[int, int] = h5py.h5g.get_objinfo(
        group.id
    ).objno  # what else tells it walks through a damaged index for ever
    return place


def leak(parent: h5py.Group, name: str) -> str | None:
    """How a member of a group leads out of the file, in words; None if it lies in the file itself."""
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        return "is a link, which may lead out of the file"
    item = parent[name]
    if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
        return "lies in other files"
    return None


@contextmanager
def explain_damage(path: str | os.PathLike, kind: str) -> Iterator[None]:
    """Turn whatever a damaged file of ours makes a library raise into one line that says what to do."""
    try:
        yield
    except HsisrError:
        raise
    except _DAMAGE as error:
        raise HsisrError(
            f"{path}: damaged {_word(kind)} file ({_reason(error)}); delete it and {_REMEDIES[kind][0]}"
        ) from error


def dataset(group: h5py.Group, name: str, kinds: str = "", rank: int | None = None) -> h5py.Dataset:
    """A data set that lies in the file. kinds: numpy's letters of types that it may have; rank: number of its axes.

    Raises ValueError or KeyError, which `explain_damage` turns into a line, for another object, type or rank, and for
    one that says that it holds more than it can.
    """
    found = child(group, name)
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{name} is a group, expected a data set")
    if found.shape is None or (kinds and found.dtype.kind not in kinds):
        raise ValueError(f"{name} has type {found.dtype}, expected {' or '.join(_TYPES[kind] for kind in kinds)}")
    if rank is not None and found.ndim != rank:
        raise ValueError(f"{name} has {found.ndim} axes, expected {rank}")
    check_storage(found)
    return found


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """A group that lies in the file. Raises ValueError or KeyError as `dataset`."""
    found = child(parent, name)
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{name} is a data set, expected a group")
    return found


def child(parent: h5py.Group, path: str) -> Any:
    """The object at a path below a group, every part of which lies in this file. Raises ValueError or KeyError."""
    for name in path.split("/"):
        if parent.get(name, getlink=True) is None:
            raise KeyError(f"{name} is missing")
        reason = leak(parent, name)
        if reason is not None:
            raise ValueError(f"{name} {reason}, which is refused")
        parent = parent[name]
    return parent


def check_storage(found: h5py.Dataset) -> None:
    """Raise ValueError for a data set that says it holds more than it can, HsisrError for far more than is usual."""
    claimed, stored = found.size * found.dtype.itemsize, found.id.get_storage_size()
    if claimed > (stored * _MOST_RATIO if found.chunks else stored):
        raise ValueError(f"{found.name} says that it holds {claimed} bytes, and {stored} are stored")
    limits.check_expansion(f"{found.file.filename}: {found.name}", claimed, stored)


def attribute(owner: h5py.Group | h5py.Dataset, name: str, kind: type, default: Any = None) -> Any:
    """An attribute as str, int, float, bool, or as a list of str or float (`list`); the default where it is absent.

    Raises KeyError if it is absent without a default, ValueError if it is of another kind.
    """
    if name not in owner.attrs:
        if default is None:
            raise KeyError(f"the attribute {name} is missing")
        return default
    value = owner.attrs[name]
    if kind is list:
        return [_text(entry) if isinstance(entry, (bytes, str)) else float(entry) for entry in np.atleast_1d(value)]
    if kind is str:
        if not isinstance(value, (bytes, str)):
            raise ValueError(f"the attribute {name} is no text")
        return _text(value)
    if np.ndim(value) or np.asarray(value).dtype.kind not in "biuf":
        raise ValueError(f"the attribute {name} is no number")
    return kind(value)


def set_attributes(owner: h5py.Group | h5py.Dataset, attributes: Mapping[str, Any]) -> None:
    """Write attributes; texts and lists of them with a fixed length.

    Texts of variable length lie in HDF5's global heap, and a damaged heap sends the library into an endless loop.
    """
    for key, value in attributes.items():
        if isinstance(value, str):
            encoded = value.encode()
            owner.attrs.create(key, encoded, dtype=h5py.string_dtype("utf-8", max(len(encoded), 1)))
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], str):
            texts = [entry.encode() for entry in value]
            owner.attrs.create(key, texts, dtype=h5py.string_dtype("utf-8", max(1, *map(len, texts))))
        else:
            owner.attrs[key] = value


def write_text(group: h5py.Group, name: str, text: str) -> None:
    """Write a text of any length as a data set, as an attribute holds 64 kB at most."""
    encoded = text.encode()
    group.create_dataset(name, data=encoded, dtype=h5py.string_dtype("utf-8", max(len(encoded), 1)))


def set_text(group: h5py.Group, name: str, text: str) -> None:
    """Write a text as an attribute, or, where it is too long for one, as a data set; `text` reads either."""
    if len(text.encode()) > _MOST_OF_AN_ATTRIBUTE:
        write_text(group, name, text)
    else:
        set_attributes(group, {name: text})


def text(group: h5py.Group, name: str, *default: str) -> str:
    """A text that `set_text` wrote; the default where it is absent. Errors as `read_text` and `attribute`."""
    found: str = read_text(group, name) if name in group else attribute(group, name, str, *default)
    return found


def read_text(parent: h5py.Group, name: str) -> str:
    """A text that `write_text` wrote. Raises ValueError or KeyError as `dataset`."""
    value = dataset(parent, name, "SO", 0)[()]
    if not isinstance(value, (bytes, str)):
        raise ValueError(f"{name} is no text")
    return _text(value)


#: numpy's letter -> what it stands for.
_TYPES = {"b": "booleans", "i": "integers", "u": "unsigned integers", "f": "floats", "S": "text", "O": "text"}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _word(kind: str) -> str:
    return _WORDS.get(kind, kind)


def _reason(error: Exception) -> str:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split())[:300] or type(error).__name__
