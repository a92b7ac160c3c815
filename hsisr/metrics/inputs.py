"""The input of every metric: a reference and an estimate of one shape, checked, cropped and masked.

Metrics never hold a float64 copy of a cube: they read planes or row strips, converted as they are read.
"""

import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsisr.errors import HsisrError


@dataclass(frozen=True)
class Pair:
    """A reference and an estimate that fit together.

    reference, estimate: (B, H, W), any real type. mask: (H, W) True where a pixel is valid; None: all are.
    clip: (low, high): limits to which reading clips the estimate; None: no clipping.
    unit: reading divides both images by this number.
    """

    reference: np.ndarray
    estimate: np.ndarray
    mask: np.ndarray | None = None
    clip: tuple[float, float] | None = None
    unit: float = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""
        return self.reference.shape

    def span(self) -> float:
        """Largest less smallest value of the reference's valid pixels; HsisrError unless this is a positive number."""
        low, high = math.inf, -math.inf
        for band in self.reference:
            values = band if self.mask is None else band[self.mask]
            values = values[np.isfinite(values)]  # for NaN and infinity, `read` raises an error
            if values.size == 0:
                continue
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        if not 0 < high - low < math.inf:
            raise HsisrError(
                f"metrics: the reference goes from {low:g} to {high:g}; no score relative to that is defined"
            )
        return high - low

    def read(
        self, bands: int | slice, start: int, stop: int, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows start:stop of one band (rows, W) or of several (bands, rows, W), float64; masked pixels are 0.

        out: (2, ...) float64, to be filled with the values of both images; None: new arrays.
        Raises HsisrError if a valid pixel is NaN or infinite.
        """
        x = self._read(self.reference, "reference", (bands, slice(start, stop)), None if out is None else out[0])
        y = self._read(self.estimate, "estimate", (bands, slice(start, stop)), None if out is None else out[1])
        if self.clip is not None:  # takes half the time of np.clip
            np.maximum(y, self.clip[0], out=y)
            np.minimum(y, self.clip[1], out=y)
        return x, y

    def _read(self, cube: np.ndarray, name: str, where: tuple[Any, ...], out: np.ndarray | None) -> np.ndarray:
        bands, rows = where
        values = np.empty(cube[where].shape) if out is None else out
        np.copyto(values, cube[where])
        if self.unit != 1:
            values /= self.unit
        if self.mask is not None:
            values[..., ~self.mask[rows]] = 0
        if not np.isfinite(values.sum()):  # takes a quarter of the time of isfinite on every value
            bad = bands if values.ndim == 2 else int(np.argmin(np.isfinite(values).all(axis=(1, 2))))
            raise HsisrError(
                f"metrics: the {name} holds NaN or infinity in band {bad} (counted from 0); mask such pixels or "
                "repair them"
            )
        return values


def read_pair(
    reference: Any, estimate: Any, mask: Any = None, border: int = 0, clip: tuple[float, float] | None = None
) -> Pair:
    """Check and crop two images.

    reference, estimate: (B, H, W) numpy arrays, torch tensors on any device, or anything that numpy can read. Warns if
    their bands seem to come last.
    mask: (H, W) True where a pixel is valid. border: pixels cut off on every side before anything is computed.
    Raises HsisrError for a wrong number of axes, different shapes, values that are not real numbers, a mask of
    another shape or without a valid pixel, and a border that leaves nothing.
    """
    reference, estimate = as_array("reference", reference), as_array("estimate", estimate)
    _check_shapes(reference, estimate, (3,))
    return _crop(reference, estimate, mask, border, clip)


def per_image(measure: Callable[[Pair], Any], reference: Any, estimate: Any, mask: Any = None, border: int = 0) -> Any:
    """The result of `measure` for a pair of images (B, H, W); for a batch (N, B, H, W), an array of the N results.

    The mask (H, W) is the same for every image of a batch. Errors as `read_pair`.
    """
    reference, estimate = as_array("reference", reference), as_array("estimate", estimate)
    _check_shapes(reference, estimate, (3, 4))
    if reference.ndim == 3:
        return measure(_crop(reference, estimate, mask, border))
    return np.array([measure(_crop(x, y, mask, border)) for x, y in zip(reference, estimate, strict=True)])


def as_array(name: str, values: Any) -> np.ndarray:
    """A numpy view or copy of an array or a torch tensor, made without importing torch.

    name: what the values are, for the error. Raises HsisrError unless they are real numbers, and for a masked array
    with masked samples.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            raise HsisrError(
                f"metrics: the {name} is a masked array, and masks of single samples are not read; give the samples, "
                "np.ma.getdata(x), and mask=~np.ma.getmaskarray(x).any(axis=0), True where a pixel is valid"
            )
        values = np.ma.getdata(values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise HsisrError(f"metrics: {name} is not an array ({error})") from None
    if array.dtype.kind not in "fiub":
        raise HsisrError(f"metrics: {name} holds {array.dtype} values; metrics take real numbers")
    return array


def check_positive(name: str, value: float | None) -> float:
    """`value` as a float. Raises HsisrError unless it is a finite number above 0."""
    try:
        number = 0.0 if value is None else float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise HsisrError(f"metrics: {name} is {value!r}; it must be a finite number above 0")
    return number


def check_scale(scale: float | None) -> float:
    """`scale` as a float. Raises HsisrError unless it is a finite number of at least 1."""
    number = check_positive("scale", scale)
    if number < 1:
        raise HsisrError(
            f"metrics: scale is {scale!r}; it counts HR pixels along an LR pixel, and is at least 1: give 4, not 1/4"
        )
    return number


def check_whole(name: str, value: int) -> int:
    """`value` as an int. Raises HsisrError unless it is a whole number above 0."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise HsisrError(f"metrics: {name} is {value!r}; it must be a whole number above 0")
    return int(value)


def check_window(pair: Pair, size: int, what: str) -> None:
    """Raise HsisrError unless a window of size x size pixels fits into the images."""
    rows, columns = pair.shape[1:]
    check_whole(f"the window of {what}", size)
    if rows < size or columns < size:
        raise HsisrError(
            f"metrics: {what} needs images of at least {size} x {size} pixels, these are {rows} x {columns} "
            "after cropping; use larger images, a smaller border or, where it has one, a smaller window"
        )


def _check_shapes(reference: np.ndarray, estimate: np.ndarray, axes: tuple[int, ...]) -> None:
    if reference.shape != estimate.shape:
        raise HsisrError(
            f"metrics: the reference is {reference.shape}, the estimate {estimate.shape}; they must have one shape"
        )
    if reference.ndim not in axes or 0 in reference.shape:
        expected = " or ".join({3: "(bands, rows, columns)", 4: "(images, bands, rows, columns)"}[n] for n in axes)
        raise HsisrError(f"metrics: the images are {reference.shape}; expected {expected}, none of them 0")
    bands, rows, columns = reference.shape[-3:]
    if min(bands, rows) > 2 * columns:  # as images of few bands are, where they come last
        warnings.warn(
            f"metrics: images {reference.shape} are read as {bands} bands of {rows} x {columns} pixels; if the bands "
            "come last, give np.moveaxis(image, -1, -3)",
            stacklevel=4,
        )


def _crop(
    reference: np.ndarray, estimate: np.ndarray, mask: Any, border: int, clip: tuple[float, float] | None = None
) -> Pair:
    rows, columns = reference.shape[1:]
    if not isinstance(border, int | np.integer) or border < 0 or 2 * border >= min(rows, columns):
        raise HsisrError(
            f"metrics: border is {border!r}; for {rows} x {columns} pixels it must be a whole number from 0 to "
            f"{(min(rows, columns) - 1) // 2}"
        )
    inner = (slice(border, rows - border), slice(border, columns - border))
    if mask is not None:
        mask = _check_mask(mask, (rows, columns))[inner]
        if not mask.any():
            raise HsisrError("metrics: the mask leaves no valid pixel inside the border; nothing can be scored")
        mask = None if mask.all() else mask
    return Pair(reference[:, *inner], estimate[:, *inner], mask, clip)


def _check_mask(mask: Any, shape: tuple[int, int]) -> np.ndarray:
    mask = as_array("mask", mask)
    if mask.shape != shape or mask.dtype.kind == "f":
        raise HsisrError(
            f"metrics: the mask is {mask.shape} of {mask.dtype}; expected {shape} of bool, True where a pixel is valid"
        )
    valid: np.ndarray = mask.astype(bool)
    return valid
