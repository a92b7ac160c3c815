"""Where a scene lies, and which values it holds, in words for `hsisr info`."""

import math
from typing import Any

import numpy as np

from hsisr.affine import apply
from hsisr.errors import HsisrError
from hsisr.scene import Scene

#: Most bytes of pixels that are read from a scene. A larger scene is read in strips from top to bottom.
_MOST_BYTES = 64 * 2**20
#: The number of strips.
_STRIPS = 16


def place(scene: Scene) -> dict[str, str]:
    """EPSG code with its name, pixel size and extent; empty for a scene without a georeference.

    The extent is the box around all corners, in the units of the CRS.
    """
    if scene.transform is None:
        return {}
    a, b, _, d, e, _ = scene.transform
    width, height = math.hypot(a, d), math.hypot(b, e)
    _, rows, columns = scene.shape
    corners = [apply(scene.transform, column, row) for column in (0, columns) for row in (0, rows)]
    (left, right), (bottom, top) = ((min(axis), max(axis)) for axis in zip(*corners, strict=True))
    code, unit = _system(scene.crs)
    return {
        **({"EPSG": code} if code else {}),
        "pixel size": f"{width:.7g} x {height:.7g}{f' {unit}' if unit else ''}",
        "extent": f"x {left:.10g} to {right:.10g}, y {bottom:.10g} to {top:.10g}",
    }


def values(scene: Scene) -> dict[str, str]:
    """Smallest and largest valid value. Of scenes above 64 MiB, only some rows are read; the text says how many."""
    height = scene.shape[1]
    spans = _spread_rows(scene)
    least, most = math.inf, -math.inf
    try:
        for rows in spans:
            block = scene.stored[:, rows, :]
            present = np.isfinite(block) if block.dtype.kind == "f" else np.ones(block.shape, bool)
            missing = scene.without_data(block)
            if missing is not None:
                present &= ~missing
            if scene.mask is not None:
                present &= np.asarray(scene.mask[rows], bool)
            if present.any():
                least, most = min(least, float(block[present].min())), max(most, float(block[present].max()))
    except HsisrError as error:
        return {"values": f"cannot be read: {error}"}
    looked_at = sum(rows.stop - rows.start for rows in spans)
    part = f", in {looked_at} of {height} rows" if looked_at < height else ""
    if least > most:
        return {"values": f"none: every pixel is missing{part}"}
    low, high = sorted(stored * scene.scale + scene.offset for stored in (least, most))
    return {"values": f"{low:.6g} to {high:.6g}{part}"}


def _spread_rows(scene: Scene) -> list[slice]:
    """All rows of a scene. For a larger scene, the allowed number of rows, in strips from top to bottom."""
    bands, height, width = scene.shape
    fitting = max(1, _MOST_BYTES // max(1, bands * width * np.dtype(scene.stored.dtype).itemsize))
    if fitting >= height:
        return [slice(0, height)]
    count = min(_STRIPS, fitting)
    length = fitting // count
    starts = np.linspace(0, height - length, count).astype(int)
    return [slice(start, start + length) for start in starts.tolist()]


def _system(crs: str | None) -> tuple[str, str]:
    """EPSG code with name, and the unit of coordinates; empty texts if unknown."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    if not crs:
        return "", ""
    try:
        known: Any = CRS.from_user_input(crs)
    except CRSError:
        return "", ""
    code, name = known.to_epsg(), known.to_dict(projjson=True).get("name")
    unit = "degrees" if known.is_geographic else known.linear_units
    return ", ".join(str(part) for part in (code, name) if part) if code else "", unit
