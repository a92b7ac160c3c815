"""Quality of a result without a reference: does it agree with its own inputs?

The result is degraded to the LR image's pixels with the measured footprint of an LR pixel, and compared with the LR
image, band by band. It is also turned into a guide, with the response fitted between LR image and guide, and compared
with the guide. A result that agrees with both can still be wrong: in bands outside the guide's range, detail is only
the model's claim. A result on the guide's grid is moved onto the LR image's grid by the measured displacement; with the
guide it is compared as it lies.
"""

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from hsisr import metrics
from hsisr.degrade.estimation import fit_response, noise_level, spectral_subspace
from hsisr.degrade.sensor import Footprint, gaussian_footprint
from hsisr.errors import HsisrError
from hsisr.evaluation.quality import blocks, prisma, spectrum
from hsisr.evaluation.quality.blocks import Block, Blocks
from hsisr.inference import align
from hsisr.inference.align import Offset
from hsisr.inference.feed import Feed
from hsisr.inference.images import Source
from hsisr.scene import Scene

#: Response, noise and subspace are learnt from at most this many LR pixels of all blocks.
_MOST_PIXELS = 60_000
#: Smallest tile for Q, in pixels.
LEAST_TILE_PX = 8


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of two images of the same pixels, by channel, each (C,): mean of the given image, RMSE, correlation."""

    mean: np.ndarray
    rmse: np.ndarray
    correlation: np.ndarray


@dataclass(frozen=True, eq=False)
class Quality:
    """The findings.

    sampled: the compared blocks. footprint: of an LR pixel; measured: True if it comes from the pair, False if it is
    assumed. offset: the remaining shift between LR image and guide; None without a guide or detail. noise: standard
    deviation in the values' unit. components: dimensions of the spectra above the noise.
    lr: agreement of result and LR image, for good bands. explained: part of a band's variance at LR that the guide
    explains, (B,). guide: agreement of result and guide, by channel. response_rmse: error of the response at LR, (G,).
    guide_reach_nm: the guide's part of the spectrum. indices: name -> agreement at LR. scores: over whole tiles; some
    may be missing. tile_px: side of these tiles; None without scores.
    """

    sampled: Blocks
    footprint: Footprint
    measured: bool
    offset: Offset | None
    noise: float
    components: int
    lr: Agreement
    explained: np.ndarray | None = None
    guide: Agreement | None = None
    response_rmse: np.ndarray | None = None
    guide_reach_nm: tuple[float, float] | None = None
    indices: dict[str, Agreement] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    tile_px: int | None = None


def measure(feed: Feed, result: Scene) -> Quality:
    """Compare a result with its inputs. feed: the method's images; result: the scene that was written.

    Of a scene too large to read whole, only blocks are read. Raises HsisrError if no pixel has data.
    """
    scale = feed.method.scale
    offset = None if feed.guide is None else align.measure(feed.lr, feed.guide, scale)
    footprint = _measured_footprint(feed, offset)
    measured = footprint is not None
    footprint = footprint or gaussian_footprint(scale)
    sampled = blocks.choose(feed)
    bands, guide_low = _pixels(feed, footprint, sampled)
    response = fit_response(bands, guide_low) if len(guide_low) else None
    found = _Found(feed, response)
    for rows, columns in sampled:
        found.add(blocks.read(feed, Source(result, "result"), footprint, rows, columns, found.margin))
    return Quality(
        sampled=sampled,
        footprint=footprint,
        measured=measured,
        offset=offset,
        noise=noise_level(bands / feed.peak) * feed.peak,
        components=spectral_subspace(bands, margin=0).basis.shape[1],
        lr=found.lr.agreement(),
        explained=_explained_part(bands, guide_low) if len(guide_low) else None,
        guide=found.guide.agreement() if response is not None else None,
        response_rmse=None if response is None else _rmse(response[0] @ bands + response[1][:, None], guide_low),
        guide_reach_nm=None if feed.guide is None else spectrum.reach_nm(feed.guide.source),
        indices={name: sums.agreement() for name, sums in found.indices.items() if sums.count},
        scores=found.scores(),
        tile_px=found.tile_px,
    )


def _measured_footprint(feed: Feed, offset: Offset | None) -> Footprint | None:
    """The footprint that the method used, or one measured now; None if the pair does not allow a measurement."""
    if feed.guide is None or offset is None or not offset.trusted:
        return None
    return feed.footprint or align.measure_footprint(feed.lr, feed.guide, feed.method.scale)


def _pixels(feed: Feed, footprint: Footprint, sampled: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """LR spectra (B, n) and the guide's values (G, n) of pixels spread over the blocks, float64."""
    most = max(1, _MOST_PIXELS // len(sampled))
    found = []
    for rows, columns in sampled:
        low, seen, guide = blocks.read_low(feed, footprint, rows, columns)
        step = max(1, int(seen.sum()) // most)
        found.append([image[:, seen][:, ::step].astype(np.float64) for image in (low, guide)])
    bands, guide = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    if not bands.shape[1]:
        raise HsisrError(f"{feed.lr.label}: no pixel has data both here and in the guide; there is nothing to compare")
    return bands, guide


class _Sums:
    """Sums over pixels that give an Agreement. Channels come as (C, n)."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self._sums = np.zeros((6, channels))

    def add(self, given: np.ndarray, found: np.ndarray) -> None:
        """Add pixels. given, found: (C, n)."""
        x, y = given.astype(np.float64), found.astype(np.float64)
        self.count += x.shape[1]
        for number, values in enumerate((x, y, x * x, y * y, x * y, (x - y) ** 2)):
            self._sums[number] += values.sum(axis=1)

    def agreement(self) -> Agreement:
        """The agreement over all pixels so far. The correlation of a constant channel is NaN."""
        x, y, xx, yy, xy, square = self._sums / max(self.count, 1)
        variances = np.maximum(xx - x * x, 0) * np.maximum(yy - y * y, 0)
        correlation = (xy - x * y) / np.sqrt(np.where(variances > 0, variances, np.nan))
        return Agreement(x, np.sqrt(square), correlation)


class _Found:
    """The findings, collected block by block."""

    def __init__(self, feed: Feed, response: tuple[np.ndarray, np.ndarray] | None) -> None:
        self.lr, self.guide = _Sums(feed.lr.shape[0]), _Sums(feed.guide_channels)
        self._response = response
        self._bands = spectrum.index_bands(feed.lr.wavelengths_nm)
        self.indices = {name: _Sums(1) for name in self._bands}
        largest = min(blocks.TILE_PX, *feed.lr.shape[1:])
        sides = [*(largest >> times for times in range(largest.bit_length())), LEAST_TILE_PX]
        #: Sides of tiles that may be whole, from the largest on: Q of each tile, by the side and the kind of Q.
        self._tiles: dict[int, dict[str, list[np.ndarray]]] = {
            side: {} for side in sorted(set(sides), reverse=True) if LEAST_TILE_PX <= side <= largest
        }
        is_benchmark = feed.guide_channels == 1 and feed.method.scale == prisma.SCALE
        self._pan = prisma.PanRegression(feed.lr.shape[0]) if is_benchmark else None
        #: HR pixels read around a block, on each side.
        self.margin = prisma.reach_px() if is_benchmark else 0

    def add(self, block: Block) -> None:
        """Add a block."""
        low, degraded = block.low[:, block.seen], block.degraded[:, block.seen]
        self.lr.add(low, degraded)
        for name, places in self._bands.items():
            used = ((low[list(places)] > 0) & (degraded[list(places)] > 0)).all(axis=0)
            value = spectrum.INDICES[name].value
            pair = (value(*image[list(places)][:, used].astype(np.float64))[None] for image in (low, degraded))
            self.indices[name].add(*pair)
        if block.beside is not None and self._response is not None:
            matrix, offset = self._response
            estimate, guide = block.beside
            self.guide.add(guide, matrix.astype(np.float32) @ estimate + offset[:, None])
            if self._pan is not None:
                self._pan.add(estimate, guide[0])
        for tile, kept in self._tiles.items():
            self._add_tiles(block, tile, kept)
            if kept:  # smaller ones would only count if no block had a whole tile of this size
                break

    @property
    def tile_px(self) -> int | None:
        """Side of the largest tiles of which at least one is whole."""
        return next((side for side, kept in self._tiles.items() if kept), None)

    def _add_tiles(self, block: Block, tile: int, kept: dict[str, list[np.ndarray]]) -> None:
        """Q of every whole tile: of LR pixels, and for D_s, of the result's pixels on the same ground."""

        def keep(name: str, value: np.ndarray | float) -> None:
            kept.setdefault(name, []).append(np.asarray(value))

        scale = len(block.valid) // len(block.seen)
        by_mtf = None if block.wide is None else prisma.decimate(block.wide)
        for top, left in product(*(range(0, size - tile + 1, tile) for size in block.seen.shape)):
            place = slice(top, top + tile), slice(left, left + tile)
            sharp = tuple(slice(part.start * scale, part.stop * scale) for part in place)
            if not (block.seen[place].all() and block.valid[sharp].all()):
                continue
            low = block.low[:, *place]
            keep("q2n", metrics.q2n(low, block.degraded[:, *place], block=tile))
            if by_mtf is not None:
                keep("q2n_prisma", metrics.q2n(low, by_mtf[:, *place], block=tile))
            if block.guide is not None and block.guide_low is not None and len(block.guide) == 1:
                pairs = {
                    "sharp": (block.estimate[:, *sharp], block.guide[:, *sharp]),
                    "coarse": (low, block.guide_low[:, *place]),
                }
                for name, (image, pan) in pairs.items():
                    keep(name, metrics.uiqi_per_band(image, pan.repeat(len(low), axis=0), block=tile, stride=tile))

    def scores(self) -> dict[str, float]:
        """D_lambda; with a guide of one channel, D_s and QNR; for pairs of the PRISMA benchmark's kind, its scores."""
        if self.tile_px is None:
            return {}
        mean = {name: np.mean(values, axis=0) for name, values in self._tiles[self.tile_px].items()}
        found = {"d_lambda": max(0.0, float(1 - mean["q2n"]))}
        if "sharp" in mean:
            found["d_s"] = float(np.abs(mean["sharp"] - mean["coarse"]).mean())
            found["qnr"] = metrics.qnr(found["d_lambda"], found["d_s"])
        if self._pan is not None:
            found["d_lambda_prisma"] = max(0.0, float(1 - mean["q2n_prisma"]))
            found["d_s_prisma"] = self._pan.d_s
            found["qnr_prisma"] = metrics.qnr(found["d_lambda_prisma"], found["d_s_prisma"])
        return found


def _explained_part(bands: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """Part of each band's variance (B,), over pixels, that a linear function of the guide's channels explains.

    NaN for a band of one number: there is nothing to explain.
    """
    regressors = np.concatenate([guide, np.ones((1, guide.shape[1]))]).T
    left = bands.T - regressors @ np.linalg.lstsq(regressors, bands.T, rcond=None)[0]
    varies = np.ptp(bands, axis=1) > 0
    return np.asarray(1 - np.divide(left.var(axis=0), bands.var(axis=1), out=np.full(len(bands), np.nan), where=varies))


def _rmse(estimate: np.ndarray, given: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(((estimate - given) ** 2).mean(axis=1)))
