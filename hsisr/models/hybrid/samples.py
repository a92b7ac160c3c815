"""Training samples of `hybrid`: whole training scenes, solved by the prior once, cut into patches as they are drawn."""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hsisr.degrade import Pair, Sensor
from hsisr.models.hybrid.agreement import contradiction
from hsisr.models.hybrid.filters import Details, Learnt, Moments, fitted, guide_and_reference, response_of
from hsisr.models.hybrid.maps import in_basis, stack
from hsisr.models.prior import solve
from hsisr.samples import Sample, orient
from hsisr.screen import say


@dataclass(eq=False)
class PriorPatches:
    """Patches of solved scenes, as `hsisr.samples.TrainingSamples`.

    Of a sample, `guide` is the network's input (G + 3 K + 1, p, p), `hr` what it should add (K, p, p), and `lr` the
    first channel of the input, which the network does not read.
    scenes: (maps, missing) of every solved scene. size_px: side of a patch, HR pixels. per_epoch: patches of an epoch.
    Sample `number` follows from `seed`; flips and rotations are drawn with it.
    """

    scenes: list[tuple[np.ndarray, np.ndarray]]
    names: Sequence[str]
    size_px: int
    per_epoch: int
    seed: int = 0
    bands: int = field(init=False)
    guide_channels: int = field(init=False)

    # its channels are coefficients and maps: they have no wavelengths, and no protocol makes the one of the other
    label, wavelengths_nm, rule = "patches of solved scenes", None, None

    def __post_init__(self) -> None:
        maps, wanted = self.scenes[0]
        self.bands, self.guide_channels = len(wanted), len(maps)

    def __len__(self) -> int:
        return self.per_epoch

    def __getitem__(self, number: int) -> Sample:
        """Sample of that number, counted over the whole run from 0."""
        rng = np.random.default_rng([self.seed, 1, number])
        maps, wanted = self.scenes[number % len(self.scenes)]
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
        for maps, missing in self.scenes:
            for array in (maps, missing):
                content.update(f"{array.dtype} {array.shape} ".encode())
                content.update(np.ascontiguousarray(array).data)
        return {
            "sha256": content.hexdigest(),
            "size_px": self.size_px,
            "per_epoch": self.per_epoch,
            "seed": self.seed,
        }


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
    it, so that the network learns what it will find in other scenes.
    """
    names, kept = [], []
    for name, pair in pairs:
        started = time.perf_counter()
        guide, _ = guide_and_reference(pair)
        kept.append((pair, solve(pair.lr, guide, scale, Sensor(mask=pair.mask), variance=True)))
        names.append(name)
        seconds = time.perf_counter() - started
        say(f"{name}: training scene {len(names)} solved in {seconds:.1f} s")
    response = learnt.response
    if not response.any():
        response = response_of((pair, solution, scale) for pair, solution in kept)
    moments = []
    for pair, solution in kept:
        guide, hr = guide_and_reference(pair)
        details = Details(solution, pair.lr, guide, scale, response)
        moments.append(Moments.of(details, hr - details.image, pair.mask))
    filters, unseen = fitted(moments, learnt.filters)
    contradictions = []
    for pair, _ in kept:
        guide, hr = guide_and_reference(pair)
        contradictions.append(contradiction(hr, guide, response, pair.mask))
    # all of what the filters add is believed here, for it is what says how strong that is usually
    learnt = Learnt(filters, np.full(len(filters), np.inf), response, np.array(max(contradictions)))
    scenes, strengths = [], []
    for (pair, solution), theirs in zip(kept, unseen, strict=True):
        guide, hr = guide_and_reference(pair)
        found = stack(solution, pair.lr, guide, scale, basis, replace(learnt, filters=theirs))
        strengths.append(found.strength)
        missing = in_basis(basis, hr - found.image).astype(np.float32)
        scenes.append((found.maps, missing if pair.mask is None else missing * pair.mask))
    size = min(size_px, *(n for maps, _ in scenes for n in maps.shape[1:]))
    patches = PriorPatches(scenes, names, size - size % 2, patches_per_scene * len(scenes), seed)
    return patches, replace(learnt, strength=np.max(strengths, axis=0))
