"""What `hsisr predict` takes where the user names no model and no output."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsisr.datasets.writers import ending_of
from hsisr.errors import HsisrError
from hsisr.inference.images import open_lazily
from hsisr.screen import say


def default_model(lr: str | os.PathLike, guided: bool) -> str:
    """The model for a scene where none is named; guided: whether it has a guide.

    Says which it is. Raises HsisrError without a guide, as no method that needs no training does more there than
    interpolate.
    """
    if not guided:
        raise HsisrError(
            f"{lr}: has no guide, and no model is named; give the sharp image by --guide, or a model that works "
            "without one: --model bicubic --scale 4, or what `hsisr train` or `hsisr finetune --model deepshare` made"
        )
    say("model: prior, which needs no training; --model names another")
    return "prior"


def has_guide(lr: str | os.PathLike, read: Mapping[str, Any]) -> bool:
    """Whether a scene's file holds its own guide; read: options of the reader. Errors as `hsisr.read_scene`."""
    return open_lazily(lr, **read).guide is not None


def default_out(lr: str | os.PathLike, collection: bool, format: str | None = None) -> Path:
    """Where the result goes: scene_sr.tif beside scene.mat, or the ending of `format`; folder_sr for a collection."""
    lr = Path(lr)
    if lr.name in ("", ".."):  # "." and ".." do not say what the folder is called
        lr = lr.resolve()
    if collection:
        return lr.with_name(f"{lr.name}_sr")
    return lr.with_name(f"{lr.name if lr.is_dir() else lr.stem}_sr{ending_of(format)}")
