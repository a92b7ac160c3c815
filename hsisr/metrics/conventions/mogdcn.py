"""Convention `mogdcn`: the program of MoG-DCN (Dong et al., IEEE TIP 2021)."""

from hsisr.metrics.conventions.base import Convention
from hsisr.metrics.pixel import mean_band_psnr
from hsisr.metrics.structure import GAUSSIAN_11

MOGDCN = Convention(
    name="mogdcn",
    description=(
        "estimate not clipped; PSNR averaged over bands; SSIM with a Gaussian window of 11 pixels, sigma 1.5; "
        "SAM over all pixels, 1e-7 added to every value"
    ),
    clip=None,
    psnr=mean_band_psnr,
    ssim_window=GAUSSIAN_11,
    sam_offset=1e-7,
)
