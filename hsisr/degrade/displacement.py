"""Displacement: how far, from place to place, a guide lies beside an LR image, as a smooth field measured on both.

Windows are matched first, which finds displacements of several LR pixels through clouds and change. Then the controls
of a spline are fitted to all pixels at once (Gauss-Newton): the guide, displaced and seen at LR resolution, is to be
explained by the LR image's principal components. Pixels that do not fit count little. Bending costs; how much, the
evidence says (MacKay, Neural Computation 1992).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hsisr.degrade.explaining import alike, fit_channel, own_detail, ridged
from hsisr.degrade.matching import fit_matches, match_windows
from hsisr.degrade.sampling import interpolate_at
from hsisr.degrade.simulate import check_views
from hsisr.degrade.spline import SplineGrid, even_intervals
from hsisr.degrade.view import View, read_at, view_of
from hsisr.errors import HsisrError

#: How a displacement may vary over the scene: as an affine map, or as a smooth field.
MODELS = ("affine", "field")
#: Cells between control points, and fewest and most intervals along an axis.
_SPACING, _INTERVALS = 8.0, (2, 16)
#: Fewest cells a side that are measured on.
_LEAST_CELLS = 16
#: Widths in cells to which both images are smoothed, one after the other: at first, and for the displaced guide.
_FIRST_LEVELS, _LATER_LEVELS = (1.0, 0.5), (0.5, 0.3)
#: Gauss-Newton steps at each width; times that the guide is displaced and looked at anew, as footprints stretch.
_STEPS, _PASSES = 8, 2
#: Cells at the border that are left out, as their footprints reach beyond the image.
_BORDER = 2
#: Times the usual misfit from which on a pixel counts little; how sharply; rounds of that at first and later.
_MISFIT, _SHARPNESS, _ROUNDS = 2.0, 2, (16, 4)
#: Cost of bending to start with, for an image of 64 x 64 cells, and that of being displaced at all, by 2 cells or so.
_BENDING, _BEING = 100.0, 7e-4
#: Most pixels that misfits which resemble each other are taken to be one.
_ALIKE = 5.0
#: Steps in cells are no longer than the smoothing, and no shorter than this part of a cell.
_LEAST_STEP = 0.5
#: A field is nothing where it is not so many times its own error, or shorter than this (root mean square, HR pixels).
_SIGNIFICANT, _LEAST_PX = 3.0, 0.1
#: The inverse of a field: its intervals for one of the field, places for each interval, most steps, and how far, in HR
#: pixels, the last step may go.
_FINER, _PLACES, _INVERSE_STEPS, _INVERSE_PX = 2, 4, 60, 1e-2
#: Affine maps are what bending never costs: a cost of bending that leaves nothing else.
_STIFF = 1e12


@dataclass(frozen=True, eq=False)
class Displacement:
    """What the guide shows at (row, column) of the LR image's ground is found at (row, column) + displacement.

    controls: (2, points) of `grid`, HR pixels, (rows, columns). grid: over the LR image. scale: HR over LR size.
    error_px: its expected error, root mean square, HR pixels. unexplained: part of the guide's variance at LR
    resolution that the LR image does not explain, before and with the displacement. fitting: part of the pixels, 0 to
    1, that count in it.
    """

    controls: np.ndarray
    grid: SplineGrid
    scale: int
    error_px: float
    unexplained: tuple[float, float]
    fitting: float

    def __str__(self) -> str:
        before, after = self.unexplained
        return (
            f"{self.rms_px:.2f} HR pixels (root mean square), {self.largest_px:.2f} at most, expected error "
            f"{self.error_px:.2f}; of the guide, {before:.2%} was unexplained, and {after:.2%} is"
        )

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(2, n, m) HR pixels at HR rows (n,) and columns (m,), counted from the LR image's first corner."""
        down, across = self.grid.weights((rows + 0.5) / self.scale - 0.5, (columns + 0.5) / self.scale - 0.5)
        displacement: np.ndarray = down @ self.controls.reshape(2, *self.grid.shape) @ across.T
        return displacement

    def places(self, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        """(2, n, m): where HR rows and columns [start, stop) lie with the displacement, in HR pixels."""
        axes = np.arange(*rows), np.arange(*columns)
        places: np.ndarray = np.stack(np.meshgrid(*axes, indexing="ij")) + self.at(*axes)
        return places

    def inverse(self) -> "Displacement":
        """The way back: what the LR image shows at (row, column) + inverse is what the guide shows at (row, column).

        A finer spline, fitted to places at which fixed-point steps find it. Raises HsisrError for a displacement that
        folds the ground, so that no way leads back.
        """
        height, width = self.grid.height, self.grid.width
        intervals = self.grid.intervals[0] * _FINER, self.grid.intervals[1] * _FINER
        axes = [
            (np.arange(_PLACES * count) + 0.5) * size / (_PLACES * count) - 0.5
            for count, size in zip(intervals, (height, width), strict=True)
        ]
        places = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(2, -1)
        controls = self.controls.reshape(2, *self.grid.shape)
        back = np.zeros_like(places)
        for _ in range(_INVERSE_STEPS):
            down, across = self.grid.weights(*(places + back / self.scale))
            step = np.einsum("nr,drc,nc->dn", down, controls, across, optimize=True) + back
            back = back - step
            if np.abs(step).max() < _INVERSE_PX:
                break
        else:
            raise HsisrError(
                "registration: the displacement folds the guide's ground, so that it has no inverse; leave the result "
                "on the LR image's grid: leave --grid out (in Python grid)"
            )
        grid = SplineGrid(height, width, intervals)
        down, across = (np.linalg.pinv(weights) for weights in grid.weights(*axes))
        found = down @ back.reshape(2, len(axes[0]), -1) @ across.T
        return replace(self, controls=found.reshape(2, -1), grid=grid)

    @property
    def lengths_px(self) -> np.ndarray:
        """How far each LR pixel's ground is displaced, (h, w), HR pixels."""
        lengths: np.ndarray = np.hypot(*self.grid.surface(self.controls))
        return lengths

    @property
    def rms_px(self) -> float:
        """Root mean square of the lengths, HR pixels."""
        return float(np.sqrt((self.lengths_px**2).mean()))

    @property
    def largest_px(self) -> float:
        """The largest length, HR pixels."""
        return float(self.lengths_px.max())

    @property
    def is_evident(self) -> bool:
        """Whether it stands out of its own error, and explains more than no displacement does."""
        better = self.unexplained[1] < self.unexplained[0]
        return better and self.rms_px > max(_SIGNIFICANT * self.error_px, _LEAST_PX)


def measure_displacement(
    lr: np.ndarray, guide: np.ndarray, scale: int, mask: np.ndarray | None = None, model: str = "field"
) -> Displacement:
    """How far a guide lies beside an LR image, from place to place.

    lr: (B, h, w). guide: (G, h s, w s). scale: s, HR pixels per LR pixel. mask: (h s, w s), True where both are valid.
    model: `field`, smooth, or `affine`. Whether it means anything, `Displacement.is_evident` says.
    Raises HsisrError for images that do not fit, have no detail, or are smaller than 16 x 16 LR pixels.
    """
    lr, guide = check_views(lr, guide, scale, mask)
    valid = np.ones(guide.shape[1:], bool) if mask is None else mask

    def view(displacement: Displacement | None) -> View:
        if displacement is None:
            return view_of(lr, guide, scale, mask)
        moved, inside = interpolate_at(guide, valid, displacement.places((0, valid.shape[0]), (0, valid.shape[1])))
        return view_of(lr, moved, scale, inside)

    return measure_by_views(view, lr.shape[1:], scale, model)


def measure_by_views(
    view: Callable[[Displacement | None], View], shape: tuple[int, int], scale: int, model: str = "field"
) -> Displacement:
    """The same of a pair that is seen by views: `view` gives that of the guide, displaced or as it lies (None).

    shape: of the LR image.
    """
    if model not in MODELS:
        raise HsisrError(f"registration: unknown model {model!r}; choose one of {', '.join(MODELS)}")
    seen = view(None)
    if min(seen.shape) < _LEAST_CELLS:
        raise HsisrError(
            f"registration: {seen.shape[0]} x {seen.shape[1]} LR pixels are too few; {_LEAST_CELLS} x {_LEAST_CELLS} "
            "or more are needed"
        )
    fit = _Fit.starting(seen, model)
    before = fit.unexplained(seen, np.zeros_like(fit.controls))
    for width in _FIRST_LEVELS:
        fit.descend(seen, width)
    for _ in range(_PASSES):
        displaced = view(fit.displacement(shape, scale, seen.cell, before))
        fit.base = fit.controls.copy()
        for width in _LATER_LEVELS:
            fit.descend(displaced, width)
    return fit.displacement(shape, scale, seen.cell, before)


class _Fit:
    """Controls of a displacement in cells, while they are fitted.

    base: controls by which the guide of the view that is looked at is displaced already. bending: what bending costs.
    """

    def __init__(self, grid: SplineGrid, controls: np.ndarray, bending: float, stiff: bool) -> None:
        self.grid, self.controls, self.bending, self._stiff = grid, controls, bending, stiff
        self.base = np.zeros_like(controls)
        self._cost = np.kron(np.eye(2), grid.bending)
        being = np.kron(np.eye(2), grid.gram(np.ones((grid.height, grid.width))))
        self._being = _BEING * being
        self.variance, self.left, self.fitting = 0.0, 1.0, 1.0

    @classmethod
    def starting(cls, view: View, model: str) -> "_Fit":
        """From the windows' matches."""
        from scipy.ndimage import gaussian_filter

        height, width = view.shape
        intervals = (1, 1) if model == "affine" else even_intervals(view.shape, _SPACING, _INTERVALS)
        grid = SplineGrid(height, width, intervals)
        stiff = model == "affine"
        bending = _STIFF if stiff else _BENDING * height * width / 64**2
        fit = cls(grid, np.zeros((2, grid.count)), bending, stiff)
        low = gaussian_filter(view.low, (0, 0.7, 0.7), mode="nearest")
        sharp = view.at_cells(view.compared)
        matches = match_windows(low, gaussian_filter(sharp, (0, 0.7, 0.7), mode="nearest"), view.valid)
        prior = bending * grid.bending + fit._being[: grid.count, : grid.count]
        fit.controls = fit_matches(matches, grid, prior)
        return fit

    def displacement(self, shape: tuple[int, int], scale: int, cell: int, before: float) -> Displacement:
        """What has been found, in HR pixels."""
        length = cell * scale
        grid = SplineGrid(self.grid.height * cell, self.grid.width * cell, self.grid.intervals)
        return Displacement(
            self.controls * length, grid, scale, math.sqrt(self.variance) * length, (before, self.left), self.fitting
        )

    def unexplained(self, view: View, controls: np.ndarray) -> float:
        """Part of the guide's variance that is left at this displacement, over the pixels that fit."""
        look = _Look(view, 0.5)
        residuals = look.residuals(self.grid.surface(controls - self.base), None)
        return residuals.share

    def descend(self, view: View, width: float) -> None:
        """Gauss-Newton steps on both images smoothed to `width` cells."""
        look = _Look(view, width)
        weight = None
        for _ in range(_STEPS):
            found = look.residuals(self.grid.surface(self.controls - self.base), weight)
            weight = found.weight
            normal, slope = found.normal_equations(self.grid)
            self._step(normal, slope, max(width, _LEAST_STEP))
            self.left, self.fitting = found.share, found.fitting

    def _step(self, normal: np.ndarray, slope: np.ndarray, longest: float) -> None:
        current = self.controls.ravel()
        prior = self.bending * self._cost + self._being
        covariance = np.linalg.inv(normal + prior)
        step = (covariance @ (slope - prior @ current)).reshape(self.controls.shape)
        reach = np.hypot(*self.grid.surface(step)).max()
        step = step * min(1.0, longest / max(reach, 1e-12))
        self.controls = self.controls + step
        rows, columns = (covariance[part, part] for part in (slice(0, self.grid.count), slice(self.grid.count, None)))
        weights = self.grid.gram(np.ones((self.grid.height, self.grid.width))) / (self.grid.height * self.grid.width)
        self.variance = float(((rows + columns) * weights).sum())
        if not self._stiff:
            known = len(current) - 6 - self.bending * np.tensordot(covariance, self._cost, 2)
            bent = self.controls.ravel() @ self._cost @ self.controls.ravel()
            self.bending = float(np.clip(max(known, 0.5) / max(bent, 1e-12), self.bending / 10, self.bending * 10))


class _Look:
    """A view, smoothed to some cells, at any displacement."""

    def __init__(self, view: View, width: float) -> None:
        from scipy.ndimage import spline_filter

        self._view, self._width = view, width
        blurred = view.blurred(view.compared)
        self._sharp = np.stack([spline_filter(channel, 3, mode="mirror") for channel in blurred])
        self._slopes = np.stack([np.gradient(blurred, axis=axis) * view.samples for axis in (1, 2)])
        self._spread = blurred.std(axis=(1, 2))
        if not self._spread.any():
            raise HsisrError("registration: the guide has no detail to measure on")
        self._low = np.concatenate([np.ones((1, *view.shape)), self._smooth(view.low)]).reshape(-1, view.valid.size)
        inner = np.zeros(view.shape, bool)
        inner[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
        self._inner = inner & view.valid

    def residuals(self, displacement: np.ndarray, weight: np.ndarray | None) -> "_Residuals":
        """What the LR image does not explain of the displaced guide. weight: (h, w), to start with, or None."""
        from scipy.ndimage import map_coordinates

        view = self._view
        places = view.places(displacement)
        limits = np.array(self._sharp.shape[1:])[:, None, None] - 1
        inside = self._inner & ((places >= 0) & (places <= limits)).all(axis=0)
        if not inside.any():
            raise HsisrError("registration: nothing of the guide is left inside the LR image")
        values = self._smooth(
            np.stack([map_coordinates(c, places, order=3, mode="mirror", prefilter=False) for c in self._sharp])
        )
        slopes = np.stack([self._smooth(read_at(slope, places, 1)) for slope in self._slopes])
        detail, floor = own_detail(values, self._spread)
        textured = inside & (detail.sum(axis=0) > 2 * floor.sum(axis=0))
        return _Residuals.fitted(self._low, values, slopes, detail, inside, textured, weight)

    def _smooth(self, images: np.ndarray) -> np.ndarray:
        from scipy.ndimage import gaussian_filter

        smooth: np.ndarray = gaussian_filter(images, (0, self._width, self._width), mode="nearest")
        return smooth


@dataclass(frozen=True, eq=False)
class _Residuals:
    """left: (G, h, w), of the guide. slopes: (2, G, h, w). low: (P, h w), what explains. detail: (G, h, w), variance.

    weight: (h, w), how much a pixel counts. level: the usual left^2 / detail. share, fitting: as of Displacement.
    """

    left: np.ndarray
    slopes: np.ndarray
    low: np.ndarray
    detail: np.ndarray
    weight: np.ndarray
    share: float
    fitting: float

    @classmethod
    def fitted(
        cls,
        low: np.ndarray,
        values: np.ndarray,
        slopes: np.ndarray,
        detail: np.ndarray,
        inside: np.ndarray,
        textured: np.ndarray,
        weight: np.ndarray | None,
    ) -> "_Residuals":
        """Explain the values by what is low, with weights that are fitted with it (Geman and McClure's, sharpened)."""
        rounds = _ROUNDS[0] if weight is None else _ROUNDS[1]
        trust = inside.astype(float) if weight is None else weight * inside
        left = values
        usual = textured if textured.any() else inside
        for turn in range(rounds):
            left = np.stack(
                [
                    channel - (fit_channel(low, channel, trust / spread) @ low).reshape(inside.shape)
                    for channel, spread in zip(values, detail, strict=True)
                ]
            )
            misfit = (left**2 / detail).mean(axis=0)
            level = max(1.5 * float(np.median(misfit[usual])), np.finfo(float).tiny)
            if weight is None and turn < rounds // 2:
                trust = inside / np.sqrt(misfit / level + 1e-3)
            else:
                trust = inside / (1 + misfit / (_MISFIT**2 * level)) ** _SHARPNESS
        means = (values * trust).sum(axis=(1, 2), keepdims=True) / trust.sum()
        share = (left**2 * trust).sum(axis=(1, 2)) / np.maximum(
            ((values - means) ** 2 * trust).sum(axis=(1, 2)), np.finfo(float).tiny
        )
        return cls(left, slopes, low, detail, trust, float(share.mean()), float((trust[inside] > 0.5).mean()))

    def normal_equations(self, grid: SplineGrid) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and right-hand side of the step of both components' controls, the explaining weights eliminated."""
        matrix = np.zeros((2 * grid.count,) * 2)
        right = np.zeros(2 * grid.count)
        for number, (left, detail) in enumerate(zip(self.left, self.detail, strict=True)):
            weight = self.weight / detail
            weight = weight / max((weight * left**2).sum() / self.weight.sum(), np.finfo(float).tiny)
            slopes = self.slopes[:, number]
            weighted = self.low * weight.ravel()
            normal = ridged(weighted @ self.low.T)
            images = weighted.reshape(-1, *weight.shape)
            mixed = np.concatenate([grid.gathered(images * slope) for slope in slopes], axis=1)
            own = np.block([[grid.gram(weight * first * second) for second in slopes] for first in slopes])
            eliminated = np.linalg.solve(normal, np.column_stack([mixed, weighted @ left.ravel()]))
            matrix += own - mixed.T @ eliminated[:, :-1]
            right -= np.concatenate([grid.gathered(weight * slope * left) for slope in slopes])
            right += mixed.T @ eliminated[:, -1]
        alike = len(self.left) * self._alike()
        return matrix / alike, right / alike

    def _alike(self) -> float:
        """Of how many pixels the misfits are one and the same, by their correlation with those around."""
        return alike(self.left[0] * np.sqrt(self.weight / self.detail[0]) * (self.weight > 0.5), _ALIKE)
