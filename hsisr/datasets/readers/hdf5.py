"""Reader of plain HDF5 files, such as NASA's and ISRO's products or a laboratory's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers import attributes
from hsisr.datasets.readers.arrays import NO_MARKS, band_first_order, build, choose_variable, vector
from hsisr.datasets.readers.damage import damage
from hsisr.errors import HsisrError
from hsisr.scene import Scene

_HDF5 = b"\x89HDF\r\n\x1a\n"
#: One row of chunks of a 3 GB scene; the number of slots is a prime, a hundred times the chunks that fit, as HDF5 asks.
_CACHE_BYTES = 384 * 2**20
_CACHE_SLOTS = 100_003
#: Groups within groups are searched this deep; hard links may go round in circles.
_MOST_DEPTH = 8


def matches(path: Path, head: bytes) -> bool:
    """True for any HDF5 file, also behind a user block of 512 bytes."""
    return _HDF5 in (head[:8], head[512:520])


def read(
    path: Path,
    variable: str | None = None,
    axes: str | None = None,
    wavelengths_nm: Any = None,
    nodata: float | None = None,
) -> Scene:
    """Scene of a dataset with three axes, with what its attributes, and datasets beside it, say of it.

    variable: its path in the file; by default the only one with three axes. axes: what they are, e.g. BHW; needed
    unless the file names its dimensions. wavelengths_nm: numbers, or the path of a vector in the file; else those that
    the file says. nodata: takes the place of what it says. See `hsisr.datasets.readers.attributes`.
    """
    datasets = _datasets(path)
    name = choose_variable(path, {key: item.shape for key, item in datasets.items()}, _clean(variable))
    with damage(path, "HDF5 file"):
        stated = attributes.read(path, name, datasets)
    order = band_first_order(path, axes or stated.axes, datasets[name].shape)
    bands = datasets[name].shape[order[0]]
    facts: dict[str, Any] = stated.spectral_facts(path, bands)
    if isinstance(wavelengths_nm, str) and _clean(wavelengths_nm) in datasets:
        wavelengths_nm = GuardedDataset(path, datasets[_clean(wavelengths_nm)])[...]
    elif isinstance(wavelengths_nm, str) and "," not in wavelengths_nm:
        raise HsisrError(f"{path}: has no dataset {wavelengths_nm!r} for the wavelengths")
    if wavelengths_nm is not None:
        facts["wavelengths_nm"] = vector(path, wavelengths_nm, "wavelengths", bands)
    if nodata is None:
        nodata, marks = stated.nodata, stated.marks
    else:
        marks = NO_MARKS
    facts |= {"scale": stated.scale, "offset": stated.offset}
    return build(path, GuardedDataset(path, datasets[name]), order, nodata, marks, **facts)


def describe(path: Path) -> dict[str, Any]:
    """Path, shape and type of each numeric dataset, and what is known of the only one with three axes."""
    datasets = _datasets(path)
    found = {name: f"{'x'.join(map(str, item.shape))} {item.dtype}" for name, item in datasets.items()}
    cubes = [name for name, item in datasets.items() if len(item.shape) == 3]
    if len(cubes) == 1:
        with damage(path, "HDF5 file"):
            found |= attributes.read(path, cubes[0], datasets).told()
    return {"format": "HDF5", **found}


class GuardedDataset:
    """An h5py dataset whose read errors are HsisrErrors that name the file."""

    def __init__(self, path: Path, dataset: Any) -> None:
        self._path, self._dataset = path, dataset
        self.shape, self.dtype = dataset.shape, dataset.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        with damage(self._path, "HDF5 file"):
            return self._dataset[key]


def open_for_strips(path: Path) -> Any:
    """An open h5py.File whose cache holds the chunks that a strip of rows shares with the next.

    Without it, a scene read by strips of 64 rows would decompress a chunk of 315 rows five times.
    """
    import h5py

    return h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES, rdcc_nslots=_CACHE_SLOTS)


def _datasets(path: Path) -> dict[str, Any]:
    """Every numeric dataset that lies in the file itself, by its path."""
    import h5py

    with damage(path, "HDF5 file"):
        items = list(_walk(open_for_strips(path), "", _MOST_DEPTH))
        return {
            name: item
            for name, item in items
            if isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external
            if item.shape is not None and item.dtype.kind in "uifc"
        }


def _walk(group: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    """All objects below a group. By hand: the library's own visit never ends where a damaged index points to itself."""
    import h5py

    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        yield prefix + name, item
        if isinstance(item, h5py.Group) and depth > 1:
            yield from _walk(item, f"{prefix}{name}/", depth - 1)


def _clean(name: str | None) -> str | None:
    return None if name is None else name.strip("/")
