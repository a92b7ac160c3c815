"""Scores at full resolution, where there is no reference: consistency with both inputs, D_lambda, D_s, QNR."""

import numpy as np

from hsisr import degrade, metrics
from hsisr.evaluation.results import Scores
from hsisr.pipeline.pair_files import PairFile

#: Side of a quality-index tile in LR pixels, the field's; halved until it fits into a small image.
BLOCK_LR_PX = 32


def score_full(pair: PairFile, estimate: np.ndarray, scale: int, guide_response: str | None) -> Scores:
    """Score an estimate (bands, H, W) against the inputs that it was made from, brought to one another's resolution.

    The estimate is degraded to the LR grid as protocol `wald` does. guide_response: name of the guide's spectral
    response; None if unknown. Scores: consistency_lr, consistency_guide (RMSE, 0 is best; none without a guide, its
    response or its wavelengths, and for a guide of other channels than the response), d_lambda (Khan), d_s and qnr
    (none unless the guide has one channel).
    """
    estimate = np.clip(estimate, 0, 1)
    degraded = degrade.degrade(estimate, "wald", scale, noise=0)
    block = BLOCK_LR_PX
    while block > min(pair.lr.shape[1:]):
        block //= 2
    scores: Scores = {
        "consistency_lr": metrics.consistency_lr(degraded, pair.lr),
        "consistency_guide": None,
        "d_lambda": metrics.d_lambda(pair.lr, degraded, block=block),
        "d_s": None,
        "qnr": None,
    }
    if pair.guide is not None and guide_response is not None and pair.wavelengths_nm is not None:
        matrix = degrade.response(guide_response, pair.wavelengths_nm)
        if len(matrix) == len(pair.guide):
            seen = degrade.apply_response(matrix, estimate)
            scores["consistency_guide"] = metrics.consistency_guide(seen, pair.guide)
    if pair.guide is not None and len(pair.guide) == 1:
        guide_lr = degrade.degrade(pair.guide, "wald", scale, noise=0)
        scores["d_s"] = metrics.d_s(estimate, pair.guide, pair.lr, guide_lr, block=block)
        scores["qnr"] = metrics.qnr(scores["d_lambda"], scores["d_s"])
    return scores
