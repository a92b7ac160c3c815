"""A spectral response or a PSF of the user's own, read from a file and checked.

A response is a table with a row for each wavelength and a column for each channel. If the first column starts at 100 or
more and rises from row to row, it holds the wavelengths in nm. If not, the rows belong to the bands in order.
A PSF is an array of weights or a grey image. Both are normalised when they are used, so their unit does not matter.
"""

import csv
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.errors import HsisrError
from hsisr.limits import LEAST_PLAUSIBLE_NM

#: Endings of files that hold a response, and a PSF.
RESPONSE_ENDINGS = (".csv", ".txt", ".mat", ".npy")
PSF_ENDINGS = (*RESPONSE_ENDINGS, ".tif", ".tiff", ".png")

#: Names of columns that hold wavelengths.
_WAVELENGTHS = re.compile(r"\W*(wave|lambda|λ|wl\b|[nuµμ]m\b)", re.IGNORECASE)
#: Numbers that rise within these may be wavelengths in micrometres.
_MICROMETRES = (0.1, 30.0)


def is_file_name(value: Any) -> bool:
    """Whether the `value` of a setting names a file, as its ending shows, and not something that comes with hsisr.

    Example:

        >>> degrade.is_file_name("my_psf.npy"), degrade.is_file_name("nikon_d700")
        (True, False)
    """
    return isinstance(value, (str, os.PathLike)) and Path(value).suffix.lower() in PSF_ENDINGS


def read_response(path: str | os.PathLike[str]) -> tuple[np.ndarray | None, tuple[str, ...], np.ndarray]:
    """Read and return wavelengths in nm (n,) or None, names of the channels, and values (n, channels), >= 0.

    Raises HsisrError for a file that cannot be read or holds no such table.
    """
    path = Path(path)
    if path.suffix.lower() not in RESPONSE_ENDINGS:
        raise HsisrError(f"{path}: expected a table, {', '.join(RESPONSE_ENDINGS)}, a row a wavelength")
    names, table = _table(path)
    rows, columns = table.shape
    if columns > rows + 1:
        raise HsisrError(
            f"{path}: {rows} rows and {columns} columns; expected a row a wavelength or band and a column a channel: "
            "transpose it"
        )
    first = table[:, 0]
    steps = np.diff(first)
    rising = len(first) > 1 and bool((steps > 0).all())
    if len(first) > 2 and columns > 1 and first[0] in (0, 1) and (steps == 1).all():
        raise HsisrError(f"{path}: its first column counts the rows, from {first[0]:g} to {first[-1]:g}; leave it out")
    # weights may fall too, but not by the same step from row to row
    even = len(first) > 2 and steps[0] < 0 and np.allclose(steps, steps[0], rtol=1e-3)
    if (rising or even) and columns > 1 and _MICROMETRES[0] <= first.min() and first.max() <= _MICROMETRES[1]:
        raise HsisrError(
            f"{path}: its first column goes from {first[0]:g} to {first[-1]:g}, as wavelengths in micrometres do; "
            "give them in nm, or leave them out"
        )
    wavelengths = None
    if rising and first[0] >= LEAST_PLAUSIBLE_NM:
        wavelengths, names, table = first, names[1:], table[:, 1:]
    if not names:
        raise HsisrError(f"{path}: holds wavelengths only; add a column for each channel")
    text = path.suffix.lower() in (".csv", ".txt")
    if wavelengths is None and (text or even) and first.min() >= LEAST_PLAUSIBLE_NM:
        raise HsisrError(f"{path}: its first column, wavelengths in nm, must rise from row to row; sort the rows")
    for name, values in zip(names, table.T, strict=True):
        in_nm = len(values) > 2 and values[0] >= LEAST_PLAUSIBLE_NM and bool((np.diff(values) > 0).all())
        if in_nm or _WAVELENGTHS.match(name):
            raise HsisrError(
                f"{path}: {name} seems to hold wavelengths; only the first column may, in nm, rising from row to row"
            )
    _check_weights(path, table)
    empty = [name for name, total in zip(names, table.sum(axis=0), strict=True) if not total > 0]
    if empty:
        raise HsisrError(f"{path}: {empty[0]} is 0 everywhere; leave the column out")
    return wavelengths, names, table


def read_psf(path: str | os.PathLike[str]) -> np.ndarray:
    """Weights (rows, columns) >= 0, with sum 1, from the file at `path`, read as a correlation (`hsisr.degrade.psf`).

    Raises HsisrError if the file holds no PSF.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in PSF_ENDINGS:
        raise HsisrError(f"{path}: expected an array or an image, {', '.join(PSF_ENDINGS)}")
    weights = _table(path)[1] if ending in RESPONSE_ENDINGS else _grey(path)
    _check_weights(path, weights)
    total = weights.sum()
    if not total > 0:
        raise HsisrError(f"{path}: its weights are 0 everywhere; a PSF has a positive sum")
    normalised: np.ndarray = weights / total
    return normalised


def _table(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the columns, and the numbers (rows, columns) float64."""
    if not path.is_file():
        raise HsisrError(f"{path}: no such file; its path counts from the folder that the work is done in")
    if path.suffix.lower() in (".csv", ".txt"):
        return _text_table(path)
    from hsisr.datasets.readers import read_plane

    values = read_plane(path)
    if values.ndim != 2 or values.dtype.kind not in "buif":
        raise HsisrError(f"{path}: {values.dtype} {values.shape}; expected one array of numbers with two axes")
    return _number_columns(values.shape[1]), values.astype(float)


def _text_table(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HsisrError(f"{path}: cannot be read as text ({error}); save it as CSV") from None
    names: tuple[str, ...] | None = None
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        words = _words(line)
        if not any(words) or words[0].startswith("#"):
            continue
        numbers = [_number(word) for word in words]
        named = numbers == [None] * len(words) or (numbers[0] is None and words[0])
        if named and names is None and not rows:
            names = tuple(words)
            continue
        for column, value in enumerate(numbers, start=1):
            if value is None:
                found = repr(words[column - 1]) if words[column - 1] else "nothing"
                raise HsisrError(f"{path}: line {number} holds {found} in column {column}; expected a number")
        rows.append([value for value in numbers if value is not None])
        if len(rows[-1]) != len(rows[0]):
            raise HsisrError(f"{path}: line {number} has {len(rows[-1])} columns, the first one {len(rows[0])}")
    if not rows:
        raise HsisrError(f"{path}: holds no numbers")
    table = np.array(rows)
    if names is None or len(names) != table.shape[1]:
        names = _number_columns(table.shape[1])
    return names, table


def _words(line: str) -> list[str]:
    """The cells of a line, without quotes, and without a separator at its end."""
    # where the comma marks decimals, spreadsheets separate by `;` or tabs, or put numbers between quotes
    separator = next((mark for mark in ";\t" if mark in line and not re.search(rf",\s*{mark}", line)), None)
    if separator:
        cells = line.replace(",", ".").split(separator)
    elif '"' in line:
        cells = [re.sub(r"(?<=\d),(?=\d)", ".", cell) for cell in next(csv.reader([line], skipinitialspace=True))]
    else:
        cells = re.split(r"[,\t]", line) if re.search(r"[,\t]", line) else line.split()
    words = [cell.strip().strip("\"'").strip() for cell in cells]
    return words[:-1] if len(words) > 1 and not words[-1] else words


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _number_columns(columns: int) -> tuple[str, ...]:
    return tuple(f"column {number + 1}" for number in range(columns))


def _grey(path: Path) -> np.ndarray:
    """Read an image of one band, or of several equal bands."""
    from hsisr.datasets.readers import read_scene

    cube = read_scene(path).filled_cube
    if any(not np.array_equal(band, cube[0]) for band in cube[1:]):
        raise HsisrError(f"{path}: has {len(cube)} bands that differ; a PSF is a grey image")
    return np.asarray(cube[0], dtype=float)


def _check_weights(path: Path, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise HsisrError(f"{path}: holds NaN or infinity; expected weights >= 0")
    if values.min() < 0:
        raise HsisrError(f"{path}: holds negative weights, down to {values.min():g}; light only adds up: expected >= 0")
