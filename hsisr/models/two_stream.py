"""TwoStream: one encoder for the image, one for the guide, fused and decoded; a learned baseline after ResTFNet.

The idea comes from: Liu, Liu, Wang, Remote sensing image fusion based on two-stream fusion network, Information Fusion
55, 2020. This is a new program; docs/networks.md lists the differences.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from hsisr.models.fusion import Fusion
from hsisr.models.options import TwoStreamOptions

#: Slope of every activation below 0.
_SLOPE = 0.2


class TwoStream(Fusion):
    """Two streams that join at half the size and go down to a quarter; each decoding stage sees the earlier features.

    scale, bands, guide_channels, skip: as `Fusion`. width: features of a stream at half the size, an even number. There
    are half as many features at the full size, and four times as many at a quarter. With 31 bands and a guide of 3
    channels, the defaults have 2,294,623 parameters. A pixel of the output sees at most 24 pixels around it.
    """

    maps_in_memory, images_in_memory = 13, 2

    def __init__(self, scale: int, bands: int, guide_channels: int = 3, width: int = 64, skip: bool = True) -> None:
        super().__init__(TwoStreamOptions, scale, bands, guide_channels, {"width": width, "skip": skip}, period_px=4)
        self.image_stream, self.guide_stream = Stream(bands, width), Stream(guide_channels, width)
        self.at_half = Residual(2 * width)
        self.down = nn.Conv2d(2 * width, 4 * width, 2, stride=2)
        self.at_quarter = Residual(4 * width)
        self.up_to_half = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.join_half = nn.Conv2d(4 * width, 2 * width, 3, padding=1)
        self.up_to_full = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.join_full = nn.Conv2d(2 * width, width, 3, padding=1)
        self.at_full = Residual(width)
        self.last = self.last_conv()

    def detail(self, image: Tensor, guide: Tensor) -> Tensor:
        image_full, image_half = self.image_stream(image)
        guide_full, guide_half = self.guide_stream(guide)
        half = self.at_half(torch.cat([image_half, guide_half], dim=1))
        quarter = self.at_quarter(_active(self.down(half)))
        half = _active(self.join_half(torch.cat([_active(self.up_to_half(quarter)), half], dim=1)))
        full = torch.cat([_active(self.up_to_full(half)), image_full, guide_full], dim=1)
        return self.last(self.at_full(_active(self.join_full(full))))


class Stream(nn.Module):
    """Encoder of one image: features at the full size, width / 2, and at half of it, width."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, width // 2, 3, padding=1)
        self.full = Residual(width // 2)
        self.down = nn.Conv2d(width // 2, width, 2, stride=2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, channels, H, W) -> (N, width / 2, H, W), (N, width, H / 2, W / 2)."""
        full = self.full(_active(self.head(image)))
        return full, _active(self.down(full))


class Residual(nn.Module):
    """Two 3 x 3 convolutions, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return _active(maps + self.two(_active(self.one(maps))))


def _active(maps: Tensor) -> Tensor:
    return leaky_relu(maps, _SLOPE)
