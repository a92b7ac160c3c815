"""MulSR: multiscale factor joint learning, the published network in a form that runs fast.

Source: Multiscale Factor Joint Learning for Hyperspectral Image Super-Resolution, IEEE TGRS 2023. The function and
the state-dict keys are the published ones. Only the way to compute the function differs:

* Weight norm is folded into plain convolution weights, once for all bands of `super_resolve`.
* The cross fusion convolves (s - r) and concat(s, r). Both are linear, so they become one convolution of s plus one of
  r. In the first block, r comes from the guide alone, and all bands share its half.
* The 1x3x3 Conv3d over three groups of channels is a 2-D convolution in three groups, with the same weights. The 3x1x1
  Conv3d is a 1x1 convolution with a block-banded weight. The gammas are folded into weights.
* Maps are channels-last in memory: in this layout, convolutions run fastest on CPUs and on tensor cores.

tests/unit/plain_mulsr.py holds the literal form; studies/mulsr.py compares the two.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsisr.config import check_section
from hsisr.errors import HsisrError
from hsisr.models.mulsr import tiled
from hsisr.models.mulsr.layers import Conv, Direction, GuidedBlock, GuideParts, Unit, channels_last, fold_weights
from hsisr.models.network import Network
from hsisr.models.options import MulsrOptions, even_scale
from hsisr.ops import directional_aggregation
from hsisr.system import within_gpu_memory

#: On a CPU, bands are batched as long as the largest map stays below this. For larger blocks, glibc asks the kernel for
#: memory every time, and the page faults cost more than batching gains.
_CPU_MAP_BYTES = 32 << 20


class MulSR(Network):
    """The published network. With its defaults, it has the published 4,635,548 parameters.

    scale: HR over LR size, even, >= 2; the network works at the scales alpha = scale / 2 and beta = scale.
    width: features of every layer; width + 8 must be a multiple of 3. blocks: symmetrical guided encoder blocks in
    each branch. guide_channels: of the guide image.
    mii, dsca, lfcc: parts of the network, for ablations. If a part is off, the state dict has no parameters of it.
    `dsca` is a part of `mii`. If `mii` and `lfcc` are both off, nothing reads the alpha branch, so it is off as well.
    skip: add the band, interpolated bicubically between block centres, to the output. At first the output is this band
    alone (the last convolution's gain is 0), so the network only has to learn the detail. Not in the paper.
    alpha_weight: weight in the training loss of the distance at the scale alpha. Above 0, there is a head for this
    scale, `end`, on LFCC's features. Not in the paper.
    The other weights start as torch's convolutions do.
    Raises HsisrError for an argument that is not allowed.
    """

    check_scale = staticmethod(even_scale)
    band_wise = True
    takes_memory = True
    width: int
    maps_in_memory = tiled.MAPS_OF_GUIDE + tiled.MAPS_OF_BAND

    def __init__(
        self,
        scale: int,
        width: int = 64,
        blocks: int = 4,
        guide_channels: int = 3,
        dsca: bool = True,
        lfcc: bool = True,
        mii: bool = True,
        skip: bool = False,
        alpha_weight: float = 0,
    ) -> None:
        super().__init__()
        options = {"width": width, "blocks": blocks, "dsca": dsca, "lfcc": lfcc, "mii": mii, "skip": skip}
        check_section(MulsrOptions, {**options, "alpha_weight": alpha_weight}, "MulSR")
        scale = self.check_scale(scale)
        if guide_channels < 1:
            raise HsisrError(f"MulSR: guide_channels must be at least 1, not {guide_channels}")
        self.scale, self.width, self.guide_channels = scale, width, guide_channels
        self.dsca, self.lfcc, self.mii, self.skip, self.alpha_weight = dsca, lfcc, mii, skip, alpha_weight

        self.hsi_head_x2, self.rgb_head_x2 = Conv(3, width, 3), Conv(guide_channels, width, 3)
        self.inter_body_x2 = nn.ModuleList(GuidedBlock(width) for _ in range(blocks))
        self.reduce_x2 = Conv(2 * width, width, 1)
        if mii or lfcc:
            self.hsi_head, self.rgb_head = Conv(3, width, 3), Conv(guide_channels, width, 3)
            self.inter_body = nn.ModuleList(GuidedBlock(width) for _ in range(blocks))
            self.reduce = Conv(2 * width, width, 1)
        if mii:
            self.down = nn.Conv2d(width, width, 3, stride=2, padding=1)
            self.cross_reduce = Conv(2 * width, width, 1)
            self.up = nn.Sequential(Conv(width, 4 * width, 1), nn.PixelShuffle(2))
        if mii and dsca:
            self.DULR = nn.ModuleList([Direction(width, (1, 7)), Direction(width, (7, 1))])
        if lfcc:
            self.uint, self.uint_x2 = Unit(width), Unit(width)
            self.optimize_down = Conv(width, width, 3, stride=2)
            self.optimize_up = nn.Sequential(Conv(width, 4 * width, 1), nn.PixelShuffle(2))
        # oneDNN's float32 kernels for channels-last maps round twice as much as those for plain maps. The last two
        # layers make most of the output's rounding error. In plain layout, they halve it and take 1 % more time.
        plain = torch.contiguous_format
        self.end_x2 = nn.Sequential(Conv(width, width, 3, layout=plain), Conv(width, 1, 3, layout=plain))
        if alpha_weight:
            self.end = nn.Sequential(Conv(width, width, 3, layout=plain), Conv(width, 1, 3, layout=plain))
        if skip:
            for end in (self.end_x2, *([self.end] if alpha_weight else [])):
                last = end[1]
                assert isinstance(last, Conv)
                nn.init.zeros_(last.weight_g)
                nn.init.zeros_(last.bias)

    def forward(self, bands: Tensor, guide: Tensor) -> tuple[Tensor, Tensor | None]:
        """Super-resolve one band per sample.

        bands: (N, 3, h, w), neighbours and band in the order (i - 1, i + 1, i). guide: (M, G, scale h, scale w). N is a
        multiple of M: each guide serves N / M samples in a row.
        Returns sr (N, 1, H, W) and the feature difference of LFCC (N, width, H/2, W/2), None without LFCC.
        Raises HsisrError for shapes that do not fit.
        """
        self._check(bands, guide, 3)
        sr, difference, _ = self._network(bands, self._guide_parts(guide, len(bands) > len(guide)))
        return sr, difference

    def super_resolve(
        self, lr: Tensor, guide: Tensor, band_batch: int | None = None, memory: int | None = None
    ) -> Tensor:
        """Super-resolve all bands of N images.

        lr: (N, B, h, w) with B >= 3. guide: (N, G, scale h, scale w). band_batch: bands that go through the network
        at once; None: as many as pay off on a CPU or fit on a GPU. Another batch changes rounding, not the result.
        memory: bytes that the maps may take at once, without lr, guide and result. None: 3 GiB on a CPU; on a GPU, less
        than half of its memory and no more than is free. If the GPU still has too little, hsisr tries half as much, and
        so on. An image that needs more is computed in tiles (`hsisr.models.mulsr.tiled`). Tiles change rounding, not
        the result. If gradients are recorded, there are no tiles.
        Returns (N, B, H, W). Gradients flow; wrap the call in `torch.inference_mode()` if you do not want them.
        Raises HsisrError for shapes that do not fit, and for a memory that is too small for the smallest tile;
        torch.OutOfMemoryError if a GPU is full.

        Example:

            >>> import torch
            >>> network = models.MulSR(scale=4, width=16, blocks=1)
            >>> lr, guide = torch.rand(1, 5, 8, 8), torch.rand(1, 3, 32, 32)
            >>> network.super_resolve(lr, guide).shape
            torch.Size([1, 5, 32, 32])
        """
        self._check(lr, guide, None)
        if guide.device.type == "cpu" or torch.is_grad_enabled():
            return self._super_resolve(lr, guide, band_batch, memory)
        return within_gpu_memory(
            lambda less: self._super_resolve(lr, guide, band_batch if less == memory else None, less),
            memory,
            guide.device,
        )

    def super_resolve_bands(self, lr: Tensor, guide: Tensor, bands: Sequence[int] | Tensor) -> Tensor:
        """Super-resolve K bands of N images in one pass, as training does.

        lr: (N, B, h, w) with B >= 3. guide: (N, G, scale h, scale w). bands: K band numbers, from 0; or (N, K), K band
        numbers for each image.
        Returns (N, K, H, W). Raises HsisrError for shapes that do not fit, and for a band that there is not.
        """
        self._check(lr, guide, None)
        numbers = _band_numbers(bands, lr)
        return self._bands(lr, self._guide_parts(guide, numbers.shape[-1] > 1), numbers)

    def super_resolve_scales(self, lr: Tensor, guide: Tensor, bands: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Super-resolve K bands of N images at both scales, for training with `alpha_weight`.

        lr, guide, bands: as for `super_resolve_bands`. Returns (N, K, H, W) and (N, K, H/2, W/2).
        Raises HsisrError for shapes that do not fit, and for a network without `alpha_weight`.
        """
        if not self.alpha_weight:
            return super().super_resolve_scales(lr, guide, bands)  # raises the error
        self._check(lr, guide, None)
        triplets = self._triplets(lr, _band_numbers(bands, lr))
        sr, _, x = self._network(triplets, self._guide_parts(guide, len(triplets) > len(guide)))
        half = self.with_skip(self.end(x), triplets, self.scale / 2)
        fine, coarse = (image.view(len(lr), -1, *image.shape[2:]) for image in (sr, half))
        return fine, coarse

    def _super_resolve(self, lr: Tensor, guide: Tensor, band_batch: int | None, memory: int | None) -> Tensor:
        with fold_weights(self):
            if not torch.is_grad_enabled() and (plan := tiled.plan(self, guide, memory)):
                triplets = self._triplets(lr, torch.arange(lr.shape[1])).unflatten(0, (len(lr), -1))
                return tiled.super_resolve(self, triplets, guide, plan)
            parts = self._guide_parts(guide)
            chunks = torch.arange(lr.shape[1]).split(band_batch or self._band_batch(guide, memory))
            return torch.cat([self._bands(lr, parts, chunk) for chunk in chunks], dim=1)

    def _check(self, bands: Tensor, guide: Tensor, channels: int | None) -> None:
        if bands.ndim != 4 or (channels is not None and bands.shape[1] != channels) or bands.shape[1] < 3:
            wanted = "(N, 3, h, w)" if channels else "(N, B, h, w) with at least 3 bands, as each needs two neighbours"
            raise HsisrError(f"MulSR: the bands have shape {tuple(bands.shape)}, expected {wanted}")
        shape = (self.guide_channels, *(self.scale * n for n in bands.shape[2:]))
        if guide.ndim != 4 or guide.shape[1:] != shape:
            raise HsisrError(
                f"MulSR: the guide has shape {tuple(guide.shape)}, expected (N, {', '.join(map(str, shape))}) for "
                f"bands of {tuple(bands.shape[2:])} at scale {self.scale}"
            )
        if len(bands) != len(guide) and (channels is None or len(bands) % len(guide)):
            raise HsisrError(f"MulSR: {len(bands)} samples of bands do not go with {len(guide)} guides")

    def _band_batch(self, guide: Tensor, memory: int | None) -> int:
        """Bands in a batch. Only sizes decide, so equal runs on equal machines give equal bytes."""
        fitting = tiled.bands_that_fit(self, guide, memory)
        if guide.device.type == "cpu":
            pixels = guide.shape[0] * guide.shape[2] * guide.shape[3]
            fitting = min(fitting, _CPU_MAP_BYTES // (2 * (self.width + 8) * pixels * guide.element_size()))
        return max(1, fitting)

    def _bands(self, lr: Tensor, parts: list[GuideParts], bands: Tensor) -> Tensor:
        """Super-resolve bands `bands` of lr (N, B, h, w), with the `parts` of the guide: (N, K, H, W)."""
        sr, *_ = self._network(self._triplets(lr, bands), parts)
        return sr.view(len(lr), -1, *sr.shape[2:])

    def _triplets(self, lr: Tensor, bands: Tensor) -> Tensor:
        """The network's input for bands (K,) or (N, K) of lr (N, B, h, w): (N K, 3, h, w)."""
        images = torch.arange(len(lr)).view(-1, 1, 1)
        return lr[images, _triplet_numbers(lr.shape[1])[bands]].flatten(0, 1)

    def _guide_parts(self, guide: Tensor, shared: bool = True) -> list[GuideParts]:
        """The parts that depend on the guide alone: for the beta branch and, if there is one, for the alpha branch.

        shared: whether several bands will use them.
        """
        parts = [self.fine_guide(guide, shared)]
        if self.mii or self.lfcc:
            parts.append(self.coarse_guide(guide, shared))
        return parts

    def _network(self, bands: Tensor, parts: list[GuideParts]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """bands (N, 3, h, w) -> sr (N, 1, H, W), and LFCC's difference and x, both (N, width, H/2, W/2)."""
        x2 = self.fine(bands, parts[0])
        x = self.coarse(bands, parts[1]) if self.mii or self.lfcc else None
        q = self.shared_factor(self.down(x2), x) if self.mii and x is not None else None
        sr, difference, x = self.finish(x, x2, q)
        return self.with_skip(sr, bands, self.scale), difference, x

    # The stages of the network. `tiled` also calls them, on windows: all but `shared_factor` only see a neighbourhood.

    def fine_guide(self, guide: Tensor, shared: bool = True) -> GuideParts:
        """guide (M, G, H, W) -> its parts for the beta branch. shared: whether several bands will use them."""
        return _blocks(self.inter_body_x2)[0].guide_parts(self.rgb_head_x2(guide), shared)

    def coarse_guide(self, guide: Tensor, shared: bool = True) -> GuideParts:
        """guide (M, G, H, W) -> parts for the alpha branch, from every second pixel. shared: as for `fine_guide`."""
        return _blocks(self.inter_body)[0].guide_parts(self.rgb_head(guide[:, :, ::2, ::2]), shared)

    def fine(self, bands: Tensor, parts: GuideParts) -> Tensor:
        """Heads and encoder of the beta branch: bands (N, 3, h, w) -> (N, width, H, W). parts: of `fine_guide`."""
        maps = self.hsi_head_x2(_nearest(bands, self.scale))
        return self._encode(maps, parts, self.inter_body_x2, self.reduce_x2)

    def coarse(self, bands: Tensor, parts: GuideParts) -> Tensor:
        """Heads and encoder of the alpha branch: bands (N, 3, h, w) -> (N, width, H/2, W/2).

        parts: of `coarse_guide`.
        """
        maps = self.hsi_head(_nearest(bands, self.scale // 2))
        return self._encode(maps, parts, self.inter_body, self.reduce)

    def _encode(self, hsi: Tensor, parts: GuideParts, body: nn.ModuleList, reduce: nn.Module) -> Tensor:
        first, *others = _blocks(body)
        hsi, rgb = first(hsi, parts)
        for block in others:
            hsi, rgb = block(hsi, block.guide_parts(rgb, shared=False))
        return reduce(torch.cat([hsi, rgb], dim=1))

    def shared_factor(self, reduced: Tensor, x: Tensor) -> Tensor:
        """MII: the common factor of both scales, at the lower scale, (N, width, H/2, W/2).

        reduced: down(x2), and x: maps of the alpha branch, both (N, width, H/2, W/2).
        """
        q = self.cross_reduce(torch.cat([reduced, x], dim=1))
        if self.dsca:
            forth, back = (direction.parts() for direction in self.DULR if isinstance(direction, Direction))
            q = channels_last(directional_aggregation(q, forth, back))
        return q

    def finish(self, x: Tensor | None, x2: Tensor, q: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The end of the network: it adds the shared factor to both branches, then come LFCC and the last layers.

        x: maps of the alpha branch, (N, width, H/2, W/2). x2: of the beta branch, (N, width, H, W). q: the shared
        factor. x and q are None for networks without them. Returns sr (N, 1, H, W) without the skip, LFCC's difference,
        and the new x.
        """
        difference = None
        if x is not None and q is not None:  # with MII
            x, x2 = x + q, self.up(q).add_(x2)
        if self.lfcc:
            x, x2 = self.uint(x), self.uint_x2(x2)
            difference = self.optimize_down(x2).sub_(x)
            x2 = self.optimize_up(difference).add_(x2)
        return self.end_x2(x2), difference, x

    def with_skip(self, image: Tensor, bands: Tensor, factor: float) -> Tensor:
        """image (N, 1, factor h, factor w), plus the upsampled band of bands (N, 3, h, w) if there is a skip."""
        if not self.skip:
            return image
        # Bicubic, aligned with block centres: exact if LR pixels are averages around their blocks' centres.
        return image + functional.interpolate(bands[:, 2:], scale_factor=factor, mode="bicubic")


def _blocks(body: nn.ModuleList) -> list[GuidedBlock]:
    """The blocks of an encoder, in order."""
    return [block for block in body if isinstance(block, GuidedBlock)]


def _band_numbers(bands: Sequence[int] | Tensor, lr: Tensor) -> Tensor:
    """Numbers (K,) or (N, K) of bands of lr (N, B, h, w), after a check."""
    numbers = torch.as_tensor(bands)
    fits = numbers.ndim == 1 or (numbers.ndim == 2 and len(numbers) == len(lr))
    whole = not (numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool)
    if not (fits and whole and numbers.numel() and numbers.min() >= 0 and numbers.max() < lr.shape[1]):
        raise HsisrError(
            f"MulSR: the band numbers are {numbers.tolist()}; expected (K,) or ({len(lr)}, K) whole numbers from 0 to "
            f"{lr.shape[1] - 1}"
        )
    return numbers


def _triplet_numbers(bands: int) -> Tensor:
    """Numbers (bands, 3) of the bands that the network reads for each band: two neighbours and the band itself."""
    rows = [(i - 1, i + 1, i) for i in range(bands)]
    rows[0], rows[-1] = (1, 2, 0), (bands - 2, bands - 3, bands - 1)
    return torch.tensor(rows)


def _nearest(bands: Tensor, factor: int) -> Tensor:
    return functional.interpolate(bands, scale_factor=factor, mode="nearest")
