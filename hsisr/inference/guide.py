"""The guide on the LR image's ground: whether the two cover the same place, and reading one where the other lies."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hsisr.affine import Transform, apply, chain, inverse
from hsisr.datasets.stacking import have_georeference
from hsisr.degrade.displacement import Displacement
from hsisr.degrade.light import Light
from hsisr.degrade.sampling import SPLINE_REACH, cubic_kernel, interpolate_at
from hsisr.errors import HsisrError, option
from hsisr.inference.images import Source
from hsisr.inference.own_detail import OwnDetail, places_of
from hsisr.scene import Scene

#: Guide pixels that grids may lie apart and still count as the same; more is resampled under --align.
TOLERANCE_PX = 0.1
#: Relative difference of a ratio of pixel sizes from a whole number that counts as none.
_RATIO_TOLERANCE = 2e-3


@dataclass(frozen=True, eq=False)
class Guide:
    """A guide whose pixels are `scale` times as fine as the LR image's and lie on its grid.

    offset_px: row and column of the guide at the LR image's first corner. ground_px: (rows, columns) of the LR image's
    ground in guide pixels. shift_px: how far the guide is moved, in its pixels: what it shows at (row, column) is
    taken from (row, column) + shift. displacement: the same from place to place, in place of a shift.
    own: what stands in for it where it is not to be trusted. light: its light, which is evened out.
    """

    source: Source
    offset_px: tuple[int, int]
    ground_px: tuple[int, int]
    shift_px: tuple[float, float] = (0.0, 0.0)
    displacement: Displacement | None = None
    own: OwnDetail | None = None
    light: Light | None = None

    @property
    def lies_elsewhere(self) -> bool:
        """Whether it is moved, so that at the border it may lack pixels."""
        return any(self.shift_px) or self.displacement is not None

    @property
    def as_it_lies(self) -> "Guide":
        """The guide where it lies itself: not moved, in its own light, and with nothing in its stead."""
        return replace(self, shift_px=(0.0, 0.0), displacement=None, own=None, light=None)

    @property
    def place(self) -> tuple[Any, Transform] | None:
        """CRS and transform of its pixels from the LR image's first corner on; None if it says nothing of its place."""
        scene = self.source.scene
        if scene.transform is None:
            return None
        row, column = self.offset_px
        return scene.crs, chain(scene.transform, (1.0, 0.0, column, 0.0, 1.0, row))

    @property
    def channels(self) -> int:
        """Good bands of the guide."""
        return self.source.shape[0]

    @property
    def coverage(self) -> float:
        """Part of the LR image's ground that lies inside the guide, 0 to 1."""
        parts = []
        for offset, ground, size in zip(self.offset_px, self.ground_px, self.source.scene.shape[1:], strict=True):
            parts.append(max(0, min(offset + ground, size) - max(offset, 0)) / ground)
        return parts[0] * parts[1]

    def move(self, shift_px: tuple[float, float]) -> "Guide":
        """The guide, moved by a measured shift; see `hsisr.degrade.registration` for its sign."""
        return replace(self, shift_px=shift_px)

    def displace(self, displacement: Displacement | None) -> "Guide":
        """The guide, moved from place to place; None: as it lies."""
        return replace(self, displacement=displacement)

    def window(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Values (G, n, m) and valid pixels (n, m) of rows and columns counted from the LR image's first corner."""
        return self.show(rows, columns)[:2]

    def show(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """As `window`; and how much (n, m) of it a stand-in shows, 0 to 1, or None: nothing stands in for the guide."""
        values, valid = self._window(rows, columns)
        if self.own is None and self.light is None:
            return values, valid, None
        places = places_of(rows, columns)
        values = self.evened(values, places)
        if self.own is None:
            return values, valid, None
        share = np.maximum(self.own.share_at(places), ~valid)
        return *self.own.put_into(values, valid, share, rows, columns), share

    def evened(self, values: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Its values (G, n, m) in the usual light and exposure. places: (2, n, m), rows and columns as of `window`."""
        if self.light is not None:
            values = self.light.evened(values, places)
        return values if self.own is None else self.own.evened(values, places)

    def _window(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        if self.displacement is not None:
            return self._displaced_window(self.displacement, rows, columns)
        if self.shift_px == (0.0, 0.0):
            return self.source.window(*_move(rows, columns, self.offset_px))
        whole = tuple(math.floor(shift) for shift in self.shift_px)
        start = tuple(offset + step - 1 for offset, step in zip(self.offset_px, whole, strict=True))
        wide = ((rows[0], rows[1] + 3), (columns[0], columns[1] + 3))
        values, valid = self.source.window(*_move(*wide, start))
        for axis, (shift, step) in enumerate(zip(self.shift_px, whole, strict=True)):
            values, valid = _between_pixels(values, valid, shift - step, axis)
        return values, valid

    def _displaced_window(
        self, displacement: Displacement, rows: tuple[int, int], columns: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        places = displacement.places(rows, columns)
        wide = [(math.floor(axis.min()) - SPLINE_REACH, math.ceil(axis.max()) + SPLINE_REACH + 1) for axis in places]
        span_rows, span_columns = _move(wide[0], wide[1], self.offset_px)
        values, valid = self.source.window(span_rows, span_columns)
        return interpolate_at(values, valid, places - np.array([span[0] for span in wide])[:, None, None])


def fit(lr: Source, guide: Source, scale: int) -> Guide:
    """The guide, on the LR image's grid at this scale, by georeference where both have one, else by size.

    Raises HsisrError, in one line that says what to do: CRS that differ, no common ground, a ratio of pixel sizes that
    is not the scale, grids that are turned or lie beside each other, sizes that do not fit.
    """
    low, sharp = lr.scene, guide.scene
    ground = (low.shape[1] * scale, low.shape[2] * scale)
    if have_georeference(low, sharp):
        return _fit_by_georeference(lr, guide, scale, ground)
    if sharp.shape[1] < low.shape[1] and sharp.shape[2] < low.shape[2]:
        raise HsisrError(_say_swapped(lr, guide, (sharp.shape[1] / low.shape[1], sharp.shape[2] / low.shape[2])))
    if sharp.shape[1:] != ground:
        raise HsisrError(
            f"{guide.label}: {sharp.shape[1]} x {sharp.shape[2]} pixels, expected {ground[0]} x {ground[1]}, "
            f"{scale} times those of {lr.label}, as they have no georeference in common; crop them to the same "
            f"ground, or let {option('align', True)} stretch the guide to it"
        )
    return Guide(guide, (0, 0), ground)


def in_one_crs(lr: Source, guide: Source, warn: Callable[[str], None]) -> tuple[Source, Source]:
    """Both images, one without a CRS in that of the other, where its coordinates meet the other's ground.

    warn: receives the line that says so. Raises HsisrError, by name, for an image whose place is given in a way that is
    not used (control points that follow no affine, RPCs), and for one without a CRS that lies elsewhere.
    """
    for image in (lr, guide):
        unused = image.scene.provenance.get("georeference")
        if unused:
            option = "--read" if image is lr else "--read-guide"
            raise HsisrError(
                f"{image.label}: says where it lies by {unused}; warp it to a grid first (gdalwarp), or, if both "
                f"images cover the same ground, leave that out with {option} georeference=none"
            )
    low, sharp = lr.scene, guide.scene
    if low.transform is None or sharp.transform is None or (low.crs is None) == (sharp.crs is None):
        return lr, guide
    lacking, other = (lr, guide) if low.crs is None else (guide, lr)
    if not _meet(_box(low), _box(sharp)):
        option = "--read" if lacking is lr else "--read-guide"
        raise HsisrError(
            f"{lacking.label}: has coordinates ({_extent(lacking.scene)}) but no CRS, and they do not meet those of "
            f"{other.label} ({_extent(other.scene)}); give its CRS with {option} crs=EPSG:..., or leave its "
            "coordinates out with georeference=none"
        )
    warn(f"{lacking.label}: has coordinates but no CRS; it is taken to lie in that of {other.label}")
    placed = replace(lacking, scene=replace(lacking.scene, crs=other.scene.crs))
    return (placed, guide) if lacking is lr else (lr, placed)


def drop_constant_channels(guide: Source, warn: Callable[[str], None]) -> Source:
    """The guide without channels that are the same number everywhere; they hold no detail.

    warn: receives a line for them. A guide of nothing else stays as it is.
    """
    flat = guide.flat_bands
    if not len(flat):
        return guide
    told = ", ".join(str(number) for number, band in zip(guide.numbers, guide.good, strict=True) if band in flat)
    if len(flat) == guide.shape[0]:
        warn(f"{guide.label}: is the same number everywhere; it holds no detail, and the result is interpolated")
        return guide
    warn(f"{guide.label}: its band {told} (from 0) is the same number everywhere; it is left out")
    bad = np.zeros(guide.scene.shape[0], bool)
    bad[np.setdiff1d(np.arange(len(bad)), guide.good)] = True
    bad[flat] = True
    return replace(guide, scene=replace(guide.scene, bad_bands=bad))


def scale_between(lr: Source, guide: Source, align: bool = False) -> int:
    """How many times as fine the guide's pixels are, a whole number. Raises HsisrError if there is none.

    align: whether the guide is to be resampled, so that all that is missing is the scale.
    """
    low, sharp = lr.scene, guide.scene
    if have_georeference(low, sharp):
        if align and not same_crs(low, sharp):
            raise HsisrError(
                f"{guide.label}: lies in {_crs_name(sharp)}, {lr.label} in {_crs_name(low)}, where their pixels "
                "cannot be compared; give --scale, to which --align resamples the guide"
            )
        _check_crs(lr, guide, f", to the scale of {option('scale')}")
        ratios = _ratios(relation(low, sharp))
    else:
        ratios = sharp.shape[1] / low.shape[1], sharp.shape[2] / low.shape[2]
    scale = round(ratios[0])
    if scale < 1 or any(abs(ratio / max(scale, 1) - 1) > _RATIO_TOLERANCE for ratio in ratios):
        if max(ratios) < 1:
            raise HsisrError(_say_swapped(lr, guide, ratios))
        what = (
            f"give {option('scale')}, to which {option('align', True)}"
            if align
            else f"give {option('scale')}, and {option('align', True)} to"
        )
        raise HsisrError(
            f"{guide.label}: its pixels are {_number(ratios)} times as fine as those of {lr.label}, not a whole number "
            f"of times; {what} resample{'s' if align else ''} the guide{'' if align else ' to it'}"
        )
    if scale == 1:
        raise HsisrError(
            f"{guide.label}: its pixels are as large as those of {lr.label}; a guide is a sharper image, of pixels at "
            "least twice as fine"
        )
    return scale


def relation(lr: Scene, guide: Scene) -> Transform:
    """From (column, row) of the LR image to those of the guide."""
    assert guide.transform is not None and lr.transform is not None
    return chain(inverse(guide.transform), lr.transform)


def same_crs(first: Scene, second: Scene) -> bool:
    """Whether two scenes lie in the same CRS, however it is written."""
    from rasterio.crs import CRS

    if first.crs is None or second.crs is None:
        return first.crs is second.crs
    return CRS.from_user_input(first.crs) == CRS.from_user_input(second.crs)


def _fit_by_georeference(lr: Source, guide: Source, scale: int, ground: tuple[int, int]) -> Guide:
    _check_crs(lr, guide)
    place = relation(lr.scene, guide.scene)
    ratios = _ratios(place)
    if max(ratios) < 1:
        raise HsisrError(_say_swapped(lr, guide, ratios))
    if any(abs(ratio / scale - 1) > _RATIO_TOLERANCE for ratio in ratios):
        raise HsisrError(
            f"{guide.label}: its pixels are {_number(ratios)} times as fine as those of {lr.label}, expected {scale}; "
            f"use a model of that scale, or {option('align', True)} to resample the guide to scale {scale}"
        )
    corners = [(y, x) for y in (0, ground[0]) for x in (0, ground[1])]
    exact = [_guide_pixel(place, y / scale, x / scale) for y, x in corners]
    offset = (round(exact[0][0]), round(exact[0][1]))
    apart = max(
        max(abs(y - offset[0] - row), abs(x - offset[1] - column))
        for (y, x), (row, column) in zip(exact, corners, strict=True)
    )
    if apart > TOLERANCE_PX:
        raise HsisrError(
            f"{guide.label}: its grid lies up to {apart:.2f} guide pixels beside that of {lr.label}, or is turned "
            f"against it; {option('align', True)} resamples the guide onto it"
        )
    found = Guide(guide, offset, ground)
    if found.coverage == 0:
        raise HsisrError(_say_apart(lr, guide))
    return found


def _check_crs(lr: Source, guide: Source, needed: str = "") -> None:
    """Raise HsisrError if two images lie in different CRS. needed: what else --align needs, for the message."""
    if not same_crs(lr.scene, guide.scene):
        raise HsisrError(
            f"{guide.label}: lies in {_crs_name(guide.scene)}, {lr.label} in {_crs_name(lr.scene)}; "
            f"{option('align', True)} reprojects the guide{needed}"
        )


def _crs_name(scene: Scene) -> str:
    from rasterio.crs import CRS

    crs = CRS.from_user_input(scene.crs)
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.to_wkt().split('"')[1]


def _ratios(place: Transform) -> tuple[float, float]:
    """Guide pixels per LR pixel along rows and along columns."""
    a, b, _, d, e, _ = place
    return math.hypot(b, e), math.hypot(a, d)


def _guide_pixel(place: Transform, row: float, column: float) -> tuple[float, float]:
    x, y = apply(place, column, row)
    return y, x


def _number(ratios: tuple[float, float]) -> str:
    rows, columns = (f"{ratio:.3f}".rstrip("0").rstrip(".") for ratio in ratios)
    return rows if rows == columns else f"{rows} (rows) and {columns} (columns)"


def _say_swapped(lr: Source, guide: Source, ratios: tuple[float, float]) -> str:
    return (
        f"{guide.label}: its pixels are {_number(ratios)} times as fine as those of {lr.label}, so coarser: "
        "the two seem to be swapped; the coarse image of many bands comes first, and the sharp one is --guide"
    )


def _say_apart(lr: Source, guide: Source) -> str:
    return (
        f"{guide.label}: covers {_extent(guide.scene)}, {lr.label} {_extent(lr.scene)}: they have no ground in common"
    )


def _box(scene: Scene) -> tuple[tuple[float, float], tuple[float, float]]:
    """Least and largest x, then y, of a scene."""
    assert scene.transform is not None
    height, width = scene.shape[1:]
    corners = [apply(scene.transform, *corner) for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    (x0, x1), (y0, y1) = ((min(values), max(values)) for values in zip(*corners, strict=True))
    return (x0, x1), (y0, y1)


def _meet(first: tuple[tuple[float, float], ...], second: tuple[tuple[float, float], ...]) -> bool:
    return all(a[0] < b[1] and b[0] < a[1] for a, b in zip(first, second, strict=True))


def _extent(scene: Scene) -> str:
    (x0, x1), (y0, y1) = _box(scene)
    return f"x {x0:.10g} to {x1:.10g}, y {y0:.10g} to {y1:.10g}"


def _move(
    rows: tuple[int, int], columns: tuple[int, int], by: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int]]:
    return (rows[0] + by[0], rows[1] + by[0]), (columns[0] + by[1], columns[1] + by[1])


def _between_pixels(values: np.ndarray, valid: np.ndarray, part: float, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys' cubic convolution at `part` (0 to 1) behind the second of every four neighbours along an axis."""
    taps = cubic_kernel(np.array([1 + part, part, 1 - part, 2 - part]))
    count = valid.shape[axis] - 3
    pieces = [_part(valid, axis, k, count) for k in range(4)]
    used = [piece for piece, tap in zip(pieces, taps, strict=True) if tap]
    total = sum(np.float32(tap) * _part(values, axis + 1, k, count) for k, tap in enumerate(taps) if tap)
    return np.asarray(total, np.float32), np.logical_and.reduce(used)


def _part(array: np.ndarray, axis: int, start: int, count: int) -> np.ndarray:
    return array.take(range(start, start + count), axis=axis)
