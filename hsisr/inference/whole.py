"""Super-resolving in memory: an array, a Scene or a file that fits into it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.inference import guide as guides
from hsisr.inference.align import measure_footprint
from hsisr.inference.feed import Feed
from hsisr.inference.images import Source
from hsisr.inference.result import result_scene
from hsisr.inference.scenes import is_untrained, model_file, warn
from hsisr.models.apply import Method, open_method
from hsisr.outputs import check_outputs
from hsisr.scene import Scene


def super_resolve(
    lr: np.ndarray | Scene | str | os.PathLike,
    guide: np.ndarray | Scene | str | os.PathLike | None = None,
    *,
    model: Any,
    out: str | os.PathLike | None = None,
    scale: int | None = None,
    overwrite: bool = False,
) -> np.ndarray:
    """Super-resolve a scene that fits into memory; returns (bands, H, W) float32.

    lr, guide: an array, a Scene, or the path of a file that `read_scene` reads; values as the model was trained, which
    is [0, 1] unless it comes from `hsisr finetune`. A guide that lies on the same grid but covers more ground is cut.
    model: a network or classical method, the path of a run folder or of a `model.safetensors`, or the name of an
    untrained method. out: file to write as well, in any format of `hsisr export`, stored as the LR image is.
    overwrite: whether an `out` that exists is replaced; a file that is read never is.
    scale: where neither model nor guide says it. Pixels without data are 0 in the array, nodata in the file; bands
    without data are the LR image's, every pixel repeated.
    For scenes larger than memory see `hsisr.inference.super_resolve_file`.
    Raises HsisrError for files that cannot be read and for a guide that does not fit.
    """
    from hsisr.datasets.writers import export, written_files

    if out is not None:
        check_outputs(written_files(out), [*_files(lr), *_files(guide), *_files(model)], overwrite)
    low, sharp = _source(lr, "LR image"), None if guide is None else _source(guide, "guide")
    if sharp is not None:
        low, sharp = guides.in_one_crs(low, sharp, warn)
        sharp = guides.varying(sharp, warn) if is_untrained(model) else sharp
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


def _files(image: Any) -> tuple[Path, ...]:
    """The files that an argument stands for."""
    if isinstance(image, Scene):
        return image.files
    path = Path(image) if isinstance(image, (str, os.PathLike)) else None
    if path is None or not path.exists():
        return ()
    return (model_file(path) or path,)


def _source(image: Any, label: str) -> Source:
    from hsisr.datasets import read_scene

    if isinstance(image, (str, os.PathLike)):
        return Source(read_scene(image), Path(image).name)
    return Source(image if isinstance(image, Scene) else Scene(np.asarray(image)), label)


def _method(model: Any, low: Source, sharp: Source | None, scale: int | None) -> Method:
    from hsisr.models import registry

    if not isinstance(model, (str, os.PathLike)):
        needs = bool(getattr(model, "guide_channels", sharp is not None))
        return Method(type(model).__name__, model.scale, needs, model)
    if str(model) in registry.names() and scale is None and sharp is not None:
        scale = guides.scale_between(low, sharp)
    return open_method(model, scale, 0 if sharp is None else sharp.shape[0])


def _every_band(low: Source, estimate: np.ndarray, scale: int) -> np.ndarray:
    if len(estimate) == low.scene.shape[0]:
        return estimate
    every = low.scene.cube.repeat(scale, axis=1).repeat(scale, axis=2)
    every[low.good] = estimate
    return every
