"""Spectral responses: how much each band of a scene contributes to each channel of the guide.

A response is a table in `responses/<name>.csv`: comment lines `# source:` and `# kind:` (`measured`, or `boxcar`
for flat between published band edges), then a column of wavelengths in nanometres and one column for each channel.

A name that ends in `@index` takes the table as it is: its first row belongs to the first band, whatever the bands'
wavelengths are. The papers' programs do this, even with Harvard, whose bands lie 20 nm away from the table's.

The path of a file (`hsisr.degrade.own_files`) can stand wherever a name can.
"""

import math
import os
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from hsisr.degrade import own_files
from hsisr.errors import HsisrError, did_you_mean
from hsisr.missing import array_of

_FOLDER = resources.files(__package__) / "responses"

#: Names of the responses that come with the package.
RESPONSES = tuple(sorted(file.name.removesuffix(".csv") for file in _FOLDER.iterdir() if file.name.endswith(".csv")))

#: Ending of a response's name that assigns the table's rows by the bands' numbers, not by their wavelengths.
BY_INDEX = "@index"

#: Mixing of R, G, B into the eight channels of Spectral Mixup (arXiv 2101.07589): rgb @ this, as published.
RGB_TO_EIGHT = np.array(
    [
        [1.0, 0.66, 0.34, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.34, 0.76, 1.0, 0.75, 0.5, 0.25, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0],
    ]
)

#: The table from which Spectral Mixup's matrix V (arXiv 2101.07589) is made.
MIXUP_RESPONSE = "cie1964"
#: Bands for which Spectral Mixup published its 31 x 8 matrix.
MIXUP_WAVELENGTHS_NM = np.linspace(400.0, 700.0, 31)

#: Factor per nm of band spacing that makes Spectral Mixup's published 31 x 8 matrix from the CIE 1964 functions.
_MIXUP_GAIN_PER_NM = 0.008472997


@dataclass(frozen=True, eq=False)
class ResponseTable:
    """A response as published: values (wavelengths, channels), >= 0, in any unit.

    wavelengths_nm: None for a user's table whose rows belong to the bands in order. kind: `measured`, `boxcar` or
    `own`. source: where the table comes from.
    """

    name: str
    wavelengths_nm: np.ndarray | None
    channels: tuple[str, ...]
    values: np.ndarray
    kind: str
    source: str


def response(name: str | os.PathLike[str], wavelengths_nm: np.ndarray, fwhm_nm: np.ndarray | None = None) -> np.ndarray:
    """A response resampled to a sensor's bands: (channels, bands), float64, every row >= 0 with sum 1.

    name: of a response, or a file; may end in `@index`. Then only the number of wavelengths counts.
    wavelengths_nm: (bands,) band centres in any order. fwhm_nm: (bands,) widths. With widths, the table is averaged
    over each band's Gaussian. Without them, it is read at the band's centre, by linear interpolation. At the table's
    own wavelengths, the published values stay as they are. Outside its table, a response is 0.
    Raises HsisrError for an unknown name, or if a channel lies outside the bands.

    Example:

        >>> degrade.response("nikon_d700", np.linspace(400, 700, 31)).shape
        (3, 31)
    """
    name = os.fspath(name)
    if goes_by_index(name):
        return response_by_index(name, len(wavelengths_nm))
    table = load_response(name)
    assert table.wavelengths_nm is not None  # else it goes by index
    centres = _check_bands(wavelengths_nm, "wavelengths_nm")
    on_grid = centres.shape == table.wavelengths_nm.shape and np.allclose(centres, table.wavelengths_nm, 0, 1e-6)
    if on_grid:
        matrix = table.values.T
    elif fwhm_nm is None:
        matrix = _interpolate(table, centres)
    else:
        matrix = _band_average(table, centres, _check_bands(fwhm_nm, "fwhm_nm", len(centres)))
    sums = matrix.sum(axis=1)
    empty = [channel for channel, total in zip(table.channels, sums, strict=True) if not total > 0]
    if empty:
        raise HsisrError(
            f"response {name}: {', '.join(empty)} (table {_span(table.wavelengths_nm)}) does not overlap the scene's "
            f"bands ({_span(centres)}); choose another response"
        )
    normalised: np.ndarray = matrix / sums[:, None]
    return normalised


def response_by_index(name: str, bands: int) -> np.ndarray:
    """A response whose rows belong to the bands in order: (channels, bands), float64, every row with sum 1.

    name: with or without `@index`. Raises HsisrError for an unknown name, or if its table has not `bands` rows.
    """
    table = load_response(name)
    if len(table.values) != bands:
        if table.wavelengths_nm is None:
            raise HsisrError(
                f"response {name}: has {len(table.values)} rows and no wavelengths, and the scene has {bands} bands; "
                "give a row for each band, or add the wavelengths in nm as the first column"
            )
        raise HsisrError(
            f"response {name}: its table is for {len(table.values)} bands ({_span(table.wavelengths_nm)}) and the "
            f"scene has {bands}; choose {table.name}, which is resampled to the scene's wavelengths"
        )
    normalised: np.ndarray = table.values.T / table.values.sum(axis=0)[:, None]
    return normalised


def goes_by_index(name: str) -> bool:
    """Whether a response goes by the bands' numbers: `@index` says so, or its table has no wavelengths."""
    return name.endswith(BY_INDEX) or load_response(name).wavelengths_nm is None


def load_response(name: str) -> ResponseTable:
    """Read and return a response's table.

    name: one of RESPONSES, or a file; may end in `@index`. Raises HsisrError for an unknown name, and for a file that
    holds no response.
    """
    name = name.removesuffix(BY_INDEX)
    if own_files.is_file_name(name):
        return ResponseTable(name, *own_files.read_response(name), kind="own", source=name)
    check_response(name)
    return _load_packaged(name)


def check_response(name: str) -> None:
    """Raise HsisrError as `load_response`, without reading a table of the package. name: as there."""
    name = name.removesuffix(BY_INDEX)
    if own_files.is_file_name(name):
        own_files.read_response(name)
    elif name not in RESPONSES:
        raise HsisrError(
            f"unknown response {name!r}; {did_you_mean(name, RESPONSES)}choose one of {', '.join(RESPONSES)}, or a "
            f"file ({', '.join(own_files.RESPONSE_ENDINGS)})"
        )


@cache
def _load_packaged(name: str) -> ResponseTable:
    lines = (_FOLDER / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    comments = dict(line.lstrip("# ").split(": ", 1) for line in lines if line.startswith("#"))
    header, *rows = [line.split(",") for line in lines if not line.startswith("#")]
    table = np.array(rows, dtype=float)
    return ResponseTable(name, table[:, 0], tuple(header[1:]), table[:, 1:], comments["kind"], comments["source"])


def apply_response(matrix: np.ndarray, cube: np.ndarray) -> np.ndarray:
    """The guide (G, H, W), in the cube's type, that a response's `matrix` (G, B) makes from a `cube` (B, H, W).

    Raises HsisrError for a cube of other values than floats, and for shapes that do not fit.

    Example:

        >>> matrix, cube = np.full((1, 4), 0.25), np.ones((4, 8, 8))
        >>> degrade.apply_response(matrix, cube).shape
        (1, 8, 8)
    """
    cube = array_of("response: the cube", cube)
    if cube.ndim != 3 or np.shape(matrix)[1:] != cube.shape[:1] or not np.issubdtype(cube.dtype, np.floating):
        found = f"a matrix {np.shape(matrix)} and a cube of {cube.dtype} {cube.shape}"
        raise HsisrError(f"response: expected a matrix (G, B) and a cube of floats (B, H, W), got {found}")
    if cube.dtype == np.float64 and cube.flags.c_contiguous:  # nothing to convert
        whole: np.ndarray = (matrix @ cube.reshape(len(cube), -1)).reshape(-1, *cube.shape[1:])
        return whole
    guide = np.empty((len(matrix), *cube.shape[1:]), cube.dtype)
    for row in range(0, cube.shape[1], _ROWS):  # a few rows at a time in float64: rounds once, needs little memory
        block = cube[:, row : row + _ROWS].astype(np.float64)
        guide[:, row : row + _ROWS] = np.tensordot(matrix, block, axes=1)
    return guide


def spectral_mixup_matrix(wavelengths_nm: np.ndarray) -> np.ndarray:
    """Spectral Mixup's map from a sensor's bands to eight channels: (bands, 8), used as x[..., bands] @ V.

    wavelengths_nm: (bands,) centres of the bands.
    V = 0.008472997 * band spacing (nm) * CIE 1964 10-degree functions * RGB_TO_EIGHT; not normalised (columns sum to
    about 1). Equals the published 31 x 8 matrix for 400-700 nm by 10. Raises HsisrError for fewer than two bands,
    or bands that all lie outside 360-830 nm.

    Example:

        >>> degrade.spectral_mixup_matrix(np.linspace(400, 700, 31)).shape
        (31, 8)
    """
    centres = _check_bands(wavelengths_nm, "wavelengths_nm")
    if len(centres) < 2:
        raise HsisrError("spectral mixup matrix: one band has no spacing; expected two or more wavelengths")
    order = np.argsort(centres, kind="stable")
    spacing = np.empty_like(centres)
    spacing[order] = np.gradient(centres[order])
    matching = _interpolate(load_response(MIXUP_RESPONSE), centres).T
    if not matching.any():
        raise HsisrError(f"spectral mixup matrix: no band of {_span(centres)} lies in the visible range, 360-830 nm")
    mixed: np.ndarray = _MIXUP_GAIN_PER_NM * spacing[:, None] * (matching @ RGB_TO_EIGHT)
    return mixed


#: Rows that `apply_response` converts at a time.
_ROWS = 64


def _check_bands(values: np.ndarray, what: str, count: int | None = None) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    shape_is_right = values.ndim == 1 and len(values) > 0 and count in (None, len(values))
    if not shape_is_right or not np.isfinite(values).all() or not (values > 0).all():
        expected = "one or more" if count is None else str(count)
        raise HsisrError(f"{what}: expected {expected} positive numbers in nm, got an array of shape {values.shape}")
    return values


def _interpolate(table: ResponseTable, wavelengths_nm: np.ndarray) -> np.ndarray:
    assert table.wavelengths_nm is not None
    curves = [np.interp(wavelengths_nm, table.wavelengths_nm, curve, left=0, right=0) for curve in table.values.T]
    return np.array(curves)


def _band_average(table: ResponseTable, centres: np.ndarray, fwhm_nm: np.ndarray) -> np.ndarray:
    """Mean of the table under each band's Gaussian, sampled a hundredth of its width apart out to three sigma."""
    sigma = fwhm_nm / (2 * math.sqrt(2 * math.log(2)))
    steps = np.linspace(-3, 3, 257)
    weights = np.exp(-0.5 * steps**2)
    samples = _interpolate(table, centres[:, None] + sigma[:, None] * steps)
    means: np.ndarray = samples @ (weights / weights.sum())
    return means


def _span(wavelengths_nm: np.ndarray) -> str:
    return f"{wavelengths_nm.min():g}-{wavelengths_nm.max():g} nm"
