"""A run's folder beside its output: what the run is, so that the same command goes on and another one starts anew."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hsisr import outputs, temporary
from hsisr.datasets.readers import virtual
from hsisr.errors import HsisrError
from hsisr.files import settings_hash, write_json
from hsisr.inference.learning import LEARNT
from hsisr.locks import Lock, Taken, hold, take
from hsisr.screen import say

_JOB, _LOCK = "job.json", "lock"
#: Lock of a process that makes a part of the run.
_PART_LOCK = "part-{}.lock"


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """The hidden folder of the run that writes `out`, held for this process alone; removed when the run is done.

    It stays when the run is stopped, so that the same command resumes. Raises HsisrError if it cannot be made, or while
    another process works in it.
    """
    folder = _made(_folder_of(out), out)
    try:
        lock = take(folder / _LOCK, advice="choose another output")
    except Taken as taken:
        raise HsisrError(f"{out}: {taken.holder} is writing it; wait for it, or choose another output") from None
    except HsisrError:
        _remove(folder)
        folder.rmdir()
        raise
    try:
        _check_no_part(folder, out)
    except HsisrError:
        lock.release()
        raise
    try:
        temporary.remove_left(out)  # what a killed run was writing
        resumable = is_unfinished(out)
        yield folder
        _remove(folder)
    except HsisrError:
        if not resumable and not any(folder.glob("row-*")):  # refused before it began
            _remove(folder)
        raise
    finally:
        lock.release()
        with suppress(OSError):  # another run has come in, or this one has failed
            folder.rmdir()


@contextmanager
def planning(out: Path) -> Iterator[Path]:
    """The folder of the run that writes `out`, which stays, held while a process plans it that shares it with others.

    Waits for others that plan or join the run. Raises HsisrError if the folder cannot be made.
    """
    folder = _made(_folder_of(out), out)
    try:
        lock = take(folder / _LOCK, advice="choose another output")
    except Taken as taken:
        say(f"{out}: waits for {taken.holder}, which plans or joins the run")
        lock = take(folder / _LOCK, wait=True)
    try:
        yield folder
    except HsisrError:
        if not is_unfinished(out):  # refused before it began
            _remove(folder)
            folder.rmdir()
        raise
    finally:
        lock.release()


def take_part(folder: Path, out: Path, part: str) -> Lock:
    """Take a part of a run, while it is planned. Raises HsisrError while another process makes the same part."""
    try:
        return take(folder / _PART_LOCK.format(part), advice="choose another output")
    except Taken as taken:
        raise HsisrError(f"{out}: {taken.holder} is making part {part}; wait for it, or make another part") from None


def is_unfinished(out: Path) -> bool:
    """Whether a run that was to write `out` was stopped after it had begun."""
    return (_folder_of(out) / _JOB).is_file()


def check_own(folder: Path, identity: dict[str, Any], outs: Iterable[str | os.PathLike], overwrite: bool) -> None:
    """Raise HsisrError if outputs exist and the unfinished run in `folder` is another one than this."""
    if not overwrite and _planned(folder, identity) is None:
        outputs.check_outputs(outs, ())


def resumed(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run of the same identity had planned; None if there was none.

    What a run of another identity left is removed. Raises HsisrError while other processes make parts of that run.
    """
    for left in list(temporary.left_in(folder)):
        temporary.remove(left)
    plan = _planned(folder, identity)
    if plan is None:
        if others := _live_parts(folder):
            raise HsisrError(
                f"{folder}: {others[0]} is making a part of another run, of other inputs or options; wait for it, or "
                "choose another output"
            )
        for file in [folder / _JOB, folder / LEARNT, *folder.glob("row-*")]:
            file.unlink(missing_ok=True)
    return plan


def record(folder: Path, identity: dict[str, Any], plan: dict[str, Any]) -> None:
    """Keep the plan of a run, for `resumed`."""
    write_json(folder / _JOB, {"identity": settings_hash(identity), "plan": plan})


def state_of(path: str | os.PathLike | Sequence[str | os.PathLike] | None) -> list | None:
    """What tells whether a file or folder, or several, are still the same: path, size and time of change."""
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        return [state_of(one) for one in path]
    file = virtual.local_file(Path(path)) if virtual.is_virtual(Path(path)) else Path(path)
    if file is None:  # an address
        return [str(path)]
    facts = file.stat()
    return [str(Path(path).resolve()), facts.st_size, facts.st_mtime_ns]


def _made(folder: Path, out: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HsisrError(f"{out}: cannot write there ({error.strerror}); choose another folder") from error
    return folder


def _check_no_part(folder: Path, out: Path) -> None:
    if others := _live_parts(folder):
        raise HsisrError(f"{out}: {others[0]} is making a part of it; wait for all parts, then join them")


def _live_parts(folder: Path) -> list[str]:
    """Who makes parts of a run."""
    found = []
    for lock in sorted(folder.glob(_PART_LOCK.format("*"))):
        try:
            with hold(lock):
                pass
        except Taken as taken:
            found.append(str(taken.holder))
    return found


def _remove(folder: Path) -> None:
    """Empty a folder; its lock goes last, as from then on another run may come in."""
    for entry in folder.iterdir():
        if entry.name != _LOCK:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
    (folder / _LOCK).unlink(missing_ok=True)


def _planned(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The plan of the run of this identity that was stopped in `folder`; None if there was none."""
    try:
        content = json.loads((folder / _JOB).read_text(encoding="utf-8"))
        return content["plan"] if content["identity"] == settings_hash(identity) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no run, or one that was stopped before it had a plan


def _folder_of(out: Path) -> Path:
    return out.parent / f".{out.name}.work"
