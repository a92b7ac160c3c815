"""A made-up piece of ground that products of several sensors show: fields, woods, water and roofs, with texture."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

#: Metres of the piece from top to bottom and from left to right.
HEIGHT_M, WIDTH_M = 1080, 1320
#: Wavelengths in nm between which the air lets nothing through.
DARK_NM = ((1360.0, 1420.0), (1820.0, 1940.0))
#: Standard deviation of a sensor's noise, in reflectance.
NOISE = 0.001


def reflectance(wavelengths_nm: Sequence[float], pixel_m: float) -> np.ndarray:
    """(bands, rows, columns) in [0, 1], averaged over square pixels of a whole number of metres, with `NOISE`.

    0 in `DARK_NM`.
    """
    nm, size = np.asarray(wavelengths_nm, float), int(pixel_m)
    covers = _covers()
    seen = covers.reshape(len(covers), HEIGHT_M // size, size, WIDTH_M // size, size).mean(axis=(2, 4))
    dark = np.logical_or.reduce([(least <= nm) & (nm <= most) for least, most in DARK_NM])
    values = np.tensordot(_spectra(nm), seen, axes=(0, 0))
    for band, centre in zip(values, nm, strict=True):
        band += NOISE * np.random.default_rng((size, round(centre))).standard_normal(band.shape)
    return np.where(dark[:, None, None], 0, np.maximum(values, 0.001))


def _spectra(nm: np.ndarray) -> np.ndarray:
    """(covers, bands) of water, plants, soil and roofs."""
    damp = 1 - 0.6 * np.exp(-(((nm - 1450) / 90) ** 2)) - 0.7 * np.exp(-(((nm - 1940) / 110) ** 2))
    water = 0.07 * np.exp(-((nm - 500) / 220).clip(0))
    plants = 0.05 + 0.05 * np.exp(-(((nm - 550) / 40) ** 2)) + 0.42 / (1 + np.exp(-(nm - 718) / 14))
    soil = 0.38 / (1 + np.exp(-(nm - 780) / 260)) - 0.06 * np.exp(-(((nm - 2205) / 35) ** 2))
    roofs = 0.22 + 0.1 / (1 + np.exp(-(nm - 590) / 25))
    return np.stack([water, plants * damp * np.exp(-(nm - 1100).clip(0) / 1500), soil, roofs])


@cache
def _covers() -> np.ndarray:
    """(covers, HEIGHT_M, WIDTH_M) float32: how much each cover reflects in each square metre."""
    rng = np.random.default_rng(24)
    rows, columns = np.mgrid[:HEIGHT_M, :WIDTH_M].astype(np.float32)
    seeds = rng.uniform((0, 0), (HEIGHT_M, WIDTH_M), (90, 2))
    patch = cKDTree(seeds).query(np.stack([rows.ravel(), columns.ravel()], axis=1))[1].reshape(rows.shape)
    shares = rng.dirichlet((0.25, 0.5, 0.4, 0.15), len(seeds)).astype(np.float32)
    texture = sum(
        weight * _unit(gaussian_filter(rng.standard_normal(rows.shape, np.float32), width))
        for weight, width in ((0.08, 2), (0.08, 6), (0.05, 20))
    )
    furrows = 0.08 * np.sin((rows * np.cos(patch) + columns * np.sin(patch)) / 9)
    growth = 0.15 * _unit(gaussian_filter(rng.standard_normal(rows.shape, np.float32), 8))
    brightness = np.clip(1 + texture + furrows, 0.4, 1.6)
    covers = np.stack([share[patch] for share in shares.T]) * brightness
    covers[1] *= np.clip(1 + growth, 0.4, 1.6)
    return covers


def _unit(plane: np.ndarray) -> np.ndarray:
    return plane / plane.std()
