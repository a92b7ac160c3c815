"""The bands of a scene that pictures show as red, green and blue: one rule for pictures, previews and the report."""

from collections.abc import Sequence

import numpy as np

#: Centres of red, green and blue in nanometres: for natural colours, and for colour infrared (no visible bands).
NATURAL_NM = (650.0, 550.0, 450.0)
INFRARED_NM = (830.0, 650.0, 550.0)


def nearest_bands(
    wavelengths_nm: Sequence[float] | np.ndarray, centres_nm: Sequence[float], bad_bands: np.ndarray | None = None
) -> list[int]:
    """The nearest band (from 0) to each of the centres. wavelengths_nm: (bands,). bad_bands: (bands,), never chosen."""
    distance = np.abs(np.asarray(wavelengths_nm, float) - np.asarray(centres_nm, float)[:, None])
    if bad_bands is not None:
        distance = np.where(bad_bands, np.inf, distance)
    return [int(band) for band in distance.argmin(axis=1)]


def spread_bands(count: int) -> list[int]:
    """Three of `count` bands whose wavelengths are unknown: the last, the middle and the first."""
    return [count - 1, count // 2, 0]
