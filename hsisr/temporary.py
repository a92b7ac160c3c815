"""Temporary files and folders. Their names state the process that made them, so leftovers of killed ones can go.

A name is `.<target>.tmp-<place>-<process>-<start>-<random>`. Host (place) and process number identify the owner. The
start time of the process distinguishes it from a later one with the same number.
"""

import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from hsisr.errors import HsisrError

#: A name may have 255 bytes. The target's name gets at most this many.
_MOST_BYTES_OF_TARGET = 160
#: A file from another host is abandoned after this many seconds without a change: its processes are not visible.
_ABANDONED_S = 24 * 3600
_OWNER = re.compile(r"(?P<place>[0-9a-f]{8})-(?P<process>\d+)-(?P<start>\d+)-")


def new_file(target: Path, suffix: str = "") -> Path:
    """An empty temporary file beside `target`. Leftovers of killed processes for this target are removed first.

    suffix: ending of the name, for libraries that choose a format by it. Raises OSError if it cannot be made.
    """
    remove_left(target)
    handle, name = tempfile.mkstemp(prefix=_prefix(target.name) + _owner(), suffix=suffix, dir=target.parent)
    os.close(handle)
    return Path(name)


@contextmanager
def new_folder(parent: Path, purpose: str) -> Iterator[Path]:
    """A temporary folder inside `parent`, removed after the block. Leftovers of killed processes are removed first.

    parent: made if it is missing. purpose: a word for the name. Raises HsisrError if the folder cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        remove_left(parent / purpose)
        folder = Path(tempfile.mkdtemp(prefix=_prefix(purpose) + _owner(), dir=parent))
    except OSError as error:
        raise HsisrError(f"{parent}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left(target: Path) -> None:
    """Remove temporary files for `target` whose processes have ended."""
    prefix = _prefix(target.name)
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in [entry for entry in entries if entry.name.startswith(prefix)]:
            if _is_left(Path(entry.path), entry.name[len(prefix) :]):
                remove(Path(entry.path))


def left_in(folder: Path) -> Iterator[Path]:
    """Every temporary file and folder below a folder without a living process. Links are not followed."""
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            _, mark, rest = name.partition(".tmp-")
            if name.startswith(".") and mark and _is_left(Path(parent) / name, rest):
                if name in folders:
                    folders.remove(name)
                yield Path(parent) / name


def disk_bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(facts.st_size for facts in _facts(path))


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, as far as this is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _prefix(name: str) -> str:
    return f".{name.encode()[:_MOST_BYTES_OF_TARGET].decode(errors='ignore')}.tmp-"


def _owner() -> str:
    return f"{_place()}-{os.getpid()}-{_start(os.getpid())}-"


@cache
def _place() -> str:
    """Eight digits for this host, or for this container on it: each has its own process numbers."""
    place = socket.gethostname()
    with suppress(OSError):  # not Linux
        place += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def _is_left(path: Path, rest: str) -> bool:
    """Whether the process of a temporary file has ended. rest: its name after `.tmp-`."""
    owner = _OWNER.match(rest)
    if owner is None:
        return False
    if owner["place"] != _place():
        return time.time() - _last_change(path) > _ABANDONED_S
    return not _lives(int(owner["process"]), owner["start"])


def _lives(process: int, start: str) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's process, or an impossible number
        pass
    return _start(process) in (start, "0")


def _start(process: int) -> str:
    """Start time of a process, in the system's ticks; 0 if it is not visible, -1 if the process has ended."""
    try:
        facts = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "0"
    return "-1" if facts[0] == "Z" else facts[19]


def _last_change(path: Path) -> float:
    return max((facts.st_mtime for facts in _facts(path)), default=0.0)


def _facts(path: Path) -> Iterator[os.stat_result]:
    """The system's facts on a file or folder, and on everything inside."""
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    for file in (path, *inside):
        with suppress(OSError):
            yield file.lstat()
