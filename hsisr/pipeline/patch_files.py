"""Training patches: the patch file, and the samples that a trainer draws from it.

There are two layouts (design: random access in 13-50 us a patch):
* Protocols with a fixed degradation: `/lr /guide /hr`, contiguous (N, ...) arrays cut from the training pairs. Scenes
  of the unlabelled part have only `/lr`.
* Protocols that degrade at random during training, and photographs: `/scenes/<k>`, the training scenes, contiguous in
  their stored type. Crops are drawn and degraded when a sample is read.
Flips and rotations are never stored. A crop is first augmented and then degraded, as in MulSR's program: blur, shift
and noise belong to the sensor, and do not turn with the scene. The same holds for a stored patch whose degradation does
not turn with the scene.

A sample is a pure function of (seed, number of the sample in the run). So any worker can make any sample, and a stopped
run resumes at exactly the right sample.

The arrays are mapped into memory, not read through HDF5. A patch is a view, and a batch is one copy from the system's
page cache. Processes that read the same file share this cache.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from hsisr import datasets, degrade, hdf5
from hsisr.config import Patches
from hsisr.errors import HsisrError, notice
from hsisr.files import file_hash
from hsisr.pipeline import pair_files, paths, steps
from hsisr.pipeline.benchmark import Benchmark
from hsisr.pipeline.known_bands import KnownBands
from hsisr.samples import Images, Sample, augmented_views, contiguous, oriented_views

#: Most patches, pixels and bands that a file may claim. More would exhaust memory.
_MOST = 10**8
#: Arrays of a patch file with a fixed degradation.
_PATCH_ARRAYS = ("lr", "guide", "hr")


@dataclass(frozen=True)
class _StoredScene:
    """A scene of a random protocol: cube (bands, H, W) as stored, mapped; value = stored * scale + offset."""

    cube: np.ndarray
    scale: float
    offset: float
    response: np.ndarray | None


def make(benchmark: Benchmark, out: str | os.PathLike, part: Literal["train", "unlabelled"] = "train") -> int:
    """Write the patch file of one part of a benchmark. Returns the number of patches in one epoch.

    For the unlabelled part, only LR images are kept, without guides.
    Raises HsisrError if the part has no scenes, a scene smaller than a patch, or scenes of different numbers of bands.
    """
    items = benchmark.parts[part]
    if not items:
        raise HsisrError(f"{benchmark.name}: the split has no {part} scenes; choose another under splits:")
    with hdf5.writing(out, "patches", steps.cutting(benchmark, part).identity) as file:
        facts = {"scale": benchmark.scale, "protocol": benchmark.protocol, "names": [item.name for item in items]}
        if isinstance(benchmark.rule, degrade.CustomProtocol):
            rule = json.dumps(degrade.without_files(benchmark.config.protocols[benchmark.protocol]))
            hdf5.set_text(file, "rule", rule)  # long for a large PSF
        if benchmark.choice.noise is not None:
            facts["noise"] = benchmark.choice.noise
        hdf5.set_attributes(file, {**facts, "labelled": part == "train"})
        if benchmark.draws_crops:
            return _write_scenes(file, benchmark, items)
        return _write_patches(file, benchmark, items)


def cut(
    out: str | os.PathLike, name: str, images: Mapping[str, np.ndarray], places: Sequence, size: int, scale: int
) -> None:
    """Write the patch file of one scene in memory.

    images: `lr` (bands, h, w), `hr` (bands, scale h, scale w) and, if there is one, `guide` (G, scale h, scale w).
    places: first LR row and column of each patch. size: of a patch in LR pixels.
    """
    with hdf5.writing(out, "patches") as file:
        hdf5.set_attributes(file, {"scale": scale, "protocol": "wald", "names": [name], "labelled": True})
        arrays = _Arrays(file, len(places))
        for number, (row, column) in enumerate(places):
            arrays.put(number, _window(images, row, column, size, scale))
        file["scene"] = np.zeros(len(places), np.int32)
        file["yx"] = np.array(places, np.int32)
        guide_channels = len(images["guide"]) if "guide" in images else 0
        file.attrs["reach"] = arrays.reach
        _describe(file, len(places), size, len(images["lr"]), guide_channels, None)


class PatchFile:
    """The samples of a patch file, as a map-style data set for any number of workers.

    seed: determines every sample. augment: True for flips, roll by half the height and rotations, each with
    probability 1/2, as in MulSR. `dihedral`: an epoch has every patch in its 8 flips and rotations, and a drawn crop
    takes one of these at random, as in Spectral Mixup. False: no augmentation.
    scenes: use only patches of this many scenes, the first of the part; None: all. per_epoch: most samples in an epoch,
    drawn anew from the whole file for each epoch; None: all.
    Each process maps the file for itself when it reads its first sample. Raises HsisrError for a file that is missing
    or holds no patches, and for a choice that is not known.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        seed: int = 0,
        augment: bool | Literal["dihedral"] = True,
        scenes: int | None = None,
        per_epoch: int | None = None,
    ) -> None:
        if augment not in (True, False, "dihedral"):
            raise HsisrError(f"{path}: augment {augment!r} is not known; choose True, False or 'dihedral'")
        if seed < 0:
            raise HsisrError(f"{path}: seed {seed}: expected a whole number >= 0")
        self.path = Path(path)
        self.label = str(path)
        self.seed = seed
        self.augment = augment
        self.scenes = scenes
        self._epoch = -1  # the epoch whose order is kept
        with hdf5.reading(self.path, "patches") as file:
            self.scale = hdf5.attribute(file, "scale", int)
            self.protocol = hdf5.attribute(file, "protocol", str)
            self.rule = _rule(self.protocol, hdf5.text(file, "rule", ""))
            self.noise = hdf5.attribute(file, "noise", float) if "noise" in file.attrs else None
            self.labelled = hdf5.attribute(file, "labelled", bool)
            self.names = [str(name) for name in hdf5.attribute(file, "names", list)]
            if scenes is not None and scenes > len(self.names):
                raise HsisrError(f"{self.path}: holds {len(self.names)} scenes, fewer than labelled_scenes: {scenes}")
            self.patches = hdf5.attribute(file, "per_epoch", int)
            self.size_lr_px = hdf5.attribute(file, "size_lr_px", int)
            self.bands = hdf5.attribute(file, "bands", int)
            self.guide_channels = hdf5.attribute(file, "guide_channels", int)
            #: Largest value of the images that gave the patches; None in files of older versions.
            self.reach = hdf5.attribute(file, "reach", float) if "reach" in file.attrs else None
            self.random = "scenes" in file
            self.orientations = 8 if augment == "dihedral" and not self.random else 1
            known = "wavelengths_nm" in file
            self.wavelengths_nm = hdf5.dataset(file, "wavelengths_nm", "iuf", 1)[...] if known else None
            #: (patches,), the scene of each patch; empty if crops are drawn.
            of_patch = np.empty(0, int) if self.random else hdf5.dataset(file, "scene", "iu", 1)[...]
            self._scene_of_patch: np.ndarray = of_patch
            self._check(file)
            if scenes is not None:
                self.patches = _patches_of_first(file, scenes, len(self.names))
                self.names = self.names[:scenes]
            self._samples = self.patches * self.orientations
            self._visits = self._samples if per_epoch is None else min(per_epoch, self._samples)

    def __len__(self) -> int:
        """Samples in one epoch."""
        return self._visits

    def __iter__(self) -> Iterator[Sample]:
        """The samples of the first epoch; without this, a loop over the numbers would never end."""
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Sample:
        """The sample with this number, counted over the whole run from 0. Raises IndexError for a number below 0.

        An image that was not turned or computed is a mapped part of the file: read-only, and read from the disk at
        first use. `stack` returns arrays of the caller's own.
        """
        return contiguous(self._images(number))

    def __getitems__(self, numbers: Iterable[int]) -> list[dict[str, np.ndarray]]:
        """Samples that torch's DataLoader can collate: `lr`, `guide` and `hr` by name; missing ones are left out."""
        return [
            {key: np.array(x) for key, x in zip(_PATCH_ARRAYS, self._images(number), strict=True) if x is not None}
            for number in numbers
        ]

    def stack(self, numbers: Iterable[int]) -> Sample:
        """One or more samples with these numbers, stacked along a new first axis in one copy."""
        wanted = list(numbers)
        arrays: list[np.ndarray | None] = []
        for k, number in enumerate(wanted):
            images = self._images(number)
            if not arrays:
                arrays = [None if x is None else np.empty((len(wanted), *x.shape), x.dtype) for x in images]
            for array, image in zip(arrays, images, strict=True):
                if array is not None:
                    array[k] = image
        lr, guide, hr = arrays
        assert lr is not None
        return Sample(lr, guide, hr)

    def scene_of(self, number: int) -> str:
        """Name of the scene or region of sample `number`."""
        patch, _ = self._place(number)
        return self.names[patch % len(self.names) if self.random else int(self._scene_of_patch[patch])]

    @property
    def size_px(self) -> int:
        """Side of a patch in HR pixels."""
        return self.size_lr_px * self.scale

    def identity(self) -> dict[str, Any]:
        """The identity of the samples, as plain values: the file by its content, and the way to draw from it."""
        return {
            "sha256": file_hash(self.path),
            "seed": self.seed,
            "augment": self.augment,
            "scenes": self.scenes,
            "per_epoch": self._visits,
        }

    def batches(self, size: int, start: int = 0) -> Iterator[list[Sample]]:
        """Endless batches of `size` samples, from batch number `start`."""
        number = start * size
        while True:
            yield [self[k] for k in range(number, number + size)]
            number += size

    def _place(self, number: int) -> tuple[int, int]:
        """Patch and orientation of a sample. An epoch uses each combination at most once."""
        if number < 0:
            raise IndexError(f"{self.path}: there is no sample {number}; they are counted from 0, over all epochs")
        epoch, place = divmod(number, len(self))
        if self._epoch != epoch:
            self._permutation = np.random.default_rng([self.seed, 0, epoch]).permutation(self._samples)
            self._epoch = epoch
        return divmod(int(self._permutation[place]), self.orientations)

    def _images(self, number: int) -> Images:
        """LR image, guide and HR image of a sample. They are views of the file, unless something is computed."""
        patch, orientation = self._place(number)
        rng = np.random.default_rng([self.seed, 1, number])
        if self.random:
            return self._crop(patch, rng)
        images = self._turn(self._read_stored(patch), rng, orientation)
        if self.augment and self._keeps_orientation and images[2] is not None:
            seed = int(rng.integers(2**31))
            return degrade.degrade(images[2], self.rule, self.scale, self.noise, seed), *images[1:]
        return images

    def _turn(self, images: Images, rng: np.random.Generator, orientation: int | None = None) -> Images:
        """The images of one sample, all augmented alike. orientation: None if a crop takes one at random."""
        if self.augment == "dihedral":
            turn = int(rng.integers(8)) if orientation is None else orientation
            return oriented_views(images, turn)
        return augmented_views(images, rng) if self.augment else images

    @cached_property
    def _keeps_orientation(self) -> bool:
        """Whether turning and degrading give another LR image in the other order. If so, LR is made last."""
        return not self.rule.turns_with_scene(self.scale)

    def _read_stored(self, patch: int) -> Images:
        lr, guide, hr = self._mapped
        return lr[patch], None if guide is None else guide[patch], None if hr is None else hr[patch]

    def _crop(self, patch: int, rng: np.random.Generator) -> Images:
        """A crop of a scene. It is augmented first and degraded then, so blur and shift do not turn with it."""
        scene = self._mapped[patch % len(self.names)]
        side = self.size_lr_px * self.scale
        row, column = (int(rng.integers(n - side + 1)) for n in scene.cube.shape[1:])
        seed = int(rng.integers(2**31))
        window = scene.cube[:, row : row + side, column : column + side]
        turned, *_ = self._turn((_values(window, scene.scale, scene.offset), None, None), rng)
        hr = np.ascontiguousarray(turned)
        exact = hr.astype(np.float64)  # computed once, for both uses below
        guide = None if scene.response is None else degrade.apply_response(scene.response, exact).astype(np.float32)
        lr = degrade.degrade_crop(exact, self.rule, self.scale, seed).astype(np.float32)
        return lr, guide, hr if self.labelled else None

    @cached_property
    def _mapped(self) -> list:
        """The scenes of a random protocol; else LR images, guides and HR images, None for missing ones."""
        with hdf5.reading(self.path, "patches") as file:
            if not self.random:
                return [self._map(hdf5.dataset(file, key, "f", 4)) if key in file else None for key in _PATCH_ARRAYS]
            groups = [hdf5.group(file, f"scenes/{index}") for index in range(len(self.names))]
            return [
                _StoredScene(
                    self._map(hdf5.dataset(group, "cube", "iuf", 3)),
                    _finite(hdf5.attribute(group, "scale", float)),
                    _finite(hdf5.attribute(group, "offset", float)),
                    hdf5.dataset(group, "response", "f", 2)[...] if "response" in group else None,
                )
                for group in groups
            ]

    def _check(self, file: h5py.File) -> None:
        """Raise ValueError or KeyError if a file holds other arrays than it states."""
        counts = (self.patches, self.scale, self.size_lr_px, self.bands, len(self.names))
        if not all(0 < count <= _MOST for count in counts) or not 0 <= self.guide_channels <= _MOST:
            raise ValueError("a number of patches, pixels, bands or scenes makes no sense")
        if self.random:
            for index in range(len(self.names)):
                shape = hdf5.dataset(file, f"scenes/{index}/cube", "iuf", 3).shape
                if shape[0] != self.bands or min(shape[1:]) < self.size_lr_px * self.scale:
                    raise ValueError(f"scene {index} has shape {shape}, too small for its patches or of other bands")
            return
        side = self.size_lr_px
        sides = {"lr": (self.bands, side), "guide": (self.guide_channels, side * self.scale)}
        sides["hr"] = (self.bands, side * self.scale)
        count = hdf5.attribute(file, "per_epoch", int)
        for key in _PATCH_ARRAYS:
            if key in file or key == "lr" or (key == "hr" and self.labelled):
                shape, (channels, edge) = hdf5.dataset(file, key, "f", 4).shape, sides[key]
                if shape != (count, channels, edge, edge):
                    raise ValueError(f"{key} has shape {shape}, expected {(count, channels, edge, edge)}")
        if len(self._scene_of_patch) != count or not np.isin(self._scene_of_patch, range(len(self.names))).all():
            raise ValueError("scene does not say of every patch which scene it is from")

    def _map(self, array: h5py.Dataset) -> np.ndarray:
        """An HDF5 array mapped from the file, read-only."""
        offset = array.id.get_offset()
        if offset is None or offset + array.size * array.dtype.itemsize > self.path.stat().st_size:
            raise ValueError(f"{array.name} is not stored in one piece, or cut")
        return np.asarray(np.memmap(self.path, array.dtype, "r", offset, array.shape))

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_mapped"}


def _values(stored: np.ndarray, scale: float, offset: float) -> np.ndarray:
    """stored * scale + offset, computed in float64, as float32."""
    values = np.ascontiguousarray(stored).astype(np.float64)  # converting a mapped window is faster from a copy
    values *= scale
    if offset:
        values += offset
    return values.astype(np.float32)


def _write_patches(file: h5py.File, benchmark: Benchmark, items: Sequence) -> int:
    size, corners = benchmark.patches.size_lr_px, []
    for item in items:
        # an LR pixel that lies partly outside the reference has no HR patch
        usable = pair_files.usable_lr_pixels(pair_files.made(benchmark, item), benchmark.scale)
        corners.append(_corners(usable, benchmark.patches, item.name, benchmark.choice.seed))
    count, number = sum(map(len, corners)), 0
    arrays, labelled = _Arrays(file, count), file.attrs["labelled"]
    known: KnownBands | None = None
    for item, mine in zip(items, corners, strict=True):
        pair = pair_files.read(_pair_path(benchmark, item), ("lr", "guide", "hr"))
        known = known or _bands_of(item.name, len(pair.lr), pair.wavelengths_nm)
        known.check(f"scene {item.name}", len(pair.lr), pair.wavelengths_nm)
        for row, column in mine:
            patch = _cut(benchmark, pair, row, column, number)
            arrays.put(number, patch if labelled else {"lr": patch["lr"]})
            number += 1
    file.attrs["reach"] = arrays.reach
    file["scene"] = np.repeat(np.arange(len(items), dtype=np.int32), list(map(len, corners)))
    file["yx"] = np.array([corner for mine in corners for corner in mine], np.int32)
    guide_channels = file["guide"].shape[1] if "guide" in file else 0
    _describe(file, count, size, file["lr"].shape[1], guide_channels, pair.wavelengths_nm)
    return count


def _cut(benchmark: Benchmark, pair: pair_files.PairFile, row: int, column: int, number: int) -> dict[str, np.ndarray]:
    """The patch of a pair whose LR part begins at (row, column). number: of the patch in its file."""
    images = {key: image for key in ("lr", "guide", "hr") if (image := getattr(pair, key)) is not None}
    patch = _window(images, row, column, benchmark.patches.size_lr_px, benchmark.scale)
    if benchmark.rule.patch_first:
        seed = [benchmark.choice.seed, number]
        patch["lr"] = degrade.degrade(patch["hr"], benchmark.rule, benchmark.scale, benchmark.choice.noise, seed)
    return patch


def _window(images: Mapping[str, np.ndarray], row: int, column: int, size: int, scale: int) -> dict[str, np.ndarray]:
    """The patch whose LR part begins at (row, column): `lr`, and the same ground of the other images."""
    patch = {}
    for key, image in images.items():
        factor = 1 if key == "lr" else scale
        r, c, side = row * factor, column * factor, size * factor
        patch[key] = image[:, r : r + side, c : c + side]
    return patch


class _Arrays:
    """Arrays of `count` patches in a patch file. They are kept, as a look-up takes longer than writing a patch.

    reach: the largest value of an LR image so far.
    """

    def __init__(self, file: h5py.File, count: int) -> None:
        self._file, self._count = file, count
        self._found: dict[tuple, h5py.Dataset] = {}
        self.reach = 0.0

    def put(self, number: int, patch: Mapping[str, np.ndarray]) -> None:
        """Store a patch. Each key must have the same shape in all patches."""
        self.reach = max(self.reach, float(patch["lr"].max()), -float(patch["lr"].min()))
        for key, image in patch.items():
            place = key, image.shape
            if place not in self._found:
                shape = (self._count, *image.shape)
                self._found[place] = self._file.require_dataset(key, shape, np.float32, exact=True)
            self._found[place][number] = image


def _write_scenes(file: h5py.File, benchmark: Benchmark, items: Sequence) -> int:
    size, reach = benchmark.patches.size_lr_px, 0.0
    known: KnownBands | None = None
    photographs = datasets.entry(benchmark.dataset, benchmark.config.datasets).auxiliary
    for index, item in enumerate(items):
        scene = pair_files.open_item(benchmark, item)
        known = known or _bands_of(item.name, scene.shape[0], scene.wavelengths_nm)
        known.check(f"scene {item.name}", scene.shape[0], scene.wavelengths_nm)
        _check_size([n // benchmark.scale for n in scene.shape[1:]], benchmark.patches, item.name)
        valid = scene.valid_pixels()
        if valid is not None and not valid.all():
            raise HsisrError(
                f"scene {item.name}: some pixels have no data, and protocol {benchmark.protocol} cuts training patches "
                "anywhere in a scene; train on regions without holes (`splits` of the data set)"
            )
        group = file.create_group(f"scenes/{index}")
        stored = scene.stored[...] if scene.nodata is None else scene.filled_cube
        scale, offset = (scene.scale, scene.offset) if scene.nodata is None else (1.0, 0.0)
        group["cube"] = stored
        if not np.isfinite(stored).all():
            raise HsisrError(f"scene {item.name}: holds NaN or infinite values; drop the bands or crop the pixels")
        group.attrs.update(scale=scale, offset=offset)
        mean = float(stored.mean(dtype=float)) * scale + offset
        pair_files.check_unit(f"scene {item.name}", mean, "`scale` of the data set")
        ends = (float(end) * scale + offset for end in (stored.min(), stored.max()))
        reach = max(reach, *map(abs, ends))
        response = benchmark.response or benchmark.rule.response
        if response is not None and benchmark.has_guide and not photographs and file.attrs["labelled"]:
            group["response"] = degrade.scene_response(scene, response)
    per_epoch = benchmark.patches.crops_per_scene * len(items)
    guide_channels = len(group["response"]) if "response" in group else 0
    file.attrs["reach"] = reach
    _describe(file, per_epoch, size, scene.shape[0], guide_channels, scene.wavelengths_nm)
    return per_epoch


def _bands_of(name: str, count: int, wavelengths_nm: np.ndarray | None) -> KnownBands:
    return KnownBands(f"scene {name}", count, wavelengths_nm)


def _describe(file: h5py.File, per_epoch: int, size: int, bands: int, guide_channels: int, wavelengths_nm: Any) -> None:
    file.attrs.update(per_epoch=per_epoch, size_lr_px=size, bands=bands, guide_channels=guide_channels)
    if wavelengths_nm is not None:
        file["wavelengths_nm"] = wavelengths_nm


def _corners(usable: np.ndarray, patches: Patches, name: str, seed: int) -> list[tuple[int, int]]:
    """First row and column of every patch in an LR image. usable: (h, w), LR pixels that hold data; others lie in none.

    If pixels without data leave out patches, a line says so.
    """
    size, stride, shape = patches.size_lr_px, patches.stride_lr_px, usable.shape
    _check_size(shape, patches, name)
    if patches.places == "random":
        rng = np.random.default_rng(degrade.scene_seed(seed, name, "places"))
        if usable.all():
            drawn = rng.integers([n - size + 1 for n in shape], size=(patches.crops_per_scene, 2))
            return [(int(row), int(column)) for row, column in drawn]
        free = [(int(row), int(column)) for row, column in np.argwhere(_without_holes(usable, size))]
        _check_free(len(free), patches, name)
        return [free[number] for number in rng.integers(len(free), size=patches.crops_per_scene)]
    last = [{n - size} if patches.to_border else set() for n in shape]
    starts = [sorted({*range(0, n - size + 1, stride), *more}) for n, more in zip(shape, last, strict=True)]
    places = [(row, column) for row in starts[0] for column in starts[1]]
    if usable.all():
        return places
    clear = _without_holes(usable, size)
    free = [place for place in places if clear[place]]
    _check_free(len(free), patches, name)
    if len(free) < len(places):
        notice(f"scene {name}: {len(places) - len(free)} of {len(places)} patches hold pixels without data: left out")
    return free


def _without_holes(usable: np.ndarray, size: int) -> np.ndarray:
    """First rows and columns, as (h - size + 1, w - size + 1) bool, of squares with data, and with data beside them.

    A sensor sees some of an LR pixel's neighbours in it.
    """
    from scipy.ndimage import binary_erosion

    clear = binary_erosion(usable, np.ones((3, 3)), border_value=1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(clear, (size, size)).all(axis=(2, 3)))


def _check_size(shape: Sequence[int], patches: Patches, name: str) -> None:
    if min(shape) < patches.size_lr_px:
        raise HsisrError(
            f"patches.size_lr_px: {patches.size_lr_px} is larger than training scene {name}, {shape[0]} x {shape[1]} "
            "LR pixels; choose smaller patches"
        )


def _check_free(count: int, patches: Patches, name: str) -> None:
    if not count:
        raise HsisrError(
            f"patches.size_lr_px: no patch of {patches.size_lr_px} LR pixels a side of training scene {name} is free "
            "of pixels without data; choose smaller patches, or a smaller stride_lr_px"
        )


def _pair_path(benchmark: Benchmark, item: Any) -> str:
    return benchmark.path(paths.PAIR, item=item.name)


def _patches_of_first(file: h5py.File, scenes: int, of: int) -> int:
    """Number of patches of the first scenes. Patches lie scene by scene; crops come from all scenes in turn."""
    if "scene" in file:
        return int(np.searchsorted(file["scene"][...], scenes))
    return int(file.attrs["per_epoch"]) // of * scenes


def _finite(value: float) -> float:
    with np.errstate(over="ignore"):
        if not np.isfinite(np.float32(value)):
            raise ValueError(f"scale or offset {value} makes no finite values")
    return value


def _rule(name: str, settings: str) -> degrade.Protocol:
    """The protocol of a patch file: a named one, or a user's own, with the settings in the file."""
    return degrade.CustomProtocol(name, json.loads(settings)) if settings else degrade.PROTOCOLS[name]
