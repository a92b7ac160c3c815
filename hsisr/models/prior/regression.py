"""Bayesian linear regression with several targets, each with the ridge of greatest evidence."""

from dataclasses import dataclass

import numpy as np

#: Ridges that are tried: noise variance over weight variance over number of samples.
_RIDGES = 10.0 ** np.arange(-12, 1.5, 0.5)


@dataclass(frozen=True, eq=False)
class Fit:
    """Targets (K, n) as weights (K, D) @ features (D, n) + offset (K, 1), with what is left open.

    noise: (K,) variance of what the features do not explain, as the evidence sees it.
    """

    weights: np.ndarray
    offset: np.ndarray
    noise: np.ndarray
    _mean: np.ndarray
    _vectors: np.ndarray
    _shrinkage: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Targets at features (D, m), in the features' type."""
        kind = features.dtype
        return self.weights.astype(kind) @ features + self.offset.astype(kind)

    def variance(self, features: np.ndarray) -> np.ndarray:
        """Posterior variance (K, m) of the targets at features (D, m); without noise."""
        kind = features.dtype
        turned = self._vectors.T.astype(kind) @ (features - self._mean.astype(kind))
        return self._shrinkage.T.astype(kind) @ turned**2


class Regression:
    """Regression on given features (D, n) and a constant: decomposed once, fitted to as many targets as one likes.

    constant: (1, n), what the constant looks like in the coordinates of features and targets; ones if not given.

    Weights have independent normal priors of equal variance, the offset none. Of each target, the ratio of noise to
    weights is the one that maximises the evidence with the noise's level integrated out by its best value (MacKay,
    Bayesian interpolation, Neural Computation 1992).
    """

    def __init__(self, features: np.ndarray, constant: np.ndarray | None = None) -> None:
        self._count = features.shape[1]
        self._constant = np.ones((1, self._count)) if constant is None else constant
        self._mean = self._level(features)
        self._features = features - self._mean @ self._constant
        values, self._vectors = np.linalg.eigh(self._features @ self._features.T / self._count)
        self._values = np.maximum(values, 0.0)

    def fit(self, targets: np.ndarray) -> Fit:
        """Fit targets (K, n)."""
        mean = self._level(targets)
        targets = targets - mean @ self._constant
        cross = self._vectors.T @ (self._features @ targets.T) / self._count
        power = (targets**2).mean(axis=1)
        floor = np.maximum(1e-14 * power, np.finfo(float).tiny)
        best = np.full(len(targets), np.inf)
        ridges, noise = np.ones(len(targets)), power.copy()
        for ridge in _RIDGES:
            left = np.maximum(power - (cross**2 / (self._values + ridge)[:, None]).sum(axis=0), floor)
            surprise = self._count * np.log(left) + np.log1p(self._values / ridge).sum()
            better = surprise < best
            best[better], ridges[better], noise[better] = surprise[better], ridge, left[better]
        shrunk = 1 / (self._values[:, None] + ridges)
        weights = (self._vectors @ (shrunk * cross)).T
        shrinkage = shrunk * noise / self._count
        return Fit(weights, mean - weights @ self._mean, noise, self._mean, self._vectors, shrinkage)

    def _level(self, values: np.ndarray) -> np.ndarray:
        """The part (D, 1) of values (D, n) that is a multiple of the constant."""
        return values @ self._constant.T / (self._constant**2).sum()
