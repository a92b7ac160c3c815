"""Scores under a named convention: of one estimate, of several estimates one by one, and for a JSON file."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from hsisr.degrade import AnyPair
from hsisr.errors import HsisrError
from hsisr.metrics.conventions import DEFAULT, find_convention
from hsisr.metrics.inputs import as_array, check_scale, read_pair
from hsisr.metrics.peaks import check_floats, check_inside, check_peak, check_unit
from hsisr.metrics.pixel import BandMoments, SquaredErrors
from hsisr.metrics.spectral import SpectralAngles, relative_error
from hsisr.metrics.strips import walk
from hsisr.metrics.structure import Ssim


def score(
    reference: Any,
    estimate: Any,
    scale: float | None = None,
    convention: str | None = None,
    mask: Any = None,
    border: int = 0,
    peak: float | None = None,
) -> dict[str, float]:
    """Score an estimate; returns psnr (dB), ssim, sam (degrees), ergas, rmse, cc, mae, as Python floats.

    reference: (B, H, W), numpy or torch; or the pair from which the estimate was made (`hsisr.degrade.pair`,
    `hsisr.pairs.read`). A pair gives scale, convention and mask if they are missing, and the estimate is cut back to
    its size. estimate: (B, H, W) in the reference's unit. scale: HR pixels per LR pixel, for ERGAS, at least 1.
    convention: a name of `CONVENTIONS`; None: the pair's, and `plain` for images. mask: (H, W) True where a pixel is
    valid. Pixel scores count valid pixels; SSIM counts windows without a masked pixel. border: pixels cut off on every
    side first. peak: the value that counts as 1 (255, 10000, ...); None: 1. RMSE and MAE are in the images' unit,
    unless the convention has its own unit.

    PSNR of identical images is math.inf; no score is ever NaN. The mean of a score leaves out bands and pixels on which
    the score is not defined, as `cc`, `ergas`, `sam` and `mean_band_psnr` say.
    Raises HsisrError for a reference outside the convention's range: outside [0, peak] if estimates are clipped to
    this range, or beyond 1.5 if no peak is given. Also for different shapes, integers without a peak, masked arrays,
    NaN or infinity, and an image smaller than the SSIM window. Also for an unknown convention, a scale below 1, a mask
    or border that leaves nothing, a pair without a reference, and a score that is not defined on any band or pixel.

    Example:

        >>> reference = np.random.default_rng(0).random((3, 32, 32))
        >>> scores = metrics.score(reference, reference + 0.01, scale=4)
        >>> sorted(scores)
        ['cc', 'ergas', 'mae', 'psnr', 'rmse', 'sam', 'ssim']
        >>> round(scores["psnr"], 2)
        40.0
    """
    if isinstance(reference, AnyPair):
        held = reference
        if held.hr is None:
            raise HsisrError(
                "metrics: the pair has no reference to score against, as its protocol is full; the functions without "
                "a reference are consistency_lr, consistency_guide, d_lambda and d_s"
            )
        scale = held.metadata.get("scale") if scale is None else scale
        convention, mask = convention or held.convention, held.mask if mask is None else mask
        reference, estimate = held.hr, _cut_back(held, estimate)
    rule = find_convention(convention or DEFAULT)
    scale, top = check_scale(scale), check_peak(peak)
    reference, estimate = _numbers("reference", reference, peak), _numbers("estimate", estimate, peak)
    clip = None if rule.clip is None else (rule.clip[0] * top, rule.clip[1] * top)
    pair = read_pair(reference, estimate, mask, border, clip)
    if clip is not None:
        check_inside(pair, clip, rule.name)
    check_unit(pair, peak)
    if rule.span:
        pair, top = replace(pair, unit=pair.span()), 1.0
    moments, ssim = BandMoments(pair.shape[0]), Ssim(pair, rule.ssim_window, top)
    angles = SpectralAngles(rule.sam_epsilon, rule.sam_black, top, rule.sam_offset)
    errors = moments if rule.levels is None else SquaredErrors(pair.shape[0], rule.levels / top)
    walk(pair, *dict.fromkeys((moments, angles, ssim, errors)))
    means = moments.mean_reference if rule.ergas_means == "reference" else moments.mean_estimate
    unit = 1.0 if rule.rmse_unit is None else rule.rmse_unit / top
    return {
        "psnr": rule.psnr(errors.mse, top),
        "ssim": float(ssim.per_band().mean()),
        "sam": angles.mean_degrees(),
        "ergas": relative_error(moments.mse, means, scale),
        "rmse": unit * math.sqrt(moments.mse.mean()),
        "cc": moments.mean_correlation(),
        "mae": float(moments.mae.mean()),
    }


class Score:
    """Mean scores of images, given one after another; images may differ in size.

    scale, convention, border, peak: as in `score`, the same for every image.

        scores = Score(scale=8, convention="mulsr")
        for reference, estimate in images:
            scores.update(reference, estimate)
        scores.compute()["psnr"]
    """

    def __init__(self, scale: float, convention: str = DEFAULT, border: int = 0, peak: float | None = None) -> None:
        find_convention(convention)
        check_peak(peak)
        self._scale, self._convention, self._border, self._peak = check_scale(scale), convention, border, peak
        self._sums: dict[str, float] = {}
        #: Images scored so far.
        self.images = 0

    def update(self, reference: Any, estimate: Any, mask: Any = None) -> None:
        """Score an image (B, H, W), or every image of a batch (N, B, H, W).

        reference, estimate, mask: as for `score`, and so are the errors.

        Example:

            >>> score = metrics.Score(scale=4)
            >>> batch = np.random.default_rng(0).random((2, 3, 32, 32))
            >>> score.update(batch, batch + 0.1)
            >>> round(score.compute()["rmse"], 6)
            0.1
        """
        reference, estimate = as_array("reference", reference), as_array("estimate", estimate)
        if reference.ndim == 4 and reference.shape == estimate.shape:
            for x, y in zip(reference, estimate, strict=True):
                self.update(x, y, mask)
            return
        found = score(reference, estimate, self._scale, self._convention, mask, self._border, self._peak)
        self._sums = {key: self._sums.get(key, 0.0) + value for key, value in found.items()}
        self.images += 1

    def compute(self) -> dict[str, float]:
        """Mean of each score over the images so far. Raises HsisrError if there are no images yet."""
        if not self.images:
            raise HsisrError("metrics: Score has seen no image yet; call update first")
        return {key: value / self.images for key, value in self._sums.items()}


def json_ready(scores: dict[str, float]) -> dict[str, float | None]:
    """The scores for a JSON file. JSON has no infinity: an infinite PSNR (identical images) becomes None (null).

    scores: name -> value.

    Example:

        >>> metrics.json_ready({"psnr": float("inf"), "sam": 0.0})
        {'psnr': None, 'sam': 0.0}
    """
    return {key: None if math.isinf(value) else value for key, value in scores.items()}


def _cut_back(pair: AnyPair, estimate: Any) -> np.ndarray:
    array = as_array("estimate", estimate)
    return pair.cut_back(array) if array.ndim == 3 else array


def _numbers(name: str, values: Any, peak: float | None) -> np.ndarray:
    array = as_array(name, values)
    check_floats(name, array, peak)
    return array
