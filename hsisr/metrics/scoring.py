"""Scores under a named convention: of one estimate, of several in turn, and for a JSON file."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from hsisr.errors import HsisrError
from hsisr.metrics.conventions import find_convention
from hsisr.metrics.inputs import as_array, check_positive, read_pair
from hsisr.metrics.pixel import BandMoments, RoundedErrors
from hsisr.metrics.spectral import SpectralAngles, relative_error
from hsisr.metrics.strips import walk
from hsisr.metrics.structure import Ssim


def score(
    reference: Any, estimate: Any, scale: float, convention: str = "mulsr", mask: Any = None, border: int = 0
) -> dict[str, float]:
    """Score an estimate: psnr (dB), ssim, sam (degrees), ergas, rmse, cc, mae, as Python floats.

    reference, estimate: (B, H, W) with values in [0, 1], numpy or torch. scale: HR pixels per LR pixel, for ERGAS.
    convention: a name of `CONVENTIONS`. mask: (H, W) True where a pixel is valid: pixel scores take valid pixels,
    SSIM windows without a masked pixel. border: pixels cut off on every side first.

    PSNR of identical images is math.inf; no score is ever NaN. Bands and pixels on which a score is not defined are
    left out of its mean as `cc`, `ergas`, `sam` and `mean_band_psnr` say.
    Raises HsisrError for different shapes, integers (scale them to [0, 1] first), NaN or infinity, an image smaller
    than the SSIM window, an unknown convention, a scale that is no positive number, a mask or border that leaves
    nothing, and a score that is defined on no band or pixel.
    """
    rule = find_convention(convention)
    scale = check_positive("scale", scale)
    reference, estimate = _scaled("reference", reference), _scaled("estimate", estimate)
    pair = read_pair(reference, estimate, mask, border, rule.clip)
    if rule.span:
        pair = replace(pair, unit=pair.span())
    angles = SpectralAngles(rule.sam_epsilon, rule.sam_offset, rule.sam_black_deg)
    moments, ssim = BandMoments(pair.shape[0]), Ssim(pair, rule.ssim_window)
    errors = moments if rule.levels is None else RoundedErrors(pair.shape[0], rule.levels)
    walk(pair, *dict.fromkeys((moments, angles, ssim, errors)))
    means = moments.mean_reference if rule.ergas_means == "reference" else moments.mean_estimate
    return {
        "psnr": rule.psnr(errors.mse),
        "ssim": float(ssim.per_band().mean()),
        "sam": angles.mean_degrees(),
        "ergas": relative_error(moments.mse, means, scale),
        "rmse": rule.rmse_unit * math.sqrt(moments.mse.mean()),
        "cc": moments.mean_correlation(),
        "mae": float(moments.mae.mean()),
    }


class Score:
    """Mean scores of images that come one after another; images may differ in size.

    scale, convention, border: as in `score`, the same for every image.

        scores = Score(scale=8, convention="mulsr")
        for reference, estimate in images:
            scores.update(reference, estimate)
        scores.compute()["psnr"]
    """

    def __init__(self, scale: float, convention: str = "mulsr", border: int = 0) -> None:
        find_convention(convention)
        self._scale, self._convention, self._border = check_positive("scale", scale), convention, border
        self._sums: dict[str, float] = {}
        #: Images scored so far.
        self.images = 0

    def update(self, reference: Any, estimate: Any, mask: Any = None) -> None:
        """Score an image (B, H, W), or every image of a batch (N, B, H, W). Errors as `score`."""
        reference, estimate = as_array("reference", reference), as_array("estimate", estimate)
        if reference.ndim == 4 and reference.shape == estimate.shape:
            for x, y in zip(reference, estimate, strict=True):
                self.update(x, y, mask)
            return
        found = score(reference, estimate, self._scale, self._convention, mask, self._border)
        self._sums = {key: self._sums.get(key, 0.0) + value for key, value in found.items()}
        self.images += 1

    def compute(self) -> dict[str, float]:
        """Mean of each score over the images so far. Raises HsisrError if there are none."""
        if not self.images:
            raise HsisrError("metrics: Score has seen no image yet; call update first")
        return {key: value / self.images for key, value in self._sums.items()}


def json_ready(scores: dict[str, float]) -> dict[str, float | None]:
    """Scores for a JSON file, which knows no infinity: an infinite PSNR (identical images) becomes None (null)."""
    return {key: None if math.isinf(value) else value for key, value in scores.items()}


def _scaled(name: str, values: Any) -> np.ndarray:
    array = as_array(name, values)
    if array.dtype.kind != "f":
        raise HsisrError(
            f"metrics: the {name} holds {array.dtype}; scores take values in [0, 1]: divide by the peak first"
        )
    return array
