"""Super-resolving in memory: an array, a Scene, or a file that fits into memory."""

import os
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, overload

import numpy as np

from hsisr.degrade.displacement import Displacement
from hsisr.errors import HsisrError
from hsisr.inference import guide as guides
from hsisr.inference.defaults import default_model
from hsisr.inference.images import Source
from hsisr.inference.learning import learn_scene
from hsisr.inference.result import repeated
from hsisr.inference.scenes import (
    Options,
    model_file,
    open_images,
    open_methods,
    prepare,
    with_channels_that_vary,
)
from hsisr.inference.uncertainty import Uncertainty, check_tells
from hsisr.models.apply import Method
from hsisr.models.base import as_model
from hsisr.outputs import check_outputs
from hsisr.scene import Scene


@overload
def super_resolve(
    lr: np.ndarray | Scene | str | os.PathLike,
    guide: np.ndarray | Scene | str | os.PathLike | None = None,
    *,
    model: Any = None,
    out: str | os.PathLike | None = None,
    scale: int | None = None,
    overwrite: bool = False,
    correct_shift: str | bool | None = None,
    grid: str = "lr",
    mask_change: bool = False,
    keep_light: bool = False,
    align: bool = False,
    peak: float | None = None,
    guide_peak: float | None = None,
    bands: Sequence[int] | str | None = None,
    guide_bands: Sequence[int] | str | None = None,
    uncertainty: Literal[False] = False,
) -> np.ndarray: ...


@overload
def super_resolve(
    lr: np.ndarray | Scene | str | os.PathLike,
    guide: np.ndarray | Scene | str | os.PathLike | None = None,
    *,
    model: Any = None,
    out: str | os.PathLike | None = None,
    scale: int | None = None,
    overwrite: bool = False,
    correct_shift: str | bool | None = None,
    grid: str = "lr",
    mask_change: bool = False,
    keep_light: bool = False,
    align: bool = False,
    peak: float | None = None,
    guide_peak: float | None = None,
    bands: Sequence[int] | str | None = None,
    guide_bands: Sequence[int] | str | None = None,
    uncertainty: Literal[True],
) -> tuple[np.ndarray, np.ndarray]: ...


def super_resolve(
    lr: np.ndarray | Scene | str | os.PathLike,
    guide: np.ndarray | Scene | str | os.PathLike | None = None,
    *,
    model: Any = None,
    out: str | os.PathLike | None = None,
    scale: int | None = None,
    overwrite: bool = False,
    correct_shift: str | bool | None = None,
    grid: str = "lr",
    mask_change: bool = False,
    keep_light: bool = False,
    align: bool = False,
    peak: float | None = None,
    guide_peak: float | None = None,
    bands: Sequence[int] | str | None = None,
    guide_bands: Sequence[int] | str | None = None,
    uncertainty: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Super-resolve a scene that fits into memory. Returns (bands, H, W) float32.

    lr, guide: an array, a Scene, or the path of a file that `read_scene` reads. A scene with its own guide needs no
    other. Values must lie in the range of the model's training: [0, 1], unless it comes from `hsisr finetune`. hsisr
    divides larger ones by their peak. Masked samples of a masked array (numpy.ma) hold no data. A guide on the same
    grid that covers more ground is cut.
    model: a network or classical method, the path of a run folder or of a `model.safetensors`, the name of an untrained
    method, or `solo`, whose weights come with the package. None: `prior` with a guide, `solo` without.
    out: a file to write as well, in any format of `hsisr export`, stored like the LR image.
    overwrite: whether an existing `out` is replaced; a file that is read never is.
    scale: needed if neither model nor guide states it. correct_shift, grid, mask_change, keep_light, align, peak,
    guide_peak, bands, guide_bands: as in `hsisr.inference.Options`.
    Pixels without data are 0 in the array, and nodata in the file. Bands without data are those of the LR image, with
    every pixel repeated.
    uncertainty: whether to return also the standard deviation of every sample, as a second array in the same unit (0
    where the first has no data), for models that compute it: `prior`, `hybrid` and `solo`.
    For scenes larger than memory, and for more options, use `hsisr.inference.super_resolve_file`; both do the same
    checks. Warns (UserWarning) if images fit badly. Raises HsisrError for files that cannot be read, for NaN and
    infinity, and for images and models that do not fit together.

    Example:

        >>> lr = np.random.default_rng(0).random((5, 16, 16))
        >>> hsisr.super_resolve(lr, model="bicubic", scale=4).shape
        (5, 64, 64)
    """
    from hsisr.datasets.writers import export, written_files

    if out is not None:
        check_outputs(written_files(out), [*_files(lr), *_files(guide), *_files(model)], overwrite)
    options = Options(
        scale=scale,
        device="cpu",
        correct_shift=correct_shift,
        grid=grid,
        mask_change=mask_change,
        keep_light=keep_light,
        align=align,
        peak=peak,
        guide_peak=guide_peak,
        bands=bands,
        guide_bands=guide_bands,
    )
    notes: list[str] = []
    low, sharp = open_images(lr, guide, options, notes.append)
    if model is None:
        model = default_model(low.label, sharp is not None, scale)
    sharp = with_channels_that_vary(sharp, model, notes.append)
    method = _method(model, low, sharp, options)
    with TemporaryDirectory(prefix="hsisr-") if align else nullcontext() as folder:  # holds the guide to be resampled
        aligned = None if folder is None else Path(folder)
        prepared = prepare(low, sharp, (method,), options, guide is not None, aligned, notes.append)
        if uncertainty:
            check_tells(method, low, notes.append)
        for line in notes:
            warnings.warn(line, stacklevel=2)
        feed = learn_scene(prepared.feed)
        height, width = low.scene.shape[1:]
        estimate, _ = feed((0, height), (0, width))
        if out is not None:
            named = str(model) if isinstance(model, (str, os.PathLike)) else method.name
            result = prepared.result(_Held(estimate), named)
            export(result, out)
            if line := result.stored.cut:
                warnings.warn(f"{Path(out).name}: {line}", stacklevel=2)
        sigma = None
        if uncertainty:
            told = Uncertainty.of(feed, _Held(estimate))
            found = np.nan_to_num(told((0, height), (0, width))[:-1], copy=False, nan=0.0)
            sigma = np.zeros((low.scene.shape[0], *found.shape[1:]), np.float32)
            sigma[low.good] = found
    image = _every_band(low, np.nan_to_num(estimate, copy=False, nan=0.0), method.scale, feed.way)
    return image if sigma is None else (image, sigma)


@dataclass(frozen=True, eq=False)
class _Held:
    """Estimates in memory."""

    values: np.ndarray

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        return self.values[:, rows, columns]


def _method(model: Any, low: Source, sharp: Source | None, options: Options) -> Method:
    if isinstance(model, (str, os.PathLike)):
        return open_methods(model, low, sharp, options)[0]
    contract = as_model(model)
    scale = contract.scale or options.scale
    if scale is None and sharp is not None:
        scale = guides.scale_between(low, sharp, options.align)
    if scale is None:
        raise HsisrError(f"model {contract.name}: nothing says its scale, nor is there a guide; give scale=...")
    guided = contract.needs_guide or (contract.takes_guide and sharp is not None)
    return Method(contract.name, scale, guided, model, contract.bands)


def _files(image: Any) -> tuple[Path, ...]:
    """The files behind an argument."""
    if isinstance(image, Scene):
        return image.files
    path = Path(image) if isinstance(image, (str, os.PathLike)) else None
    if path is None or not path.exists():
        return ()
    return (model_file(path) or path,)


def _every_band(low: Source, estimate: np.ndarray, scale: int, way: Displacement | None) -> np.ndarray:
    if len(estimate) == low.scene.shape[0]:
        return estimate
    height, width = estimate.shape[1:]
    every = low.scene.cube[:, *repeated((0, height), (0, width), scale, low.scene.shape[1:], way)]
    every[low.good] = estimate
    return every
