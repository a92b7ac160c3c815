"""Training samples of `hybrid`: whole training scenes, solved by the prior once, cut into patches as they are drawn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hsisr.models.hybrid.maps import missing, stack
from hsisr.patches import Sample, oriented


@dataclass(eq=False)
class PriorPatches:
    """Patches of solved scenes; goes where a `PatchFile` goes (`hsisr.training.fit`).

    Of a sample, `guide` is the network's input (G + 2 K + 1, p, p), `hr` what it should add (K, p, p), and `lr` the
    first channel of the input, which the network does not read.
    scenes: (maps, missing) of every solved scene. size_px: side of a patch, HR pixels. per_epoch: patches of an epoch.
    Sample `number` follows from `seed`; flips and rotations are drawn with it.
    """

    scenes: list[tuple[np.ndarray, np.ndarray]]
    names: Sequence[str]
    size_px: int
    per_epoch: int
    seed: int = 0
    path: str = "patches of solved scenes"
    bands: int = field(init=False)
    guide_channels: int = field(init=False)
    wavelengths_nm: None = None
    rule: None = None

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
        return oriented(Sample(maps[window][:1], maps[window], wanted[window]), int(rng.integers(8)))

    def stacked(self, numbers: Iterable[int]) -> Sample:
        """Samples of those numbers, stacked along a new first axis."""
        samples = [self[number] for number in numbers]
        return Sample(*(np.stack([getattr(sample, key) for sample in samples]) for key in ("lr", "guide", "hr")))

    def scene_of(self, number: int) -> str:
        """Name of the scene that sample `number` comes from."""
        return self.names[number % len(self.scenes)]


def solved(
    pairs: Iterable[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
    scale: int,
    basis: np.ndarray,
    size_px: int = 96,
    patches_per_scene: int = 1000,
    seed: int = 0,
) -> PriorPatches:
    """Solve pairs (name, lr, guide, hr) and cut patches of them. basis: the network's, (K, B)."""
    names, scenes = [], []
    for name, lr, guide, hr in pairs:
        found = stack(lr, guide, scale, basis)
        names.append(name)
        scenes.append((found.maps, missing(hr, found, basis)))
    size = min(size_px, *(n for maps, _ in scenes for n in maps.shape[1:]))
    return PriorPatches(scenes, names, size - size % 2, patches_per_scene * len(scenes), seed)


def training_pairs(benchmark: Any) -> Iterable[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs (name, lr, guide, hr) of a benchmark's whole training scenes, degraded as its test scenes are."""
    from hsisr import pairs

    for item in benchmark.parts["train"]:
        made = pairs.degraded(benchmark, item, pairs.open_item(benchmark, item))
        yield item.name, made.lr, made.guide, made.hr
