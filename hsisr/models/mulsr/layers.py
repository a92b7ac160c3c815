"""The layers of MulSR: weight-normalised convolutions that are folded once, guided blocks, the two halves of DSCA."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

#: What a guided block needs from the guide: its features, the output of its first unit, and, if several maps share the
#: guide, its half of the cross fusion.
GuideParts = tuple[Tensor, Tensor, Tensor | None]


def channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _add_shared(maps: Tensor, shared: Tensor) -> Tensor:
    """maps (N, ...) + shared (M, ...); each shared map is added to N / M maps in a row. May overwrite `maps`."""
    if len(shared) in (1, len(maps)):
        return maps.add_(shared)
    return (maps.unflatten(0, (len(shared), -1)) + shared.unsqueeze(1)).flatten(0, 1)


class Folded(nn.Module, ABC):
    """A layer that stores some weights and computes with others, made from the stored ones."""

    _ready: tuple[Tensor, ...] | None = None

    @abstractmethod
    def fold(self) -> tuple[Tensor, ...]:
        """The weights to compute with, made from the stored ones; differentiable."""

    def folded(self) -> tuple[Tensor, ...]:
        """The same weights, made only once inside `fold_weights`."""
        return self.fold() if self._ready is None else self._ready


@contextmanager
def fold_weights(model: nn.Module) -> Iterator[None]:
    """Make the folded weights of a model once, and use them until the end of the `with` block."""
    layers = [layer for layer in model.modules() if isinstance(layer, Folded)]
    try:
        for layer in layers:
            layer._ready = layer.fold()
        yield
    finally:
        for layer in layers:
            layer._ready = None


def _filter_norms(weight: Tensor) -> Tensor:
    """The norm of every filter, shaped as the weight with sizes of 1 behind the first."""
    if weight.is_meta:  # torch would load its compiler, which takes a second, to find this shape
        return weight.new_empty(len(weight), *(1 for _ in weight.shape[1:]))
    return torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)


class WeightNormed(nn.Module):
    """Parameters of a weight-normalised convolution: `weight_g` per filter, `weight_v`, `bias`."""

    def __init__(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        assert conv.bias is not None  # every convolution here has one
        weight = conv.weight.detach()
        self.weight_g = nn.Parameter(_filter_norms(weight))
        self.weight_v = nn.Parameter(weight)
        self.bias = nn.Parameter(conv.bias.detach())

    def weight(self) -> Tensor:
        """weight_g * weight_v / |weight_v| per filter, by the one kernel of `torch.nn.utils.weight_norm`."""
        return torch._weight_norm(self.weight_v, self.weight_g, 0)


class Conv(WeightNormed, Folded):
    """Weight-normalised 2-D convolution that keeps the size (at stride 1); zero padding.

    layout: memory format of weight and maps; torch chooses its kernel by it.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, stride: int = 1, layout: torch.memory_format = torch.channels_last
    ) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, size))
        self.stride, self.padding, self.layout = stride, size // 2, layout

    def fold(self) -> tuple[Tensor, ...]:
        return (self.weight().contiguous(memory_format=self.layout),)

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps.contiguous(memory_format=self.layout)
        (weight,) = self.folded()
        return functional.conv2d(maps, weight, self.bias, self.stride, self.padding)


class Unit(nn.Module):
    """unit(u) = C3(relu(C3(u))) + u."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.m = nn.Sequential(Conv(width, width, 3), nn.ReLU(inplace=True), Conv(width, width, 3))

    def forward(self, maps: Tensor) -> Tensor:
        return self.m(maps).add_(maps)


class GuidedBlock(nn.Module):
    """Symmetrical guided encoder block (SGE): hyperspectral and guide features exchange what they have."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.crossFusion = CrossFusion(width)
        self.rgb_first, self.hsi_first = Unit(width), Unit(width)
        self.rgb_end, self.hsi_end = Unit(width), Unit(width)

    def guide_parts(self, rgb: Tensor, shared: bool = True) -> GuideParts:
        """The part that needs the guide's features alone. shared: whether several maps of bands will use it."""
        first = self.rgb_first(rgb)
        return rgb, first, self.crossFusion.guide_part(first) if shared else None

    def forward(self, hsi: Tensor, parts: GuideParts) -> tuple[Tensor, Tensor]:
        """hsi (N, width, H, W), parts of M guides, N a multiple of M -> hsi, rgb of N samples."""
        rgb, rgb_first, rgb_fusion = parts
        hsi_first = self.hsi_first(hsi)
        fused = self.crossFusion(hsi_first, rgb_first, rgb_fusion)
        hsi = self.hsi_end(hsi_first + fused).add_(hsi)
        return hsi, _add_shared(self.rgb_end(_add_shared(fused, rgb_first)), rgb)


class CrossFusion(Folded):
    """cross(s, r) of a guided block; stores the published layers, computes with the folded ones.

    If one r serves several s, both convolutions of s and r are cut into one of s and one of r. So the part of r is
    computed only once. If r serves one s, s - r is convolved as published: this is a quarter less work.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.group = 2 * (width + 8) // 3
        self.gamma = nn.Parameter(torch.ones(3))
        self.conv_diff, self.reduce_D = Conv(width, width + 8, 3), Conv(2 * width, width + 8, 3)
        self.conv3D = nn.ModuleList(
            WeightNormed(nn.Conv3d(self.group, self.group, size)) for size in ((1, 3, 3), (3, 1, 1))
        )
        self.conv = Conv(3 * self.group, width, 3)

    def fold(self) -> tuple[Tensor, ...]:
        """Weights of s and of r, with their bias; weights of the three groups; weights of the mix between groups."""
        gamma = self.gamma.repeat_interleave(self.group)
        of_s, of_r = self.reduce_D.weight().chunk(2, dim=1)
        difference = self.conv_diff.weight()
        scale = gamma.view(-1, 1, 1, 1)
        of_s, of_r = torch.cat([of_s, difference]) * scale, torch.cat([of_r, -difference]) * scale
        bias = torch.cat([self.reduce_D.bias, self.conv_diff.bias]) * gamma

        within, between = (layer for layer in self.conv3D if isinstance(layer, WeightNormed))
        groups = within.weight().squeeze(2).repeat(3, 1, 1, 1)
        before, same, after = between.weight().flatten(2).unbind(2)
        none = torch.zeros_like(same)
        rows = [[same, after, none], [before, same, after], [none, before, same]]
        mix = torch.cat([torch.cat(row, dim=1) for row in rows])[:, :, None, None]
        return (
            channels_last(of_s),
            channels_last(of_r),
            bias,
            channels_last(groups),
            within.bias.repeat(3),
            mix,
            between.bias.repeat(3),
        )

    def guide_part(self, r: Tensor) -> Tensor:
        """r (M, width, H, W) -> its half of the three groups side by side (M, 3 group, H, W), bias included."""
        _, of_r, bias, *_ = self.folded()
        return functional.conv2d(r, of_r, bias, padding=1)

    def forward(self, s: Tensor, r: Tensor, guide_part: Tensor | None) -> Tensor:
        """s (N, width, H, W), r of M samples with its part, or of N samples without it -> (N, width, H, W)."""
        of_s, of_r, bias, groups, groups_bias, mix, mix_bias = self.folded()
        if guide_part is None:
            stack = self._stack(s, r, of_s, of_r, bias)
        else:
            stack = _add_shared(functional.conv2d(s, of_s, padding=1), guide_part)
        maps = functional.conv2d(stack, groups, groups_bias, padding=1, groups=3)
        maps = functional.conv2d(maps, mix, mix_bias).add_(stack)
        return self.conv(maps)

    def _stack(self, s: Tensor, r: Tensor, of_s: Tensor, of_r: Tensor, bias: Tensor) -> Tensor:
        """The three groups side by side (N, 3 group, H, W), from s and r of the same samples."""
        half = len(bias) // 2
        sums = functional.conv2d(s, channels_last(of_s[:half]), bias[:half], padding=1)
        sums = sums.add_(functional.conv2d(r, channels_last(of_r[:half]), padding=1))
        differences = functional.conv2d(s - r, channels_last(of_s[half:]), bias[half:], padding=1)
        return channels_last(torch.cat([sums, differences], dim=1))


class Direction(nn.Module):
    """Parameters of one half of DSCA, under their published keys."""

    def __init__(self, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(width, width, size), nn.PReLU())

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Kernel, bias and slope."""
        conv, slope = self.conv
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None and isinstance(slope, nn.PReLU)
        return conv.weight, conv.bias, slope.weight
