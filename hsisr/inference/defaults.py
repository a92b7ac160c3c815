"""Defaults of `hsisr predict`, for a user who names no model and no output."""

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
    """The model for a scene if the user names none. guided: whether it has a guide. lr: for an error.

    With a guide, it is `prior`. Without one, it is `solo`, if the package has its weights for `scale`. A line tells the
    user. Raises HsisrError if there is neither.
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
    """Whether a scene's file holds its own guide. read: options of the reader. Errors as `hsisr.read_scene`."""
    return open_lazily(lr, **read).guide is not None


def default_out(lr: str | os.PathLike, collection: bool, format: str | None = None) -> Path:
    """Path of the result: scene_sr.tif for scene.mat, or with the ending of `format`; folder_sr for a collection."""
    lr = Path(lr)
    if lr.name in ("", ".."):  # "." and ".." are not the folder's name
        lr = lr.resolve()
    if collection:
        return lr.with_name(f"{lr.name}_sr")
    return lr.with_name(f"{lr.name if lr.is_dir() else lr.stem}_sr{ending_of(format)}")
