"""What `hsisr predict` takes where the user names no model and no output."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsisr.datasets.writers import ending_of
from hsisr.errors import HsisrError, option
from hsisr.inference.images import open_lazily
from hsisr.models.shipped import SHIPPED, shipped_scales, shipped_weights
from hsisr.screen import say


def default_model(lr: Any, guided: bool, scale: int | None = None) -> str:
    """The model for a scene where none is named; guided: whether it has a guide. lr: what an error names.

    With a guide `prior`; without one `solo`, where weights of it come with the package for the scale. Says which it is.
    Raises HsisrError where there is neither.
    """
    if guided:
        say("model: prior, which needs no training; --model names another")
        return "prior"
    if scale is None:
        raise HsisrError(
            f"{lr}: has no guide, and no model is named; give the sharp image by {option('guide')}, or how many times "
            f"finer the result is to be by {option('scale')}: solo works without a guide, at {shipped_scales()}"
        )
    shipped_weights(scale)
    say(f"model: {SHIPPED}, with the weights that come with hsisr, as there is no guide; --model names another")
    return SHIPPED


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
