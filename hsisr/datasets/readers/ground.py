"""Where a raster lies: its CRS, and its transform or the affine transform through its ground control points."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.errors import HsisrError

#: Largest distance of a ground control point from the affine transform through all points, in pixels.
TOLERANCE_PX = 0.1
#: Fewest control points. An affine needs three numbers for each coordinate; one point more shows whether it fits.
_LEAST_POINTS = 4
#: A grid is upright if its turn moves no pixel by more than this, in pixels: control points are rounded.
_UPRIGHT_PX = 1e-3


@dataclass(frozen=True)
class Georeference:
    """crs: WKT. transform: affine. unused: in words, the file's georeference that no affine transform can express."""

    crs: str | None = None
    transform: tuple[float, ...] | None = None
    unused: str | None = None


def georeference(image: Any, tie: tuple[float, float] | None = None) -> Georeference:
    """The georeference of an open image of rasterio. tie: of an ENVI image, its tie point (column, row), from 0.

    Ground control points are used if an affine transform fits them within TOLERANCE_PX. A CRS of plain coordinates,
    such as ENVI's `Arbitrary` map info, does not count.
    """
    crs = _earthly(image.crs)
    if not image.transform.is_identity:
        place = tuple(number + 0.0 for number in tuple(image.transform)[:6])  # GDAL gives -0.0 for ENVI
        turned = place[1] != 0 or place[3] != 0
        return Georeference(crs, _about(tie, place) if turned and tie is not None else place)
    points, points_crs = image.gcps
    if points:
        transform, residual = affine_through(points)
        if transform is not None and residual <= TOLERANCE_PX:
            return Georeference(_earthly(points_crs), transform)
        apart = f", which no affine follows (up to {residual:.2f} pixels off)" if transform is not None else ""
        return Georeference(unused=f"{len(points)} ground control points{apart}")
    if image.rpcs is not None:
        return Georeference(unused="rational polynomials (RPCs)")
    if image.tags(ns="GEOLOCATION"):
        return Georeference(unused="a grid of places (geolocation arrays)")
    return Georeference(crs)


def _about(tie: tuple[float, float], transform: tuple[float, ...]) -> tuple[float, ...]:
    """The transform of an ENVI image, turned about its tie point (column, row).

    GDAL finds the origin as if the grid were upright, which is wrong for a tie point that is not the first pixel.
    """
    a, b, c, d, e, f = transform
    column, row = tie
    x, y = c + column * np.hypot(a, b), f - row * np.hypot(d, e)
    return a, b, float(x - a * column - b * row), d, e, float(y - d * column - e * row)


def as_told(path: Path, found: Georeference, crs: str | None, georeference: str | None) -> Georeference:
    """The georeference with the user's corrections. crs: replaces the file's. georeference: `none` removes it.

    Raises HsisrError for another word, and for an invalid CRS.
    """
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    if georeference not in (None, "none"):
        raise HsisrError(f"{path}: georeference={georeference}: expected none, or leave it out")
    if georeference == "none":
        return Georeference()
    if crs is None:
        return found
    try:
        return replace(found, crs=CRS.from_user_input(crs).to_wkt())
    except (CRSError, ValueError) as error:
        raise HsisrError(f"{path}: crs={crs}: not a CRS; expected one such as EPSG:32633") from error


def _earthly(crs: Any) -> str | None:
    if not crs:
        return None
    wkt = crs.to_wkt()
    return None if wkt.startswith(("LOCAL_CS", "ENGCRS", "ENGINEERINGCRS")) else wkt


def affine_through(points: list[Any]) -> tuple[tuple[float, ...] | None, float]:
    """The least-squares affine through control points, and the largest distance of a point from it in pixels."""
    places = np.array([(point.col, point.row, 1.0) for point in points])
    ground = np.array([(point.x, point.y) for point in points])
    middle = ground.mean(axis=0)
    if len(points) < _LEAST_POINTS or np.linalg.matrix_rank(places) < 3:
        return None, np.inf
    found = np.linalg.lstsq(places, ground - middle, rcond=None)[0]
    linear = found[:2]
    if abs(np.linalg.det(linear)) == 0:
        return None, np.inf
    apart = (ground - middle - places @ found) @ np.linalg.inv(linear)
    (a, d), (b, e), (c, f) = found
    width, height, _ = places.max(axis=0)
    if abs(b) * height < _UPRIGHT_PX * abs(a) and abs(d) * width < _UPRIGHT_PX * abs(e):
        b = d = 0.0
    transform = tuple(float(number) for number in (a, b, c + middle[0], d, e, f + middle[1]))
    return transform, float(np.abs(apart).max())
