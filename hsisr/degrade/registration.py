"""Alignment: how far an LR image reads its scene beside the true place, exactly for a protocol, measured for a pair.

A shift is (rows, columns) in HR pixels from the centre of the scale x scale pixels that an LR pixel covers to
the centroid of the weights with which it reads them; positive is down and right.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsisr.degrade.protocols import Protocol, find_protocol
from hsisr.degrade.psf import skewed_gaussian
from hsisr.degrade.sampling import Sampler, correlation_axis
from hsisr.degrade.sensor import Footprint, whole_lr_pixels
from hsisr.degrade.simulate import Pair, check_scale, check_views
from hsisr.errors import HsisrError

#: LR pixels at each edge that are left out, as their footprints reach beyond the image: this part of a side, at most
#: so many.
_BORDER, _BORDER_LR_PX = 1 / 8, 4
#: Fewest LR pixels a side that can be measured on, and fewest in all, without the borders.
_LEAST_LR_PX, _LEAST_INSIDE = 6, 16
#: Most LR pixels a side that are used; more take time and change nothing.
_WINDOW_LR_PX = 128
#: Principal components of the LR image that explain the guide; more would begin to explain its shift.
_COMPONENTS = 10
#: Each of them needs at least this many LR pixels.
_PX_A_COMPONENT = 5
#: Footprints as they usually are, and their standard deviations: shift (LR pixels), log sigma (LR pixels), skew. With
#: few LR pixels, the fit stays near them; with many, they do not matter.
_USUAL, _SPREAD = (0.0, math.log(0.4), 0.0), (0.3, 0.4, 0.4)
#: Independent values among the residuals of one LR pixel, over all channels.
_INDEPENDENT = 0.25
#: Smoothing by one LR pixel leaves this part of the LR pixels independent.
_SMOOTHED = 0.25
#: A channel shows the same as the bands if they explain at least this part of its variance.
_LEAST_SHARE = 0.5
#: Share of a channel's pixels, and their number, above which pixels of its greatest value count as saturated. Share of
#: the bands that must saturate in an LR pixel.
_SATURATED_SHARE, _FEWEST_SATURATED, _SATURATED_BANDS = 2e-3, 4, 0.05
#: What saturates is left out as long as this part of the LR pixels remains.
_LEAST_UNSATURATED = 0.25
#: Widest shift that is searched, in LR pixels.
_REACH_LR_PX = 4.0


@dataclass(frozen=True)
class Registration:
    """How an LR image lies against its guide.

    shift_px: (rows, columns), HR pixels. sigma_px: width of the best-fitting PSF, (rows, columns), HR pixels.
    skew: its third-order skew, (rows, columns).
    unexplained: share of the guide's variance, at LR resolution, that the fit leaves; near 1 the shift means nothing.
    """

    shift_px: tuple[float, float]
    sigma_px: tuple[float, float]
    skew: tuple[float, float]
    unexplained: float


def shift_of(protocol: str | Protocol, scale: int) -> tuple[float, float]:
    """The shift of a protocol's test degradation at this scale: centroid of an LR pixel's weights, less its centre.

    (0, 0) under `full`, which degrades nothing. Raises HsisrError for an unknown protocol.

    Example:

        >>> [round(pixels, 2) for pixels in degrade.shift_of("mulsr", 8)]
        [3.44, 2.54]
    """
    protocol = find_protocol(protocol)
    check_scale(scale)
    if protocol.sampling is None:
        return (0.0, 0.0)
    degradation = protocol.degradation(scale)
    taps = 1 if degradation.kernel is None else max(degradation.kernel.shape)
    reach = math.ceil(taps / scale) + 3  # LR pixels that keep the middle one clear of the borders
    sampler = degradation.sampler(scale, ((2 * reach + 1) * scale,) * 2)
    weights = sampler.impulse_response(reach, reach)
    centre = reach * scale + (scale - 1) / 2
    places = np.arange(len(weights)) - centre
    total = weights.sum()
    return float(weights.sum(axis=1) @ places / total), float(weights.sum(axis=0) @ places / total)


def measure_shift(lr: np.ndarray, guide: np.ndarray, scale: int) -> tuple[float, float]:
    """The measured shift of an LR image against its guide, (rows, columns) in HR pixels; see `registration`.

    lr: (B, h, w). guide: (G, h s, w s). scale: s, HR pixels per LR pixel.
    """
    return register(lr, guide, scale).shift_px


def registration(pair: Pair) -> Registration:
    """Measure and return how a pair's LR image lies against its guide, without knowing how either was made.

    A separable PSF, Gaussian with a third-order skew, brings the guide to the LR grid; its position, widths and skews
    are fitted such that the LR image's principal components explain the result best. At most the middle 128 x 128 LR
    pixels are used. With fewer than about 16 x 16, the result leans to what is usual: no shift, and a PSF of a FWHM of
    one LR pixel. Raises HsisrError for a pair without guide, without detail, or smaller than 6 x 6 LR pixels.
    """
    if pair.guide is None:
        raise HsisrError("registration: this pair has no guide to measure against")
    return register(pair.lr, pair.guide, pair.metadata["scale"], pair.mask)


def register(lr: np.ndarray, guide: np.ndarray, scale: int, mask: np.ndarray | None = None) -> Registration:
    """`registration` of an LR image (B, h, w) and a guide (G, h s, w s); mask: (h s, w s), True where valid.

    Measured on the channels that show the same as the LR image (`related_channels`).
    """
    lr, guide = check_views(lr, guide, scale, mask)
    return register_related(lr, guide[related_channels(lr, guide, scale, mask)], scale, mask)


def register_related(lr: np.ndarray, guide: np.ndarray, scale: int, mask: np.ndarray | None = None) -> Registration:
    """`register`, of a guide with none but related channels."""
    lr, guide, inside = interior(lr, guide, scale, mask)
    guide = guide.astype(np.float64, copy=False)
    first = _fit_smoothed(lr, guide, scale, inside)
    fitted, unexplained = _fit_psf(lr, guide, scale, inside, first)
    return Registration(
        shift_px=(float(fitted[0] * scale), float(fitted[1] * scale)),
        sigma_px=(math.exp(fitted[2]), math.exp(fitted[3])),
        skew=(float(fitted[4]), float(fitted[5])),
        unexplained=unexplained,
    )


def related_channels(lr: np.ndarray, guide: np.ndarray, scale: int, mask: np.ndarray | None = None) -> np.ndarray:
    """Which channels (G,) of a guide (G, h s, w s) show the same as the LR image (B, h, w); all, if none does.

    The bands must explain at least half of a channel's variance over LR pixels, beyond the part that as many bands
    would explain by chance. A blank channel has no variance. A thermal band, for example, shows another image.
    """
    height, width = lr.shape[1:]
    if guide.shape[1:] != (height * scale, width * scale):
        return np.ones(len(guide), bool)
    low = _block_means(guide, scale)
    valid = np.ones((height, width), bool) if mask is None else whole_lr_pixels(mask, scale)
    bands, low = lr[:, valid].astype(np.float64), low[:, valid]
    if low.shape[1] < 2:
        return np.ones(len(guide), bool)
    bands, low = (values - values.mean(axis=1, keepdims=True) for values in (bands, low))
    values, vectors = np.linalg.eigh(bands @ bands.T)
    kept = values > 1e-12 * max(values[-1], np.finfo(float).tiny)
    explained = ((vectors[:, kept].T @ bands @ low.T) ** 2 / values[kept, None]).sum(axis=0)
    power = (low**2).sum(axis=1)
    freedom = low.shape[1] - 1 - int(kept.sum())
    chance = (low.shape[1] - 1) / freedom if freedom > 0 else 1.0
    varying: np.ndarray = np.ptp(guide, axis=(1, 2)) > 0
    shares = 1 - (1 - explained / np.maximum(power, np.finfo(float).tiny)) * chance
    related: np.ndarray = varying & (shares >= _LEAST_SHARE)
    if related.any():
        return related
    return varying if varying.any() else np.ones(len(guide), bool)


def interior(
    lr: np.ndarray, guide: np.ndarray, scale: int, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middle of an LR image and of its guide, at most 128 x 128 LR pixels, and which of these (h, w) to measure on.

    These are valid, clear of the borders, and see no saturated pixel of the guide, as far as enough are left.
    Raises HsisrError for too few pixels.
    """
    height, width = lr.shape[1:]
    if min(height, width) < _LEAST_LR_PX:
        raise HsisrError(f"registration: {_LEAST_LR_PX} x {_LEAST_LR_PX} or more LR pixels are needed")
    rows, columns = _middle(height), _middle(width)
    rows_hr, columns_hr = (slice(part.start * scale, part.stop * scale) for part in (rows, columns))
    lr, guide = lr[:, rows, columns], guide[:, rows_hr, columns_hr]
    inside = np.zeros(lr.shape[1:], dtype=bool)
    border = max(1, min(_BORDER_LR_PX, int(_BORDER * min(inside.shape))))
    inside[border:-border, border:-border] = True
    valid = np.ones(guide.shape[1:], bool) if mask is None else mask[rows_hr, columns_hr]
    inside &= whole_lr_pixels(valid, scale)
    if inside.sum() < _LEAST_INSIDE:
        raise HsisrError(f"registration: the mask leaves {inside.sum()} LR pixels; {_LEAST_INSIDE} are needed")
    return lr, guide, inside & _unsaturated(lr, guide, scale, inside, valid)


def _unsaturated(lr: np.ndarray, guide: np.ndarray, scale: int, inside: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """LR pixels (h, w) that neither saturate themselves nor see a saturated pixel of the guide; all, if too few do not.

    valid: (h s, w s), the pixels whose values count.
    A saturated pixel is brighter than it says, and no footprint explains that. Footprints reach beyond their blocks, so
    the pixels around are left out too, or at least what saturates itself. Images of few values, such as drawings, have
    no detail but at their brightest: they keep all.
    """
    from scipy.ndimage import binary_dilation

    saturated = saturated_lr_pixels(lr, guide, scale, valid)
    if not saturated.any():
        return np.ones_like(inside)
    around: np.ndarray = binary_dilation(saturated, np.ones((3, 3), bool))
    low = _block_means(guide, scale)
    for left in (~around, ~saturated):
        kept = inside & left
        enough = kept.sum() >= max(_LEAST_INSIDE, _LEAST_UNSATURATED * inside.sum())
        if enough and _centred(low[:, kept])[1].all() and _centred(lr[:, kept])[1].any():
            return left
    return np.ones_like(inside)


def saturated_lr_pixels(lr: np.ndarray, guide: np.ndarray, scale: int, valid: np.ndarray) -> np.ndarray:
    """LR pixels (h, w) that saturate in some bands, or see a saturated pixel of the guide.

    lr: (B, h, w). guide: (G, h s, w s) at scale s. valid: (h s, w s), the pixels whose values count.
    """
    saturated: np.ndarray = _saturated(lr, whole_lr_pixels(valid, scale)).mean(axis=0) > _SATURATED_BANDS
    clear: np.ndarray = np.logical_not(_saturated(guide, valid).any(axis=0))
    saturated |= ~whole_lr_pixels(clear, scale)
    return saturated


def _saturated(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Where channels (C, n, m) have the greatest value of their valid pixels (n, m), if many of them have it."""
    brightest = valid & (image == image[:, valid].max(axis=1)[:, None, None])
    many = brightest.sum(axis=(1, 2)) > max(_FEWEST_SATURATED, _SATURATED_SHARE * valid.sum())
    saturated: np.ndarray = brightest & many[:, None, None]
    return saturated


def _block_means(guide: np.ndarray, scale: int) -> np.ndarray:
    """Means (G, h, w), float64, of the blocks of a guide (G, h s, w s) that the LR pixels cover."""
    height, width = (size // scale for size in guide.shape[1:])
    means: np.ndarray = guide.reshape(len(guide), height, scale, width, scale).mean(axis=(2, 4), dtype=np.float64)
    return means


def _middle(size: int) -> slice:
    """The middle of an axis of `size` LR pixels, at most as long as the window."""
    length = min(size, _WINDOW_LR_PX)
    start = (size - length) // 2
    return slice(start, start + length)


def _fit_smoothed(lr: np.ndarray, guide: np.ndarray, scale: int, inside: np.ndarray) -> np.ndarray:
    """A first shift (rows, columns) in LR pixels: both images smoothed so far that only their position matters."""
    rows, columns = (_gaussian_axis(size, 1, 1.0, 0.0, 0.0) for size in lr.shape[1:])
    basis = _basis(Sampler(rows, columns, 1)(lr), inside)
    # A smoothing of one LR pixel beside a PSF of the usual width, FWHM one LR pixel.
    log_sigma = math.log(scale * math.hypot(1.0, 0.425))

    def residual(shift: np.ndarray) -> np.ndarray:
        return _residual(guide, scale, inside, basis, (*shift, log_sigma, log_sigma, 0.0, 0.0))

    usual, spread = np.zeros(2), np.full(2, _SPREAD[0])
    pixels = _SMOOTHED * inside.sum()
    return _most_probable(residual, usual, usual, spread, (-_REACH_LR_PX, _REACH_LR_PX), pixels)[0]


def _fit_psf(
    lr: np.ndarray, guide: np.ndarray, scale: int, inside: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float]:
    """Shift (LR pixels), log sigma (HR pixels) and skew, each for rows and columns; and the unexplained share."""
    basis = _basis(lr, inside)
    usual, spread = (np.repeat(values, 2) for values in (_USUAL, _SPREAD))
    usual[2:4] += math.log(scale)
    reach = _REACH_LR_PX + 1
    low = [-reach, -reach, math.log(0.25), math.log(0.25), -2.0, -2.0]
    high = [reach, reach, math.log(2.0 * scale), math.log(2.0 * scale), 2.0, 2.0]

    def residual(psf: np.ndarray) -> np.ndarray:
        return _residual(guide, scale, inside, basis, psf)

    first, pixels = np.concatenate([start, usual[2:]]), inside.sum() - 1
    found, left = _most_probable(residual, first, usual, spread, (low, high), pixels - basis.shape[1])
    return found, min(left * pixels / (pixels - basis.shape[1]), 1.0)  # the rest, less what chance explains


def _most_probable(
    residual: Callable[[np.ndarray], np.ndarray],
    first: np.ndarray,
    usual: np.ndarray,
    spread: np.ndarray,
    bounds: tuple[Any, Any],
    pixels: float,
) -> tuple[np.ndarray, float]:
    """The parameters of greatest posterior probability, and the sum of their squared residuals.

    Residuals are normal, with a variance that they tell themselves; parameters are normal around `usual`. So what is
    least is n log(sum of squares) + |z|^2, with z the distance of the parameters from `usual` in their deviations, or
    to first order, the sum of squares times 1 + |z|^2 / n. first: where the search begins. pixels: independent ones.
    """
    from scipy.optimize import least_squares

    count = _INDEPENDENT * max(pixels, 1)

    def misfit(values: np.ndarray) -> np.ndarray:
        left = residual(values)
        return np.concatenate([left, np.linalg.norm(left) / math.sqrt(count) * (values - usual) / spread])

    found = least_squares(misfit, first, bounds=bounds, xtol=1e-4, ftol=1e-6).x
    return found, float((residual(found) ** 2).sum())


def _basis(lr: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Orthonormal columns (pixels, components) that span the LR image's strongest principal components."""
    pixels, has_detail = _centred(lr[:, inside])
    if not has_detail.any():
        raise HsisrError("registration: the LR image has no detail to measure on")
    values, vectors = np.linalg.eigh(pixels @ pixels.T)
    kept = min(_COMPONENTS, pixels.shape[1] // _PX_A_COMPONENT, int(np.sum(values > 1e-12 * values[-1])))
    return np.linalg.qr((vectors[:, -kept:].T @ pixels).T)[0]


def _centred(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Channels (C, pixels) less their means, and which of them (C,) vary by more than rounding."""
    pixels = pixels.astype(np.float64)
    level = np.linalg.norm(pixels, axis=1)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return pixels, np.linalg.norm(pixels, axis=1) > 1e-10 * level


def explains_more(
    one: Footprint, other: Footprint, lr: np.ndarray, guide: np.ndarray, scale: int, inside: np.ndarray
) -> bool:
    """Whether the LR image explains more of a guide that is seen through `one` than of one seen through `other`.

    lr, guide, inside: as `interior` gives them, of related channels.
    """
    basis = _basis(lr, inside)
    seen = (footprint.sampler(scale, guide.shape[1:])(guide)[:, inside] for footprint in (one, other))
    left, left_by_other = (float((_unexplained(low, basis) ** 2).sum()) for low in seen)
    return left < left_by_other


def _residual(guide: np.ndarray, scale: int, inside: np.ndarray, basis: np.ndarray, psf: Any) -> np.ndarray:
    """What `basis` leaves of the guide brought to the LR grid; its square sums to the unexplained share."""
    rows, columns = (
        _gaussian_axis(guide.shape[1 + k], scale, math.exp(psf[2 + k]), psf[k] * scale, psf[4 + k]) for k in (0, 1)
    )
    return _unexplained(Sampler(rows, columns, 1)(guide)[:, inside], basis)


def _unexplained(low: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What `basis` leaves of channels (G, n), each as a share of its own deviation."""
    low, has_detail = _centred(low)
    if not has_detail.all():
        raise HsisrError("registration: a channel of the guide has no detail to measure on")
    left = low - (low @ basis) @ basis.T
    shares: np.ndarray = left / np.linalg.norm(low, axis=1, keepdims=True) / math.sqrt(len(low))
    return shares.ravel()


def _gaussian_axis(size: int, scale: int, sigma_px: float, shift_px: float, skew: float) -> Any:
    """Sparse (size // scale, size): a Gaussian of centroid `shift_px` beside each LR pixel's centre."""
    first, taps = skewed_gaussian((scale - 1) / 2 + shift_px, sigma_px, skew)
    return correlation_axis(size, scale, first, taps)
