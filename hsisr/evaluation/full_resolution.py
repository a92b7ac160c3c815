"""Scores at full resolution, without a reference: consistency with both inputs, D_lambda, D_s, QNR."""

import numpy as np

from hsisr import degrade, metrics
from hsisr.degrade.sensor import whole_lr_pixels
from hsisr.evaluation.results import Scores
from hsisr.pipeline.pair_files import PairFile

#: Usual side of a quality-index tile, in LR pixels. It is halved until it fits into a small image, and on to the least
#: side while the mask leaves no whole tile.
BLOCK_LR_PX, _LEAST_BLOCK_LR_PX = 32, 8


def score_full(pair: PairFile, estimate: np.ndarray, scale: int, guide_response: str | None) -> Scores:
    """Score an estimate (bands, H, W) against its pair; see `full_scores`.

    scale: of the pair. guide_response: name of the guide's spectral response; None if unknown. consistency_guide is
    none without this response or the pair's wavelengths, or if the guide has other channels than the response. Pixels
    outside the pair's mask do not count.
    """
    response = None
    if pair.guide is not None and guide_response is not None and pair.wavelengths_nm is not None:
        response = degrade.response(guide_response, pair.wavelengths_nm)
        response = response if len(response) == len(pair.guide) else None
    mask = pair.mask
    lr_mask = None if mask is None else whole_lr_pixels(mask, scale)
    return full_scores(estimate, pair.lr, pair.guide, scale, response, mask=mask, lr_mask=lr_mask)


def full_scores(
    estimate: np.ndarray,
    lr: np.ndarray,
    guide: np.ndarray | None,
    scale: int,
    response: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    lr_mask: np.ndarray | None = None,
) -> Scores:
    """Score an estimate (B, H, W) against its inputs, each comparison at one common resolution.

    The estimate is degraded to the LR grid like in protocol `wald`. lr: (B, h, w). guide: (G, H, W) or None.
    response: (G, B), offset: (G,) or None for 0, guide = response @ bands + offset. mask: (H, W), lr_mask: (h, w), True
    where a pixel counts; None: everywhere.
    Scores: consistency_lr, consistency_guide (RMSE, 0 is best; none without a guide or its response), d_lambda (Khan;
    none if the mask leaves no whole tile), d_s and qnr (none unless the guide has one channel; else as d_lambda).
    """
    mask, lr_mask = (None if part is None or part.all() else part for part in (mask, lr_mask))
    degraded = degrade.degrade(estimate, "wald", scale, noise=0)
    block = BLOCK_LR_PX
    while block > min(lr.shape[1:]) or (block > _LEAST_BLOCK_LR_PX and not _has_whole_tile(lr_mask, block)):
        block //= 2
    scores: Scores = dict.fromkeys(("consistency_lr", "consistency_guide", "d_lambda", "d_s", "qnr"))
    scores["consistency_lr"] = metrics.consistency_lr(degraded, lr, mask=lr_mask)
    tiled = _has_whole_tile(lr_mask, block)
    if tiled:
        scores["d_lambda"] = metrics.d_lambda(lr, degraded, block=block, mask=lr_mask)
    if guide is not None and response is not None:
        seen = degrade.apply_response(response, estimate)
        seen = seen if offset is None else seen + offset[:, None, None]
        scores["consistency_guide"] = metrics.consistency_guide(seen, guide, mask=mask)
    if guide is not None and len(guide) == 1 and tiled and _has_whole_tile(mask, block):
        guide_lr = degrade.degrade(guide, "wald", scale, noise=0)
        scores["d_s"] = metrics.d_s(estimate, guide, lr, guide_lr, block=block, mask=mask, lr_mask=lr_mask)
        scores["qnr"] = metrics.qnr(scores["d_lambda"], scores["d_s"])
    return scores


def _has_whole_tile(mask: np.ndarray | None, block: int) -> bool:
    """Whether all pixels of some tile count. Tiles of block x block pixels lie side by side from the top left."""
    if mask is None:
        return True
    rows, columns = (size // block for size in mask.shape)
    return bool(mask[: rows * block, : columns * block].reshape(rows, block, columns, block).all(axis=(1, 3)).any())
