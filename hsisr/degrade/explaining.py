"""What it takes to explain a guide's channels by an LR image's components where some pixels show something else."""

import numpy as np

#: Cells over which a channel's own detail is measured, with a floor as part of the whole channel's.
_DETAIL_CELLS, _DETAIL_FLOOR = 3.0, 0.05
#: Ridge of a fit, as part of its matrix' mean diagonal: it only keeps what is singular solvable.
_RIDGE = 1e-9


def own_detail(channels: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance of channels (G, h, w) around each cell, never below a floor; and that floor (G, 1, 1).

    spread: (G,), standard deviation of the whole channels. Of a blank channel it is rounding, which is no detail.
    """
    from scipy.ndimage import gaussian_filter

    mean = gaussian_filter(channels, (0, _DETAIL_CELLS, _DETAIL_CELLS), mode="nearest")
    detail = gaussian_filter((channels - mean) ** 2, (0, _DETAIL_CELLS, _DETAIL_CELLS), mode="nearest")
    rounding = np.finfo(np.float32).eps * np.abs(channels).max(axis=(1, 2))
    floor = np.maximum(_DETAIL_FLOOR * spread, rounding)[:, None, None] ** 2
    return np.maximum(detail + floor, np.finfo(float).tiny), floor


def fit_channel(low: np.ndarray, channel: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weights (P,) of the components (P, h w) that explain a channel (h, w); weight: (h, w), what a pixel counts."""
    weighted = low * weight.ravel()
    return np.linalg.solve(ridged(weighted @ low.T), weighted @ channel.ravel())


def fit_channels(low: np.ndarray, sharp: np.ndarray, detail: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Weights (G, P) of components (P, n) that explain channels (G, n). trust: (n,), what a cell counts."""
    return np.stack([fit_channel(low, channel, trust / d) for channel, d in zip(sharp, detail, strict=True)])


def misfit_of(left: np.ndarray, detail: np.ndarray) -> np.ndarray:
    """Mean over the channels of left^2 / detail; both (G, ...)."""
    misfit: np.ndarray = (left**2 / detail).mean(axis=0)
    return misfit


def alike(misfit: np.ndarray, most: float) -> float:
    """Of how many cells misfits (h, w) are one, by their correlation with those around; no more than `most`."""
    power = max(float((misfit**2).mean()), np.finfo(float).tiny)
    reach = range(-3, 4)
    total = sum(float((misfit * np.roll(misfit, (row, column), (0, 1))).mean()) for row in reach for column in reach)
    return float(np.clip(total / power, 1.0, most))


def ridged(matrix: np.ndarray) -> np.ndarray:
    """A normal matrix that can be inverted."""
    ridge = _RIDGE * max(float(np.trace(matrix)) / len(matrix), np.finfo(float).tiny)
    solvable: np.ndarray = matrix + ridge * np.eye(len(matrix))
    return solvable
