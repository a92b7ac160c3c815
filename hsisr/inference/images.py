"""Sources: a user's images, read by windows as values, with what of them is valid; nothing is loaded whole."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from hsisr.datasets import picture
from hsisr.errors import HsisrError, percent
from hsisr.lazy_array import ChosenBands
from hsisr.missing import fill_samples, missing_pixels
from hsisr.scene import Scene

#: Windows a side of the grid on which it is looked what an image holds, and their side in pixels.
_SAMPLES, _SAMPLE_PX = 6, 96
#: How many times as large a value is as those of most pixels, from which on it counts as far beyond; and the share of
#: pixels, at most, that are.
_FAR_BEYOND, _FEW = 10.0, 0.05
_MARK_MISSING = "mark them as missing: by a nodata value in the file, by numpy.ma or Scene(mask=...) in Python"
#: GDAL works in every thread of a run through one open file. A result that is read reads its LR image in turn.
_LOCK = RLock()


def open_lazily(path: str | os.PathLike, **options: Any) -> Scene:
    """The scene of a file, by whatever reader fits it, with its pixels left on the disk.

    options: the reader's own (`variable`, `axes`, `nodata`, ...). Its mask lacks the pixels that hold the nodata value,
    and its bad bands those without data. Raises HsisrError as `read_scene` does.
    """
    from hsisr.datasets import read_scene
    from hsisr.datasets.readers.arrays import leave_on_disk

    with leave_on_disk():
        return read_scene(path, **options)


@dataclass(frozen=True, eq=False)
class Source:
    """An image that is read by windows. scene: it, lazy or in memory. label: what messages call it.

    chosen: numbers of the scene's bands in the image itself, if the user chose some; None: these are all.
    """

    scene: Scene
    label: str
    chosen: tuple[int, ...] | None = None

    @classmethod
    def of(cls, image: Any, label: str, options: Mapping[str, Any] | None = None) -> "Source":
        """A source of a path, a Scene or an array (bands, H, W); of a masked one, masked samples hold no data.

        Raises HsisrError for an array that is none of numbers, or has other axes, and as `open_lazily`.
        """
        if isinstance(image, Scene):
            return cls(image, label)
        if isinstance(image, (str, os.PathLike)):
            return cls(open_lazily(image, **(options or {})), Path(image).name)
        return cls(_scene_of(image, label), label)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(good bands, rows, columns)."""
        return (len(self.good), *self.scene.shape[1:])

    @cached_property
    def good(self) -> np.ndarray:
        """Numbers of the bands that hold data: neither marked bad nor without a single valid sample.

        Reads until every band has shown data. Raises HsisrError if none does.
        """
        scene = self.scene
        good = np.ones(scene.shape[0], bool) if scene.bad_bands is None else ~np.asarray(scene.bad_bands, bool)
        if scene.nodata is not None:
            empty = good.copy()
            for _, block in scene.strips():
                missing = scene.without_data(block)
                assert missing is not None
                empty &= missing.all(axis=(1, 2))
                if not empty.any():
                    break
            good &= ~empty
        if not good.any():
            filled = "" if scene.nodata is None else f" or filled with nodata {scene.nodata}"
            raise HsisrError(f"{self.label}: holds no data: every band is bad{filled}")
        return np.flatnonzero(good)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the good bands in the image itself, from 0, as options name them."""
        return [int(band) if self.chosen is None else self.chosen[band] for band in self.good]

    def in_words(self, places: Sequence[int] | np.ndarray) -> str:
        """Good bands in words, by wavelength or number; the same one is named once. places: of them, among all."""
        places = places[:1] if len(set(places)) == 1 else places
        if self.wavelengths_nm is None:
            return picture.bands_in_words([self.numbers[place] for place in places], None)
        return picture.bands_in_words(places, self.wavelengths_nm)

    @property
    def wavelengths_nm(self) -> np.ndarray | None:
        """Of the good bands."""
        return None if self.scene.wavelengths_nm is None else np.asarray(self.scene.wavelengths_nm, float)[self.good]

    def window(
        self, rows: tuple[int, int], columns: tuple[int, int], bands: slice | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values (bands, n, m) float32 and valid pixels (n, m) of [start, stop) rows and columns.

        bands: those of the good bands to read; None: all. The part outside the image is invalid; invalid pixels are 0.
        """
        (r0, r1), (c0, c1) = rows, columns
        height, width = self.scene.shape[1:]
        good = self.good if bands is None else self.good[bands]
        values = np.zeros((len(good), r1 - r0, c1 - c0), np.float32)
        valid = np.zeros(values.shape[1:], bool)
        y0, y1, x0, x1 = max(r0, 0), min(r1, height), max(c0, 0), min(c1, width)
        if y0 < y1 and x0 < x1:
            place = (slice(y0 - r0, y1 - r0), slice(x0 - c0, x1 - c0))
            values[:, *place], valid[place] = self._read(good, slice(y0, y1), slice(x0, x1))
        return values, valid

    def stored(self, bands: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Stored numbers (bands, n, m) of these bands."""
        with _LOCK:
            if len(bands) and np.array_equal(bands, np.arange(bands[0], bands[-1] + 1)):
                return self.scene.stored[slice(int(bands[0]), int(bands[-1]) + 1), rows, columns]
            return self.scene.stored[slice(None), rows, columns][bands]

    @cached_property
    def flat_bands(self) -> np.ndarray:
        """Numbers of the good bands that hold one and the same number, as far as `_extremes` looks."""
        least, most, _ = self._extremes
        return self.good[least == most]

    @cached_property
    def incomplete(self) -> str | None:
        """A line for the user where pixels have data in most bands, and lack single samples; None where none do.

        Measured over the windows of `samples`.
        """
        scene = self.scene
        if scene.nodata is None:
            return None
        samples = pixels = seen = 0
        bands = np.zeros(len(self.good), bool)
        for rows, columns in self.samples():
            missing = scene.without_data(self.stored(self.good, slice(*rows), slice(*columns)))
            assert missing is not None
            missing &= ~missing_pixels(missing)
            samples += int(missing.sum())
            pixels += int(missing.any(axis=0).sum())
            seen += missing[0].size
            bands |= missing.any(axis=(1, 2))
        if not samples:
            return None
        return (
            f"{self.label}: {percent(samples / seen / len(bands))} of its samples, in {percent(pixels / seen)} of its "
            f"pixels and {bands.sum()} of {len(bands)} bands, are the nodata value {scene.nodata:g} while the others "
            "have data; they are filled from the nearest pixels, and the result has values there"
        )

    @cached_property
    def reach(self) -> tuple[float, float]:
        """Smallest and largest valid value, as far as `_extremes` looks.

        Raises HsisrError if it finds no valid pixel.
        """
        least, most, _ = self._extremes
        low, high = float(least.min()), float(most.max())
        if low > high:
            raise HsisrError(f"{self.label}: holds no valid pixel: all are nodata or masked")
        return low, high

    @property
    def largest(self) -> float:
        """The largest absolute valid value, as far as `_extremes` looks. Raises HsisrError as `reach`."""
        return max(map(abs, self.reach))

    @cached_property
    def outliers(self) -> str | None:
        """A line for the user where some values are far beyond all others, as far as `_extremes` looks; else None."""
        (low, high), usual = self.reach, float(np.quantile(self._extremes[2], 1 - _FEW))
        if 0 < _FAR_BEYOND * high < -low:
            beside = f"its largest value is {high:.3g}"
        elif 0 < _FAR_BEYOND * usual < self.largest:
            beside = f"{1 - _FEW:.0%} of its pixels stay within {usual:.3g}"
        else:
            return None
        return (
            f"{self.label}: holds {max(low, high, key=abs):g}, and {beside}; values that are no measurements spoil all "
            f"of the result; {_MARK_MISSING}"
        )

    @cached_property
    def _extremes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Smallest and largest valid value of each good band, infinite without one; largest size at each valid pixel.

        Of the pixels in the windows of `samples`.
        """
        least, sizes = np.full(self.shape[0], np.inf), []
        most = -least
        for rows, columns in self.samples():
            values, valid = self.window(rows, columns)
            if valid.any():
                least = np.minimum(least, values[:, valid].min(axis=1))
                most = np.maximum(most, values[:, valid].max(axis=1))
                sizes.append(np.abs(values).max(axis=0)[valid])
        return least, most, np.concatenate(sizes or [np.zeros(1, np.float32)])

    def samples(self, scale: int = 1) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Rows and columns of windows that are spread evenly over the image; scale: of pixels so much finer.

        They do not overlap, so that each pixel counts once in a share.
        """
        side = max(1, _SAMPLE_PX // scale)
        height, width = self.scene.shape[1:]
        return product(_apart(height, side), _apart(width, side))

    def _read(self, bands: np.ndarray, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        scene = self.scene
        every = self.good if scene.nodata is not None else bands  # a pixel is missing by all its bands
        block = self.stored(every, rows, columns)
        part = replace(scene, stored=block, mask=None, labels=None, guide=None, **_NO_BANDS)
        missing = scene.without_data(block)
        valid = np.ones(block.shape[1:], bool) if missing is None else ~missing_pixels(missing)
        if scene.mask is not None:
            valid &= np.asarray(scene.mask[rows, columns], bool)
        values = part.cube  # may be the file itself, mapped read-only, or the array that the scene holds
        if missing is not None and missing[:, valid].any():
            fill_samples(values, missing | ~valid)
        if len(every) != len(bands):
            values = values[np.searchsorted(every, bands)]
        if not valid.all():
            values = np.where(valid, values, np.float32(0))
        if block.dtype.kind == "f" and not np.isfinite(values).all():
            what = "NaN or infinite values" if not np.isfinite(block).all() else "values beyond 3.4e38"
            raise HsisrError(f"{self.label}: holds {what}; replace them, or {_MARK_MISSING}")
        return values, valid


def _scene_of(array: Any, label: str) -> Scene:
    """The scene of an array, masked or not: bands without a sample are bad, pixels that lack any other are invalid."""
    try:
        values, missing = np.ma.getdata(array), np.ma.getmask(array)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors of a GPU, with gradients
        raise HsisrError(f"{label}: cannot be taken for an array of numbers ({error})") from error
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "buif":
        raise HsisrError(
            f"{label}: an array of {values.dtype}, {values.shape}; expected numbers, (bands, rows, columns)"
        )
    if missing is np.ma.nomask:
        return Scene(values)
    bad = missing.all(axis=(1, 2))
    return Scene(values, bad_bands=bad if bad.any() else None, mask=~missing[~bad].any(axis=0))


def spread_pieces(size: int, count: int, length: int) -> list[tuple[int, int]]:
    """At most `count` pieces [start, stop) of `length` pixels, spread evenly over an axis, the ends included."""
    if size <= length:
        return [(0, size)]
    starts = sorted({round(start) for start in np.linspace(0, size - length, count)})
    return [(start, start + length) for start in starts]


def _apart(size: int, length: int) -> list[tuple[int, int]]:
    """Up to `_SAMPLES` pieces of an axis as `spread_pieces`; where those would overlap, the whole axis in pieces."""
    if size >= _SAMPLES * length:
        return spread_pieces(size, _SAMPLES, length)
    return [(start, min(start + length, size)) for start in range(0, size, length)]


def middle_piece(size: int, length: int) -> tuple[int, int]:
    """The piece [start, stop) in the middle of an axis, `length` pixels long; the whole axis, where that is shorter."""
    length = min(size, length)
    start = (size - length) // 2
    return start, start + length


_NO_BANDS: dict[str, Any] = {"wavelengths_nm": None, "fwhm_nm": None, "bad_bands": None}


def chosen_bands(image: Source, bands: tuple[int, ...] | None) -> Source:
    """The image with these bands alone (from 0, in this order), still lazy; None: all of them.

    Raises HsisrError for a band that does not exist.
    """
    if bands is None:
        return image
    scene, count = image.scene, image.scene.shape[0]
    wrong = [band for band in bands if not 0 <= band < count]
    if wrong or not bands:
        raise HsisrError(f"{image.label}: bands {wrong} do not exist; it has 0 to {count - 1}")
    picked = np.asarray(bands)
    facts = {key: getattr(scene, key) for key in _NO_BANDS}
    facts = {key: None if value is None else np.asarray(value)[picked] for key, value in facts.items()}
    numbers = tuple(int(band) if image.chosen is None else image.chosen[band] for band in picked)
    return Source(replace(scene, stored=ChosenBands(scene.stored, picked), guide=None, **facts), image.label, numbers)


def stacked_sources(images: Sequence[Source]) -> Source:
    """Several images of one grid as one, of all their bands. Raises HsisrError where they lie on different grids."""
    from hsisr.datasets.stacking import stack

    if len(images) == 1:
        return images[0]
    scenes = [image.scene for image in images]
    labels = [image.label for image in images]
    return Source(stack(scenes, labels, scenes[0].name), " + ".join(labels))
