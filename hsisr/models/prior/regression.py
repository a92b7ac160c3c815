"""Bayesian linear regression with several targets, each with the features and the ridge of greatest evidence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

#: Samples that are copied at a time.
_CHUNK = 4096
#: Ridges that are tried: noise variance over weight variance over number of samples.
_RIDGES = 10.0 ** np.arange(-12, 1.5, 0.5)


@dataclass(frozen=True, eq=False)
class Fit:
    """Targets (K, n) as weights (K, D) @ features (D, n) + offset (K, 1), with what is left open.

    noise: (K,) variance of what the features do not explain, as the evidence sees it.
    surprise: (K,) minus twice the log evidence, but for a constant.
    """

    weights: np.ndarray
    offset: np.ndarray
    noise: np.ndarray
    surprise: np.ndarray
    _level: np.ndarray
    _vectors: np.ndarray
    _shrinkage: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Targets at features (D, m), in the features' type."""
        kind = features.dtype
        return self.weights.astype(kind) @ features + self.offset.astype(kind)

    def variance(self, features: np.ndarray) -> np.ndarray:
        """Posterior variance (K, m) of the targets at features (D, m); without noise."""
        kind = features.dtype
        turned = self._vectors.T.astype(kind) @ features - self._level.astype(kind)
        return self._shrinkage.T.astype(kind) @ turned**2

    def before(self, turn: np.ndarray) -> "Fit":
        """The same fit of features (D, m) that `turn` (D, D) makes those that it was fitted to."""
        return replace(self, weights=self.weights @ turn, _vectors=turn.T @ self._vectors)


class Regression:
    """Regression on given features (D, n) and a constant: decomposed once, fitted to as many targets as one likes.

    constant: (1, n), what the constant looks like in the coordinates of features and targets; ones if not given.
    simpler: numbers of leading features that may do alone. least_ratio: of noise to weight variance, of all features
    together. The evidence knows of no error but noise; where there is none, it would let many features of any strength
    cancel each other at the samples, and nowhere else.

    Weights have independent normal priors of equal variance, the offset none. Of each target, the features that take
    part, all or the first so many, and the ratio of noise to weights are those that maximise the evidence with the
    noise's level integrated out by its best value (MacKay, Bayesian interpolation, Neural Computation 1992).
    """

    def __init__(
        self,
        features: np.ndarray,
        constant: np.ndarray | None = None,
        simpler: Sequence[int] = (),
        least_ratio: float = 0.0,
    ) -> None:
        self._count = features.shape[1]
        #: The ridges that are tried with each choice of features.
        self._ridges = [_RIDGES[_RIDGES * self._count >= least_ratio], *[_RIDGES] * len(simpler)]
        self._constant = np.ones((1, self._count)) if constant is None else constant
        self._mean = self._level(features)
        self._features = features
        gram = sum((part @ part.T for part, _ in self._parts()), np.zeros((len(features),) * 2)) / self._count
        sizes = (len(features), *simpler)
        self._vectors = np.zeros((len(features), sum(sizes)))
        self._values = np.empty(sum(sizes))
        #: The columns of `_vectors` that belong to each choice of features.
        self._choices = [slice(stop - size, stop) for size, stop in zip(sizes, accumulate(sizes), strict=True)]
        for size, columns in zip(sizes, self._choices, strict=True):
            values, self._vectors[:size, columns] = np.linalg.eigh(gram[:size, :size])
            self._values[columns] = np.maximum(values, 0.0)

    def fit(self, targets: np.ndarray) -> Fit:
        """Fit targets (K, n)."""
        mean = self._level(targets)
        targets = targets - mean @ self._constant
        products = sum((part @ targets[:, where].T for part, where in self._parts()), np.zeros(()))
        cross = self._vectors.T @ products / self._count
        power = (targets**2).mean(axis=1)
        floor = np.maximum(1e-14 * power, np.finfo(float).tiny)
        best, noise = np.full(len(targets), np.inf), power.copy()
        shrunk = np.zeros_like(cross)
        for columns, ridges in zip(self._choices, self._ridges, strict=True):
            values, explained = self._values[columns, None], cross[columns] ** 2
            for ridge in ridges:
                left = np.maximum(power - (explained / (values + ridge)).sum(axis=0), floor)
                surprise = self._count * np.log(left) + np.log1p(values / ridge).sum()
                better = surprise < best
                best[better], noise[better] = surprise[better], left[better]
                shrunk[:, better] = 0
                shrunk[columns, better] = 1 / (values + ridge)
        weights = (self._vectors @ (shrunk * cross)).T
        shrinkage = shrunk * noise / self._count
        level = self._vectors.T @ self._mean
        return Fit(weights, mean - weights @ self._mean, noise, best, level, self._vectors, shrinkage)

    def _parts(self) -> Iterator[tuple[np.ndarray, slice]]:
        """The features (D, m) of some samples at a time, less what is a multiple of the constant."""
        for first in range(0, self._count, _CHUNK):
            where = slice(first, first + _CHUNK)
            yield self._features[:, where] - self._mean @ self._constant[:, where], where

    def _level(self, values: np.ndarray) -> np.ndarray:
        """The part (D, 1) of values (D, n) that is a multiple of the constant."""
        return values @ self._constant.T / (self._constant**2).sum()
