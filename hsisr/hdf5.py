"""All access to HDF5. The content of hsisr's own files is checked before use. Links out of a file are not followed.

hsisr's own files (scenes, pairs, patches, previews) carry a stamp. A file without the stamp is foreign, and hsisr only
refuses it. A file with the stamp but wrong content is damaged: the user may delete it and make it again. Code that
reads an object states what it expects: `dataset`, `group` and `attribute` check this. Links to other files, virtual
data sets and external storage are refused in every file, because they could bring other files of the user into a
result.
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
from hsisr.files import atomic_path, check_stamp, settings_hash, stamp

#: Errors of h5py, numpy and json for damaged files.
_DAMAGE = (
    *(OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, MemoryError, OverflowError),
    *(RecursionError, IndexError),
)
#: Deflate, our compression, shrinks data at most this many times. A larger claim is an attack on memory.
_MOST_RATIO = 1100
#: First bytes of any HDF5 file.
MAGIC = b"\x89HDF\r\n\x1a\n"
#: Bytes that an attribute can hold. A longer text becomes a data set (`write_text`).
_MOST_OF_AN_ATTRIBUTE = 60_000
#: Kind of file -> advice for a damaged file, and for a missing one.
_REMEDIES = {
    "scene": ("convert again", "`hsisr convert` makes it"),
    "pair": ("make it again", "`hsisr pairs` makes it"),
    "patches": ("make it again", "`hsisr patches` makes it"),
    "preview": ("evaluate again", "`hsisr evaluate` makes it"),
}
#: Other formats that the user may mean.
_OTHER_FORMATS = {"scene": "; another format is read by `hsisr export` and `hsisr.read_scene`"}
#: Kind of file -> its name in messages, if different.
_WORDS = {"patches": "patch"}


@contextmanager
def writing(path: str | os.PathLike, kind: str, identity: Any = None) -> Iterator[h5py.File]:
    """A new file of a kind, stamped with its settings. It is written completely or not at all."""
    with atomic_path(path) as temporary, create(temporary) as file:
        set_attributes(file, stamp(kind, identity))
        if isinstance(identity, dict) and "settings" in identity:  # of a step
            set_attributes(file, {"settings_hash": settings_hash(identity["settings"])})
        yield file


def check_settings(path: str | os.PathLike, kind: str, settings: Any, step: str) -> None:
    """Raise HsisrError if a step made a file with other settings than these. step: its name. Errors as `reading`.

    Another program is no fault here: whoever knows that an edit changes no result may keep the file.
    """
    with reading(path, kind) as file:
        found, expected = attribute(file, "settings_hash", str, ""), settings_hash(settings)
    if found not in ("", expected):
        raise HsisrError(f"{path}: made with other settings ({found}, now {expected}); make it again by `hsisr {step}`")


@contextmanager
def create(path: str | os.PathLike, **options: Any) -> Iterator[h5py.File]:
    """A new HDF5 file, open for writing. options: of `h5py.File`. Raises OSError, at the end, if the disk was full.

    If a write fails while HDF5 closes a file, the library ends the process. So this function hides failures from it.
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
    """A file whose writes never fail. It keeps the first fault in `fault`, and drops all data after it."""

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
    """A file of a kind, open. Every fault of the file found inside the block becomes one line.

    Raises HsisrError if the file is missing, damaged, or not of this kind.
    """
    path = Path(path)
    with explain_damage(path, kind), open_file(path, kind) as file:
        yield file


def open_file(path: str | os.PathLike, kind: str) -> h5py.File:
    """A file of a kind, open for reading, with a checked stamp. Errors as `reading`."""
    path = Path(path)
    if not path.is_file():
        raise HsisrError(f"{path}: no such {_word(kind)} file; {_REMEDIES[kind][1]}")
    try:
        file = open_any(path)
    except OSError as error:
        # this may be a foreign file, so the message does not tell the user to delete it
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
    """The schema in a file's stamp, such as hsisr/pair/1; empty for foreign files and files that cannot be opened."""
    try:
        with open_any(path) as file:
            return str(attribute(file, "schema", str, ""))
    except _DAMAGE:
        return ""


def open_any(path: str | os.PathLike, **options: Any) -> h5py.File:
    """Any HDF5 file, open for reading. options: of `h5py.File`. Raises the library's errors.

    It is opened without HDF5's own locks: some network file systems have none, and nobody changes a file in place. It
    needs the driver `stdio`, since one driver cannot open a file both with and without locks.
    """
    return h5py.File(path, "r", driver="stdio", locking=False, **options)


def members(file: h5py.File, path: str | os.PathLike, depth: int = 8) -> Iterator[tuple[str, Any, str | None]]:
    """Path, object and leak (see `leak`) of everything in a file. An object outside the file is None.

    depth: how many groups deep. The library's own visit never ends if a damaged index points to itself, so this walk
    does not use it. A group inside itself is not entered again. Raises HsisrError for more objects than
    `limits.OBJECTS`.
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
    """The address of a group in its file."""
    place: tuple[int, int] = h5py.h5g.get_objinfo(
        group.id
    ).objno  # other ways to learn it walk through a damaged index for ever
    return place


def leak(parent: h5py.Group, name: str) -> str | None:
    """In words, how a member of a group leads out of the file; None if it lies in the file."""
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        return "is a link, which may lead out of the file"
    item = parent[name]
    if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
        return "lies in other files"
    return None


@contextmanager
def explain_damage(path: str | os.PathLike, kind: str) -> Iterator[None]:
    """Turn every error that a damaged file of ours causes into one line with advice."""
    try:
        yield
    except HsisrError:
        raise
    except _DAMAGE as error:
        raise HsisrError(
            f"{path}: damaged {_word(kind)} file ({_reason(error)}); delete it and {_REMEDIES[kind][0]}"
        ) from error


def dataset(group: h5py.Group, name: str, kinds: str = "", rank: int | None = None) -> h5py.Dataset:
    """A data set in the file itself. kinds: numpy's letters of the allowed types; rank: number of its axes.

    Raises ValueError or KeyError for another object, type or rank, and for a data set that claims more than it can
    hold. `explain_damage` turns these errors into a line.
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
    """A group in the file itself. Raises ValueError or KeyError as `dataset`."""
    found = child(parent, name)
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{name} is a data set, expected a group")
    return found


def child(parent: h5py.Group, path: str) -> Any:
    """The object at a path below a group. Every part of the path lies in this file. Raises ValueError or KeyError."""
    for name in path.split("/"):
        if parent.get(name, getlink=True) is None:
            raise KeyError(f"{name} is missing")
        reason = leak(parent, name)
        if reason is not None:
            raise ValueError(f"{name} {reason}, which is refused")
        parent = parent[name]
    return parent


def check_storage(found: h5py.Dataset) -> None:
    """Raise ValueError for a data set that claims more than it can hold, HsisrError for far more than usual."""
    claimed, stored = found.size * found.dtype.itemsize, found.id.get_storage_size()
    if claimed > (stored * _MOST_RATIO if found.chunks else stored):
        raise ValueError(f"{found.name} says that it holds {claimed} bytes, and {stored} are stored")
    limits.check_expansion(f"{found.file.filename}: {found.name}", claimed, stored)


def attribute(owner: h5py.Group | h5py.Dataset, name: str, kind: type, default: Any = None) -> Any:
    """An attribute as str, int, float, bool, or as a list of str or float (`list`); the default if it is missing.

    Raises KeyError if it is missing and has no default, ValueError if it is of another kind.
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
    """Write attributes. Texts, and lists of texts, get a fixed length.

    HDF5 keeps texts of variable length in its global heap. A damaged heap sends the library into an endless loop.
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
    """Write a text of any length as a data set. An attribute holds at most 64 kB."""
    encoded = text.encode()
    group.create_dataset(name, data=encoded, dtype=h5py.string_dtype("utf-8", max(len(encoded), 1)))


def set_text(group: h5py.Group, name: str, text: str) -> None:
    """Write a text as an attribute, or as a data set if it is too long for one. `text` reads both."""
    if len(text.encode()) > _MOST_OF_AN_ATTRIBUTE:
        write_text(group, name, text)
    else:
        set_attributes(group, {name: text})


def text(group: h5py.Group, name: str, *default: str) -> str:
    """A text from `set_text`; the default if it is missing. Errors as `read_text` and `attribute`."""
    found: str = read_text(group, name) if name in group else attribute(group, name, str, *default)
    return found


def read_text(parent: h5py.Group, name: str) -> str:
    """A text from `write_text`. Raises ValueError or KeyError as `dataset`."""
    value = dataset(parent, name, "SO", 0)[()]
    if not isinstance(value, (bytes, str)):
        raise ValueError(f"{name} is no text")
    return _text(value)


#: numpy's letter -> the type in words.
_TYPES = {"b": "booleans", "i": "integers", "u": "unsigned integers", "f": "floats", "S": "text", "O": "text"}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _word(kind: str) -> str:
    return _WORDS.get(kind, kind)


def _reason(error: Exception) -> str:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split())[:300] or type(error).__name__
