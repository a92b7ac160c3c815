"""What a convention fixes: every choice in which published metric programs differ."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hsisr.metrics.spectral import Black
from hsisr.metrics.structure import Window


@dataclass(frozen=True)
class Convention:
    """A named way to score an estimate. Values are in [0, 1], the peak is 1; `score` scales it to another peak.

    name: as written into results files. description: one sentence for reports. clip: the estimate is clipped to this
    range before every score, and the reference must lie in this range. None: no clipping. psnr: function of the (B,)
    mean squared errors and the peak, gives dB. ssim_window: window of the SSIM. sam_epsilon: see `hsisr.metrics.sam`.
    sam_offset: added to every value of both images before angles are computed. sam_black: which pixels with a spectrum
    of zeros count as 90 degrees: none, those where the estimate alone is zero, or all. The others are left out.
    span: whether both images are first divided by the reference's largest less its smallest value.
    levels: values are rounded to multiples of 1 / levels before PSNR; None: no rounding.
    ergas_means: ERGAS divides by the band means of this image. rmse_unit: RMSE is printed in units of 1 / rmse_unit;
    None: in the images' unit.
    CC is the same in every convention, and so is MAE of the divided images.
    """

    name: str
    description: str
    clip: tuple[float, float] | None
    psnr: Callable[[np.ndarray, float], float]
    ssim_window: Window
    sam_epsilon: float | None = None
    sam_offset: float = 0.0
    sam_black: Black = "none"
    span: bool = False
    levels: int | None = None
    ergas_means: Literal["reference", "estimate"] = "reference"
    rmse_unit: float | None = None
