"""The common part of networks that read a whole cube, upsampled to the guide's size, together with the guide."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, channels_last, nn
from torch.nn import functional

from hsisr.config import check_section
from hsisr.errors import HsisrError
from hsisr.models.network import Network
from hsisr.models.options import Options


class Fusion(Network, ABC):
    """A network that makes all bands at once from the upsampled image and the guide.

    scale: HR over LR size, a whole number >= 2. bands, guide_channels: of the images, at least 1. options: the
    network's own options, checked as `schema`, with `width` and `skip` among them. period_px: the network's grid of
    tokens or strides repeats after this many pixels. Images are padded to a multiple of period_px at the bottom and
    right, by repeating the last pixel, and the result is cut back. Windows of a larger scene must start at multiples of
    period_px.
    skip: add the upsampled image to the output. At first the output is this image alone (`last` is 0), so the network
    only has to learn the detail. The other weights start as torch's layers do.
    Raises HsisrError for an argument that is not allowed.
    """

    bands: int
    width: int

    def __init__(
        self,
        schema: type[Options],
        scale: int,
        bands: int,
        guide_channels: int,
        options: dict[str, Any],
        period_px: int,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        chosen = check_section(schema, options, name)
        scale = self.check_scale(scale)
        for what, count in (("bands", bands), ("guide_channels", guide_channels)):
            if count < 1:
                raise HsisrError(f"{name}: {what} must be at least 1, not {count}")
        self.scale, self.bands, self.guide_channels, self.period_px = scale, bands, guide_channels, period_px
        self.width, self.skip = chosen.width, chosen.skip

    @abstractmethod
    def detail(self, image: Tensor, guide: Tensor) -> Tensor:
        """image (N, bands, H, W), upsampled, and guide (N, G, H, W), both padded -> (N, bands, H, W)."""

    def forward(self, lr: Tensor, guide: Tensor) -> Tensor:
        """Super-resolve N images.

        lr: (N, bands, h, w). guide: (N, G, scale h, scale w). Returns (N, bands, H, W).
        Raises HsisrError for shapes that do not fit.
        """
        check_shapes(self, lr, guide)
        # aligned with block centres: exact if LR pixels are averages around their blocks' centres
        image = functional.interpolate(lr, scale_factor=self.scale, mode="bicubic")
        height, width = guide.shape[2:]
        whole = (pad(maps, self.period_px).contiguous(memory_format=channels_last) for maps in (image, guide))
        detail = self.detail(*whole)[:, :, :height, :width]
        return image + detail if self.skip else detail

    def super_resolve(self, lr: Tensor, guide: Tensor) -> Tensor:
        """lr (N, bands, h, w), guide (N, G, H, W) -> (N, bands, H, W)."""
        return self(lr, guide)

    def last_conv(self) -> nn.Conv2d:
        """The convolution that makes the output from `width` maps."""
        conv = nn.Conv2d(self.width, self.bands, 3, padding=1)
        if self.skip:
            for parameter in conv.parameters():
                nn.init.zeros_(parameter)
        return conv


def check_shapes(network: Network, lr: Tensor, guide: Tensor) -> None:
    """Raise HsisrError unless images have the bands, channels and sizes for which a network was built."""
    name = type(network).__name__
    if lr.ndim != 4 or lr.shape[1] != network.bands:
        raise HsisrError(f"{name}: the image has shape {tuple(lr.shape)}, expected (N, {network.bands}, h, w)")
    expected = (len(lr), network.guide_channels, *(network.scale * size for size in lr.shape[2:]))
    if guide.shape != expected:
        raise HsisrError(
            f"{name}: the guide has shape {tuple(guide.shape)}, expected {expected} for an image of "
            f"{tuple(lr.shape[2:])} at scale {network.scale}"
        )


def pad(maps: Tensor, period_px: int) -> Tensor:
    """maps (N, C, H, W) with H and W raised to multiples of `period_px`, by repeating the last pixel."""
    height, width = maps.shape[2:]
    return functional.pad(maps, (0, -width % period_px, 0, -height % period_px), mode="replicate")
