"""Reader of plain HDF5 files, such as NASA's and ISRO's products or a laboratory's own."""

from pathlib import Path
from typing import Any

import numpy as np

from hsisr import hdf5
from hsisr.datasets.readers import attributes, cf
from hsisr.datasets.readers.arrays import NO_MARKS, band_first_order, build, check_claim, choose_variable, vector
from hsisr.datasets.readers.damage import damage
from hsisr.errors import HsisrError
from hsisr.limits import BANDS, check
from hsisr.scene import Scene

#: Holds one row of chunks of a 3 GB scene. HDF5 asks for a prime number of slots, a hundred times the chunks.
_CACHE_BYTES = 384 * 2**20
_CACHE_SLOTS = 100_003


def matches(path: Path, head: bytes) -> bool:
    """True for any HDF5 file, also after a user block of 512 bytes."""
    return hdf5.MAGIC in (head[:8], head[512:520])


def read(
    path: Path,
    variable: str | None = None,
    axes: str | None = None,
    wavelengths_nm: Any = None,
    nodata: float | None = None,
) -> Scene:
    """Scene of a dataset with three axes. Its attributes, and datasets beside it, give the metadata.

    variable: its path in the file; by default the only one with three axes. axes: their order, e.g. BHW; needed unless
    the file names its dimensions. wavelengths_nm: numbers, or the path of a vector in the file; by default those that
    the file states. nodata: replaces the file's value. See `hsisr.datasets.readers.attributes`.
    """
    datasets = _datasets(path, _clean(variable))
    name = choose_variable(path, {key: item.shape for key, item in datasets.items()}, _clean(variable))
    check_claim(path, datasets[name].size * datasets[name].dtype.itemsize)
    with damage(path, "HDF5 file"):
        stated = attributes.read(path, name, datasets)
    order = band_first_order(path, axes or stated.axes, datasets[name].shape)
    bands = datasets[name].shape[order[0]]
    check(path, BANDS, bands, "bands")
    facts: dict[str, Any] = stated.spectral_facts(path, bands)
    said = _clean(wavelengths_nm) if isinstance(wavelengths_nm, str) else None
    if said is not None and said in datasets:
        check(path, BANDS, datasets[said].size, f"numbers in {said}")
        wavelengths_nm = GuardedDataset(path, datasets[said])[...]
    elif isinstance(wavelengths_nm, str) and "," not in wavelengths_nm:
        raise HsisrError(f"{path}: has no dataset {wavelengths_nm!r} for the wavelengths")
    if wavelengths_nm is not None:
        facts["wavelengths_nm"] = vector(path, wavelengths_nm, "wavelengths", bands)
    if nodata is None:
        nodata, marks = stated.nodata, stated.marks
    else:
        marks = NO_MARKS
    facts |= {"scale": stated.scale, "offset": stated.offset}
    size = tuple(datasets[name].shape[axis] for axis in order[1:])
    with damage(path, "HDF5 file"):
        place = cf.georeference(path, name, list_own(path, datasets[name].file), *size)  # a mapping may be a text
        facts |= {"crs": place.crs, "transform": place.transform, "mask": cf.valid_pixels(name, datasets, *size)}
    return build(path, GuardedDataset(path, datasets[name], stated.dtype), order, nodata, marks, **facts)


def describe(path: Path) -> dict[str, Any]:
    """Path, shape and type of each numeric dataset, and the known facts about the only one with three axes."""
    datasets = _datasets(path)
    found = {name: f"{'x'.join(map(str, item.shape))} {item.dtype}" for name, item in datasets.items()}
    cubes = [name for name, item in datasets.items() if len(item.shape) == 3]
    if len(cubes) == 1:
        with damage(path, "HDF5 file"):
            found |= attributes.read(path, cubes[0], datasets).describe()
    return {"format": "HDF5", **found}


class GuardedDataset:
    """An h5py dataset whose read errors are HsisrErrors that name the file.

    dtype: the type to read its numbers as, of the stored size; None: the stored type.
    """

    def __init__(self, path: Path, dataset: Any, dtype: np.dtype | None = None) -> None:
        self._path, self._dataset = path, dataset
        self.shape, self.dtype = dataset.shape, dtype or dataset.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        with damage(self._path, "HDF5 file"):
            numbers: np.ndarray = self._dataset[key].view(self.dtype)
            return numbers


def open_for_strips(path: Path) -> Any:
    """An open h5py.File with a cache for the chunks that two neighbouring strips of rows share.

    Without it, hsisr would decompress a chunk of 315 rows five times for strips of 64 rows.
    """
    return hdf5.open_any(path, rdcc_nbytes=_CACHE_BYTES, rdcc_nslots=_CACHE_SLOTS)


def list_own(path: Path, file: Any, wanted: str | None = None, depth: int = 8) -> dict[str, Any]:
    """Every dataset in the file itself, by its path. Links to other files are left out.

    wanted: the dataset that is asked for. depth: how many groups deep to search. Raises HsisrError if the wanted
    dataset, or every one, is such a link.
    """
    import h5py

    found, leaks = {}, {}
    for name, item, leak in hdf5.members(file, path, depth):
        if leak is not None:
            leaks[name] = leak
        elif isinstance(item, h5py.Dataset):
            found[name] = item
    refused = wanted if wanted in leaks else next(iter(leaks), None)
    if refused is not None and (refused == wanted or not found):
        raise HsisrError(f"{path}: {refused} {leaks[refused]}, which is not followed; copy its values into the file")
    return found


def _datasets(path: Path, wanted: str | None = None) -> dict[str, Any]:
    """Every numeric dataset in the file itself, by its path."""
    with damage(path, "HDF5 file"):
        found = list_own(path, open_for_strips(path), wanted)
        return {name: item for name, item in found.items() if item.shape is not None and item.dtype.kind in "uifc"}


def _clean(name: str | None) -> str | None:
    return None if name is None else name.strip("/")
