"""A first displacement, window by window: where in the guide the LR image finds its own detail, and how surely."""

from dataclasses import dataclass

import numpy as np

from hsisr.degrade.spline import SplineGrid

#: Cells a side of a window, and between two of them.
_WINDOW, _STEP = 12, 6
#: Most windows along an axis; larger scenes have them further apart.
_MOST_WINDOWS = 24
#: Cells that a window is moved either way.
REACH = 5
#: Principal components of the LR image that explain the guide within a window, which may be lit or exposed otherwise.
_COMPONENTS = 3
#: A window of whose detail more than this is left unexplained shows something else: a cloud, or change.
_MOST_LEFT = 0.5
#: Detail, as part of the image's variance, below which a window shows nothing.
_LEAST_DETAIL = 3e-3
#: Error of a match in cells beyond what its own minimum says; deviations from which on a match counts less.
_MATCH_ERROR, _OUTLIER = 0.2, 3.0
_ROUNDS = 20


@dataclass(frozen=True, eq=False)
class Matches:
    """What the windows found. centres, shifts: (n, 2), cells. certainty: (n, 2, 2), inverse covariances."""

    centres: np.ndarray
    shifts: np.ndarray
    certainty: np.ndarray


def match_windows(low: np.ndarray, sharp: np.ndarray, valid: np.ndarray) -> Matches:
    """Match windows of the LR image's components (P, h, w) and the guide at LR resolution (G, h, w).

    Windows that hold no detail, show something else, or find their best place at the edge of the search are left out.
    """
    height, width = valid.shape
    sharp = sharp / np.maximum(sharp.std(axis=(1, 2), keepdims=True), np.finfo(float).tiny)
    usable = np.where(valid, sharp, np.nan)
    around = np.pad(usable, ((0, 0), (REACH, REACH), (REACH, REACH)), constant_values=np.nan)
    side = min(_WINDOW, height, width)
    found = []
    for row in _starts(height, side):
        for column in _starts(width, side):
            place = (slice(row, row + side), slice(column, column + side))
            if not valid[place].all():
                continue
            wide = around[:, row : row + side + 2 * REACH, column : column + side + 2 * REACH]
            best = _minimum(_unexplained(low[:_COMPONENTS, *place], wide))
            if best is not None:
                found.append((np.array([row, column]) + (side - 1) / 2, *best))
    if not found:
        return Matches(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2, 2)))
    return Matches(*(np.stack(part) for part in zip(*found, strict=True)))


def fit_matches(matches: Matches, grid: SplineGrid, prior: np.ndarray) -> np.ndarray:
    """Controls (2, points) of the smooth surface through the matches, less those that do not agree with the others.

    prior: (points, points), what a surface costs. Iteratively reweighted, with the weights of a t distribution at
    first and sharper ones later. Zeros without a match.
    """
    controls = np.zeros((2, grid.count))
    if not len(matches.shifts):
        return controls
    down, across = grid.weights(matches.centres[:, 0], matches.centres[:, 1])
    weights = (down[:, :, None] * across[:, None]).reshape(len(down), -1)
    certainty = np.linalg.inv(np.linalg.inv(matches.certainty) + _MATCH_ERROR**2 * np.eye(2))
    fitted = np.broadcast_to(np.median(matches.shifts, axis=0), matches.shifts.shape)
    for turn in range(_ROUNDS):
        error = matches.shifts - fitted
        distance = np.einsum("ki,kij,kj->k", error, certainty, error)
        trust = 1 / (1 + distance / _OUTLIER**2) ** (1 if turn < _ROUNDS // 4 else 2)
        weighted = certainty * trust[:, None, None]
        normal = np.block([[(weights * weighted[:, a, b, None]).T @ weights for b in (0, 1)] for a in (0, 1)])
        wanted = (weights.T @ np.einsum("kij,kj->ki", weighted, matches.shifts)).T.ravel()
        controls = np.linalg.solve(normal + np.kron(np.eye(2), prior), wanted).reshape(2, -1)
        fitted = weights @ controls.T
    return controls


def _starts(size: int, side: int) -> np.ndarray:
    count = min(_MOST_WINDOWS, max(1, -(-(size - side) // _STEP) + 1))
    return np.unique(np.linspace(0, size - side, count).astype(int))


def _unexplained(low: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Part of the guide's detail that the window's components leave, for every shift: (2 reach + 1, 2 reach + 1).

    low: (P, n, n). around: (G, n + 2 reach, n + 2 reach), NaN where it is not valid; there the part is infinite.
    """
    side = low.shape[1]
    basis = np.linalg.qr(np.concatenate([np.ones((1, side * side)), low.reshape(len(low), -1)]).T)[0]
    moved = np.lib.stride_tricks.sliding_window_view(around, (side, side), axis=(1, 2))
    moved = moved.reshape(len(around), -1, side * side)
    missing = np.isnan(moved).any(axis=(0, 2))
    moved = np.nan_to_num(moved)
    parts = moved @ basis
    power = (moved**2).sum(axis=2)
    pixels = side * side * len(around)
    detail = (power - parts[..., 0] ** 2).sum(axis=0) / pixels
    left = (power - (parts**2).sum(axis=2)).sum(axis=0) / pixels
    shares = np.where(missing, np.inf, np.maximum(left, 0) / (detail + _LEAST_DETAIL))
    return shares.reshape(2 * REACH + 1, -1)


def _minimum(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Where (2,) a cost is least, by the parabola around its smallest value, and the certainty of that (2, 2)."""
    row, column = np.unravel_index(np.argmin(cost), cost.shape)
    if not (0 < row < len(cost) - 1 and 0 < column < len(cost) - 1):
        return None
    near = cost[row - 1 : row + 2, column - 1 : column + 2]
    if not np.isfinite(near).all() or near[1, 1] > _MOST_LEFT:
        return None
    slope = np.array([near[2, 1] - near[0, 1], near[1, 2] - near[1, 0]]) / 2
    mixed = (near[2, 2] + near[0, 0] - near[0, 2] - near[2, 0]) / 4
    down, across = near[2, 1] + near[0, 1] - 2 * near[1, 1], near[1, 2] + near[1, 0] - 2 * near[1, 1]
    curvature = np.array([[down, mixed], [mixed, across]])
    if np.linalg.eigvalsh(curvature)[0] <= 0:
        return None
    beside = -np.linalg.solve(curvature, slope)
    if np.abs(beside).max() > 1:
        return None
    least = max(near[1, 1] + slope @ beside / 2, 1e-4)
    # half the cost's curvature over its least value, for as many independent pixels as smoothing leaves: about four
    return np.array([row, column]) - REACH + beside, 4 * curvature / (2 * least)
