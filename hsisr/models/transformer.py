"""FusionTransformer: image and guide as tokens of 2 x 2 pixels, mixed by attention inside windows; a learned baseline.

It follows window-attention fusion networks such as PSRT (Deng et al., PSRT: Pyramid shuffle-and-reshuffle transformer
for multispectral and hyperspectral image fusion, IEEE TGRS 2023), with the shifted windows and the relative position
bias of Swin (Liu et al., ICCV 2021). This is a new program; docs/networks.md lists the differences.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pixel_shuffle, pixel_unshuffle, scaled_dot_product_attention

from hsisr.models.fusion import Fusion
from hsisr.models.options import TransformerOptions

#: Side of a token in pixels.
_TOKEN_PX = 2
#: Standard deviation of the position bias at the start, as in Swin.
_BIAS_SIGMA = 0.02


class FusionTransformer(Fusion):
    """Blocks of window attention between an embedding of both images and a decoder of two convolutions.

    scale, bands, guide_channels, skip: as `Fusion`. width: features, an even number and a multiple of heads.
    blocks: number of blocks; every second block shifts its windows by half their side. window: side of the windows in
    tokens of 2 x 2 pixels, an even number. With 31 bands and a guide of 3 channels, the defaults have 385,847
    parameters.
    """

    maps_in_memory, images_in_memory = 6, 4

    def __init__(
        self,
        scale: int,
        bands: int,
        guide_channels: int = 3,
        width: int = 64,
        blocks: int = 6,
        heads: int = 4,
        window: int = 8,
        skip: bool = True,
    ) -> None:
        options = {"width": width, "blocks": blocks, "heads": heads, "window": window, "skip": skip}
        super().__init__(TransformerOptions, scale, bands, guide_channels, options, period_px=_TOKEN_PX * window)
        channels = bands + guide_channels
        self.embed = nn.Conv2d(_TOKEN_PX**2 * channels, width, 3, padding=1)
        shifts = (number % 2 * (window // 2) for number in range(blocks))
        self.blocks = nn.ModuleList(Block(width, heads, window, shift) for shift in shifts)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.up = nn.Conv2d(width, _TOKEN_PX**2 * (width // 2), 1)
        self.fine = nn.Conv2d(channels + width // 2, width, 3, padding=1)
        self.last = self.last_conv()

    def detail(self, image: Tensor, guide: Tensor) -> Tensor:
        both = torch.cat([image, guide], dim=1)
        embedded = self.embed(pixel_unshuffle(both, _TOKEN_PX))
        tokens = embedded.permute(0, 2, 3, 1)
        for block in self.blocks:
            tokens = block(tokens)
        maps = embedded + self.body(tokens.permute(0, 3, 1, 2))
        fine = torch.cat([both, pixel_shuffle(gelu(self.up(maps)), _TOKEN_PX)], dim=1)
        return self.last(gelu(self.fine(fine)))


class Block(nn.Module):
    """Window attention and a two-layer perceptron, each after a layer norm, and each added to its input."""

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window, shift)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, H, W, width) -> the same shape."""
        tokens = tokens + self.attention(self.before_attention(tokens))
        return tokens + self.mlp(self.before_mlp(tokens))


class WindowAttention(nn.Module):
    """Multi-head self-attention among the tokens of each window, with a learned bias for every offset of two tokens.

    shift: tokens by which windows move down and to the right. If the border cuts a window, each part has its own
    attention, so no token sees a token from the opposite side.
    """

    _offset: Tensor

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.position_bias = nn.Parameter(_BIAS_SIGMA * torch.randn(heads, (2 * window - 1) ** 2))
        self.register_buffer("_offset", _offsets(window), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, H, W, width), H and W multiples of the window -> the same shape."""
        count, rows, columns, width = tokens.shape
        moved = tokens.roll((-self.shift, -self.shift), (1, 2)) if self.shift else tokens
        windows = _cut(self.query_key_value(moved), self.window).flatten(0, 1)
        query, key, value = windows.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self._bias(count, rows, columns).to(query.dtype)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = mixed.transpose(1, 2).flatten(2).unflatten(0, (count, -1))
        mixed = self.output(_join(mixed, self.window, rows, columns))
        return mixed.roll((self.shift, self.shift), (1, 2)) if self.shift else mixed

    def _bias(self, count: int, rows: int, columns: int) -> Tensor:
        """Bias of the attention's logits: (1 or count * windows, heads, T, T) with T tokens in a window."""
        bias = self.position_bias[:, self._offset][None]
        if not self.shift:
            return bias
        apart = _apart(rows, columns, self.window, self.shift, bias.device)
        return bias.masked_fill(apart[:, None], -torch.inf).repeat(count, 1, 1, 1)


def _offsets(window: int) -> Tensor:
    """A number for the offset between any two tokens of a window: (T, T), from 0 to (2 window - 1)^2 - 1."""
    place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    down, right = place[:, :, None] - place[:, None, :] + window - 1
    return down * (2 * window - 1) + right


def _cut(tokens: Tensor, window: int) -> Tensor:
    """(N, H, W, C) -> (N, windows, T, C), row by row."""
    tokens = tokens.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return tokens.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _join(windows: Tensor, window: int, rows: int, columns: int) -> Tensor:
    """The inverse of `_cut`: (N, windows, T, C) -> (N, H, W, C)."""
    windows = windows.unflatten(2, (window, window)).unflatten(1, (rows // window, columns // window))
    return windows.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _apart(rows: int, columns: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Pairs of tokens that are in one window only because the map was rolled: (windows, T, T), bool."""
    down, right = (torch.arange(size, device=device) >= size - shift for size in (rows, columns))
    part = _cut((2 * down[:, None] + right)[None, :, :, None], window)[0]
    return part != part.mT
