"""What a convention fixes: every choice on which published metric programs differ."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hsisr.metrics.structure import Window


@dataclass(frozen=True)
class Convention:
    """A named way to score an estimate. Values are in [0, 1], the peak is 1; `score` scales it to another peak.

    name: as written into results files. description: one sentence for reports. clip: range to which the estimate is
    clipped before every score, which the reference must not leave, or None. psnr: (B,) mean squared errors and the
    peak -> dB. ssim_window: window of the SSIM. sam_epsilon, sam_counts_black: see `hsisr.metrics.sam`. ERGAS, RMSE,
    MAE and CC are the same in every convention.
    """

    name: str
    description: str
    clip: tuple[float, float] | None
    psnr: Callable[[np.ndarray, float], float]
    ssim_window: Window
    sam_epsilon: float | None
    sam_counts_black: bool = False
