"""A scene with holes, and what its results are compared with, for tests of methods that learn scenes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from hsisr.datasets.writers import export
from hsisr.degrade import gaussian_footprint
from hsisr.inference import Options, super_resolve_file
from hsisr.scene import Scene
from tests.unit.own_scene import TRANSFORM, finer

SCALE, BANDS = 2, 8
CPU = Options(device="cpu")
#: Largest difference of two results of one scene, as a part of its range.
TOLERANCE = 1e-5
TILES = {
    "whole": {},
    "small tiles": {"tile": 16},
    "tiles": {"tile": 30},
    "little memory": {"memory": 2**21},
    "two at a time": {"tile": 20, "device": "cpu,cpu"},
}


def write_pair(
    folder: Path, height: int = 44, width: int = 38, holes: bool = True, flat: bool = False, noise: float = 0
) -> tuple[Path, Path, np.ndarray]:
    """Mixtures of six materials with noise, and holes: no data in a corner and in single pixels.

    flat: whether the right part has hardly any contrast. noise: deviation of the guide's.
    """
    rng = np.random.default_rng(0)
    size = height * SCALE, width * SCALE
    share = np.exp(2 * np.stack([_field(rng, size, width) for width in (1, 2, 3, 4, 6, 9)]))
    share /= share.sum(axis=0)
    if flat:
        share[..., size[1] // 3 :] = 1 / 6 + 0.05 * (share[..., size[1] // 3 :] - 1 / 6)
    spectra = gaussian_filter(rng.random((6, BANDS)), (0, 1))
    sharp = np.tensordot(spectra.T, share, 1).astype(np.float32)
    light = 1 + 0.2 * _field(rng, size, 20)
    low = gaussian_footprint(SCALE).sampler(SCALE, size)(sharp * light)
    low = (low + 0.002 * rng.standard_normal(low.shape)).astype(np.float32)
    if holes:
        low[:, : height // 4, : width // 3] = -1
        low[:, height // 2, width // 2] = -1
    export(Scene(low, "low", nodata=-1.0 if holes else None, transform=TRANSFORM, crs="EPSG:32633"), folder / "lr.tif")
    guide = np.stack([sharp[:3].mean(axis=0), sharp[3:6].mean(axis=0), sharp[6:].mean(axis=0)])
    guide += noise * rng.standard_normal(guide.shape).astype(np.float32)
    export(Scene(guide, "guide", transform=finer(TRANSFORM, SCALE), crs="EPSG:32633"), folder / "guide.tif")
    return folder / "lr.tif", folder / "guide.tif", sharp * light


def _field(rng: np.random.Generator, size: tuple[int, int], width: float) -> np.ndarray:
    field = gaussian_filter(rng.standard_normal(size), width)
    return field / field.std()


def results(folder: Path, model: str | Path, lr: Path, guide: Path) -> dict[str, np.ndarray]:
    return {
        name: np.load(super_resolve_file(lr, guide, model, folder / f"{name}.npy", replace(CPU, **options)))
        for name, options in TILES.items()
    }


def largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    """As a part of the range; what has no data is the same in both."""
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
    return float(np.nanmax(np.abs(one - other)) / (np.nanmax(one) - np.nanmin(one)))
