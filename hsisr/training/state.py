"""The state from which a run resumes. It is written completely, and only a run of the same identity uses it."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import torch

from hsisr import temporary
from hsisr.errors import HsisrError
from hsisr.files import atomic_path, settings_hash
from hsisr.pipeline.steps import difference, plain

#: Keys of the section `training` that may change between two parts of a run.
_MAY_CHANGE = ("max_minutes",)


def save(folder: str | os.PathLike, identity: dict[str, Any], content: dict[str, Any]) -> None:
    """Write the state of a run: tensors, numbers, text, and lists and dictionaries of them.

    folder: of the run. identity: plain values that identify the run: its sections `settings`, `code`, `data` and
    others. content: the state. Raises HsisrError if it cannot be written, for instance on a full disk; the older state
    stays.
    """
    buffer = io.BytesIO()  # on a full disk, torch's own writer fails with a page of C++
    torch.save({"identity": _key(identity), **content}, buffer)
    path = path_of(folder)
    try:
        with atomic_path(path) as new, open(new, "wb") as file:
            file.write(buffer.getbuffer())
    except HsisrError as error:
        kept = "; the state before it is kept" if path.is_file() else ""
        raise HsisrError(f"{error}{kept}; make room, then the same command resumes") from error


def load(
    folder: str | os.PathLike, identity: dict[str, Any], unreadable: tuple[str, ...] = ()
) -> dict[str, Any] | None:
    """The state to resume from; None if there is none.

    A state with another identity is renamed to `last.pt.<its hash>`, and a line names the difference: its weights are
    not mixed into this run. unreadable: classes without a source in the identity; a line names these too.
    Call it while the run's lock is held: it removes leftovers of killed writes.
    Raises HsisrError if the file is damaged.
    """
    path = path_of(folder)
    temporary.remove_left(path)
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        before = content.get("identity")  # none in files of version 0.1
    except Exception as error:  # damaged bytes can make the unpickler raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HsisrError(f"{path}: damaged training state ({reason}); delete it to train from the start") from error
    now = _key(identity)
    lacking = f"; no source of {', '.join(unreadable)} can be read: compiled code was compared" if unreadable else ""
    if before != now:
        aside = path.with_name(f"{path.name}.{settings_hash(before)}")
        path.replace(aside)
        told = difference(before, now)
        print(
            f"hsisr: {path}: belongs to another run ({told}){lacking}; kept as {aside.name}, not used; training starts "
            "anew",
            file=sys.stderr,
        )
        return None
    if unreadable:
        print(f"hsisr: {path}: belongs to this run{lacking}", file=sys.stderr)
    return content


def remove(folder: str | os.PathLike) -> None:
    """Remove the state of a finished run. Renamed states stay."""
    path_of(folder).unlink(missing_ok=True)


def _key(identity: dict[str, Any]) -> dict[str, Any]:
    """The part of an identity that a state and its run must share, in the form that a file gives back."""
    settings = dict(identity.get("settings", {}))
    if isinstance(settings.get("training"), dict):
        settings["training"] = {key: v for key, v in settings["training"].items() if key not in _MAY_CHANGE}
    return plain(identity | {"settings": settings})


def path_of(folder: str | os.PathLike) -> Path:
    """The file of a run's state. folder: of the run."""
    return Path(folder) / "state" / "last.pt"
