"""Convention `plain`: for your own files. It changes no value: an image scored against itself is perfect."""

from hsisr.metrics.conventions.base import Convention
from hsisr.metrics.pixel import whole_cube_psnr
from hsisr.metrics.structure import GAUSSIAN_11

PLAIN = Convention(
    name="plain",
    description=(
        "estimate not clipped; PSNR of the whole cube; SSIM with a Gaussian window of 11 pixels, sigma 1.5; SAM over "
        "pixels whose reference is not zero"
    ),
    clip=None,
    psnr=whole_cube_psnr,
    ssim_window=GAUSSIAN_11,
    sam_black="estimate",
)
