"""DeepShare literally as defined, group by group: the oracle of tests, the baseline of studies/deepshare.py."""

import math

import torch
from torch import Tensor, nn


class PlainDeepShare(nn.Module):
    """The published network with the published keys; `bicubic` is always given."""

    def __init__(self, bands: int, scale: int, width: int = 256, group: int = 8, overlap: int = 2) -> None:
        super().__init__()
        self.scale, self.group, self.overlap = scale, group, overlap
        self.branch1 = Branch(group, width, scale // 2 if scale % 2 == 0 else 1, None)
        self.branch2 = Branch(width, width, 2 if scale % 2 == 0 else scale, group)
        self.trunk, self.trunk_RGB = Branch(bands, width, 1, None), Branch(group, width, 1, None)
        self.skip_conv, self.skip_conv_RGB = conv3(bands, width), conv3(group, width)
        self.final, self.final_RGB = conv3(width, bands), conv3(width, group)

    def forward(self, lr: Tensor, bicubic: Tensor, modality: str = "spectral") -> Tensor:
        """(N, C, h, w), (N, C, H, W) -> (N, C, H, W)."""
        if modality == "rgb":
            maps = self.branch2(self.branch1(lr))
            return self.final_RGB(self.trunk_RGB(maps) + self.skip_conv_RGB(bicubic))
        bands = lr.shape[1]
        sums, cover = torch.zeros_like(bicubic), torch.zeros(bands, dtype=lr.dtype)
        for number in range(math.ceil((bands - self.overlap) / (self.group - self.overlap))):
            first = number * (self.group - self.overlap)
            if first + self.group > bands:
                first = bands - self.group
            part = slice(first, first + self.group)
            sums[:, part] += self.branch2(self.branch1(lr[:, part]))
            cover[part] += 1
        maps = sums / cover[:, None, None]
        return self.final(self.trunk(maps) + self.skip_conv(bicubic))


class Branch(nn.Module):
    def __init__(self, inputs: int, width: int, factor: int, tail: int | None) -> None:
        super().__init__()
        self.head, self.body = conv3(inputs, width), Body(width)
        steps = [3] if factor == 3 else [2] * int(math.log2(factor))
        self.upsample = nn.Sequential()
        for step in steps:
            self.upsample.append(conv3(width, step * step * width))
            self.upsample.append(nn.PixelShuffle(step))
        if tail is not None:
            self.tail = conv3(width, tail)

    def forward(self, x: Tensor) -> Tensor:
        y = self.upsample(self.body(self.head(x)))
        return self.tail(y) if hasattr(self, "tail") else y


class Body(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        for name in ("net1", "net2", "net3"):
            self.add_module(name, Block(width))

    def forward(self, u: Tensor) -> Tensor:
        return self.net3(self.net2(self.net1(u))) + u


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.spa, self.spc = nn.Module(), nn.Module()
        self.spa.body = nn.Sequential(conv3(width, width), nn.ReLU(), conv3(width, width))
        self.spc.body = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1), Attention(width)
        )

    def forward(self, u: Tensor) -> Tensor:
        u = u + 0.1 * self.spa.body(u)
        return u + 0.1 * self.spc.body(u)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            nn.Conv2d(width, width // 16, 1), nn.ReLU(), nn.Conv2d(width // 16, width, 1), nn.Sigmoid()
        )

    def forward(self, v: Tensor) -> Tensor:
        return v * self.conv_du(nn.functional.adaptive_avg_pool2d(v, 1))


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
