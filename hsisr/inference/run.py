"""A run's folder beside its output. It identifies the run: the same command resumes it, another command starts anew."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsisr import outputs, temporary
from hsisr.datasets.readers import virtual
from hsisr.errors import HsisrError
from hsisr.files import settings_hash, write_json
from hsisr.inference.learning import LEARNT
from hsisr.locks import Lock, Taken, hold, take, take_in_turn
from hsisr.models.own import is_path, sources_of
from hsisr.screen import say
from hsisr.sources import PACKAGE

_JOB, _LOCK = "job.json", "lock"
#: Folder in a run's folder for the tile rows of the standard deviations.
SIGMA = "sigma"
#: Lock file of a process that makes a part of the run.
_PART_LOCK = "part-{}.lock"


@contextmanager
def work_folder(out: Path, state: Path | None = None) -> Iterator[Path]:
    """The hidden folder of the run that writes `out`, held by this process alone, and removed when the run is done.

    It stays if the run is stopped, so the same command resumes. state: a file outside the folder from which the run
    resumes too. Raises HsisrError if the folder cannot be made, or while another process works in it.
    """
    folder = _folder_of(out)
    is_new = not folder.exists()
    made = [place for place in (folder, *folder.parents) if not place.exists()] or [folder]
    _make_folder(folder, out)
    try:
        lock = take(folder / _LOCK, advice="choose another output")
    except Taken as taken:
        raise HsisrError(f"{out}: {taken.holder} is writing it; wait for it, or choose another output") from None
    except HsisrError:
        if is_new:  # else it may hold rows of a run that is to go on when there are locks again
            _remove(folder)
            with suppress(OSError):
                folder.rmdir()
        raise
    try:
        _check_no_part(folder, out)
    except HsisrError:
        lock.release()
        raise
    try:
        temporary.remove_left(out)  # unfinished files of a killed run
        resumable = is_unfinished(out)
        yield folder
        _remove(folder)
    except HsisrError:
        started = any(folder.glob("row-*")) or (state is not None and state.is_file())
        if not resumable and not started:  # it was refused
            _remove(folder)
        raise
    finally:
        lock.release()
        with suppress(OSError):  # another run has started, or this one failed, or has written into its folder
            for place in made:
                place.rmdir()


@contextmanager
def planning(out: Path) -> Iterator[Path]:
    """The folder of a shared run that writes `out`, held while this process plans the run. The folder stays.

    Waits for other processes that plan or join the run. Raises HsisrError if the folder cannot be made.
    """
    folder = _make_folder(_folder_of(out), out)
    lock = take_in_turn(folder / _LOCK, str(out), "plans or joins the run", advice="choose another output")
    try:
        yield folder
    except HsisrError:
        if not is_unfinished(out):  # refused before it started
            _remove(folder)
            with suppress(OSError):  # another run has started
                folder.rmdir()
        raise
    finally:
        lock.release()


def take_part(folder: Path, out: Path, part: str) -> Lock:
    """Take a part of a run during its planning. Raises HsisrError while another process makes the same part."""
    try:
        return take(folder / _PART_LOCK.format(part), advice="choose another output")
    except Taken as taken:
        raise HsisrError(f"{out}: {taken.holder} is making part {part}; wait for it, or make another part") from None


def is_unfinished(out: Path) -> bool:
    """Whether a run that writes `out` was stopped after its start."""
    return (_folder_of(out) / _JOB).is_file()


def check_own(folder: Path, identity: dict[str, Any], outs: Iterable[str | os.PathLike], overwrite: bool) -> None:
    """Raise HsisrError if outputs exist that the unfinished run in `folder` does not own, or if it is another run.

    identity: of this run. overwrite: whether existing outputs may be replaced.
    """
    if not overwrite:
        _check_new(outs, _read_own(folder, identity))


def own(folder: Path, outs: Iterable[str | os.PathLike]) -> None:
    """Record that a planned run may replace these outputs, for `check_own` after a stop."""
    names = {os.path.abspath(out) for out in outs}
    if not names <= set(_read_own(folder)):
        write_json(folder / _JOB, {**_job(folder), "own": sorted(names.union(_read_own(folder)))})


def begin_outputs(folder: Path, outs: Sequence[str | os.PathLike], overwrite: bool) -> None:
    """Own the outputs of a planned run, before the first is written.

    Raises HsisrError, unless `overwrite`, for an output that somebody else has made after the planning.
    """
    if not overwrite:
        _check_new(outs, _read_own(folder))
    own(folder, outs)


def find_plan(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The plan of an earlier run with the same identity; None if there was none.

    Files of a run with another identity are removed. Raises HsisrError while other processes make parts of that run.
    """
    for left in list(temporary.left_in(folder)):
        temporary.remove(left)
    plan = _read_plan(folder, identity)
    if plan is None:
        if others := _live_parts(folder):
            raise HsisrError(
                f"{folder}: {others[0]} is making a part of another run, of other inputs or options; wait for it, or "
                "choose another output"
            )
        if any(folder.glob("row-*")):
            say(f"{folder}: holds an unfinished run of other inputs, options or code; it is not used, and removed")
        for file in [folder / _JOB, folder / LEARNT, *folder.glob("row-*")]:
            temporary.remove(file)
        shutil.rmtree(folder / SIGMA, ignore_errors=True)
    return plan


def record(folder: Path, identity: dict[str, Any], plan: dict[str, Any]) -> None:
    """Keep the plan of a run, for `find_plan`."""
    write_json(folder / _JOB, {"identity": settings_hash(identity), "plan": plan, "own": _read_own(folder, identity)})


def code_of(base: str | None) -> dict[str, str]:
    """File -> hash of the code that makes a result: hsisr's code, and that of a network of the user's own.

    base: the network that a model file names; None without a model file.
    """
    code = PACKAGE.hashes(PACKAGE.modules)
    if base is not None and is_path(base):
        sources, module = sources_of(base)
        code = code | sources.reached(module)[0]
    return code


def state_of(
    path: str | os.PathLike | Sequence[str | os.PathLike] | None, sources: Iterable[str | os.PathLike] = ()
) -> list | None:
    """The state of one or several files or folders, and of all files that belong to them. It shows later changes.

    sources: further files that are read with it. Each file counts by path, size and two times of change: programs can
    set the time of its content, but not the time of its directory entry.
    """
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        return [[state_of(one) for one in path], *_facts(sources)]
    file = virtual.local_file(Path(path)) if virtual.is_virtual(Path(path)) else Path(path)
    if file is None:  # a web address
        return [str(path)]
    return [str(Path(path).resolve()), *_facts([file, *sources])]


@dataclass(frozen=True)
class Inputs:
    """The images of a run, each with further files that are read with it, and their states when the run opened them."""

    images: tuple[tuple[Any, Iterable[str | os.PathLike]], ...] = ()
    states: tuple[list | None, ...] = ()

    @classmethod
    def of(cls, *images: tuple[Any, Iterable[str | os.PathLike]]) -> "Inputs":
        """The images as they are now. images: each as for `state_of`."""
        return cls(images, tuple(state_of(*image) for image in images))

    def check_unchanged(self) -> None:
        """Raise HsisrError if an image has changed since: tiles were then read of both its contents."""
        for (image, sources), before in zip(self.images, self.states, strict=True):
            if state_of(image, sources) != before:
                name = ", ".join(map(str, image)) if isinstance(image, (list, tuple)) else image
                raise HsisrError(f"{name}: changed while it was read; run the same command again, which begins anew")


def _facts(images: Iterable[str | os.PathLike]) -> list[list]:
    """Name, size and times of change of the images' files."""
    files = {file.absolute() for image in images for file in outputs.files_of(image)}
    states = ((file, file.stat()) for file in sorted(files))
    return [[str(file), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns] for file, facts in states]


def _make_folder(folder: Path, out: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HsisrError(f"{out}: cannot write there ({error.strerror}); choose another folder") from error
    return folder


def _check_no_part(folder: Path, out: Path) -> None:
    if others := _live_parts(folder):
        raise HsisrError(f"{out}: {others[0]} is making a part of it; wait for all parts, then join them")


def _live_parts(folder: Path) -> list[str]:
    """The processes that now make parts of a run."""
    found = []
    for lock in sorted(folder.glob(_PART_LOCK.format("*"))):
        try:
            with hold(lock):
                pass
        except Taken as taken:
            found.append(str(taken.holder))
    return found


def _remove(folder: Path) -> None:
    """Empty a folder. Its lock goes last: after this, another run may start."""
    for entry in folder.iterdir():
        if entry.name != _LOCK:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
    (folder / _LOCK).unlink(missing_ok=True)


def _read_plan(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The plan of the stopped run with this identity in `folder`; None if there is none."""
    return _job(folder, identity).get("plan")


def _read_own(folder: Path, identity: dict[str, Any] | None = None) -> list[str]:
    """Outputs that the run in `folder` may replace, if it has this identity; None: any identity."""
    return list(_job(folder, identity).get("own", []))


def _job(folder: Path, identity: dict[str, Any] | None = None) -> dict[str, Any]:
    """The record of the run in `folder`; empty without a run, or if it stopped before it had a plan.

    identity: that the run must have; None: any.
    """
    try:
        job = json.loads((folder / _JOB).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    own = isinstance(job, dict) and (identity is None or job.get("identity") == settings_hash(identity))
    return job if own else {}


def _check_new(outs: Iterable[str | os.PathLike], own: Sequence[str]) -> None:
    outputs.check_outputs([out for out in outs if os.path.abspath(out) not in own], ())


def _folder_of(out: Path) -> Path:
    return out.parent / f".{out.name}.work"
