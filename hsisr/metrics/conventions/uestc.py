"""Convention `uestc`: the tables of the UESTC group (HSRnet 2022 to LE-Mamba 2024); their SSIM is not known."""

from hsisr.metrics.conventions.base import Convention
from hsisr.metrics.pixel import mean_band_psnr
from hsisr.metrics.structure import UNIFORM_7

UESTC = Convention(
    name="uestc",
    description=(
        "estimate clipped to [0, 1]; PSNR averaged over bands; SSIM with a uniform window of 7 pixels, as theirs "
        "is not known; SAM over pixels whose spectra are not zero; ERGAS relative to the estimate's band means"
    ),
    clip=(0.0, 1.0),
    psnr=mean_band_psnr,
    ssim_window=UNIFORM_7,
    ergas_means="estimate",
)
