"""Reader of NumPy arrays, .npy and .npz. Never unpickles."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from hsisr.datasets.readers.arrays import band_first_order, build, choose_variable, find_spectral
from hsisr.datasets.readers.damage import damage
from hsisr.errors import HsisrError
from hsisr.limits import OBJECTS, check, check_expansion
from hsisr.scene import Scene

_NPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"


def matches(path: Path, head: bytes) -> bool:
    """True for .npy, and for a zip archive that holds .npy members."""
    if not head.startswith(_ZIP):
        return head.startswith(_NPY)
    try:
        with damage(path, "zip archive"), zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except HsisrError:
        return path.suffix.lower() == ".npz"


def read(
    path: Path,
    variable: str | None = None,
    axes: str | None = None,
    wavelengths_nm: Any = None,
    nodata: float | None = None,
) -> Scene:
    """Scene of an array with three axes, or of one layer (axes HW).

    variable: its name in an .npz; by default the only one with three axes. axes: their order, e.g. HWB; required, as
    the file does not state it. wavelengths_nm: numbers, or the name of a vector in the .npz; by default a vector with a
    usual name, such as `wavelength`, and beside it the widths (`fwhm`).
    """
    arrays = _arrays(path)
    shapes = {key: array.shape for key, array in arrays.items()}
    name = choose_variable(path, shapes, variable)
    cube = arrays[name].values()
    if cube.ndim == 2 and variable is not None:
        cube, axes = cube[..., np.newaxis], "HWB"
    order = band_first_order(path, axes, cube.shape)
    spectral = find_spectral(path, shapes, lambda key: arrays[key].values(), cube.shape[order[0]], wavelengths_nm)
    return build(path, cube, order, nodata, **spectral)


def read_plane(path: Path) -> np.ndarray:
    """The only array of the file with two axes (rows, columns)."""
    planes = [array for array in _arrays(path).values() if len(array.shape) == 2]
    if len(planes) != 1:
        raise HsisrError(f"{path}: expected one array with two axes (rows, columns), found {len(planes)}")
    return np.array(planes[0].values())


def describe(path: Path) -> dict[str, Any]:
    """Format, and name, shape and type of each array."""
    arrays = {name: f"{'x'.join(map(str, array.shape))} {array.dtype}" for name, array in _arrays(path).items()}
    return {"format": "NumPy", **arrays}


@dataclass(frozen=True)
class _Array:
    """An array of a file. Only its header has been read. member: its name in an .npz; None for an .npy."""

    path: Path
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype

    def values(self) -> np.ndarray:
        """The array. An .npy is mapped, not read. Raises HsisrError if it is damaged or far too large."""
        with damage(self.path, "NumPy file"):
            if self.member is None:
                return np.lib.format.open_memmap(self.path, mode="r")
            with zipfile.ZipFile(self.path) as archive:
                held = archive.getinfo(self.member)
                claimed = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
                if claimed > held.file_size:
                    raise HsisrError(f"{self.path}: damaged: {self.member} claims more bytes than it holds")
                check_expansion(f"{self.path}: {self.member}", held.file_size, held.compress_size)
                with archive.open(held) as file:
                    return np.lib.format.read_array(file, allow_pickle=False)


def _arrays(path: Path) -> dict[str, _Array]:
    """Every numeric array of the file, by name."""
    with damage(path, "NumPy file"), open(path, "rb") as file:
        single = file.read(len(_NPY)) == _NPY
        file.seek(0)
        arrays = {"array": _Array(path, None, *_header(file))} if single else _members(path)
    return {name: array for name, array in arrays.items() if array.dtype.kind in "uifcb"}


def _members(path: Path) -> dict[str, _Array]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        members = [member.filename for member in archive.infolist() if member.filename.endswith(".npy")]
        check(path, OBJECTS, len(members), "arrays")
        for member in members:
            with archive.open(member) as file:
                found[member.removesuffix(".npy")] = _Array(path, member, *_header(file))
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type in the header of an .npy file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    return shape, dtype
