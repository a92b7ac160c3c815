"""Training samples of `hybrid`: whole training scenes, solved by the prior once, cut into patches as they are drawn."""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hsisr.degrade import Pair, Sensor
from hsisr.errors import HsisrError
from hsisr.models.hybrid.agreement import contradiction
from hsisr.models.hybrid.filters import Details, Learnt, Moments, fitted, guide_and_reference, response_of
from hsisr.models.hybrid.held import HeldOut, Solved
from hsisr.models.hybrid.maps import Stack, in_basis, stack
from hsisr.models.hybrid.pieces import Piece
from hsisr.models.prior import Solution, solve
from hsisr.samples import Sample, orient
from hsisr.screen import say

#: Of so many training scenes one is held out of the network's training; of fewer, none is.
_HELD_OF = 4


@dataclass(eq=False)
class PriorPatches:
    """Patches of solved scenes, as `hsisr.samples.TrainingSamples`.

    Of a sample, `guide` is the network's input (G + 3 K, p, p), `hr` what it should add (K, p, p), and `lr` the
    first channel of the input, which the network does not read.
    scenes: every solved one. size_px: side of a patch, HR pixels. per_epoch: patches of an epoch.
    Sample `number` follows from `seed`; flips and rotations are drawn with it.
    """

    scenes: list[Solved]
    names: Sequence[str]
    size_px: int
    per_epoch: int
    seed: int = 0
    bands: int = field(init=False)
    guide_channels: int = field(init=False)

    # its channels are coefficients and maps: they have no wavelengths, and no protocol makes the one of the other
    label, wavelengths_nm, rule = "patches of solved scenes", None, None

    def __post_init__(self) -> None:
        self.bands, self.guide_channels = len(self.scenes[0].missing), len(self.scenes[0].maps)

    def __len__(self) -> int:
        return self.per_epoch

    def __getitem__(self, number: int) -> Sample:
        """Sample of that number, counted over the whole run from 0."""
        rng = np.random.default_rng([self.seed, 1, number])
        maps, wanted, *_ = self.scenes[number % len(self.scenes)]
        row, column = (int(rng.integers(n - self.size_px + 1)) for n in maps.shape[1:])
        window = (slice(None), slice(row, row + self.size_px), slice(column, column + self.size_px))
        return orient(Sample(maps[window][:1], maps[window], wanted[window]), int(rng.integers(8)))

    def stack(self, numbers: Iterable[int]) -> Sample:
        """Samples of those numbers, stacked along a new first axis."""
        columns = zip(*((sample.lr, sample.guide, sample.hr) for sample in map(self.__getitem__, numbers)), strict=True)
        return Sample(*map(np.stack, columns))

    def scene_of(self, number: int) -> str:
        """Name of the scene that sample `number` comes from."""
        return self.names[number % len(self.scenes)]

    def identity(self) -> dict[str, Any]:
        """What the samples follow from: the solved scenes, and how they are cut."""
        content = hashlib.sha256()
        for scene in self.scenes:
            for array in (scene.maps, scene.missing):
                content.update(f"{array.dtype} {array.shape} ".encode())
                content.update(np.ascontiguousarray(array).data)
        return {
            "sha256": content.hexdigest(),
            "size_px": self.size_px,
            "per_epoch": self.per_epoch,
            "seed": self.seed,
        }


def held_out(patches: PriorPatches, bands: int) -> tuple[PriorPatches, HeldOut] | None:
    """Patches of most scenes, and the other scenes whole, spread evenly over the list; None if there are too few.

    bands: of the images.
    """
    total = len(patches.scenes)
    count = total // _HELD_OF
    if not count:
        return None
    chosen = {int((number + 0.5) * total / count) for number in range(count)}
    kept = [number for number in range(total) if number not in chosen]
    most = replace(
        patches,
        scenes=[patches.scenes[number] for number in kept],
        names=[patches.names[number] for number in kept],
        per_epoch=patches.per_epoch * len(kept) // total,
    )
    return most, HeldOut([patches.scenes[number] for number in sorted(chosen)], bands)


def solved(
    pairs: Iterable[tuple[str, Pair]],
    scale: int,
    basis: np.ndarray,
    learnt: Learnt,
    size_px: int = 96,
    patches_per_scene: int = 1000,
    seed: int = 0,
) -> tuple[PriorPatches, Learnt]:
    """Solve named pairs, learn filters from them, and cut patches of what the filters leave; returns both.

    basis: the network's, (K, B). learnt: filters to which the new ones are drawn, and the response of the camera that
    they are for, which is learnt too where it is zero. The patches of a scene are made with filters that have not seen
    it, so that the network learns what it will find in other scenes. Raises HsisrError for a scene of equal pixels.
    """
    names, kept = [], []
    for name, pair in pairs:
        started = time.perf_counter()
        guide, hr = guide_and_reference(pair)
        shown = hr.reshape(len(hr), -1) if pair.mask is None else hr[:, pair.mask]
        if shown.size and not np.ptp(shown, axis=1).any():
            raise HsisrError(f"training scene {name}: every pixel is the same, which teaches nothing; leave it out")
        kept.append((pair, solve(pair.lr, guide, scale, Sensor(mask=pair.mask))))
        names.append(name)
        seconds = time.perf_counter() - started
        say(f"{name}: training scene {len(names)} solved in {seconds:.1f} s")
    response = learnt.response
    if not response.any():
        response = response_of((pair, solution, scale) for pair, solution in kept)
    filters, unseen = filters_of(kept, scale, response, learnt.filters)
    contradictions = []
    for pair, solution in kept:
        _, hr = guide_and_reference(pair)
        contradictions.append(contradiction(hr, solution.guide, response, pair.mask))
    # all of what the filters add is believed here, for it is what says how strong that is usually
    learnt = Learnt(filters, np.full(filters.shape[1], np.inf), response, np.array(max(contradictions)))
    scenes, strengths = [], []
    for (pair, solution), theirs in zip(kept, unseen, strict=True):
        _, hr = guide_and_reference(pair)
        found = stack(Piece(pair.lr, solution.guide, solution), scale, basis, replace(learnt, filters=theirs))
        strengths.append(found.strength)
        scenes.append(_solved_scene(found, hr, basis, pair.mask))
    size = min(size_px, *(n for scene in scenes for n in scene.maps.shape[1:]))
    patches = PriorPatches(scenes, names, size - size % 2, patches_per_scene * len(scenes), seed)
    return patches, replace(learnt, strength=np.max(strengths, axis=0))


def filters_of(
    kept: Sequence[tuple[Pair, Solution]], scale: int, response: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Filters (2, B, T) of solved pairs, and for each pair filters that have not seen it, as `fitted`.

    kept: pairs with HR image and their solutions. response: (G, B + 1), of the camera. start: (2, B, T), filters to
    which these are drawn. Those in the dark learn from what the others, which have not seen the pair either, leave of
    it.
    """
    moments = [_moments(pair, solution, scale, response) for pair, solution in kept]
    everywhere, unseen = fitted(moments, start[0])
    applied = [np.stack([theirs, np.zeros_like(theirs)]) for theirs in unseen]
    # details are made once more: those of all pairs would take far more memory than the pairs
    moments = [_moments(*one, scale, response, theirs) for one, theirs in zip(kept, applied, strict=True)]
    in_dark, more = fitted(moments, start[1])
    return np.stack([everywhere, in_dark]), [np.stack(both) for both in zip(unseen, more, strict=True)]


def _moments(
    pair: Pair, solution: Solution, scale: int, response: np.ndarray, filters: np.ndarray | None = None
) -> list[Moments]:
    """Of what the prior leaves of a solved pair; or of what filters (2, B, T) leave of it, for those in the dark."""
    _, hr = guide_and_reference(pair)
    details = Details(Piece(pair.lr, solution.guide, solution), scale, response)
    missing = hr - details.image
    if filters is None:
        return Moments.of(details, missing, pair.mask)
    return Moments.of(details, missing - details.filtered(filters), pair.mask, dark=True)


def _solved_scene(found: Stack, hr: np.ndarray, basis: np.ndarray, valid: np.ndarray | None) -> Solved:
    """What is left to add to a filtered image, in the basis, and how much lies outside of it."""
    left = hr - found.image
    if valid is not None:
        left *= valid
    missing = in_basis(basis, left).astype(np.float32)
    pixels = left[0].size if valid is None else max(1, int(valid.sum()))
    squares = [float((part.astype(np.float64) ** 2).sum()) for part in (left, missing)]
    return Solved(found.maps, missing, valid, max(0.0, squares[0] - squares[1]) / (len(left) * pixels))
