"""Files between steps: written completely or not at all, stamped, and refused if unknown.

Every write goes to a temporary name in the target's folder, is flushed to the disk and then renamed. So no reader ever
sees half a file. Every file carries its schema, the hsisr version and the hash of the settings that made it.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hsisr
from hsisr import limits, temporary
from hsisr.errors import HsisrError

SCHEMA_VERSION = 1
#: If a disk has less free space, an error names this as a possible cause.
_LITTLE_BYTES = 16 * 2**20
#: If a disk has less free space, this is the cause: libraries then fail in many ways.
_NOTHING_BYTES = 64 * 2**10


@contextmanager
def atomic_path(path: str | os.PathLike, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it and move it to `path`, on failure remove it.

    path: the file to write; its folder is made. suffix: ending of the temporary name, for libraries that choose a
    format by it.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = temporary.new_file(path, suffix)
    except OSError as error:
        raise HsisrError(f"{path}: cannot write there ({error.strerror}); choose another folder") from error
    try:
        yield new
        with open(new, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(new, 0o666 & ~_umask())
        os.replace(new, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        new.unlink(missing_ok=True)


def cannot_write(path: str | os.PathLike, error: Exception) -> HsisrError:
    """The one line for a file that could not be written. If the disk may be full, it states the free space."""
    free = _free(Path(path))
    told = error.strerror if isinstance(error, OSError) else None
    reason = told or " ".join(str(error).split()) or type(error).__name__
    if free < _NOTHING_BYTES:
        return HsisrError(f"{path}: cannot be written ({os.strerror(errno.ENOSPC)})")
    room = "" if free > _LITTLE_BYTES else f"; {size(free)} of disk are free there: make room or choose another place"
    return HsisrError(f"{path}: cannot be written ({reason}){room}")


def check_space(path: str | os.PathLike, needed: int, when: str = "") -> None:
    """Raise HsisrError, with both numbers, if the disk of `path` has less than `needed` free bytes. when: their use."""
    free = _free(Path(path))
    if needed > free:
        raise HsisrError(
            f"{path}: needs {size(needed)} of disk{when}, and {size(free)} are free there; make room or choose another "
            "place"
        )


def size(count: int) -> str:
    """A number of bytes for people to read."""
    for unit, step in (("GB", 10**9), ("MB", 10**6)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{max(1, round(count / 1000))} kB" if count else "0 kB"


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write JSON atomically, indented. Keys keep their order. NaN and infinity are refused, as JSON has none."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike, kind: str | None = None) -> dict:
    """Read a JSON file. With `kind`, it must be hsisr's own file of that kind (see `stamp`).

    Raises HsisrError if the file is missing, unreadable, not JSON, or of another kind or schema.
    """
    path = Path(path)
    content = parse_json(path, read_text(path))
    if not isinstance(content, dict):
        raise HsisrError(f"{path}: not a JSON file of names and values")
    if kind is not None:
        check_stamp(path, content, kind)
    return content


def read_text(path: str | os.PathLike) -> str:
    """A text file of UTF-8. Raises HsisrError if it is missing, unreadable, too large, or in another encoding."""
    path = Path(path)
    try:
        limits.check(path, limits.TEXT_BYTES, path.stat().st_size, "bytes of text")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise HsisrError(f"{path}: no such file") from None
    except OSError as error:
        raise HsisrError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise HsisrError(f"{path}: not a text file of UTF-8 ({error})") from error


def parse_json(path: str | os.PathLike, text: str) -> Any:
    """The content of a JSON text. path: its file, for errors. Raises HsisrError if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also for numbers of thousands of digits
        raise HsisrError(f"{path}: not a JSON file ({error})") from error


def stamp(kind: str, settings: Any = None) -> dict[str, Any]:
    """The attributes that every file carries: kind and schema, hsisr version, hash of the settings that made it."""
    return {
        "schema": f"hsisr/{kind}/{SCHEMA_VERSION}",
        "hsisr_version": hsisr.__version__,
        "config_hash": settings_hash(settings),
    }


def check_stamp(path: str | os.PathLike, attributes: dict, kind: str) -> None:
    """Raise HsisrError unless `attributes` hold the stamp of this kind of file, in a known schema."""
    found = attributes.get("schema")
    expected = f"hsisr/{kind}/{SCHEMA_VERSION}"
    if found == expected:
        return
    if isinstance(found, str) and found.startswith(f"hsisr/{kind}/"):
        raise HsisrError(f"{path}: written in schema {found}, this version reads {expected}; make the file again")
    raise HsisrError(f"{path}: not an hsisr {kind} file (schema {found!r}, expected {expected!r})")


def settings_hash(settings: Any) -> str:
    """Twelve hex digits that identify settings: equal for equal values, for any order of keys."""
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as hex. Raises HsisrError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror or error
        raise HsisrError(f"{path}: cannot be read ({reason}); make it first, or check its permissions") from error


def natural_key(text: str) -> tuple[list, str]:
    """Sort key that puts `band_2` before `band_10`. No two texts are equal: `a` and `A` have one order everywhere."""
    parts = re.split(r"(\d+)", text)
    return [int(part) if number % 2 else part.lower() for number, part in enumerate(parts)], text


def _free(path: Path) -> int:
    """Free bytes on the disk of a file. The file and its folder need not exist yet."""
    path = path.absolute()
    return shutil.disk_usage(next(folder for folder in path.parents if folder.is_dir())).free


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
