"""A run's folder beside its output: what the run is, so that the same command goes on and another one starts anew."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hsisr.errors import HsisrError
from hsisr.files import settings_hash, write_json
from hsisr.locks import Taken, take

_JOB, _LOCK = "job.json", "lock"


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """The hidden folder of the run that writes `out`, held for this process alone; removed when the run is done.

    It stays after any failure, so that the same command resumes. Raises HsisrError if it cannot be made, or while
    another process works in it.
    """
    folder = out.parent / f".{out.name}.work"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HsisrError(f"{out}: cannot write there ({error.strerror}); choose another folder") from error
    try:
        lock = take(folder / _LOCK, advice="choose another output")
    except Taken as taken:
        raise HsisrError(f"{out}: {taken.holder} is writing it; wait for it, or choose another output") from None
    try:
        for cut in out.parent.glob(f".{out.name}.tmp-*"):  # what a killed run was writing
            cut.unlink()
        yield folder
        _remove(folder)
    finally:
        lock.release()
        with suppress(OSError):  # another run has come in, or this one has failed
            folder.rmdir()


def resumed(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run of the same identity had planned; None if there was none.

    What a run of another identity left is removed.
    """
    for cut in folder.glob(".*.tmp-*"):
        cut.unlink()
    try:
        content = json.loads((folder / _JOB).read_text(encoding="utf-8"))
        if content["identity"] == settings_hash(identity):
            return content["plan"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no run, or one that was stopped before it had a plan
    for file in [folder / _JOB, *folder.glob("row-*")]:
        file.unlink(missing_ok=True)
    return None


def record(folder: Path, identity: dict[str, Any], plan: dict[str, Any]) -> None:
    """Keep the plan of a run, for `resumed`."""
    write_json(folder / _JOB, {"identity": settings_hash(identity), "plan": plan})


def state_of(path: str | os.PathLike | None) -> list | None:
    """What tells whether a file or folder is still the same one: path, size and time of change."""
    if path is None:
        return None
    facts = Path(path).stat()
    return [str(Path(path).resolve()), facts.st_size, facts.st_mtime_ns]


def _remove(folder: Path) -> None:
    """Empty a folder; its lock goes last, as from then on another run may come in."""
    for entry in folder.iterdir():
        if entry.name != _LOCK:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
    (folder / _LOCK).unlink(missing_ok=True)
