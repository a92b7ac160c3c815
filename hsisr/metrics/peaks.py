"""The peak: the value that counts as 1, and checks that a reference has its unit."""

import math
import warnings

import numpy as np

from hsisr.errors import HsisrError
from hsisr.metrics.inputs import Pair, check_positive

#: Values up to this many peaks are bright pixels. Higher values have another unit, such as 0 to 255 or 0 to 10000.
_BRIGHT = 1.5
#: A reference that reaches less than this part of a peak above 1 seems to have another unit than the peak.
_FAINT = 0.05
#: How many times as large the values of one image are as those of the other, on average, from which on their units seem
#: to differ; and pixels, about, that are looked at.
_OTHER_UNIT, _LOOKED_AT_PX = 10.0, 4096
#: Reference values may lie outside the range of clipped estimates by this part of the peak, because float32 rounds.
_ROUNDING = 1e-6


def check_peak(peak: float | None) -> float:
    """The peak as a number; None gives 1. Raises HsisrError unless the peak is a finite number above 0."""
    return 1.0 if peak is None else check_positive("peak", peak)


def check_floats(name: str, values: np.ndarray, peak: float | None) -> None:
    """Raise HsisrError for integers or booleans without a peak: nothing says which of their values counts as 1."""
    if values.dtype.kind != "f" and peak is None:
        raise HsisrError(
            f"metrics: the {name} holds {values.dtype}; scores take values in [0, 1]: give peak, the value that counts "
            "as 1, or divide by it first"
        )


def check_unit(pair: Pair, peak: float | None) -> None:
    """Raise HsisrError if no peak was given and the reference reaches far beyond 1: then it has another unit.

    Also as `check_floats`. Warns of a peak above 1 of which the reference only reaches a small part, and of an estimate
    that seems to have another unit than the reference.
    """
    of_reference, of_estimate = (_usual_size(image, pair.mask) for image in (pair.reference, pair.estimate))
    if max(of_reference, of_estimate) > _OTHER_UNIT * min(of_reference, of_estimate) > 0:
        warnings.warn(
            f"metrics: the values of the estimate are about {of_estimate:.3g} in size, those of the reference "
            f"{of_reference:.3g}; bring both to one unit, and mask pixels without data",
            stacklevel=5,
        )
    if peak is not None:
        size = max(map(abs, _reach(pair))) if peak > 1 else peak
        if 0 < size < _FAINT * peak:
            warnings.warn(
                f"metrics: the reference only reaches {size:g}, and the peak is {peak:g}: errors count as parts of the "
                "peak; leave peak out if the values lie in [0, 1]",
                stacklevel=5,
            )
        return
    check_floats("reference", pair.reference, peak)
    check_floats("estimate", pair.estimate, peak)
    low, high = _reach(pair)
    size = max(-low, high)
    if size > _BRIGHT:
        raise HsisrError(
            f"metrics: the reference reaches {size:g}, and its values are taken to be in [0, 1]; give the value that "
            "counts as 1 as peak (255 for 8 bit, 10000 for reflectance times 10000)"
        )


def check_inside(pair: Pair, clip: tuple[float, float], convention: str) -> None:
    """Raise HsisrError if the reference leaves the range `clip`, to which the named convention clips the estimate."""
    low, high = _reach(pair)
    slack = _ROUNDING * (clip[1] - clip[0])
    if low >= clip[0] - slack and high <= clip[1] + slack:
        return
    larger = "give the value that counts as 1 as peak, or " if low >= clip[0] - slack else ""
    raise HsisrError(
        f"metrics: the reference goes from {low:g} to {high:g}, and convention {convention} clips the estimate to "
        f"[{clip[0]:g}, {clip[1]:g}]; {larger}choose convention plain, which clips nothing"
    )


def _usual_size(image: np.ndarray, mask: np.ndarray | None) -> float:
    """Mean absolute value of some valid pixels of an image (B, H, W), without NaN and infinity; 0 if there is none."""
    step = max(1, math.isqrt(image[0].size // _LOOKED_AT_PX))
    values = image[:, ::step, ::step].astype(float)
    values = values if mask is None else values[:, mask[::step, ::step]]
    values = values[np.isfinite(values)]
    return float(np.abs(values).mean()) if values.size else 0.0


def _reach(pair: Pair) -> tuple[float, float]:
    """Smallest and largest value of the reference's valid pixels, without NaN; `Pair.read` refuses NaN later."""
    low, high = float(pair.reference.min()), float(pair.reference.max())
    if low >= 0 and high <= 1:
        return low, high
    reach = [math.inf, -math.inf]
    for band in pair.reference:
        values = band if pair.mask is None else band[pair.mask]
        values = values[np.isfinite(values)]
        if values.size:
            reach = [min(reach[0], float(values.min())), max(reach[1], float(values.max()))]
    return (reach[0], reach[1]) if reach[0] <= reach[1] else (0.0, 0.0)
