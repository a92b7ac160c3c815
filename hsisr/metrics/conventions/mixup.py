"""Convention `mixup`: the program that made the tables of Spectral Mixup (HSISR) and of SSPSR before it."""

from hsisr.metrics.conventions.base import Convention
from hsisr.metrics.pixel import mean_band_psnr
from hsisr.metrics.structure import UNIFORM_7

MIXUP = Convention(
    name="mixup",
    description=(
        "estimate not clipped; PSNR averaged over bands; SSIM with a uniform window of 7 pixels and sample covariance; "
        "SAM over pixels whose spectra are not zero"
    ),
    clip=None,
    psnr=mean_band_psnr,
    ssim_window=UNIFORM_7,
    sam_epsilon=None,
)
