"""Wavelengths, widths and bad bands from files: in any unit, which may stand apart, beside each number, or nowhere."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.errors import HsisrError, notice
from hsisr.limits import LEAST_PLAUSIBLE_NM, MOST_PLAUSIBLE_NM

#: Names of vectors that hold the centres and the widths of bands, as `plain_name` gives them.
CENTRES = (
    "wavelength", "wavelengths", "wavelengthnm", "wavelengthsnm", "centerwavelength", "centerwavelengths",
    "centralwavelength", "centralwavelengths", "centrewavelength", "bandcenter", "bandcenters", "bandcentres",
    "centers", "wl", "lambda", "bandwavelength", "bandwavelengths", "wavelengthcenter",
)  # fmt: skip
WIDTHS = ("fwhm", "fwhmnm", "bandwidth", "bandwidths", "fwhms")
_NM_PER_UNIT = {
    "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "um": 1e3, "micron": 1e3, "micrometer": 1e3, "micrometre": 1e3,
    "\u00b5m": 1e3, "\u03bcm": 1e3, "mm": 1e6, "millimeter": 1e6, "millimetre": 1e6, "cm": 1e7, "m": 1e9, "meter": 1e9,
    "metre": 1e9, "angstrom": 0.1, "\u00e5": 0.1, "\u212b": 0.1, "\u00e5ngstr\u00f6m": 0.1, "ang": 0.1,
}  # fmt: skip
#: Units that fall as wavelengths rise. A wavelength in nm is this constant divided by the number.
_NM_TIMES_UNIT = {
    "wavenumber": 1e7, "cm-1": 1e7, "cm^-1": 1e7, "1/cm": 1e7, "cm**-1": 1e7, "hz": 2.99792458e17,
    "mhz": 2.99792458e11, "ghz": 2.99792458e8, "thz": 2.99792458e5,
}  # fmt: skip
#: Words of files for an unknown unit.
_NO_UNIT = frozenset(("", "unknown", "none", "undefined", "unspecified", "n/a", "-"))
#: If a centre is more than this many times its width, the two have different units.
_SHARPEST = 1e4
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan)\s*(.*?)\s*$", re.IGNORECASE)
#: A band's description with its wavelength, such as `Band 3 (512.4 Nanometers)`.
_DESCRIBED = re.compile(
    r"(\d+(?:\.\d+)?)\s*(nm|nanomet(?:er|re)s?|um|[\u00b5\u03bc]m|micromet(?:er|re)s?|microns?)\b", re.IGNORECASE
)


def plain_name(name: str) -> str:
    """A name in small letters, without anything but letters and digits, to compare it."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_vector(shapes: Mapping[str, tuple[int, ...]], names: Sequence[str], bands: int) -> str | None:
    """Which variable holds a number for each of several bands and has one of these plain names; None without any.

    shapes: of all variables, by name. names: such as `CENTRES`.
    """
    vectors = [key for key, shape in shapes.items() if math.prod(shape) == max(shape, default=0) == bands > 1]
    return next((key for key in vectors if plain_name(key) in names), None)


def spectral_facts(
    path: Path, count: int, centres: Any = None, units: str = "", widths: Any = None, good: Any = None
) -> dict[str, np.ndarray | None]:
    """`wavelengths_nm`, `fwhm_nm` and `bad_bands` of a Scene of `count` bands; None for unknown ones.

    centres, widths: numbers, texts such as `512.4 nm`, or one text `{1, 2, ...}`. units: of both, in the file's words.
    good: ENVI's list of bad bands: above 0 where a band is good.
    Wavenumbers, frequencies and other units of length become nanometres. A band with wavelength 0 is bad. Numbers of
    another kind, such as an index, and impossible wavelengths are dropped, with a line for the user.
    Raises HsisrError for anything but numbers, and for another count than that of the bands.
    """
    bad = np.zeros(count, bool)
    if good is not None:
        flags, _ = numbers(path, good, "entries of the bad-band list", count)
        bad |= ~(flags > 0)
    found: dict[str, np.ndarray | None] = {"wavelengths_nm": None, "fwhm_nm": None, "bad_bands": None}
    if centres is None and widths is not None:
        found["fwhm_nm"] = _widths_nm(path, widths, count, None, None, units)
    if centres is not None:
        values, beside = numbers(path, centres, "wavelength values", count)
        used = np.isfinite(values) & (values > 0)
        nm = _in_nm(path, values, used, beside or units)
        if nm is not None:
            found["wavelengths_nm"] = nm
            bad |= ~used
            if not used.all():
                notice(f"{path}: {count - used.sum()} of its {count} bands have the wavelength 0; they are bad bands")
        if widths is not None and nm is not None:
            found["fwhm_nm"] = _widths_nm(path, widths, count, values, nm, beside or units)
    if bad.any():
        found["bad_bands"] = bad
    return found


def numbers(path: Path, values: Any, what: str, count: int) -> tuple[np.ndarray, str]:
    """`count` numbers, float64, and the unit beside them (empty without one).

    values: numbers, texts, or one text with commas or blanks between the numbers, with or without braces. A comma too
    many at the end is allowed. Raises HsisrError for anything else.
    """
    if isinstance(values, bytes):
        values = values.decode("utf-8", "replace")
    if isinstance(values, str):
        inside = values.strip().strip("{}[]()").strip()
        values = inside.split(",") if "," in inside else inside.split()
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in np.ravel(values)]
    while words and not words[-1].strip():
        words.pop()
    matched = [_NUMBER.match(word) for word in words]
    for word, match in zip(words, matched, strict=True):
        if match is None:
            raise HsisrError(f"{path}: {what} must be numbers, not {word.strip()!r}")
    if len(words) != count:
        raise HsisrError(f"{path}: {len(words)} {what} for {count} bands")
    units = {match[2] for match in matched if match and match[2]}
    if len(units) > 1:
        raise HsisrError(f"{path}: {what} in different units: {', '.join(sorted(units))}")
    return np.array([float(match[1]) for match in matched if match]), next(iter(units), "")


def read_descriptions(descriptions: Sequence[str | None]) -> list[str] | None:
    """Wavelengths from bands' descriptions, as texts with units; None unless every band has exactly one."""
    found = [_DESCRIBED.findall(text or "") for text in descriptions]
    if not found or any(len(matches) != 1 for matches in found):
        return None
    return [" ".join(matches[0]) for matches in found]


def _plain(units: str) -> str:
    name = units.strip().strip("()[]").strip().lower()
    return name if name in _NM_PER_UNIT or name in _NM_TIMES_UNIT else name.rstrip("s")


def _in_nm(path: Path, values: np.ndarray, used: np.ndarray, units: str) -> np.ndarray | None:
    """The numbers in nanometres, 0 for unused bands; None, with a line, if they cannot be wavelengths."""
    name = _plain(units)
    if not used.any():
        notice(f"{path}: its wavelengths are all 0; they are left out")
        return None
    nm = np.where(used, values, 0.0)
    if name in _NM_PER_UNIT:
        nm = nm * _NM_PER_UNIT[name]
    elif name in _NM_TIMES_UNIT:
        nm[used] = _NM_TIMES_UNIT[name] / nm[used]
    elif name not in _NO_UNIT:
        notice(f"{path}: its wavelengths are given as {units.strip()!r}, which is no unit of length; they are left out")
        return None
    elif len(values) > 1 and np.array_equal(values, np.arange(len(values)) + values[0]) and values[0] in (0, 1):
        notice(f"{path}: its wavelengths are the bands' numbers; they are left out")
        return None
    elif np.median(nm[used]) <= LEAST_PLAUSIBLE_NM:  # micrometres: no optical sensor lies in between
        nm = nm * 1e3
    if nm[used].min() < LEAST_PLAUSIBLE_NM or nm[used].max() > MOST_PLAUSIBLE_NM:
        stated = f" {units.strip()}" if units.strip() else ""
        notice(
            f"{path}: its wavelengths, {values[used].min():g} to {values[used].max():g}{stated}, are none that an "
            "imaging sensor has; they are left out (give --read wavelengths_nm=... to set them)"
        )
        return None
    return nm


def _widths_nm(
    path: Path, widths: Any, count: int, centres: np.ndarray | None, nm: np.ndarray | None, units: str
) -> np.ndarray | None:
    """Band widths in nanometres. Their unit is that of the centres, unless the file states another."""
    values, beside = numbers(path, widths, "fwhm values", count)
    if not np.isfinite(values).all():
        raise HsisrError(f"{path}: fwhm values must be finite")
    if not (values > 0).any():
        return None
    name = _plain(beside or units)
    if name in _NM_PER_UNIT:
        return values * _NM_PER_UNIT[name]
    if centres is None or nm is None:
        return values
    if name in _NM_TIMES_UNIT:  # d(c / f) = c / f * df / f
        return np.where(centres > 0, nm * values / np.where(centres > 0, centres, 1), 0.0)
    return values * (1e3 if np.median(nm) / max(np.median(values), 1e-12) > _SHARPEST else 1.0)
