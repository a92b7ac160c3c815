"""Files between steps: written whole or not at all, stamped, and refused when unknown.

Every write goes to a temporary name in the target's folder, is flushed to the disk and then renamed, so that no
reader ever sees half a file. Every file carries the schema that it follows, the hsisr version and the hash of
the settings that made it.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hsisr
from hsisr.errors import HsisrError

SCHEMA_VERSION = 1


@contextmanager
def atomic_path(path: str | os.PathLike, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it and move it to `path`, on failure remove it.

    path: the file to be written; its folder is made. suffix: ending of the temporary name, for libraries that
    choose a format by it.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.tmp-", suffix=suffix, dir=path.parent)
    except OSError as error:
        raise HsisrError(f"{path}: cannot write there ({error.strerror}); choose another folder") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise HsisrError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write JSON atomically, indented; keys keep their order. NaN and infinity are refused, as JSON has none."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike, kind: str | None = None) -> dict:
    """Read a JSON file; with `kind`, one that hsisr wrote as that kind of file (see `stamp`).

    Raises HsisrError if the file is absent, not JSON, or of another kind or schema.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HsisrError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise HsisrError(f"{path}: not a JSON file ({error})") from error
    if kind is not None:
        check_stamp(path, content if isinstance(content, dict) else {}, kind)
    return content


def stamp(kind: str, settings: Any = None) -> dict[str, Any]:
    """What every file carries: its kind and schema, the hsisr version, the hash of the settings that made it."""
    return {
        "schema": f"hsisr/{kind}/{SCHEMA_VERSION}",
        "hsisr_version": hsisr.__version__,
        "config_hash": settings_hash(settings),
    }


def check_stamp(path: str | os.PathLike, attributes: dict, kind: str) -> None:
    """Raise HsisrError unless `attributes` carry the stamp of this kind of file in a schema that we know."""
    found = attributes.get("schema")
    expected = f"hsisr/{kind}/{SCHEMA_VERSION}"
    if found == expected:
        return
    if isinstance(found, str) and found.startswith(f"hsisr/{kind}/"):
        raise HsisrError(f"{path}: written in schema {found}, this version reads {expected}; make the file again")
    raise HsisrError(f"{path}: not an hsisr {kind} file (schema {found!r}, expected {expected!r})")


def settings_hash(settings: Any) -> str:
    """Twelve hex digits that identify settings: equal for equal values, whatever the order of keys."""
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


def natural_key(text: str) -> list:
    """Sort key under which `band_2` comes before `band_10`."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", text)]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
