"""Least squares with an intercept, for component substitution and hypersharpening."""

import numpy as np

#: If a regressor varies by less than this part of its level, the variation is rounding.
_CONSTANT = 1e-10
#: Eigenvalues below this part of the largest one are rounding.
_RANK = 1e-12
#: A direction counts if the bands explain at least this part of its variance.
_LEAST_SHARE = 0.5


def coefficients(targets: np.ndarray, regressors: np.ndarray) -> np.ndarray:
    """Coefficients (T, R) for targets (T, n) and regressors (R, n), fitted with an intercept; the shortest solution."""
    level = np.abs(regressors).max(axis=1, keepdims=True)
    targets, regressors = (a - a.mean(axis=1, keepdims=True) for a in (targets, regressors))
    varying = np.where(np.abs(regressors).max(axis=1, keepdims=True) > _CONSTANT * level, regressors, 0.0)
    return np.linalg.lstsq(varying.T, targets.T, rcond=None)[0].T


def approximate(targets: np.ndarray, regressors: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
    """Least-squares approximation of each target (T, n) by the regressors (R, n), read there or at `at` (R, m)."""
    found = coefficients(targets, regressors)
    offset = targets.mean(axis=1) - found @ regressors.mean(axis=1)
    return found @ (regressors if at is None else at) + offset[:, None]


def shared_directions(low: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Directions (G, k) among guide channels, (G, n) at the LR grid, that the bands (B, n) explain, k from 1 to G.

    Canonical correlation analysis finds directions that do not correlate with one another, and the share of their
    variance that the bands explain (Hotelling, Relations between two sets of variates, Biometrika 1936). The part that
    as many regressors explain by chance does not count. If the share is below half, the direction holds noise or a
    channel of another kind. A gain learnt on such a direction is arbitrary, and large if channels are nearly multiples
    of each other. So the direction is left out, unless it is the first. If k = G, the channels themselves are the
    directions.
    """
    count, everything = low.shape[1], np.eye(len(low))
    low, bands = (values - values.mean(axis=1, keepdims=True) for values in (low, bands))
    spread = low.std(axis=1)
    varying = spread > _CONSTANT * np.maximum(spread.max(), np.finfo(float).tiny)
    if not varying.any():
        return everything
    scaled = low[varying] / spread[varying, None]
    explained = approximate(scaled, bands)
    values, vectors = np.linalg.eigh(scaled @ scaled.T / count)
    kept = values > _RANK * values[-1]
    whitening = vectors[:, kept] / np.sqrt(values[kept])
    shares, turned = np.linalg.eigh(whitening.T @ (explained @ explained.T / count) @ whitening)
    freedom = count - 1 - np.linalg.matrix_rank(bands)
    if freedom > 0:
        shares = 1 - (1 - shares) * (count - 1) / freedom
    good = shares >= _LEAST_SHARE
    good[-1] = True
    if good.all() and kept.all() and varying.all():
        return everything
    directions = np.zeros((len(low), int(good.sum())))
    directions[varying] = (whitening @ turned[:, good]) / spread[varying, None]
    return directions
