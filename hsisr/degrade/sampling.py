"""Linear degradations as sparse matrices, one pair per separable term, evaluated only where an LR pixel is read.

A blur and a sampling on a grid give  y = sum_r  A_r x C_r^T  for each band. A singular value decomposition splits the
kernel into outer products u_r v_r^T. A_r is the sampling of the rows times the correlation with u_r; C_r is the
sampling of the columns times the correlation with v_r. Nothing is computed at HR positions that no LR pixel reads.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from hsisr.errors import HsisrError, did_you_mean
from hsisr.missing import array_of, nearest_present

#: Pixels around a window that a quintic spline reads to differ by less than 1e-7 from that through the whole image.
SPLINE_REACH = 20
#: Ways to read the blurred image on the LR grid; LR pixel i covers the HR pixels i s .. i s + s - 1.
#: centre: at the LR pixel's centre i s + (s - 1) / 2. strided: at the pixel i s + phase.
#: bicubic, bilinear: interpolation by 1/s at the centres, as torch does it. imresize: as MATLAB does it, antialiased.
SAMPLINGS = ("centre", "strided", "bicubic", "bilinear", "imresize")


@dataclass(frozen=True, eq=False)
class Sampler:
    """A linear degradation for one image size: call it with a cube (B, H, W), get float64 (B, h, w).

    rows: sparse (terms * h, H). columns: sparse (w, terms * W).
    """

    rows: Any
    columns: Any
    terms: int

    def __call__(self, cube: np.ndarray) -> np.ndarray:
        height, width = self.rows.shape[0] // self.terms, self.columns.shape[0]
        low = np.empty((len(cube), height, width))
        for band, plane in zip(low, cube, strict=True):
            blurred = (self.rows @ plane.astype(np.float64, copy=False)).reshape(self.terms, height, -1)
            band[...] = (self.columns @ blurred.transpose(0, 2, 1).reshape(-1, height)).T
        return low

    def impulse_response(self, row: int, column: int) -> np.ndarray:
        """Weights (H, W) with which LR pixel (row, column) reads the HR pixels."""
        height = self.rows.shape[0] // self.terms
        vertical = self.rows[row::height].toarray()
        horizontal = self.columns[[column]].toarray().reshape(self.terms, -1)
        weights: np.ndarray = vertical.T @ horizontal
        return weights


@dataclass(frozen=True, eq=False)
class CropSampler:
    """The same as `Sampler`, with full matrices. They are quicker to make and suit small images.

    rows: (h, terms, H). reads: first and end HR row that each LR row reads. columns: (terms * W, w).
    """

    rows: np.ndarray
    reads: list[tuple[int, int]]
    columns: np.ndarray

    def __call__(self, cube: np.ndarray) -> np.ndarray:
        cube = cube.astype(np.float64, copy=False)
        height, terms, _ = self.rows.shape
        blurred = np.empty((len(cube), height, terms, cube.shape[2]))
        for row, (first, end) in enumerate(self.reads):
            np.matmul(self.rows[row, :, first:end], cube[:, first:end], out=blurred[:, row])
        low: np.ndarray = (blurred.reshape(-1, len(self.columns)) @ self.columns).reshape(len(cube), height, -1)
        return low


def build_sampler(
    kernel: np.ndarray | None,
    sampling: str,
    scale: int,
    shape: tuple[int, int],
    border: str = "reflect",
    phase: int = 0,
) -> Sampler:
    """Blur by `kernel` (None: no blur), then `sampling` by 1/scale, for images of `shape` = (H, W).

    kernel: (rows, columns), read as a correlation. For `centre`, its middle lies on the LR pixel's centre: even scales
    need an even number of taps, odd scales an odd number. For other samplings, tap n // 2 lies on the pixel that is
    read. border: what the blur reads outside the image: `reflect` (mirrored, edge sample repeated), `nearest`, or
    `wrap` (the opposite side of the image). phase: of `strided`, 0 .. scale - 1. H and W must be multiples of scale,
    except for `imresize`, which rounds up.
    """
    left, right = _separate(kernel, np.finfo(float).eps)
    rows = [_axis(shape[0], scale, taps, sampling, border, phase) for taps in left]
    columns = [_axis(shape[1], scale, taps, sampling, border, phase) for taps in right]
    sparse = _sparse()
    return Sampler(sparse.vstack(rows, format="csr"), sparse.hstack(columns, format="csr"), len(left))


#: `build_crop_sampler` leaves out terms whose singular value is below this part of the kernel's largest one. Crops are
#: kept in float32, which cannot show such small terms.
CROP_PRECISION = 1e-11


def build_crop_sampler(
    kernel: np.ndarray | None,
    sampling: str,
    scale: int,
    shape: tuple[int, int],
    border: str = "reflect",
    phase: int = 0,
) -> CropSampler:
    """As `build_sampler`, but quicker if every crop has a kernel of its own; exact to CROP_PRECISION."""
    left, right = _separate(kernel, CROP_PRECISION)
    units, reads = _unit_axes(shape[0], scale, left.shape[1], sampling, border, phase)
    rows = (left @ units).reshape(len(left), -1, shape[0]).transpose(1, 0, 2)
    units, _ = _unit_axes(shape[1], scale, right.shape[1], sampling, border, phase)
    columns = (right @ units).reshape(len(right), -1, shape[1]).transpose(0, 2, 1)
    return CropSampler(np.ascontiguousarray(rows), reads, columns.reshape(-1, columns.shape[2]))


def _separate(kernel: np.ndarray | None, precision: float) -> tuple[np.ndarray, np.ndarray]:
    """A kernel as a sum of outer products: taps along the rows and along the columns, (terms, taps) each."""
    if kernel is None:
        kernel = np.ones((1, 1))
    left, values, right = np.linalg.svd(np.asarray(kernel, dtype=float), full_matrices=False)
    terms = int(np.sum(values > precision * values[0]))
    return (left[:, :terms] * values[:terms]).T, right[:terms]


@lru_cache(maxsize=64)
def _unit_axes(
    size: int, scale: int, taps: int, sampling: str, border: str, phase: int
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """`_axis` of each tap alone, (taps, size // scale * size), and the first and end input that each output may read.

    The `_axis` of any taps is a weighted sum of these.
    """
    units = np.stack([_axis(size, scale, unit, sampling, border, phase).toarray() for unit in np.eye(taps)])
    read = [np.flatnonzero(row) for row in (units != 0).any(axis=0)]
    return units.reshape(taps, -1), [(int(inputs[0]), int(inputs[-1]) + 1) for inputs in read]


def correlation_axis(size: int, step: int, start: int, taps: np.ndarray, border: str = "reflect") -> Any:
    """Sparse (size // step, size): output i reads the inputs i * step + start + j with weights taps[j]."""
    reads = np.arange(size // step)[:, None] * step + start + np.arange(len(taps))
    fold = {"reflect": _reflect, "nearest": _clamp, "wrap": _wrap}[border]
    return _matrix(fold(reads, size), np.broadcast_to(taps, reads.shape), size)


def interpolate(
    array: np.ndarray, factor: float, kind: str = "bicubic", shift_px: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Resize the last two axes by `factor` as torch's interpolate does (align_corners=False, no antialiasing).

    array: (..., H, W), float. kind: `bicubic` (a = -0.75) or `bilinear`. Returns (..., floor(factor H),
    floor(factor W)) in the array's type; computed in float64. Bicubic values may overshoot the input's range.
    shift_px: distance (rows, columns) of the array's samples from the centres of their blocks, in the result's pixels.
    Raises HsisrError for an unknown kind, a factor that is not a positive number or an empty result.

    Example:

        >>> degrade.interpolate(np.array([[0.0, 1.0]]), 2, "bilinear")
        array([[0.  , 0.25, 0.75, 1.  ],
               [0.  , 0.25, 0.75, 1.  ]])
    """
    if kind not in _TORCH_KERNELS:
        raise HsisrError(
            f"interpolate: unknown kind {kind!r}; {did_you_mean(kind, _TORCH_KERNELS)}choose one of "
            f"{', '.join(_TORCH_KERNELS)}"
        )

    def axis_matrix(size: int, axis: int) -> Any:
        return _torch_axis(size, math.floor(size * factor + _EPS), 1 / factor, kind, shift_px[axis])

    return _resize(array, factor, axis_matrix)


def interpolation_at(
    size: tuple[int, int],
    places: np.ndarray,
    factor: float,
    kind: str = "bicubic",
    shift_px: tuple[float, float] = (0.0, 0.0),
) -> Any:
    """What `interpolate` does, at any places of its result: a sparse matrix (n m, H W), float32.

    size: H and W, of the images. places: (2, n, m), rows and columns of the result's pixels, of any value.
    factor, kind, shift_px: as for `interpolate`.
    """
    axes = [
        _torch_taps(axis.ravel(), length, 1 / factor, kind, shift)
        for axis, length, shift in zip(places, size, shift_px, strict=True)
    ]
    (rows, down), (columns, across) = axes
    reads = (rows[:, :, None] * size[1] + columns[:, None, :]).astype(np.int32)
    weights = down.astype(np.float32)[:, :, None] * across.astype(np.float32)[:, None, :]
    count = weights[0].size
    ends = np.arange(len(weights) + 1, dtype=np.int32) * count
    return _sparse().csr_array((weights.ravel(), reads.ravel(), ends), shape=(len(weights), size[0] * size[1]))


def interpolate_at(cube: np.ndarray, valid: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A cube (B, H, W) at places (2, n, m), rows and columns in its pixels: values (B, n, m) float32, and valid (n, m).

    Interpolates by quintic splines, which lose less than cubic ones. Before that, the nearest valid sample replaces an
    invalid one. A value is valid if the four pixels around its place are valid. A place outside the cube is not valid.
    """
    from scipy.ndimage import map_coordinates

    shape = places.shape[1:]
    if not valid.any():
        return np.zeros((len(cube), *shape), np.float32), np.zeros(shape, bool)
    if not valid.all():
        rows, columns = nearest_present(~valid)
        cube = cube[:, rows, columns]
    values = np.empty((len(cube), *shape), np.float32)
    for band, plane in zip(values, cube, strict=True):
        map_coordinates(plane.astype(np.float64), places, order=5, mode="mirror", output=band)
    seen = map_coordinates(valid.astype(np.float32), places, order=1, mode="constant", cval=0.0)
    return values, seen > 1 - 1e-4


def imresize(array: np.ndarray, factor: float, antialiasing: bool = True) -> np.ndarray:
    """Resize the last two axes by `factor` as MATLAB's imresize does (bicubic, a = -0.5).

    array: (..., H, W), float. antialiasing: stretch the kernel by 1/factor when factor < 1, MATLAB's default.
    Returns (..., ceil(factor H), ceil(factor W)) in the array's type; computed in float64. Values may overshoot the
    input's range. Raises HsisrError for a factor that is not a positive number.

    Example:

        >>> degrade.imresize(np.ones((3, 8, 8)), 1 / 4).shape
        (3, 2, 2)
    """
    stretch = max(1.0, 1 / factor) if antialiasing and factor > 0 else 1.0

    def axis_matrix(size: int, axis: int) -> Any:
        return _matlab_axis(size, math.ceil(size * factor - _EPS), 1 / factor, stretch)

    return _resize(array, factor, axis_matrix)


def cubic_kernel(distance: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Weights at a distance (pixels, any sign): Keys' cubic convolution (IEEE TASSP 1981) with slope parameter a.

    a: -0.5 in MATLAB's imresize, -0.75 in torch's interpolation. Weights beyond 2 pixels are 0.
    """
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


#: Tolerance for the rounding of factor * size: 49 * (1 / 49) must give one pixel, not none.
_EPS = 1e-9


def _sparse() -> Any:
    # scipy.sparse takes longer to import than the rest of the package, and reading a configuration does not need it.
    from scipy import sparse

    return sparse


def _axis(size: int, scale: int, taps: np.ndarray, sampling: str, border: str, phase: int) -> Any:
    """Sampling times correlation along one axis: sparse (size // scale, size)."""
    if sampling == "centre":
        if (scale - len(taps)) % 2:
            raise HsisrError(
                f"a kernel of {len(taps)} taps has no tap at an LR pixel's centre at scale {scale}; give an "
                f"{'odd' if scale % 2 else 'even'} number of taps, or another sampling, such as strided"
            )
        return correlation_axis(size, scale, (scale - len(taps)) // 2, taps, border)
    if sampling == "strided":
        return correlation_axis(size, scale, phase - len(taps) // 2, taps, border)
    blur = correlation_axis(size, 1, -(len(taps) // 2), taps, border)
    if sampling == "imresize":
        return _matlab_axis(size, -(-size // scale), scale, scale) @ blur
    if sampling in _TORCH_KERNELS:
        return _torch_axis(size, size // scale, scale, sampling) @ blur
    raise HsisrError(
        f"unknown sampling {sampling!r}; {did_you_mean(sampling, SAMPLINGS)}choose one of {', '.join(SAMPLINGS)}"
    )


@lru_cache(maxsize=64)  # bands, and rounds of an iteration, ask for the same one
def _torch_axis(size: int, out: int, step: float, kind: str, shift: float = 0.0) -> Any:
    """torch's interpolation along one axis, sparse (out, size); edges clamped.

    Output i reads at (i - shift + 1/2) step - 1/2.
    """
    return _matrix(*_torch_taps(np.arange(out), size, step, kind, shift), size)


def _torch_taps(places: np.ndarray, size: int, step: float, kind: str, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """The same at places (n,) of the output: what is read of an axis of `size`, and its weights, both (n, taps)."""
    centres = (places - shift + 0.5) * step - 0.5
    if kind == "bilinear":
        centres = np.maximum(centres, 0)
    reach, kernel = _TORCH_KERNELS[kind]
    reads = np.floor(centres)[:, None].astype(int) + np.arange(1 - reach, 1 + reach)
    return _clamp(reads, size), kernel(centres[:, None] - reads)


def _matlab_axis(size: int, out: int, step: float, stretch: float) -> Any:
    """MATLAB's imresize along one axis: sparse (out, size); the cubic kernel is `stretch` times as wide as a pixel."""
    centres = (np.arange(out) + 0.5) * step - 0.5
    reads = np.floor(centres - 2 * stretch)[:, None].astype(int) + np.arange(math.ceil(4 * stretch) + 2)
    weights = cubic_kernel((centres[:, None] - reads) / stretch, a=-0.5)
    return _matrix(_reflect(reads, size), weights / weights.sum(axis=1, keepdims=True), size)


def _resize(array: np.ndarray, factor: float, axis_matrix: Callable[[int, int], Any]) -> np.ndarray:
    """axis_matrix: (size, axis) -> sparse (out, size), for the axes 0 (rows) and 1 (columns)."""
    array = array_of("resize: the array", array)
    if not (math.isfinite(factor) and factor > 0):
        raise HsisrError(f"resize: the factor must be a positive number, not {factor}")
    if array.ndim < 2 or 0 in array.shape or not np.issubdtype(array.dtype, np.floating):
        raise HsisrError(f"resize: expected a float array (..., H, W), got {array.dtype} {array.shape}")
    planes = array.reshape(-1, *array.shape[-2:])
    if not all(np.isfinite(plane).all() for plane in planes):
        raise HsisrError("resize: the array holds NaN or infinite values; replace them first")
    rows, columns = (axis_matrix(size, axis) for axis, size in enumerate(array.shape[-2:]))
    if 0 in (rows.shape[0], columns.shape[0]):
        raise HsisrError(f"resize: factor {factor:g} leaves no pixel of an image of {array.shape[-2:]}")
    resized = np.empty((len(planes), rows.shape[0], columns.shape[0]), array.dtype)
    for plane, result in zip(planes, resized, strict=True):
        plane = plane.astype(np.float64, copy=False)  # one at a time: no second copy of a cube
        # the longer axis last: what is turned is small then
        result[...] = rows @ (columns @ plane.T).T if factor > 1 else (columns @ (rows @ plane).T).T
    return resized.reshape(*array.shape[:-2], *resized.shape[-2:])


def _matrix(reads: np.ndarray, weights: np.ndarray, size: int) -> Any:
    """Sparse (len(reads), size) with `weights` at the columns `reads`. Weights of the same column in a row add up."""
    ends = np.arange(len(reads) + 1) * reads.shape[1]
    # copies: the sums are made in place, and `weights` may be a view of one row
    matrix = _sparse().csr_array((weights.flatten(), reads.flatten(), ends), shape=(len(reads), size))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _reflect(reads: np.ndarray, size: int) -> np.ndarray:
    folded = reads % (2 * size)
    inside: np.ndarray = np.minimum(folded, 2 * size - 1 - folded)
    return inside


def _clamp(reads: np.ndarray, size: int) -> np.ndarray:
    inside: np.ndarray = np.clip(reads, 0, size - 1)
    return inside


def _wrap(reads: np.ndarray, size: int) -> np.ndarray:
    inside: np.ndarray = reads % size
    return inside


def _linear(distance: np.ndarray) -> np.ndarray:
    weights: np.ndarray = np.maximum(0.0, 1 - np.abs(distance))
    return weights


#: torch's interpolation kernels: half-width in pixels, weight at a distance.
_TORCH_KERNELS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "bicubic": (2, partial(cubic_kernel, a=-0.75)),
    "bilinear": (1, _linear),
}
