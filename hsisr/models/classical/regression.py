"""Least squares with an intercept, as component substitution and hypersharpening use it."""

import numpy as np

#: A regressor that varies by less than this part of its level varies by rounding only.
_CONSTANT = 1e-10


def coefficients(targets: np.ndarray, regressors: np.ndarray) -> np.ndarray:
    """(T, R) for targets (T, n) and regressors (R, n), an intercept fitted along; of several solutions the shortest."""
    level = np.abs(regressors).max(axis=1, keepdims=True)
    targets, regressors = (a - a.mean(axis=1, keepdims=True) for a in (targets, regressors))
    varying = np.where(np.abs(regressors).max(axis=1, keepdims=True) > _CONSTANT * level, regressors, 0.0)
    return np.linalg.lstsq(varying.T, targets.T, rcond=None)[0].T


def fitted(targets: np.ndarray, regressors: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
    """Least-squares approximation of each target (T, n) by the regressors (R, n), at those regressors or at (R, m)."""
    found = coefficients(targets, regressors)
    offset = targets.mean(axis=1) - found @ regressors.mean(axis=1)
    return found @ (regressors if at is None else at) + offset[:, None]
