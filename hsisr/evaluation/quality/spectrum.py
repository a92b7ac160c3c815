"""Ranges of the spectrum and indices: the bands of a scene in each, and the guide's part of the spectrum."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hsisr.inference.images import Source

#: Name -> first and last wavelength in nm.
RANGES = {
    "Ultraviolet": (0, 350),
    "Visible": (350, 680),
    "Red edge": (680, 760),
    "NIR": (760, 1000),
    "SWIR": (1000, 3000),
    "Thermal infrared": (3000, np.inf),
}
#: Name of the only range if no wavelength is known.
ALL_BANDS = "All bands"
#: Largest distance of a band from the wavelength of an index.
_TOLERANCE_NM = 40.0
#: Assumed half width of a guide's channel without a known width.
_HALF_WIDTH_NM = 15.0


@dataclass(frozen=True)
class Index:
    """An index of two bands. centres_nm: of both bands. words: its formula. value: its function of two arrays."""

    centres_nm: tuple[float, float]
    words: str
    value: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _normalised_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first - second) / (first + second)


#: NDWI after McFeeters (1996). The clay ratio uses Landsat's two short-wave infrared bands.
INDICES = {
    "NDVI": Index((842, 665), "(842 - 665 nm) / (842 + 665 nm)", _normalised_difference),
    "NDWI": Index((560, 842), "(560 - 842 nm) / (560 + 842 nm)", _normalised_difference),
    "Clay ratio": Index((1610, 2200), "1610 nm / 2200 nm", np.divide),
}


def ranges(wavelengths_nm: np.ndarray | None, bands: int) -> dict[str, np.ndarray]:
    """Name -> numbers of its bands, for each range that has bands; all bands in one range without wavelengths."""
    if wavelengths_nm is None:
        return {ALL_BANDS: np.arange(bands)}
    found = {
        name: np.flatnonzero((wavelengths_nm >= first) & (wavelengths_nm < last))
        for name, (first, last) in RANGES.items()
    }
    return {name: places for name, places in found.items() if len(places)}


def index_bands(wavelengths_nm: np.ndarray | None) -> dict[str, tuple[int, int]]:
    """Name -> numbers of its two bands, for each index that the bands allow."""
    if wavelengths_nm is None:
        return {}
    found = {}
    for name, index in INDICES.items():
        first, second = (int(np.abs(wavelengths_nm - centre).argmin()) for centre in index.centres_nm)
        apart = np.abs(wavelengths_nm[[first, second]] - index.centres_nm)
        if apart.max() <= _TOLERANCE_NM:
            found[name] = (first, second)
    return found


def reach_nm(guide: Source) -> tuple[float, float] | None:
    """Shortest and longest wavelength of a guide, from its centres and widths; None if it does not state them."""
    centres = guide.wavelengths_nm
    if centres is None:
        return None
    widths = guide.scene.fwhm_nm
    half = np.full(len(centres), _HALF_WIDTH_NM) if widths is None else np.asarray(widths, float)[guide.good] / 2
    return float((centres - half).min()), float((centres + half).max())
