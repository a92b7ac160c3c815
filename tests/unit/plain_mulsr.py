"""MulSR written line by line as the paper's definition reads: the truth that the fast form is compared with.

One band a call, literal Conv3d, weight norm by hooks, the official state-dict keys. Slow on purpose; nothing of
hsisr is imported, so that an error there cannot hide here.
"""

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional


def weight_normed(conv: nn.Module) -> nn.Module:
    """Old-style weight norm: parameters `weight_g` and `weight_v`, as the official checkpoint stores them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(conv)


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return weight_normed(nn.Conv2d(inputs, outputs, 3, stride, 1))


def conv1(inputs: int, outputs: int) -> nn.Module:
    return weight_normed(nn.Conv2d(inputs, outputs, 1))


class PlainUnit(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.m = nn.Sequential(conv3(width, width), nn.ReLU(), conv3(width, width))

    def forward(self, u: Tensor) -> Tensor:
        return self.m(u) + u


class PlainCross(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.group = 2 * (width + 8) // 3
        self.gamma = nn.Parameter(torch.ones(3))
        self.conv_diff = conv3(width, width + 8)
        self.reduce_D = conv3(2 * width, width + 8)
        self.conv3D = nn.Sequential(
            weight_normed(nn.Conv3d(self.group, self.group, (1, 3, 3), padding=(0, 1, 1))),
            weight_normed(nn.Conv3d(self.group, self.group, (3, 1, 1), padding=(1, 0, 0))),
        )
        self.conv = conv3(3 * self.group, width)

    def forward(self, s: Tensor, r: Tensor) -> Tensor:
        k = self.group
        d = self.conv_diff(s - r)
        m = self.reduce_D(torch.cat([s, r], 1))
        cut = m.shape[1] - k
        g0 = self.gamma[0] * m[:, :k]
        g1 = self.gamma[1] * torch.cat([m[:, k:], d[:, : k - cut]], 1)
        g2 = self.gamma[2] * d[:, k - cut :]
        stack = torch.stack([g0, g1, g2], 2)
        v = self.conv3D(stack) + stack
        return self.conv(torch.cat([v[:, :, 0], v[:, :, 1], v[:, :, 2]], 1))


class PlainBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.crossFusion = PlainCross(width)
        self.rgb_first = PlainUnit(width)
        self.hsi_first = PlainUnit(width)
        self.rgb_end = PlainUnit(width)
        self.hsi_end = PlainUnit(width)

    def forward(self, hsi: Tensor, rgb: Tensor) -> tuple[Tensor, Tensor]:
        s, r = self.hsi_first(hsi), self.rgb_first(rgb)
        f = self.crossFusion(s, r)
        return self.hsi_end(s + f) + hsi, self.rgb_end(r + f) + rgb


class PlainAggregation(nn.Module):
    """Message passing along rows (axis 2) or columns (axis 3): forth, then back with the same weights."""

    def __init__(self, width: int, axis: int) -> None:
        super().__init__()
        size, padding = ((1, 7), (0, 3)) if axis == 2 else ((7, 1), (3, 0))
        self.axis = axis
        self.conv = nn.Sequential(nn.Conv2d(width, width, size, padding=padding), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[self.axis]
        slices = [x.narrow(self.axis, i, 1) for i in range(count)]
        for i in range(1, count):
            slices[i] = slices[i] + self.conv(slices[i - 1])
        for i in range(count - 2, -1, -1):
            slices[i] = slices[i] + self.conv(slices[i + 1])
        return torch.cat(slices, self.axis)


class PlainMulSR(nn.Module):
    """bands (N,3,h,w), guide (N,G,H,W) -> sr (N,1,H,W), difference (N,width,H/2,W/2)."""

    def __init__(self, scale: int, width: int = 64, blocks: int = 4, guide_channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.hsi_head, self.rgb_head = conv3(3, width), conv3(guide_channels, width)
        self.hsi_head_x2, self.rgb_head_x2 = conv3(3, width), conv3(guide_channels, width)
        self.inter_body = nn.ModuleList(PlainBlock(width) for _ in range(blocks))
        self.inter_body_x2 = nn.ModuleList(PlainBlock(width) for _ in range(blocks))
        self.reduce, self.reduce_x2 = conv1(2 * width, width), conv1(2 * width, width)
        self.down = nn.Conv2d(width, width, 3, 2, 1)
        self.cross_reduce = conv1(2 * width, width)
        self.DULR = nn.Sequential(PlainAggregation(width, 2), PlainAggregation(width, 3))
        self.up = nn.Sequential(conv1(width, 4 * width), nn.PixelShuffle(2))
        self.uint, self.uint_x2 = PlainUnit(width), PlainUnit(width)
        self.optimize_down = conv3(width, width, 2)
        self.optimize_up = nn.Sequential(conv1(width, 4 * width), nn.PixelShuffle(2))
        self.end_x2 = nn.Sequential(conv3(width, width), conv3(width, 1))

    def forward(self, bands: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        x = self.hsi_head(functional.interpolate(bands, scale_factor=self.scale // 2, mode="nearest"))
        y = self.rgb_head(guide[:, :, ::2, ::2])
        x2 = self.hsi_head_x2(functional.interpolate(bands, scale_factor=self.scale, mode="nearest"))
        y2 = self.rgb_head_x2(guide)
        for block, block_x2 in zip(self.inter_body, self.inter_body_x2, strict=True):
            x, y = block(x, y)
            x2, y2 = block_x2(x2, y2)
        x = self.reduce(torch.cat([x, y], 1))
        x2 = self.reduce_x2(torch.cat([x2, y2], 1))
        q = self.DULR(self.cross_reduce(torch.cat([self.down(x2), x], 1)))
        x, x2 = x + q, x2 + self.up(q)
        x, x2 = self.uint(x), self.uint_x2(x2)
        difference = self.optimize_down(x2) - x
        x2 = x2 + self.optimize_up(difference)
        return self.end_x2(x2), difference

    def super_resolve(self, lr: Tensor, guide: Tensor) -> Tensor:
        """lr (N,B,h,w), guide (N,G,H,W) -> (N,B,H,W): a call a band, as published."""
        last = lr.shape[1] - 1
        triplets = [(i - 1, i + 1, i) for i in range(last + 1)]
        triplets[0], triplets[last] = (1, 2, 0), (last - 1, last - 2, last)
        return torch.cat([self(lr[:, list(t)], guide)[0] for t in triplets], 1)
