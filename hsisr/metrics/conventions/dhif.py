"""Convention `dhif`: the program of DHIF-Net (Huang et al., IEEE TCI 2022); it prints no SSIM."""

from hsisr.metrics.conventions.base import Convention
from hsisr.metrics.pixel import whole_cube_psnr
from hsisr.metrics.structure import GAUSSIAN_11

DHIF = Convention(
    name="dhif",
    description=(
        "estimate clipped to [0, 1]; PSNR of the whole cube; SSIM with a Gaussian window of 11 pixels, sigma 1.5; "
        "SAM over pixels whose spectra are not zero"
    ),
    clip=(0.0, 1.0),
    psnr=whole_cube_psnr,
    ssim_window=GAUSSIAN_11,
)
