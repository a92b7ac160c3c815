"""Super-resolving in memory: an array, a Scene or a file that fits into it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.errors import HsisrError
from hsisr.inference import guide as guides
from hsisr.inference.align import measure_footprint
from hsisr.inference.feed import Feed
from hsisr.inference.images import Source
from hsisr.inference.result import result_scene
from hsisr.models.apply import Method, open_method
from hsisr.models.base import as_model
from hsisr.scene import Scene


def super_resolve(
    lr: np.ndarray | Scene | str | os.PathLike,
    guide: np.ndarray | Scene | str | os.PathLike | None = None,
    *,
    model: Any,
    out: str | os.PathLike | None = None,
    scale: int | None = None,
) -> np.ndarray:
    """Super-resolve a scene that fits into memory; returns (bands, H, W) float32.

    lr, guide: an array, a Scene, or the path of a file that `read_scene` reads; values as the model was trained, which
    is [0, 1] unless it comes from `hsisr finetune`. A guide that lies on the same grid but covers more ground is cut.
    model: a network or classical method, the path of a run folder or of a `model.safetensors`, or the name of an
    untrained method. out: file to write as well, in any format of `hsisr export`, stored as the LR image is.
    scale: where neither model nor guide says it. Pixels without data are 0 in the array, nodata in the file; bands
    without data are the LR image's, every pixel repeated.
    For scenes larger than memory see `hsisr.inference.super_resolve_file`.
    Raises HsisrError for files that cannot be read and for a guide that does not fit.
    """
    from hsisr.datasets.writers import export, format_of

    if out is not None:
        format_of(out)
    low, sharp = _source(lr, "LR image"), None if guide is None else _source(guide, "guide")
    method = _method(model, low, sharp, scale)
    on_grid = None if sharp is None or not method.needs_guide else guides.fit(low, sharp, method.scale)
    trained = method.metadata
    footprint = None
    if on_grid is not None and method.takes_sensor:
        footprint = measure_footprint(low, on_grid, method.scale)
    peaks = (trained.get("peak") or 1.0, trained.get("guide_peak") or 1.0)
    feed = Feed(method, low, on_grid, *peaks, footprint=footprint)
    estimate, _ = feed(*((0, size) for size in low.scene.shape[1:]))
    if out is not None:
        origin = {"HSISR_MODEL": str(model) if isinstance(model, (str, os.PathLike)) else method.name}
        export(result_scene(low, _Held(estimate), method.scale, origin, feed.may_lack_pixels), out)
    return _every_band(low, np.nan_to_num(estimate, copy=False, nan=0.0), method.scale)


@dataclass(frozen=True, eq=False)
class _Held:
    """Estimates in memory."""

    values: np.ndarray

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        return self.values[:, rows, columns]


def _source(image: Any, label: str) -> Source:
    from hsisr.datasets import read_scene

    if isinstance(image, (str, os.PathLike)):
        return Source(read_scene(image), Path(image).name)
    return Source(image if isinstance(image, Scene) else Scene(np.asarray(image)), label)


def _method(model: Any, low: Source, sharp: Source | None, scale: int | None) -> Method:
    from hsisr.models import registry

    if not isinstance(model, (str, os.PathLike)):
        contract = as_model(model)
        scale = contract.scale or scale or (None if sharp is None else guides.scale_between(low, sharp))
        if scale is None:
            raise HsisrError(f"model {contract.name}: nothing says its scale, nor is there a guide; give scale=...")
        guided = contract.needs_guide or (contract.takes_guide and sharp is not None)
        return Method(contract.name, scale, guided, model, contract.bands)
    if str(model) in registry.names() and scale is None and sharp is not None:
        scale = guides.scale_between(low, sharp)
    return open_method(model, scale, 0 if sharp is None else sharp.shape[0])


def _every_band(low: Source, estimate: np.ndarray, scale: int) -> np.ndarray:
    if len(estimate) == low.scene.shape[0]:
        return estimate
    every = low.scene.cube.repeat(scale, axis=1).repeat(scale, axis=2)
    every[low.good] = estimate
    return every
