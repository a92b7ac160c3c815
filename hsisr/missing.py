"""Missing data: when a whole pixel is missing, when only some of its samples are, and how samples are filled.

A sensor may store 0, the nodata value, also for a dark pixel in an absorption band. So a pixel counts as missing only
if most of its bands are missing. Otherwise it has data, and its missing samples are filled for the methods.
"""

from typing import Any

import numpy as np

from hsisr.errors import HsisrError


def array_of(what: str, values: Any) -> np.ndarray:
    """The values as an array. what: they are, for the error. Raises HsisrError for a masked array, and for no array."""
    if isinstance(values, np.ma.MaskedArray):
        raise HsisrError(f"{what} may be no masked array, whose mask would be lost; fill or crop the masked samples")
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors of a GPU, with gradients
        raise HsisrError(f"{what} must be an array of numbers ({error})") from error


def missing_pixels(missing: np.ndarray) -> np.ndarray:
    """True (n, m) where more than half of the bands are missing. missing: (bands, n, m) bool."""
    return 2 * np.count_nonzero(missing, axis=0) > len(missing)


def fill_samples(values: np.ndarray, missing: np.ndarray) -> None:
    """Fill missing samples of values (bands, n, m), in place, in pixels that are not missing as a whole.

    missing: (bands, n, m) bool. A sample gets its band's value at the nearest pixel that has one. If the band has no
    values at all, the sample lies on the straight line between the pixel's nearest known bands.
    """
    wanted = missing & ~missing_pixels(missing)
    for band in map(int, np.flatnonzero(wanted.any(axis=(1, 2)))):
        if missing[band].all():
            _fill_from_bands(values, missing, wanted[band], band)
        else:
            _fill_from_neighbours(values[band], missing[band], wanted[band])


def fill_invalid(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(bands, n, m) with every invalid pixel replaced by the valid one nearest to it, so that none bleeds."""
    if valid.all() or not valid.any():
        return values
    rows, columns = nearest_present(~valid)
    return values[:, rows, columns]


def shrunk(valid: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Valid pixels (n, m) of a coarser grid of this shape: those whose middle is valid on the finer one (N, M)."""
    rows, columns = (
        ((np.arange(few) + 0.5) * many / few).astype(int) for few, many in zip(shape, valid.shape, strict=True)
    )
    return valid[np.ix_(rows, columns)]


def nearest_present(missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (n, m) of each pixel's nearest pixel that is not missing. missing: (n, m) bool, not all True."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return rows, columns


def _fill_from_neighbours(plane: np.ndarray, missing: np.ndarray, wanted: np.ndarray) -> None:
    rows, columns = nearest_present(missing)
    plane[wanted] = plane[rows[wanted], columns[wanted]]


def _fill_from_bands(values: np.ndarray, missing: np.ndarray, wanted: np.ndarray, band: int) -> None:
    known, spectra = ~missing[:, wanted], values[:, wanted]
    before, after = (_next_known(known, spectra, bands) for bands in (range(band)[::-1], range(band + 1, len(values))))
    left, right = band - before[0], after[0] - band
    share = np.where(before[2], np.where(after[2], left / np.maximum(left + right, 1), 0.0), 1.0)
    values[band][wanted] = before[1] * (1 - share) + after[1] * share


def _next_known(known: np.ndarray, spectra: np.ndarray, bands: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each spectrum, the first known band of `bands`: its number, its value, and whether there is one."""
    number, value = np.zeros(known.shape[1]), np.zeros(known.shape[1])
    found = np.zeros(known.shape[1], bool)
    for band in bands:
        new = known[band] & ~found
        number[new], value[new] = band, spectra[band, new]
        found |= new
    return number, value, found
