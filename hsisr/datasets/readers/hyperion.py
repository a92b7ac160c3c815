"""Reader of EO-1 Hyperion's radiance, level 1T or 1Gst: a folder of one GeoTIFF a band, or its archive.

Files are named `EO1H..._B008_L1T.TIF`. There are 242 bands; USGS calibrates 8 to 57 and 77 to 224. The text file
`*_MTL_L1T.TXT` states the divisor from stored numbers to W / (m2 sr um): 40 in bands 1 to 70, 80 in the others.
Centres and widths agree with USGS's table to within 0.1 nm. The swath lies askew in its image. Around it, all bands
hold 0, but the files do not declare this as nodata value.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers import packages, products
from hsisr.datasets.readers.packages import Package
from hsisr.datasets.readers.products import parameters
from hsisr.datasets.stacking import stack
from hsisr.errors import HsisrError, notice
from hsisr.scene import Scene

_BAND = re.compile(r"(?:.*/)?(EO1H[^/]*)_B(\d{3})_L1\w+\.TIFF?", re.IGNORECASE)
_VNIR_BANDS = 70
_CENTRES_NM = np.concatenate([np.linspace(355.59, 1057.68, _VNIR_BANDS), np.linspace(851.92, 2577.08, 172)])
#: Band -> width in nm where USGS's table bends; between these bands the width is nearly linear.
_WIDTHS_NM = {
    13: 11.39, 19: 11.11, 26: 10.47, 31: 10.29, 40: 10.72, 48: 11.29, 70: 11.28, 71: 11.05, 92: 11.03, 117: 10.68,
    127: 10.82, 148: 11.49, 156: 11.57, 164: 11.46, 180: 10.97, 190: 10.89, 212: 10.42, 216: 10.41,
}  # fmt: skip
_CALIBRATED = (*range(8, 58), *range(77, 225))


def matches(path: Path, head: bytes) -> bool:
    """True for a folder or an archive of Hyperion's bands."""
    return _product(path, head) is not None


def read(path: Path) -> Scene:
    """Scene of the available bands, by wavelength. Bands that are not calibrated are bad bands.

    Without the text file, stored numbers stay unchanged.
    Raises HsisrError if bands do not fit together.
    """
    found = _product(path, products.first_bytes(path))
    if found is None:
        raise HsisrError(f"{path}: no Hyperion product; expected a folder of EO1H..._B008_L1T.TIF and so on")
    package, files = found
    numbers = np.array(sorted(files))
    one_band = [products.raster(package, files[number]) for number in numbers]
    one_band = [replace(band, nodata=0.0 if band.nodata is None else band.nodata) for band in one_band]
    scene = stack(one_band, [str(package.place(files[number])) for number in numbers], one_band[0].name)
    good = np.isin(numbers, _CALIBRATED)
    widths = np.interp(numbers, list(_WIDTHS_NM), list(_WIDTHS_NM.values()))
    spectral = products.spectral(_CENTRES_NM[numbers - 1], widths, good)
    text = package.first(r".*_MTL_L1\w+\.TXT")
    stated = {} if text is None else parameters(package.text(text))
    factors = [stated.get(f"SCALING_FACTOR_{name}") for name in ("VNIR", "SWIR")]
    if all(factors):
        vnir, swir = (packages.number(package.place(text or ""), "SCALING_FACTOR", factor) for factor in factors)
        scales = 1 / np.where(numbers <= _VNIR_BANDS, vnir, swir)
        scene = products.scale_bands(path, scene, scales, np.zeros(len(numbers)))
    else:
        notice(f"{path}: has no file _MTL_L1T.TXT with its scaling factors; stored numbers stay as they are")
    scene = replace(scene, **spectral)
    return products.finish(path, products.in_order(scene), "Hyperion L1T", _time(stated))


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of it."""
    return products.describe(path, read)


def _time(stated: dict[str, str]) -> str | None:
    """Date and, if stated, time of the first line: `START_TIME` is a year, a day of the year and a time."""
    date, words = stated.get("ACQUISITION_DATE"), stated.get("START_TIME", "").split()
    return date if date is None or len(words) != 3 else f"{date}T{words[2]}"


def _product(path: Path, head: bytes) -> tuple[Package, dict[int, str]] | None:
    """The product's files, and number -> file of each band; None without one product."""
    found = products.numbered_bands(path, head, _BAND)
    if found is None:
        return None
    package, files = found
    files = {number: name for number, name in files.items() if 1 <= number <= len(_CENTRES_NM)}
    return (package, files) if files else None
