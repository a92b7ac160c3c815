"""The state from which a run resumes: written whole, keyed by the settings that it belongs to."""

import io
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import torch

from hsisr.errors import HsisrError
from hsisr.files import atomic_path, settings_hash

#: Keys of the section `training` that may change between two parts of a run.
_MAY_CHANGE = ("max_minutes",)


def save(folder: str | os.PathLike, settings: Any, content: dict[str, Any]) -> None:
    """Write the state of a run: tensors, numbers, text, and lists and dictionaries of them.

    Raises HsisrError if it cannot be written, on a full disk for instance; the state before it is still there then.
    """
    buffer = io.BytesIO()  # torch's own writer ends a full disk with a page of C++
    torch.save({"settings_hash": settings_hash(_key(settings)), "settings": _key(settings), **content}, buffer)
    path = _path(folder)
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.write(buffer.getbuffer())
    except HsisrError as error:
        kept = "; the state before it is kept" if path.is_file() else ""
        raise HsisrError(f"{error}{kept}; make room, then the same command resumes") from error


def load(folder: str | os.PathLike, settings: Any) -> dict[str, Any] | None:
    """The state to resume from; None if there is none.

    A state of other settings is set aside (`last.pt.<its hash>`) with a line that names the difference: its weights
    are not mixed into this run. Call it with the run's lock held: what writes that were killed have left is removed.
    Raises HsisrError if the file is damaged.
    """
    path = _path(folder)
    for left in path.parent.glob(f".{path.name}.tmp-*"):
        left.unlink(missing_ok=True)
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content["settings_hash"]
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HsisrError(f"{path}: damaged training state ({reason}); delete it to train from the start") from error
    if found != settings_hash(_key(settings)):
        aside = path.with_name(f"{path.name}.{found}")
        path.replace(aside)
        told = difference(content.get("settings"), _key(settings))
        print(f"hsisr: {path}: belongs to other settings ({told}); kept as {aside.name}, not used", file=sys.stderr)
        return None
    return content


def difference(before: Any, now: Any, where: str = "") -> str:
    """What differs between two settings, as `training.learning_rate: 0.001, now 0.002`, for all keys that do."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return "" if before == now else f"{where or 'settings'}: {before!r}, now {now!r}"
    keys = sorted({*before, *now}, key=str)
    told = (difference(before.get(key), now.get(key), f"{where}.{key}" if where else str(key)) for key in keys)
    return "; ".join(filter(None, told))


def _key(settings: Any) -> Any:
    """What a state must share with the run that takes it."""
    if not isinstance(settings, dict) or not isinstance(settings.get("training"), dict):
        return settings
    training = {key: value for key, value in settings["training"].items() if key not in _MAY_CHANGE}
    return settings | {"training": training}


def _path(folder: str | os.PathLike) -> Path:
    return Path(folder) / "state" / "last.pt"
