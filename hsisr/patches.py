"""Training patches: the patch file, and the samples that a trainer draws from it.

Two layouts (design: random access in 13-50 us a patch):
* protocols with a fixed degradation: `/lr /guide /hr`, contiguous (N, ...) arrays cut from the training pairs;
* protocols that degrade at random while training: `/scenes/<k>`, the training scenes contiguous in their stored
  type; crops are drawn and degraded when a sample is read.
Flips and rotations are never stored.

A sample is a pure function of (seed, number of the sample in the run): any worker can make any sample, and a run
that stops resumes at exactly the sample where it was.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hsisr import degrade, pairs, paths
from hsisr.benchmark import Benchmark
from hsisr.errors import HsisrError
from hsisr.files import atomic_path, check_stamp, stamp
from hsisr.scene import Scene


@dataclass(frozen=True)
class Sample:
    """One training sample, float32: lr (bands, p, p), guide (G, sp, sp) or None, hr (bands, sp, sp)."""

    lr: np.ndarray
    guide: np.ndarray | None
    hr: np.ndarray


def make(benchmark: Benchmark, out: str | os.PathLike) -> int:
    """Write the patch file of a benchmark's training part; returns the number of patches in one epoch.

    Raises HsisrError if a training scene is smaller than a patch.
    """
    items = benchmark.parts["train"]
    with atomic_path(out) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(stamp("patches", benchmark.settings("patches")))
        file.attrs.update(scale=benchmark.scale, protocol=benchmark.protocol, names=[item.name for item in items])
        if benchmark.rule.random_training:
            return _write_scenes(file, benchmark, items)
        return _write_patches(file, benchmark, items)


class PatchFile:
    """The samples of a patch file, as a map-style data set that any number of workers can read.

    seed: every sample follows from it. augment: flips, roll by half the height and rotations, each with
    probability 1/2, as published (spec: MulSR, training).
    The file is opened once in each process that reads it: HDF5 handles do not survive a fork.
    """

    def __init__(self, path: str | os.PathLike, seed: int = 0, augment: bool = True) -> None:
        self.path = Path(path)
        self.seed = seed
        self.augment = augment
        self._file: h5py.File | None = None
        self._pid: int | None = None
        if not self.path.is_file():
            raise HsisrError(f"{self.path}: no such patch file; `hsisr patches` makes it")
        with self._open() as file:
            self.scale = int(file.attrs["scale"])
            self.protocol = str(file.attrs["protocol"])
            self.names = [str(name) for name in file.attrs["names"]]
            self.per_epoch = int(file.attrs["per_epoch"])
            self.size_lr_px = int(file.attrs["size_lr_px"])
            self.bands = int(file.attrs["bands"])
            self.guide_channels = int(file.attrs["guide_channels"])
            self.random = "scenes" in file
            self.wavelengths_nm = file["wavelengths_nm"][...] if "wavelengths_nm" in file else None

    def __len__(self) -> int:
        """Samples in one epoch."""
        return self.per_epoch

    def __getitem__(self, number: int) -> Sample:
        """Sample of that number, counted over the whole run from 0."""
        epoch, place = divmod(number, self.per_epoch)
        patch = int(self._order(epoch)[place])
        rng = np.random.default_rng([self.seed, 1, number])
        sample = self._crop(patch, rng) if self.random else self._stored(patch)
        return augmented(sample, rng) if self.augment else sample

    def scene_of(self, number: int) -> str:
        """Name of the scene or region that sample `number` comes from."""
        epoch, place = divmod(number, self.per_epoch)
        patch = int(self._order(epoch)[place])
        return self.names[patch % len(self.names) if self.random else int(self._handle()["scene"][patch])]

    def batches(self, size: int, start: int = 0) -> Iterator[list[Sample]]:
        """Batches of `size` samples without end, from batch number `start`."""
        number = start * size
        while True:
            yield [self[k] for k in range(number, number + size)]
            number += size

    def _order(self, epoch: int) -> np.ndarray:
        """Patches of an epoch in the order of their visit: every patch once."""
        if getattr(self, "_epoch", None) != epoch:
            self._permutation = np.random.default_rng([self.seed, 0, epoch]).permutation(self.per_epoch)
            self._epoch = epoch
        return self._permutation

    def _stored(self, patch: int) -> Sample:
        file = self._handle()
        return Sample(file["lr"][patch], file["guide"][patch] if "guide" in file else None, file["hr"][patch])

    def _crop(self, patch: int, rng: np.random.Generator) -> Sample:
        group = self._handle()[f"scenes/{patch % len(self.names)}"]
        cube = group["cube"]
        side = self.size_lr_px * self.scale
        row, column = (int(rng.integers(n - side + 1)) for n in cube.shape[1:])
        window = cube[:, row : row + side, column : column + side].astype(np.float64)
        hr = (window * group.attrs["scale"] + group.attrs["offset"]).astype(np.float32)
        guide = None
        if "response" in group:
            guide = degrade.apply_response(group["response"][...], hr)
        seed = int(rng.integers(2**31))
        lr = degrade.degrade(hr, self.protocol, self.scale, seed=seed, training=True)
        return Sample(lr.astype(np.float32, copy=False), guide, hr)

    def _handle(self) -> h5py.File:
        if self._file is None or self._pid != os.getpid():
            self._file, self._pid = self._open(), os.getpid()
        return self._file

    def _open(self) -> h5py.File:
        try:
            file = h5py.File(self.path, "r")
        except OSError as error:
            raise HsisrError(f"{self.path}: damaged patch file ({error}); delete it and make it again") from error
        check_stamp(self.path, file.attrs, "patches")
        return file

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_file": None, "_pid": None}


def augmented(sample: Sample, rng: np.random.Generator) -> Sample:
    """The sample after the published augmentations, the same for its LR image, guide and HR image.

    Each with probability 1/2: horizontal flip, vertical flip, roll by half the height along rows, rotation by +90
    and by -90 degrees. The roll needs an even LR side and is left out otherwise, so that no LR pixel is split.
    """
    flip_columns, flip_rows, roll, left, right = rng.random(5) < 0.5
    roll = roll and sample.lr.shape[1] % 2 == 0

    def transform(image: np.ndarray | None) -> np.ndarray | None:
        if image is None:
            return None
        if flip_columns:
            image = image[:, :, ::-1]
        if flip_rows:
            image = image[:, ::-1]
        if roll:
            image = np.roll(image, image.shape[1] // 2, axis=1)
        if left != right:  # both together undo each other
            image = np.rot90(image, 1 if left else -1, axes=(1, 2))
        return np.ascontiguousarray(image)

    return Sample(transform(sample.lr), transform(sample.guide), transform(sample.hr))


def _write_patches(file: h5py.File, benchmark: Benchmark, items: Sequence) -> int:
    size, stride, scale = benchmark.config.patches.size_lr_px, benchmark.config.patches.stride_lr_px, benchmark.scale
    corners: list[tuple[int, int, int]] = []
    for index, item in enumerate(items):
        with h5py.File(_pair_path(benchmark, item), "r") as pair:
            corners += [(index, r, c) for r, c in _corners(pair["lr"].shape[1:], size, stride, item.name)]
    datasets: dict[str, h5py.Dataset] = {}
    for index, item in enumerate(items):
        pair = pairs.read(_pair_path(benchmark, item), ("lr", "guide", "hr"))
        mine = [n for n, (owner, _, _) in enumerate(corners) if owner == index]
        for key, factor in (("lr", 1), ("guide", scale), ("hr", scale)):
            image = getattr(pair, key)
            if image is None:
                continue
            side = size * factor
            if key not in datasets:
                datasets[key] = file.create_dataset(key, (len(corners), image.shape[0], side, side), np.float32)
            for n in mine:
                r, c = corners[n][1] * factor, corners[n][2] * factor
                datasets[key][n] = image[:, r : r + side, c : c + side]
    file["scene"] = np.array([corner[0] for corner in corners], np.int32)
    file["yx"] = np.array([corner[1:] for corner in corners], np.int32)
    guide_channels = datasets["guide"].shape[1] if "guide" in datasets else 0
    _describe(file, len(corners), size, datasets["lr"].shape[1], guide_channels, pair.wavelengths_nm)
    return len(corners)


def _write_scenes(file: h5py.File, benchmark: Benchmark, items: Sequence) -> int:
    size = benchmark.config.patches.size_lr_px
    for index, item in enumerate(items):
        scene = Scene.open(benchmark.scene_path(item))
        if item.region is not None:
            scene = pairs.cut(scene, item.region)
        _corners([n // benchmark.scale for n in scene.shape[1:]], size, size, item.name)
        group = file.create_group(f"scenes/{index}")
        group["cube"] = scene.stored[...]
        group.attrs.update(scale=scene.scale, offset=scene.offset)
        if benchmark.response is not None:
            group["response"] = degrade.scene_response(scene, benchmark.response)
    per_epoch = benchmark.config.patches.crops_per_scene * len(items)
    guide_channels = len(group["response"]) if "response" in group else 0
    _describe(file, per_epoch, size, scene.shape[0], guide_channels, scene.wavelengths_nm)
    return per_epoch


def _describe(file: h5py.File, per_epoch: int, size: int, bands: int, guide_channels: int, wavelengths_nm: Any) -> None:
    file.attrs.update(per_epoch=per_epoch, size_lr_px=size, bands=bands, guide_channels=guide_channels)
    if wavelengths_nm is not None:
        file["wavelengths_nm"] = wavelengths_nm


def _corners(shape: Sequence[int], size: int, stride: int, name: str) -> list[tuple[int, int]]:
    """First row and column of every patch in an LR image of this shape; the last ones touch the far border."""
    if min(shape) < size:
        raise HsisrError(
            f"patches.size_lr_px: {size} is larger than training scene {name}, {shape[0]} x {shape[1]} LR pixels; "
            "choose smaller patches"
        )
    starts = [sorted({*range(0, n - size + 1, stride), n - size}) for n in shape]
    return [(row, column) for row in starts[0] for column in starts[1]]


def _pair_path(benchmark: Benchmark, item: Any) -> str:
    return benchmark.path(paths.PAIR, item=item.name)
