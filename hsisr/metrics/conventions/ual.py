"""Convention `ual`: the program of UAL (Zhang et al., CVPR 2020)."""

from hsisr.metrics.conventions.base import Convention
from hsisr.metrics.pixel import whole_cube_psnr
from hsisr.metrics.structure import GAUSSIAN_11

UAL = Convention(
    name="ual",
    description=(
        "values divided by the reference's range, estimate not clipped; PSNR of the whole cube after rounding to 8 "
        "bits; SSIM with a Gaussian window of 11 pixels, sigma 1.5; SAM over all pixels, black ones count 90 degrees; "
        "RMSE in 255ths"
    ),
    clip=None,
    psnr=whole_cube_psnr,
    ssim_window=GAUSSIAN_11,
    sam_black="all",
    span=True,
    levels=255,
    rmse_unit=255.0,
)
