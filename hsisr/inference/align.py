"""Aligning a guide: reproject or resample it onto the LR image's grid, and measure how far it is displaced."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr import degrade
from hsisr.affine import Transform, apply, chain, finer, inverse
from hsisr.datasets.stacking import have_georeference
from hsisr.degrade import change, light
from hsisr.degrade.change import Change
from hsisr.degrade.displacement import Displacement, measure_by_views
from hsisr.degrade.estimation import estimate_footprint
from hsisr.degrade.light import LEAST_BANDS, MOST_LIGHT_CELLS, Light
from hsisr.degrade.registration import Registration, saturated_lr_pixels
from hsisr.degrade.sampling import interpolate_at
from hsisr.degrade.sensor import Footprint, whole_lr_pixels
from hsisr.degrade.view import MOST_CELLS, LowView, View, cells_of, low_view, view_beside, view_of
from hsisr.errors import HsisrError
from hsisr.inference.guide import Guide
from hsisr.inference.images import Source, spread_pieces
from hsisr.lazy_array import CutOut, LazyArray
from hsisr.missing import fill_invalid
from hsisr.models.windows import hr_spans
from hsisr.scene import Scene

#: A larger shift, as a part of an LR pixel, causes a warning.
WORTH_CORRECTING_LR_PX = 0.5
#: If the LR image leaves a larger part of the guide's variance unexplained, a guide that nothing explains causes a
#: warning; if it leaves a part larger still, a measured shift means nothing.
UNCLEAR, _UNRELATED = 0.1, 0.6
#: If it leaves a larger part, changed ground may be the reason, and is looked for.
_CLEAR = 0.02
#: If it leaves a larger part, a displacement from place to place may be the reason, and is looked for. It is one if it
#: leaves less than this share of that part; and none if it leaves so many times as much.
_STEADY, _BETTER, _WORSE = 0.01, 0.5, 1.5
#: Side, in LR pixels, of the window in which a shift is measured, and number of places tried along an axis.
_WINDOW_LR_PX, _PLACES = 128, 3
#: Guide pixels, and LR pixels, around the LR image that warping may read.
_AROUND_PX, _AROUND_LR_PX = 16, 2
#: Used for both images if neither has a CRS: the warper needs one, and the same one changes nothing.
_ANY_CRS = "EPSG:3857"
#: Bytes of both images in one comparison.
_STRIP_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Offset:
    """Distance between LR image and guide: shift_px (rows, columns) in guide pixels; unexplained part as measured.

    changed: the part, 0 to 1, of the place that did not count, as the guide shows other ground there.
    """

    shift_px: tuple[float, float]
    scale: int
    unexplained: float
    changed: float = 0.0

    @property
    def trusted(self) -> bool:
        """Whether the two images are similar enough for a meaningful shift."""
        return self.unexplained < _UNRELATED

    @property
    def lr_px(self) -> float:
        """The larger component of the shift, in LR pixels."""
        return max(map(abs, self.shift_px)) / self.scale

    def __str__(self) -> str:
        rows, columns = (round(shift / self.scale, 2) + 0.0 for shift in self.shift_px)  # + 0.0 turns -0.0 into 0.0
        return f"{rows:+.2f} rows, {columns:+.2f} columns of the LR image"


def resample(lr: Source, guide: Source, scale: int, folder: Path) -> Guide:
    """The guide, warped by windows onto a grid `scale` times finer than that of the LR image.

    If both images have a georeference, it decides; else the guide is stretched to the same ground. Interpolation is
    cubic convolution, which averages where the guide is finer than the grid. folder: for a copy of the guide that GDAL
    can read. Raises HsisrError if the two have no ground in common.
    """
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    from hsisr.datasets.readers.images import quiet_gdal
    from hsisr.datasets.writers import export

    low, sharp = lr.scene, guide.scene
    rows, columns = (scale * size for size in low.shape[1:])
    if not have_georeference(low, sharp):
        low = replace(low, crs=_ANY_CRS, transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
        step = (low.shape[2] / sharp.shape[2], low.shape[1] / sharp.shape[1])
        sharp = replace(sharp, crs=_ANY_CRS, transform=(step[0], 0.0, 0.0, 0.0, -step[1], 0.0))
    elif low.crs is None:
        low, sharp = replace(low, crs=_ANY_CRS), replace(sharp, crs=_ANY_CRS)
    sharp = _cut_around(low, sharp)
    copy = export(replace(sharp, bad_bands=None, labels=None, guide=None), folder / "guide.tif", "geotiff")
    assert low.transform is not None
    target = finer(low.transform, scale)
    with quiet_gdal():
        image = WarpedVRT(
            rasterio.open(copy), crs=low.crs, transform=rasterio.Affine(*target), width=columns, height=rows,
            dtype="float32", nodata=np.nan, src_nodata=sharp.nodata, resampling=Resampling.cubic,
            **_warped_per_pixel(low, sharp, target, (rows, columns)),
        )  # fmt: skip
    scene = replace(sharp, stored=_Warped(image), crs=low.crs, transform=target, nodata=np.nan, mask=None, labels=None)
    warped = replace(guide, scene=scene)
    if not _overlaps(lr.scene, scene, image):
        raise HsisrError(f"{guide.label}: has no ground in common with {lr.label}")
    return Guide(warped, (0, 0), (rows, columns))


def share_without_data(lr: Source, guide: Guide, scale: int) -> float:
    """The part, 0 to 1, of the LR image's valid ground without data in its guide, from windows spread over it.

    A stand-in for the guide counts as no data.
    """
    seen = common = 0
    for rows, columns in lr.samples(scale):
        known, both = _pixels_with_data(lr, guide, scale, rows, columns)
        seen += int(known.sum())
        common += int(both.sum())
    return (seen - common) / max(seen, 1)


def lacks_data(lr: Source, guide: Guide, scale: int) -> np.ndarray:
    """LR pixels (h, w) in which half of the guide's pixels, or more, have no data; reads the guide by strips."""
    plain = replace(guide, own=None)
    strips = []
    for rows in _strips(lr, guide, scale, 1):
        valid = plain.window(*hr_spans(rows, (0, lr.shape[2]), scale))[1]
        strips.append(valid.reshape(-1, scale, lr.shape[2], scale).mean(axis=(1, 3)) <= 0.5)
    return np.concatenate(strips)


def have_common_data(lr: Source, guide: Guide, scale: int) -> bool:
    """Whether any pixel has data in both images; reads them by strips up to the first such pixel."""
    columns = (0, lr.shape[2])
    return any(_pixels_with_data(lr, guide, scale, rows, columns)[1].any() for rows in _strips(lr, guide, scale, 1))


def _pixels_with_data(
    lr: Source, guide: Guide, scale: int, rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """HR pixels of LR rows and columns with data in the LR image, and those with data in the guide itself too."""
    known = lr.window(rows, columns, slice(0, 1))[1].repeat(scale, axis=0).repeat(scale, axis=1)
    return known, known & replace(guide, own=None).window(*hr_spans(rows, columns, scale))[1]


def measure(lr: Source, guide: Guide, scale: int) -> Offset | None:
    """The shift between LR image and guide, in the place where both are most complete, on ground that both show.

    None if no place has enough detail or enough valid pixels.
    """
    pair = _most_complete(lr, guide, scale)
    if pair is None:
        return None
    _, found, changed = _on_common_ground(pair, scale)
    return None if found is None else Offset(found.shift_px, scale, found.unexplained, changed)


def _on_common_ground(pair: degrade.Pair, scale: int) -> tuple[degrade.Pair, Registration | None, float]:
    """A pair whose mask leaves out changed ground, if the rest fits better; its registration; the part that changed.

    A cloud or other ground in the guide would be taken for a shift and a wide PSF.
    """
    found = _registered(pair)
    if found is None:
        return pair, None, 0.0
    assert pair.guide is not None and pair.mask is not None
    # what saturates did not count, and may be a cloud
    saturated = saturated_lr_pixels(pair.lr, pair.guide, scale, pair.mask).mean() > _CLEAR
    if found.unexplained <= _CLEAR and not saturated:
        return pair, found, 0.0
    try:
        seen = change.find_change(view_of(pair.lr, pair.guide, scale, pair.mask, fine=True))
    except HsisrError:  # no detail
        return pair, found, 0.0
    from scipy.ndimage import binary_dilation

    changed, side = seen.changed | seen.exposed, scale * seen.cell
    if not changed.any():
        return pair, found, 0.0
    around: np.ndarray = binary_dilation(changed, np.ones((3, 3), bool))
    left_out = around.repeat(side, axis=0).repeat(side, axis=1)
    mask = pair.mask.copy()
    mask[: left_out.shape[0], : left_out.shape[1]] &= ~left_out
    steady = replace(pair, mask=mask)
    again = _registered(steady)
    if again is not None and again.unexplained < found.unexplained:
        return steady, again, float(changed.mean())
    return pair, found, float(changed.mean()) if saturated else 0.0


def _registered(pair: degrade.Pair) -> Registration | None:
    """The registration of a pair; None if it is too small or has no detail."""
    try:
        return degrade.registration(pair)
    except HsisrError:
        return None


def measure_displacement(lr: Source, guide: Guide, scale: int, model: str) -> Displacement | None:
    """The guide's displacement from place to place, read by strips. model: `field` or `affine`.

    None if the two images have too little in common, or are too small.
    """
    try:
        low = _low_view(lr, guide, scale)
        return measure_by_views(
            lambda displacement: _view(low, lr, guide.displace(displacement), scale), _size(lr), scale, model
        )
    except HsisrError:  # the image is too small or has no detail
        return None


def is_worse(after: Offset | None, before: Offset | None) -> bool:
    """Whether a displaced guide is explained worse than it was as it lay, but for a shift and the footprint's form.

    A displacement is measured with a usual footprint, and may imitate another.
    """
    if after is None or before is None:
        return False
    return before.trusted and after.unexplained > _WORSE * before.unexplained


def find_field(lr: Source, guide: Guide, scale: int, offset: Offset) -> Displacement | None:
    """The field by which a guide lies off, in the place where both are most complete; None if none explains more.

    offset: as measured there.
    """
    pair = _most_complete(lr, guide, scale) if offset.unexplained > _STEADY else None
    if pair is None or pair.guide is None or pair.mask is None:
        return None
    try:
        found = degrade.measure_displacement(pair.lr, pair.guide, scale, pair.mask)
    except HsisrError:  # too small, or without detail
        return None
    moved, inside = interpolate_at(pair.guide, pair.mask, found.places(*((0, size) for size in pair.mask.shape)))
    valid = whole_lr_pixels(inside, scale).repeat(scale, axis=0).repeat(scale, axis=1)
    after = _registered(replace(pair, guide=moved, mask=valid))
    is_one = found.is_evident and after is not None and after.unexplained < _BETTER * offset.unexplained
    return found if is_one else None


def find_change(lr: Source, guide: Guide, scale: int) -> Change:
    """Where the guide shows other ground than the LR image; nowhere, if they share no valid pixel."""
    try:
        return change.find_change(_view(_low_view(lr, guide, scale), lr, guide, scale, fine=True))
    except HsisrError:
        none = np.zeros(_size(lr), np.float32)
        return Change(none, np.zeros((guide.channels, lr.shape[0])), np.zeros(guide.channels), 1)


def measure_light(lr: Source, guide: Guide, scale: int) -> Light | None:
    """The light of a guide beside that of the LR image, read by strips; None if it is the same, or not evident."""
    if lr.shape[0] < LEAST_BANDS:  # nothing would be evident: do not read the images
        return None
    try:
        return light.measure_light(_view(_low_view(lr, guide, scale, MOST_LIGHT_CELLS), lr, guide, scale))
    except HsisrError:  # they share no valid pixel
        return None


def _size(lr: Source) -> tuple[int, int]:
    return lr.shape[1], lr.shape[2]


def _low_view(lr: Source, guide: Guide, scale: int, most: int = MOST_CELLS) -> LowView:
    """The view of the LR image in at most so many cells a side, read by strips."""
    columns = (0, lr.shape[2])
    spans = _strips(lr, guide, scale, cells_of(_size(lr), most))
    return low_view(lambda: (lr.window(rows, columns) for rows in spans), _size(lr), most)


def _view(low: LowView, lr: Source, guide: Guide, scale: int, fine: bool = False) -> View:
    """The view of both images. The guide is read by strips. fine: as for `view_beside`."""
    columns = (0, lr.shape[2])
    spans = [hr_spans(rows, columns, scale) for rows in _strips(lr, guide, scale, low.cell)]
    return view_beside(low, lambda: (guide.window(*place) for place in spans), scale, fine)


def _strips(lr: Source, guide: Guide, scale: int, cell: int) -> list[tuple[int, int]]:
    """The strips of LR rows to read one after the other, in whole cells of `cell` x `cell` LR pixels."""
    height, width = _size(lr)
    step = max(1, _STRIP_BYTES // (4 * cell * width * (lr.shape[0] + guide.channels * scale**2))) * cell
    return [(first, min(first + step, height)) for first in range(0, height, step)]


def measure_footprint(lr: Source, guide: Guide, scale: int) -> Footprint | None:
    """The weights of the guide's pixels in an LR pixel, measured on the ground of a shift; None without a place."""
    pair = _most_complete(lr, guide, scale)
    if pair is None:
        return None
    pair, found, _ = _on_common_ground(pair, scale)
    assert pair.guide is not None
    return estimate_footprint(pair.lr, pair.guide, scale, pair.mask, found)


def _most_complete(lr: Source, guide: Guide, scale: int) -> degrade.Pair | None:
    """LR image, guide and mask in the place with most pixels valid in both; None if there is no such place."""
    best: tuple[float, Any, Any] = (0.0, None, None)
    for rows in spread_pieces(lr.scene.shape[1], _PLACES, _WINDOW_LR_PX):
        for columns in spread_pieces(lr.scene.shape[2], _PLACES, _WINDOW_LR_PX):
            share = _both_valid(lr, guide, scale, rows, columns).mean()
            if share > best[0]:
                best = (share, rows, columns)
    if best[1] is None:
        return None
    rows, columns = best[1:]
    low, low_valid = lr.window(rows, columns)
    sharp, sharp_valid = guide.window(*hr_spans(rows, columns, scale))
    mask = _both_valid(lr, guide, scale, rows, columns).repeat(scale, axis=0).repeat(scale, axis=1)
    return degrade.Pair(fill_invalid(low, low_valid), fill_invalid(sharp, sharp_valid), None, mask, {"scale": scale})


class _Warped(LazyArray):
    """A warped raster."""

    def __init__(self, image: Any) -> None:
        self._image = image
        self.shape = (image.count, image.height, image.width)
        self.dtype = np.dtype(np.float32)

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of a window, warped while they are read."""
        from rasterio.windows import Window

        from hsisr.datasets.readers.damage import damage
        from hsisr.datasets.readers.images import quiet_gdal

        indexes = [index + 1 for index in range(bands.start, bands.stop, bands.step)]
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        with quiet_gdal(), damage(Path(self._image.name), "warped guide"):
            return self._image.read(indexes, window=window)


def _cut_around(low: Scene, sharp: Scene) -> Scene:
    """The part of the guide on, and a little around, the LR image's ground; the whole guide if this is unknown."""
    from rasterio.warp import transform_bounds

    assert low.transform is not None and sharp.transform is not None  # both have a place by now
    _, rows, columns = low.shape
    corners = [apply(low.transform, column, row) for column in (0, columns) for row in (0, rows)]
    (left, right), (bottom, top) = ((min(axis), max(axis)) for axis in zip(*corners, strict=True))
    box = transform_bounds(low.crs, sharp.crs, left, bottom, right, top)
    if not np.isfinite(box).all():
        return sharp
    places = np.array([apply(inverse(sharp.transform), x, y) for x in (box[0], box[2]) for y in (box[1], box[3])])
    around = _AROUND_PX + _AROUND_LR_PX * max(np.ptp(places, axis=0) / (columns, rows))
    first = np.floor(places.min(axis=0) - around).clip(0).astype(int)
    last = np.minimum(np.ceil(places.max(axis=0) + around), (sharp.shape[2], sharp.shape[1])).astype(int)
    if (last <= first).any():
        return sharp
    (column, row), (last_column, last_row) = first.tolist(), last.tolist()
    mask = None if sharp.mask is None else sharp.mask[row:last_row, column:last_column]
    part = CutOut(sharp.stored, (row, last_row), (column, last_column))
    place = chain(sharp.transform, (1.0, 0.0, column, 0.0, 1.0, row))
    return replace(sharp, stored=part, mask=mask, labels=None, transform=place)


def _warped_per_pixel(low: Scene, sharp: Scene, target: Transform, size: tuple[int, int]) -> dict[str, float]:
    """How many warped pixels, on a grid of rows x columns, lie along a guide's pixel, in GDAL's words.

    GDAL's own estimate compares boxes around both images. So it blurs a guide that is turned against the LR image.
    """
    from rasterio.warp import transform

    assert sharp.transform is not None
    row, column = (count / 2 for count in size)
    points = [apply(target, *place) for place in ((column, row), (column + 1, row), (column, row + 1))]
    coordinates = transform(low.crs, sharp.crs, *zip(*points, strict=True))
    middle, *beside = (apply(inverse(sharp.transform), x, y) for x, y in zip(*coordinates, strict=True))
    along, down = np.hypot(*(np.array(beside) - middle))
    return {"XSCALE": 1 / along, "YSCALE": 1 / down} if np.isfinite([along, down]).all() and along * down else {}


def _overlaps(low: Scene, warped: Scene, image: Any) -> bool:
    """Whether a coarse version of the warped guide has any data."""
    rows, columns = (min(size, 256) for size in warped.shape[1:])
    return bool(np.isfinite(image.read(1, out_shape=(rows, columns))).any())


def _both_valid(lr: Source, guide: Guide, scale: int, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    low = lr.window(rows, columns)[1]
    place = hr_spans(rows, columns, scale)
    _, sharp, changed = guide.show(*place)
    return low & whole_lr_pixels(sharp if changed is None else sharp & (changed == 0), scale)
