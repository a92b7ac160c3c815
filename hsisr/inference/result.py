"""The result as a scene, stored like the input: georeference, wavelengths, nodata, scale; and its origin as tags."""

from dataclasses import replace
from typing import Any, Protocol

import numpy as np

import hsisr
from hsisr.affine import Transform, finer
from hsisr.degrade.displacement import Displacement
from hsisr.inference.feed import lr_pixels
from hsisr.inference.images import Source
from hsisr.lazy_array import LazyArray
from hsisr.scene import Scene

#: Bytes of float values that are converted to stored numbers at once.
_VALUES_BYTES = 16 * 2**20


class Estimates(Protocol):
    """The source of values: (good bands, n, m) float32 of HR rows and columns, NaN for missing ones."""

    def read(self, rows: slice, columns: slice) -> np.ndarray: ...


def result_scene(
    lr: Source,
    estimates: Estimates,
    scale: int,
    origin: dict[str, str],
    may_lack_pixels: bool = False,
    way: Displacement | None = None,
    place: tuple[Any, Transform] | None = None,
) -> Scene:
    """The super-resolved scene, lazy: type, scale, offset, nodata, wavelengths and bad bands as in the LR image.

    Half floats become single floats. The transform is that of the LR image, divided by the scale. origin: facts on how
    it was made, kept as provenance tags.
    may_lack_pixels: whether a mask or the guide can leave pixels without a value. If so, a scene without a nodata value
    gets one: NaN for floats, the type's smallest number for integers. way: from the result's pixels to their ground in
    the LR image, if the result lies on the guide's grid (`hsisr.inference.feed.Feed`). place: its CRS and transform, if
    not those of the LR image.
    """
    scene = lr.scene
    nodata = scene.nodata
    if nodata is None and may_lack_pixels:
        nodata = _spare(np.dtype(scene.stored.dtype))
    stored = ResultCube(lr, estimates, scale, nodata, way)
    finest = None if scene.transform is None else finer(scene.transform, scale)
    crs, transform = (scene.crs, finest) if place is None else place
    tags = dict(scene.provenance.get("tags", {})) | {"HSISR_VERSION": hsisr.__version__, **origin}
    bad = np.setdiff1d(np.arange(scene.shape[0]), lr.good)
    return replace(
        scene,
        stored=stored,
        crs=crs,
        transform=transform,
        nodata=nodata,
        bad_bands=np.isin(np.arange(scene.shape[0]), bad) if len(bad) else None,
        mask=None,
        labels=None,
        label_names=(),
        guide=None,
        provenance={**{k: v for k, v in scene.provenance.items() if k != "georeference"}, "tags": tags},
    )


def to_stored(
    values: np.ndarray, scale: float, offset: float, dtype: np.dtype, nodata: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Values as numbers of a stored type. Integers are rounded and cut to the type's range, NaN becomes nodata.

    A valid value equal to the nodata number becomes the next number, also of floats.
    values: (n, m). Returns the numbers, and how many of each row were cut.
    """
    missing = np.isnan(values)
    cut = np.zeros(len(values), int)
    if scale == 1.0 and offset == 0.0 and dtype == np.float32:
        stored = values.astype(dtype)
    else:
        numbers = (values.astype(np.float64) - offset) / scale
        if dtype.kind in "ui":
            limits = np.iinfo(dtype)
            numbers = np.rint(np.where(missing, 0, numbers))
            cut = ((numbers < limits.min) | (numbers > limits.max)).sum(axis=1)
            numbers = np.clip(numbers, limits.min, limits.max)
        stored = numbers.astype(dtype)
    if nodata is not None:
        marker = np.asarray(nodata).astype(dtype)
        stored[stored == marker] = _beside(marker)
        stored[missing] = marker
    return stored, cut


def _beside(marker: np.ndarray) -> Any:
    """The next number of a nodata value's type; 0 has one that is not subnormal, which some programs take for 0."""
    if marker.dtype.kind in "ui":
        return marker + 1 if marker < np.iinfo(marker.dtype).max else marker - 1
    return np.nextafter(marker, marker.dtype.type(np.inf)) if marker else np.finfo(marker.dtype).tiny


class ResultCube(LazyArray):
    """(bands, H, W) of stored numbers. Good bands come from estimates; pixels of other bands are repeated unchanged."""

    def __init__(
        self, lr: Source, estimates: Estimates, scale: int, nodata: float | None, way: Displacement | None = None
    ) -> None:
        bands, height, width = lr.scene.shape
        self._lr, self._estimates, self._scale, self._way = lr, estimates, scale, way
        self._other = np.setdiff1d(np.arange(bands), lr.good)
        self._nodata = nodata
        self.shape = (bands, height * scale, width * scale)
        dtype = np.dtype(lr.scene.stored.dtype).newbyteorder("=")
        #: Half floats become single floats, as rasters have no half floats.
        self.dtype = np.dtype(np.float32) if dtype == np.float16 else dtype
        #: Values that were cut in each row, and bands in which some were, of the rows that were read whole.
        self._cut, self._cut_bands = np.zeros(self.shape[1], int), np.zeros(bands, bool)

    @property
    def cut(self) -> str | None:
        """A line for the user on values that the stored type could not hold; None if there were none.

        Of the rows that were read whole, as writers read them. A row that is read twice counts once.
        """
        count = int(self._cut.sum())
        if not count:
            return None
        limits = np.iinfo(self.dtype)
        return (
            f"{count} of its {int(np.prod(self.shape, dtype=object))} values, in {self._cut_bands.sum()} of "
            f"{self.shape[0]} bands, are outside of what {self.dtype} holds ({limits.min} to {limits.max}), and were "
            "cut to it; an LR image stored as floats has no such limits"
        )

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """Stored numbers, computed a few rows at a time. Rows and columns have no steps."""
        result = np.empty((self.shape[0], rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        step = max(1, _VALUES_BYTES // (4 * len(self._lr.good) * result.shape[2]))
        for first in range(rows.start, rows.stop, step):
            part = slice(first, min(first + step, rows.stop))
            self._fill(result[:, part.start - rows.start : part.stop - rows.start], part, columns)
        return result[bands]

    def _fill(self, result: np.ndarray, rows: slice, columns: slice) -> None:
        scene = self._lr.scene
        values = self._estimates.read(rows, columns)
        cut = np.zeros(len(result[0]), int)
        for number, band in enumerate(self._lr.good):
            result[band], of_band = to_stored(values[number], scene.scale, scene.offset, self.dtype, self._nodata)
            cut += of_band
            self._cut_bands[band] |= of_band.any()
        if columns == slice(0, self.shape[2], 1):
            self._cut[rows] = cut
        if len(self._other):
            result[self._other] = self._pass_through(rows, columns)

    def _pass_through(self, rows: slice, columns: slice) -> np.ndarray:
        """Bands without data, as stored, with every pixel repeated."""
        spans = (rows.start, rows.stop), (columns.start, columns.stop)
        down, across = repeated(*spans, self._scale, self._lr.scene.shape[1:], self._way)
        top, left = int(down.min()), int(across.min())
        low = self._lr.stored(self._other, slice(top, int(down.max()) + 1), slice(left, int(across.max()) + 1))
        return low[:, down - top, across - left]


def repeated(
    rows: tuple[int, int], columns: tuple[int, int], scale: int, size: tuple[int, ...], way: Displacement | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, which broadcast to (n, m), of the LR pixels that pixels [start, stop) of a result repeat.

    size: rows and columns of the LR image, of which the nearest pixel is taken. way: as for `result_scene`.
    """
    if way is None:
        return (np.arange(*rows) // scale)[:, None], (np.arange(*columns) // scale)[None]
    down, across = lr_pixels(way.places(rows, columns), scale)
    return down.clip(0, size[0] - 1), across.clip(0, size[1] - 1)


def _spare(dtype: np.dtype) -> float | None:
    """A nodata value of this type, for a scene that declares none."""
    return float("nan") if dtype.kind == "f" else float(np.iinfo(dtype).min)
