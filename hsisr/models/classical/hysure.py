"""HySure: the sharpest image in a spectral subspace that both images allow, with few and shared edges.

Source: Simoes, Bioucas-Dias, Almeida, Chanussot, "A convex formulation for hyperspectral image superresolution via
subspace-based regularization", IEEE TGRS 53(6), 2015.
"""

import numpy as np

from hsisr.degrade.estimation import estimate_sensor, spectral_subspace
from hsisr.degrade.registration import related_channels
from hsisr.degrade.sampling import Sampler, interpolate
from hsisr.degrade.sensor import Sensor
from hsisr.models.classical.checks import check_pair

#: Penalty parameter of the alternating direction method; it changes the speed, not the result.
_PENALTY = 0.05


def hysure(
    lr: np.ndarray,
    guide: np.ndarray,
    *,
    scale: int,
    sensor: Sensor | None = None,
    components: int = 10,
    guide_weight: float = 1.0,
    smoothness: float = 5e-4,
    iterations: int = 40,
) -> np.ndarray:
    """Minimise |LR - sensor(X)|^2 / 2 + guide_weight |guide - response X|^2 / 2 + smoothness VTV(X), X = E C.

    lr: (bands, h, w), float. guide: (G, scale h, scale w), float. sensor: footprint and response; hsisr estimates those
    that are not known. components: number K of components of the subspace E. VTV: vector total variation. At each
    pixel, it takes the length of one vector: the differences of all coefficients to the right and down. It is the sum
    over pixels (eq. 8 of the paper). iterations: of the split augmented Lagrangian method.
    Returns (bands, scale h, scale w) in the type of lr.

    Unlike in the paper, borders are mirrored, not cyclic. The footprint is separable, so two small eigenproblems solve
    its normal equations. Differences are diagonal under a cosine transform.
    Raises HsisrError if guide and LR image do not fit, are empty or hold NaN.

    Example:

        >>> cube = np.random.default_rng(0).random((6, 32, 32))
        >>> known = degrade.Sensor(degrade.gaussian_footprint(2), np.full((3, 6), 1 / 6))
        >>> models.hysure(cube[:, ::2, ::2], cube[:3], scale=2, sensor=known).shape
        (6, 32, 32)
    """
    check_pair("hysure", lr, guide, scale)
    given = sensor or Sensor()
    if given.response is None:  # the spectra must make every channel, so leave out channels that they cannot make
        guide = guide[related_channels(lr, guide, scale, given.mask)]
    known = estimate_sensor(lr, guide, scale, given)
    low = lr.reshape(len(lr), -1).astype(np.float64)
    subspace = spectral_subspace(low, margin=len(low), most=min(components, len(low)))
    seen = subspace.coefficients(low).reshape(-1, *lr.shape[1:])
    view = known.response @ subspace.basis
    offset = known.response @ subspace.mean[:, 0] + (0 if known.offset is None else known.offset)
    high = guide - offset[:, None, None]
    from_lr = _FromLr(known.footprint.sampler(scale, guide.shape[1:]), seen)
    from_guide = _FromGuide(view, high, guide_weight)
    start = interpolate(seen, scale, shift_px=known.footprint.shift_px(scale)).astype(np.float32)
    found = _minimise(start, from_lr, from_guide, smoothness, iterations)
    image = subspace.spectra(found.reshape(len(found), -1))
    return image.reshape(-1, *guide.shape[1:]).astype(lr.dtype)


class _FromLr:
    """Proximal operator of |seen - sampler(C)|^2 / 2."""

    def __init__(self, sampler: Sampler, seen: np.ndarray) -> None:
        self._sampler, self._seen = sampler, seen
        self._up = Sampler(sampler.rows.T.tocsr(), sampler.columns.T.tocsr(), 1)
        (rows, self._rows), (columns, self._columns) = (
            np.linalg.eigh((axis @ axis.T).toarray()) for axis in (sampler.rows, sampler.columns)
        )
        self._values = np.maximum(np.outer(rows, columns), 0) + _PENALTY

    def __call__(self, near: np.ndarray) -> np.ndarray:
        """(A'A + mu)^-1 (A' seen + mu near) = near + A' (A A' + mu)^-1 (seen - A near), by Woodbury."""
        missing = self._rows.T @ (self._seen - self._sampler(near)) @ self._columns / self._values
        return near + self._up(self._rows @ missing @ self._columns.T).astype(near.dtype)


class _FromGuide:
    """Proximal operator of weight |high - view C|^2 / 2."""

    def __init__(self, view: np.ndarray, high: np.ndarray, weight: float) -> None:
        inverse = np.linalg.inv(weight * view.T @ view + _PENALTY * np.eye(view.shape[1]))
        self._from_near = (_PENALTY * inverse).astype(np.float32)
        self._constant = np.tensordot(weight * inverse @ view.T, high, axes=1).astype(np.float32)

    def __call__(self, near: np.ndarray) -> np.ndarray:
        return np.tensordot(self._from_near, near, axes=1) + self._constant


def _minimise(start: np.ndarray, from_lr: _FromLr, from_guide: _FromGuide, smoothness: float, iterations: int):
    """Alternating directions: C has copies for LR image, guide and differences, and scaled multipliers."""
    from scipy.fft import dctn, idctn

    height, width = start.shape[1:]
    rows, columns = (2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in (height, width))
    spectrum = (2 + rows[:, None] + columns).astype(np.float32)
    image = start
    copies = [image, image, _down(image), _right(image)]
    multipliers = [np.zeros_like(image) for _ in copies]
    for _ in range(iterations):
        a, b, c, d = (copy + multiplier for copy, multiplier in zip(copies, multipliers, strict=True))
        right_side = a + b + _down_transposed(c) + _right_transposed(d)
        image = idctn(dctn(right_side, axes=(1, 2), norm="ortho") / spectrum, axes=(1, 2), norm="ortho")
        views = [image, image, _down(image), _right(image)]
        near = [view - multiplier for view, multiplier in zip(views, multipliers, strict=True)]
        copies = [from_lr(near[0]), from_guide(near[1]), *_shrink(near[2], near[3], smoothness / _PENALTY)]
        for multiplier, copy, view in zip(multipliers, copies, views, strict=True):
            multiplier += copy - view
    return image


def _shrink(down: np.ndarray, right: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Vector soft threshold: shortens each vector, over components and both directions, by the threshold."""
    length = np.sqrt((down**2).sum(axis=0) + (right**2).sum(axis=0))
    factor = np.maximum(length - threshold, 0) / np.maximum(length, np.finfo(np.float32).tiny)
    return down * factor, right * factor


def _down(image: np.ndarray) -> np.ndarray:
    """Differences to the next row; 0 at the last row, because the border is mirrored."""
    return np.diff(image, axis=1, append=image[:, -1:])


def _right(image: np.ndarray) -> np.ndarray:
    return np.diff(image, axis=2, append=image[:, :, -1:])


def _down_transposed(image: np.ndarray) -> np.ndarray:
    inner = image[:, :-1]
    result = np.zeros_like(image)
    result[:, :-1] -= inner
    result[:, 1:] += inner
    return result


def _right_transposed(image: np.ndarray) -> np.ndarray:
    inner = image[:, :, :-1]
    result = np.zeros_like(image)
    result[:, :, :-1] -= inner
    result[:, :, 1:] += inner
    return result
