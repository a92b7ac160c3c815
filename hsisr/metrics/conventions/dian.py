"""Convention `dian`: the programs of Dian, Li and others; their SSIM is not known."""

from hsisr.metrics.conventions.base import Convention
from hsisr.metrics.pixel import mean_band_psnr
from hsisr.metrics.structure import GAUSSIAN_11

DIAN = Convention(
    name="dian",
    description=(
        "estimate clipped to [0, 1]; PSNR averaged over bands; SSIM with a Gaussian window of 11 pixels, sigma 1.5; "
        "SAM over pixels whose spectra are not zero; RMSE in 255ths"
    ),
    clip=(0.0, 1.0),
    psnr=mean_band_psnr,
    ssim_window=GAUSSIAN_11,
    rmse_unit=255.0,
)
