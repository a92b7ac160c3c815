"""Stopping and resuming: the state of a run, written whole, keyed by its settings, and the lock of its folder."""

import fcntl
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hsisr.errors import HsisrError
from hsisr.files import atomic_path, settings_hash


@contextmanager
def run_lock(folder: str | os.PathLike) -> Iterator[None]:
    """Hold a run folder for this process alone; a lock whose process died is free.

    Raises HsisrError at once, naming the holder, if another process trains there.
    """
    path = Path(folder) / "state" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise HsisrError(
                f"{folder}: process {holder} is training here; wait for it or stop it with `kill {holder}`, "
                "then run the same command again"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def save(folder: str | os.PathLike, settings: Any, content: dict[str, Any]) -> None:
    """Write the state of a run: tensors, numbers, text, and lists and dictionaries of them."""
    with atomic_path(_path(folder)) as temporary:
        torch.save({"settings_hash": settings_hash(settings), "settings": settings, **content}, temporary)


def load(folder: str | os.PathLike, settings: Any) -> dict[str, Any] | None:
    """The state to resume from; None if there is none.

    A state of other settings is set aside (`last.pt.<its hash>`): its weights are not mixed into this run.
    Raises HsisrError if the file is damaged.
    """
    path = _path(folder)
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content["settings_hash"]
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HsisrError(f"{path}: damaged training state ({reason}); delete it to train from the start") from error
    if found != settings_hash(settings):
        path.replace(path.with_name(f"{path.name}.{found}"))
        return None
    return content


def _path(folder: str | os.PathLike) -> Path:
    return Path(folder) / "state" / "last.pt"
