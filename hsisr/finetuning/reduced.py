"""Reduced resolution: a user's images, degraded once more by the scale, so the scene becomes its own reference.

Wald's protocol: LR image and guide are both degraded by the scale. A model learns to restore the LR image from them,
and is then applied to the LR image itself. Parts for training, validation and test are cut before they are degraded,
so no pixel of one part is visible in another.

The mean over a footprint has far less noise than the LR image, and what is left of it is the reference's own noise. A
model that learns from such images learns to sharpen noise. So the degraded image gets new noise, as strong as that of
the LR image, if its spectra tell it.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np

from hsisr import degrade, metrics
from hsisr.degrade import Pair
from hsisr.degrade.estimation import noise_level, spectral_subspace
from hsisr.degrade.sensor import whole_lr_pixels
from hsisr.errors import HsisrError, option
from hsisr.inference.feed import Feed
from hsisr.missing import fill_invalid
from hsisr.models.windows import hr_spans

#: Most samples of the LR image in memory. Of a larger scene, only the middle is used.
_MOST_SAMPLES = 2**27
#: Least side, in LR pixels, of a part that is degraded once more.
_LEAST_FURTHER_PX = 4
#: Fewest bands whose spectra tell noise from signal, and power of the weaker components of spectra, the strongest of
#: them over a weak one, up to which they are white noise: signal falls off faster.
_TELLING_BANDS, _WHITE = 16, 2.5


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a scene at both resolutions, in the model's values (divided by their peaks).

    lr: (B, h, w). guide: (G, s h, s w) or None. mask: (h, w), guide_mask: (s h, s w), valid pixels.
    low_lr, low_guide: lr and guide, degraded once more: (B, h / s, w / s), (G, h, w). noise: standard deviation of the
    noise of `lr`, which `low_lr` has too; 0 if it is not known.
    """

    lr: np.ndarray
    guide: np.ndarray | None
    mask: np.ndarray
    guide_mask: np.ndarray
    low_lr: np.ndarray
    low_guide: np.ndarray | None
    noise: float

    @cached_property
    def signal(self) -> np.ndarray:
        """`lr` without the noise that lies outside the subspace of its spectra."""
        if not self.noise:
            return self.lr
        space = spectral_subspace(self.lr[:, self.mask])
        signal = space.spectra(space.coefficients(self.lr.reshape(len(self.lr), -1)))
        return signal.reshape(self.lr.shape).astype(np.float32)

    @property
    def pair(self) -> Pair:
        """What a model learns from: the degraded images, with the signal as HR image."""
        return Pair(self.low_lr, self.low_guide, self.signal, self.score_mask)

    def further(self, scale: int) -> Pair | None:
        """As `pair`, of images that are degraded by the scale once more, or by 2 if the part is too small for that.

        It shows whether what is learnt at one scale holds at another. None if the part is too small for 2 as well, or
        no pixel would be valid.
        """
        for step in (scale, 2):
            rows, columns = (size // (step * scale) * scale for size in self.lr.shape[1:])
            mask = whole_lr_pixels(self.mask[: rows * step, : columns * step], step)
            if min(rows, columns) < scale * _LEAST_FURTHER_PX or not mask.any():
                continue
            hr, guide = (
                None if image is None else _degraded(image[:, : rows * step, : columns * step], step)
                for image in (self.signal, self.low_guide)
            )
            assert hr is not None
            low = _degraded(hr, scale, self.noise, len(self.lr))
            return Pair(low, guide, hr, None if mask.all() else mask)
        return None

    @property
    def score_mask(self) -> np.ndarray | None:
        """The valid pixels; None if all are valid."""
        return None if self.mask.all() else self.mask

    def score(self, estimate: np.ndarray, scale: int) -> dict[str, float]:
        """Scores of an estimate (B, h, w) of `lr`, made from `low_lr`. Values are in units of the model's peak."""
        return metrics.score(self.lr, estimate, scale, "plain", mask=self.score_mask, peak=1.0)


def parts(feed: Feed, shares: dict[str, float], least_lr_px: int) -> dict[str, Part]:
    """Cut a scene into parts along its longer side, and degrade each. shares: name -> part of the side; sum 1.

    least_lr_px: least pixels on each side of a degraded part. A smaller part takes pixels from the longest part. Raises
    HsisrError for a scene that is too small, or a part without a valid pixel.
    """
    scale = feed.method.scale
    rows, columns = _middle(feed)
    along_rows = rows[1] - rows[0] >= columns[1] - columns[0]
    start, stop = rows if along_rows else columns
    short = min(rows[1] - rows[0], columns[1] - columns[0]) // scale
    if short < least_lr_px or (stop - start) // scale < len(shares) * least_lr_px:
        raise HsisrError(_too_small(feed, list(shares), least_lr_px * scale))
    lengths = _lengths((stop - start) // scale, list(shares.values()), least_lr_px)
    edges = [start + scale * edge for edge in accumulate(lengths, initial=0)]
    found: dict[str, Part] = {}
    for number, (name, span) in enumerate(zip(shares, pairwise(edges), strict=True)):
        place = (span, columns) if along_rows else (rows, span)
        lr, guide, mask, guide_mask = _cut(feed, name, *place)
        # all parts have the noise of the first, as a small one cannot tell it
        noise = next(iter(found.values())).noise if found else _white_noise(lr[:, mask])
        low = _degraded(lr, scale, noise, number)
        low_guide = None if guide is None else _degraded(guide, scale)
        found[name] = Part(lr, guide, mask, guide_mask, low, low_guide, noise)
    return found


def check_scores(cut: dict[str, Part], scale: int, label: str) -> None:
    """Raise HsisrError if no result can be scored on a part that is not for training. label: of the scene."""
    for name in cut.keys() - {"training"}:
        try:
            cut[name].score(cut[name].lr, scale)
        except HsisrError as error:
            raise HsisrError(
                f"{label}: the part for {name} cannot be scored ({error}); crop the scene, or give another "
                f"{option('hold_out')}"
            ) from None


def _too_small(feed: Feed, names: list[str], least_px: int) -> str:
    """The line for a scene that is too small for these parts, each of which has at least so many pixels a side."""
    height, width = feed.lr.shape[1:]
    line = (
        f"{feed.lr.label}: {height} x {width} pixels are too few to learn from at scale {feed.method.scale}; "
        f"{least_px} x {len(names) * least_px} are needed"
    )
    if "test" in names:
        fewer = f"{least_px} x {(len(names) - 1) * least_px}"
        line += f", or {fewer} with --hold-out 0 (in Python hold_out=0), which scores nothing"
    return line


def _lengths(total: int, shares: list[float], least: int) -> list[int]:
    lengths = [round(share * total) for share in shares]
    lengths[0] += total - sum(lengths)
    for part, length in enumerate(lengths):
        missing = max(0, least - length)
        lengths[part] += missing
        lengths[max(range(len(lengths)), key=lengths.__getitem__)] -= missing
    return lengths


def _cut(
    feed: Feed, name: str, rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]:
    """LR image and guide of a part, and their masks."""
    scale = feed.method.scale
    lr, mask = feed.lr.window(rows, columns)
    sharp_place = hr_spans(rows, columns, scale)
    guide, guide_mask = None, mask.repeat(scale, axis=0).repeat(scale, axis=1)
    if feed.guide is not None:
        guide, seen = feed.guide.window(*sharp_place)
        guide_mask = guide_mask & seen
        mask = mask & whole_lr_pixels(seen, scale)
        guide = fill_invalid(guide, seen) / np.float32(feed.guide_peak)
    if not mask.any():
        raise HsisrError(
            f"{feed.lr.label}: the part for {name}, rows {rows}, columns {columns}, has no valid pixel; crop the scene"
        )
    return fill_invalid(lr, mask) / np.float32(feed.peak), guide, mask, guide_mask


def _white_noise(spectra: np.ndarray) -> float:
    """Standard deviation of the noise of spectra (B, n); 0 where it cannot be told from signal, or is not white."""
    if len(spectra) < _TELLING_BANDS or spectra.shape[1] < 2:
        return 0.0
    weaker = np.linalg.eigvalsh(np.cov(spectra))[: len(spectra) // 2]
    return noise_level(spectra) if weaker[-1] <= _WHITE * weaker[len(weaker) // 4] else 0.0


def _degraded(image: np.ndarray, scale: int, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    return degrade.degrade(image, "wald", scale, noise, seed)


def _middle(feed: Feed) -> tuple[tuple[int, int], tuple[int, int]]:
    """The scene, cut to a multiple of the scale; of a scene that is too large for memory, the middle."""
    bands, *sizes = feed.lr.shape
    scale = feed.method.scale
    per_pixel = bands + feed.guide_channels * scale**2
    shrink = min(1.0, (_MOST_SAMPLES / (per_pixel * sizes[0] * sizes[1])) ** 0.5)
    spans = []
    for size in sizes:
        length = int(size * shrink) // scale * scale
        start = (size - length) // 2
        spans.append((start, start + length))
    return spans[0], spans[1]
