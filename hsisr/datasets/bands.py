"""Bands: choose, average, resample, drop. Each step is recorded in the scene's provenance, under the key `bands`.

`apply` runs a list of steps, written like `band_steps` of a data set's entry, e.g.
`[{drop: bad}, {resample: {first: 400, last: 700, count: 31}}]`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hsisr.errors import HsisrError
from hsisr.scene import Scene


def choose(scene: Scene, indices: Sequence[int]) -> Scene:
    """The scene with only these bands (from 0, in this order). Raises HsisrError for a band that does not exist."""
    count = scene.shape[0]
    wrong = [index for index in indices if not 0 <= index < count]
    if wrong or not len(indices):
        raise HsisrError(f"scene {scene.name}: bands {wrong or list(indices)} do not exist; it has 0 to {count - 1}")
    return _note_step(scene.bands(indices), {"choose": [int(index) for index in indices]})


def drop_bad(scene: Scene) -> Scene:
    """The scene without the bands that are marked bad or hold no data. Raises HsisrError if none is left."""
    if scene.bad_bands is None:
        return scene
    good = np.flatnonzero(~np.asarray(scene.bad_bands, bool))
    if not good.size:
        raise HsisrError(f"scene {scene.name}: all {scene.shape[0]} bands are bad")
    dropped = np.flatnonzero(np.asarray(scene.bad_bands, bool))
    result = replace(scene.bands(good), bad_bands=None)
    return _note_step(result, {"drop": [int(index) for index in dropped]})


def average(scene: Scene, count: int) -> Scene:
    """Means of `count` adjacent bands each, as float32 values. A shorter group at the end is left out.

    A pixel that lacks data in one band of a group has no data in the mean. Raises HsisrError unless
    1 <= count <= bands, and for a scene with bad bands.
    """
    bands = scene.shape[0]
    if scene.bad_bands is not None and np.any(scene.bad_bands):
        raise HsisrError(f"scene {scene.name}: {int(np.sum(scene.bad_bands))} bands are bad; drop them, then average")
    if not 1 <= count <= bands:
        raise HsisrError(f"scene {scene.name}: cannot average {count} of its {bands} bands")
    groups = bands // count
    weights = np.kron(np.eye(groups), np.full(count, 1 / count))
    weights = np.pad(weights, ((0, 0), (0, bands - groups * count)))
    centres = None if scene.wavelengths_nm is None else weights @ np.asarray(scene.wavelengths_nm)
    return _note_step(_combine(scene, weights, centres, None), {"average": count})


def resample(scene: Scene, wavelengths_nm: Sequence[float], fwhm_nm: Sequence[float] | float | None = None) -> Scene:
    """The scene at other wavelengths, as float32 values.

    The spectrum is interpolated linearly between the centres of the good bands. A new band is its mean over the new
    width. So narrow bands are averaged, and wide bands are interpolated. fwhm_nm: the new widths; by default the
    spacing of the new bands. Raises HsisrError if the scene's wavelengths are unknown, or if a new centre lies
    outside them by more than half its width.
    """
    if scene.wavelengths_nm is None:
        raise HsisrError(f"scene {scene.name}: its wavelengths are not known; give them to resample it")
    targets = np.asarray(wavelengths_nm, dtype=float)
    if targets.ndim != 1 or not targets.size or not np.isfinite(targets).all():
        raise HsisrError(f"scene {scene.name}: the new wavelengths must be a list of numbers")
    widths = _spacing(targets) if fwhm_nm is None else np.asarray(fwhm_nm, float)
    if widths.shape not in ((), targets.shape) or not (np.isfinite(widths) & (widths >= 0)).all():
        raise HsisrError(f"scene {scene.name}: the new widths must be one number, or one for each band, none below 0")
    widths = np.broadcast_to(widths, targets.shape)
    weights = _resampling_weights(scene, targets, widths)
    note = {"resample": {"wavelengths_nm": targets.tolist(), "fwhm_nm": widths.tolist()}}
    return _note_step(_combine(scene, weights, targets, widths), note)


def apply(scene: Scene, steps: Sequence[Mapping[str, Any]]) -> Scene:
    """Run band steps: `{choose: [..]}`, `{drop: bad}`, `{average: n}`, `{resample: [nm, ..]}`.

    `resample` also takes `{first, last, count}`. Raises HsisrError for a step that is not one of these.
    """
    for step in steps:
        name: str | None
        value: Any
        name, value = next(iter(step.items())) if len(step) == 1 else (None, None)
        if name == "drop" and value == "bad":
            scene = drop_bad(scene)
        elif name == "choose":
            scene = choose(scene, value)
        elif name == "average":
            scene = average(scene, value)
        elif name == "resample":
            scene = resample(scene, _grid(value))
        else:
            raise HsisrError(f"band step {dict(step)}: expected one of choose, drop: bad, average, resample")
    return scene


def _grid(value: Any) -> Sequence[float]:
    if isinstance(value, Mapping):
        if set(value) != {"first", "last", "count"}:
            raise HsisrError(f"resample {dict(value)}: expected a list of wavelengths, or first, last and count")
        return np.linspace(value["first"], value["last"], value["count"]).tolist()
    return value


def _spacing(centres: np.ndarray) -> np.ndarray:
    return np.abs(np.gradient(centres)) if centres.size > 1 else np.zeros(1)


def _resampling_weights(scene: Scene, targets: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """(targets, bands) matrix: means of the interpolated spectrum over [centre - width / 2, centre + width / 2]."""
    bands = scene.shape[0]
    good = np.ones(bands, bool) if scene.bad_bands is None else ~np.asarray(scene.bad_bands, bool)
    order = np.flatnonzero(good)[np.argsort(np.asarray(scene.wavelengths_nm, float)[good], kind="stable")]
    centres = np.asarray(scene.wavelengths_nm, float)[order]
    outside = np.maximum(centres[0] - targets, targets - centres[-1])
    if (outside > widths / 2).any():
        worst = float(targets[np.argmax(outside - widths / 2)])
        raise HsisrError(
            f"scene {scene.name}: {worst:g} nm lies outside its {centres[0]:g} to {centres[-1]:g} nm; "
            "resample within that range"
        )
    weights = np.zeros((targets.size, bands))
    for row, (centre, width) in enumerate(zip(targets, widths, strict=True)):
        low, high = centre - width / 2, centre + width / 2
        inner = centres[(centres > low) & (centres < high)]
        knots = np.concatenate([[low], inner, [high]])
        hats = np.array([np.interp(knots, centres, unit) for unit in np.eye(centres.size)])
        # the interpolated spectrum is linear between knots, so the trapezoid rule is exact
        area = ((hats[:, 1:] + hats[:, :-1]) * np.diff(knots)).sum(axis=1) / 2
        weights[row, order] = area / width if width > 0 else hats[:, 0]
    return weights


def _combine(scene: Scene, weights: np.ndarray, centres: np.ndarray | None, widths: np.ndarray | None) -> Scene:
    """Scene of weighted sums of bands, as float32 values. A pixel is masked if it lacks a band that has a weight."""
    used = weights.any(axis=0)
    values = np.empty((len(weights), *scene.shape[1:]), np.float32)
    valid = np.ones(scene.shape[1:], bool) if scene.mask is None else np.array(scene.mask, bool)
    for rows, block in scene.strips():
        cube = replace(scene, stored=block, mask=None, labels=None, guide=None).cube
        values[:, rows] = np.tensordot(weights.astype(np.float32), cube, axes=1)
        missing = scene.without_data(block[used])
        if missing is not None:
            valid[rows] &= ~missing.any(axis=0)
    return replace(
        scene,
        stored=values,
        scale=1.0,
        offset=0.0,
        nodata=None,
        wavelengths_nm=centres,
        fwhm_nm=widths,
        bad_bands=None,
        mask=None if valid.all() else valid,
    )


def _note_step(scene: Scene, step: dict[str, Any]) -> Scene:
    done = [*scene.provenance.get("bands", []), step]
    return replace(scene, provenance={**scene.provenance, "bands": done})
