"""DeepShare: single-image super-resolution of spectra and of RGB with shared weights; SSPSR is its spectral path.

Source: Hyperspectral Image Super-Resolution with Spectral Mixup and Heterogeneous Datasets, arXiv 2101.07589. Function
and state-dict keys are the published ones. Only the way to compute the function differs:

* The groups of bands go through the shared branches as one batch, not one after the other.
* The network adds a bicubic image to its features. If the caller does not give it, the network makes it.
* Maps are channels-last in memory: in this layout, convolutions run fastest on CPUs and on tensor cores.

tests/unit/plain_deepshare.py holds the literal form; studies/deepshare.py compares the two.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from hsisr.config import check_section
from hsisr.errors import HsisrError
from hsisr.models.network import Network
from hsisr.models.options import RGB_CHANNELS, DeepshareOptions, deepshare_scale
from hsisr.models.resize import upsample_bicubic
from hsisr.system import gpu_memory_for_maps

#: Weight of a block's residual, as published.
_RESIDUAL = 0.1

#: On a CPU, groups are batched as long as the largest map stays below this. For larger blocks, glibc asks the kernel
#: for memory every time, and the page faults cost more than batching gains.
_CPU_MAP_BYTES = 32 << 20

#: On a GPU, groups are batched as long as their maps fit into a part of its memory. A group holds about this many maps
#: of the largest size at once: before and after the pixel shuffle, and in the tail.
_MAPS_PER_GROUP = 3


class Sspsr(Network):
    """The spectral path alone, which is SSPSR's design.

    bands: of the images; at least `group`. scale: HR over LR size: 2, 3, 4, 6, 8, 16, ... (3 is our addition: the
    published network enlarges by half the scale in its first branch). width: features of every layer, a multiple of 16.
    group, overlap: bands that go through the branches together, and how many of them neighbouring groups share.
    skip: add the bicubic image to the output. At first the output is this image alone (the last convolution is 0), so
    the network only has to learn the detail. Not in the paper. With skip, all other biases start at 0 too. All other
    weights start as torch's convolutions do. Without skip, biases do too, as in the paper's program.
    Raises HsisrError for an argument that is not allowed.
    """

    check_scale = staticmethod(deepshare_scale)
    #: None: it is a single-image network.
    guide_channels = 0
    maps_in_memory, images_in_memory = 5, 6
    bands: int
    width: int

    def __init__(
        self, bands: int, scale: int, width: int = 256, group: int = 8, overlap: int = 2, skip: bool = False
    ) -> None:
        super().__init__()
        options = {"width": width, "group": group, "overlap": overlap, "skip": skip}
        check_section(DeepshareOptions, options, type(self).__name__)
        scale = self.check_scale(scale)
        if bands < group:
            raise HsisrError(
                f"{type(self).__name__}: {bands} bands are fewer than a group of {group}; choose a smaller group"
            )
        self.bands, self.scale, self.width, self.group, self.skip = bands, scale, width, group, skip
        band_of = _groups(bands, group, overlap).flatten()
        cover = torch.zeros(bands, dtype=torch.int64).index_add(0, band_of, torch.ones_like(band_of))
        self._band_of: Tensor
        self.register_buffer("_band_of", band_of, persistent=False)
        self._cover: Tensor
        self.register_buffer("_cover", cover[:, None, None], persistent=False)

        first, second = (scale // 2, 2) if scale % 2 == 0 else (1, scale)
        self.branch1 = Branch(group, width, first)
        self.branch2 = Branch(width, width, second, tail=group)
        self.trunk = Branch(bands, width)
        self.skip_conv = nn.Conv2d(bands, width, 3, padding=1)
        self.final = nn.Conv2d(width, bands, 3, padding=1)
        if skip:
            _start((self.branch1, self.branch2, self.trunk, self.skip_conv), self.final)

    def forward(self, lr: Tensor, bicubic: Tensor | None = None) -> Tensor:
        """Super-resolve N images.

        lr: (N, bands, h, w). bicubic: (N, bands, H, W), MATLAB's bicubic enlargement of lr; None: made here.
        Returns (N, bands, H, W). Raises HsisrError for shapes that do not fit.
        """
        bicubic = self._check_bicubic(lr, bicubic, self.bands, "bands")
        maps = self.trunk(self._join_groups(lr)) + self.skip_conv(_channels_last(bicubic))
        return self._add_bicubic(self.final(maps), bicubic)

    def super_resolve(self, lr: Tensor, guide: Tensor | None = None) -> Tensor:
        """lr: (N, bands, h, w) -> (N, bands, H, W). guide: not used; every network takes one."""
        return self(lr)

    def _check_bicubic(self, lr: Tensor, bicubic: Tensor | None, channels: int, what: str) -> Tensor:
        """The bicubic image, after a check of the shapes."""
        name = type(self).__name__
        if lr.ndim != 4 or lr.shape[1] != channels:
            raise HsisrError(f"{name}: the image has shape {tuple(lr.shape)}, expected (N, {channels}, h, w): {what}")
        if bicubic is None:
            return upsample_bicubic(lr, self.scale)
        expected = (*lr.shape[:2], *(self.scale * n for n in lr.shape[2:]))
        if bicubic.shape != expected:
            raise HsisrError(f"{name}: the bicubic image has shape {tuple(bicubic.shape)}, expected {expected}")
        return bicubic

    def _join_groups(self, lr: Tensor) -> Tensor:
        """Steps 1 and 2: run every group through both branches, and average bands where groups overlap.

        Returns (N, bands, H, W).
        """
        count, groups = len(lr), len(self._band_of) // self.group
        pieces = lr[:, self._band_of].view(count * groups, self.group, *lr.shape[2:])
        batches = pieces.split(self._batch(lr))
        pieces = torch.cat([self.branch2(self.branch1(_channels_last(batch))) for batch in batches])
        pieces = pieces.reshape(count, groups * self.group, *pieces.shape[2:])
        sums = pieces.new_zeros(count, self.bands, *pieces.shape[2:]).index_add(1, self._band_of, pieces)
        return sums / self._cover

    def _batch(self, lr: Tensor) -> int:
        """Groups in a batch. Only sizes decide, so equal runs on equal machines give equal bytes."""
        kind = lr.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else lr.dtype
        largest = self.final.in_channels * self.scale**2 * lr.shape[2] * lr.shape[3] * dtype.itemsize
        budget = _CPU_MAP_BYTES
        if kind == "cuda":
            budget = gpu_memory_for_maps(lr.device) // _MAPS_PER_GROUP
        return max(1, budget // largest)

    def _add_bicubic(self, detail: Tensor, bicubic: Tensor) -> Tensor:
        return detail + bicubic if self.skip else detail


class DeepShare(Sspsr):
    """The published network: SSPSR with an RGB path that shares its branches.

    bands, scale, width, group, overlap, skip: as for `Sspsr`.

    With 31 bands, scale 4 and the other defaults, it has the published 21,460,975 parameters. The RGB path takes
    `group` channels. With the published group, 8, `hsisr.degrade.RGB_TO_EIGHT` mixes RGB into these channels.
    """

    rgb_path = True

    def __init__(
        self, bands: int, scale: int, width: int = 256, group: int = 8, overlap: int = 2, skip: bool = False
    ) -> None:
        super().__init__(bands, scale, width, group, overlap, skip)
        self.trunk_RGB = Branch(group, width)
        self.skip_conv_RGB = nn.Conv2d(group, width, 3, padding=1)
        self.final_RGB = nn.Conv2d(width, group, 3, padding=1)
        if skip:
            _start((self.trunk_RGB, self.skip_conv_RGB), self.final_RGB)

    def forward(
        self, lr: Tensor, bicubic: Tensor | None = None, modality: Literal["spectral", "rgb"] = "spectral"
    ) -> Tensor:
        """Super-resolve N images of spectra, or of mixed RGB.

        lr: (N, C, h, w) with C = bands for `spectral`, group for `rgb`. bicubic: (N, C, H, W), MATLAB's bicubic
        enlargement of lr; None: made here. Returns (N, C, H, W). Raises HsisrError for another modality and for
        shapes that do not fit.
        """
        if modality == "spectral":
            return super().forward(lr, bicubic)
        if modality != "rgb":
            raise HsisrError(f"DeepShare: unknown modality {modality!r}; choose spectral or rgb")
        bicubic = self._check_bicubic(lr, bicubic, self.group, f"RGB mixed into {RGB_CHANNELS} channels")
        maps = self.trunk_RGB(self.branch2(self.branch1(_channels_last(lr))))
        return self._add_bicubic(self.final_RGB(maps + self.skip_conv_RGB(_channels_last(bicubic))), bicubic)


class Branch(nn.Module):
    """branch(in, k, tail): a head, a body of three residual blocks, upsampling by k, and an optional tail."""

    def __init__(self, inputs: int, width: int, factor: int = 1, tail: int | None = None) -> None:
        super().__init__()
        self.head = nn.Conv2d(inputs, width, 3, padding=1)
        self.body = Body(width)
        self.upsample = nn.Sequential(*_upsampling(width, factor))
        self.tail = nn.Identity() if tail is None else nn.Conv2d(width, tail, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, tail or width, factor h, factor w)."""
        return self.tail(self.upsample(self.body(self.head(maps))))


class Body(nn.Module):
    """body(u): three times att(res(.)), plus u."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net1, self.net2, self.net3 = (Block(width) for _ in range(3))

    def forward(self, maps: Tensor) -> Tensor:
        return self.net3(self.net2(self.net1(maps))) + maps


class Block(nn.Module):
    """att(res(u)): a residual unit over pixels, then one over channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spa, self.spc = SpatialUnit(width), SpectralUnit(width)

    def forward(self, maps: Tensor) -> Tensor:
        return self.spc(self.spa(maps))


class SpatialUnit(nn.Module):
    """res(u) = u + 0.1 * C3(relu(C3(u)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.body = nn.Sequential(first, nn.ReLU(inplace=True), second)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.add(maps, self.body(maps), alpha=_RESIDUAL)


class SpectralUnit(nn.Module):
    """att(u) = u + 0.1 * CA(C1(relu(C1(u))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.body = nn.Sequential(first, nn.ReLU(inplace=True), second, ChannelAttention(width))

    def forward(self, maps: Tensor) -> Tensor:
        return torch.add(maps, self.body(maps), alpha=_RESIDUAL)


class ChannelAttention(nn.Module):
    """CA(v) = v * sigmoid(C1(relu(C1(mean over pixels of v)))), through width / 16 channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = width // 16
        self.conv_du = nn.Sequential(
            nn.Conv2d(width, narrow, 1), nn.ReLU(inplace=True), nn.Conv2d(narrow, width, 1), nn.Sigmoid()
        )

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.conv_du(maps.mean((2, 3), keepdim=True))


def _groups(bands: int, group: int, overlap: int) -> Tensor:
    """Numbers (groups, group) of the bands of every group. A group that would pass the last band is moved back."""
    count = -(-(bands - overlap) // (group - overlap))
    starts = (torch.arange(count) * (group - overlap)).clamp(max=bands - group)
    return starts[:, None] + torch.arange(group)


def _start(parts: Iterable[nn.Module], last: nn.Module) -> None:
    """Set the first weights of a path that adds the bicubic image.

    torch's first biases differ for each phase of a pixel shuffle. They print a pattern over the maps, several times as
    strong as the detail of a usual image. A network that starts from the bicubic image must unlearn this pattern before
    anything else (`studies/deepshare_start.py`).
    """
    for parameter in (parameter for part in parts for parameter in part.parameters()):
        if parameter.ndim == 1:  # a bias
            nn.init.zeros_(parameter)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)


def _upsampling(width: int, factor: int) -> Iterator[nn.Module]:
    """up(k): doublings for a power of two, or one step of three."""
    steps = [3] if factor == 3 else [2] * (factor.bit_length() - 1)
    for step in steps:
        yield nn.Conv2d(width, step**2 * width, 3, padding=1)
        yield nn.PixelShuffle(step)


def _channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)
