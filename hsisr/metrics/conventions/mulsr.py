"""Convention `mulsr`: the program that made the tables of MulSR (Li et al., TGRS 2023) and its family."""

from hsisr.metrics.conventions.base import Convention
from hsisr.metrics.pixel import whole_cube_psnr
from hsisr.metrics.structure import GAUSSIAN_11

MULSR = Convention(
    name="mulsr",
    description=(
        "estimate clipped to [0, 1]; PSNR of the whole cube; SSIM with a Gaussian window of 11 pixels, sigma 1.5; "
        "SAM over all pixels, zeros replaced by 2.2e-16"
    ),
    clip=(0.0, 1.0),
    psnr=whole_cube_psnr,
    ssim_window=GAUSSIAN_11,
    sam_epsilon=2.2204e-16,
)
