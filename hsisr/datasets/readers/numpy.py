"""Reader of NumPy arrays, .npy and .npz. Never unpickles."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers.arrays import band_first_order, build, check_claim, choose_variable, vector
from hsisr.datasets.readers.damage import damage
from hsisr.errors import HsisrError
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

    variable: its name in an .npz; by default the only one with three axes. axes: what they are, e.g. HWB; the file
    does not say, so it must be given. wavelengths_nm: numbers, or the name of a vector in the .npz.
    """
    arrays = _arrays(path)
    name = choose_variable(path, {key: array.shape for key, array in arrays.items()}, variable)
    cube = arrays[name]
    if cube.ndim == 2 and variable is not None:
        cube, axes = cube[..., np.newaxis], "HWB"
    order = band_first_order(path, axes, cube.shape)
    if isinstance(wavelengths_nm, str):
        if wavelengths_nm not in arrays:
            raise HsisrError(f"{path}: has no variable {wavelengths_nm!r} for the wavelengths")
        wavelengths_nm = arrays[wavelengths_nm]
    wavelengths = vector(path, wavelengths_nm, "wavelengths", cube.shape[order[0]])
    return build(path, cube, order, nodata, wavelengths_nm=wavelengths)


def read_plane(path: Path) -> np.ndarray:
    """The only array of the file with two axes (rows, columns)."""
    planes = [array for array in _arrays(path).values() if array.ndim == 2]
    if len(planes) != 1:
        raise HsisrError(f"{path}: expected one array with two axes (rows, columns), found {len(planes)}")
    return np.array(planes[0])


def describe(path: Path) -> dict[str, Any]:
    """Format, and name, shape and type of each array."""
    arrays = {name: f"{'x'.join(map(str, array.shape))} {array.dtype}" for name, array in _arrays(path).items()}
    return {"format": "NumPy", **arrays}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Every numeric array of the file, by name; an .npy is mapped, not read."""
    with damage(path, "NumPy file"):
        with open(path, "rb") as file:
            single = file.read(len(_NPY)) == _NPY
        arrays = {"array": np.lib.format.open_memmap(path, mode="r")} if single else _members(path)
    return {name: array for name, array in arrays.items() if array.dtype.kind in "uifcb"}


def _members(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        check_claim(path, sum(member.file_size for member in members))
    with np.load(path, allow_pickle=False) as archive:
        return {member.filename.removesuffix(".npy"): archive[member.filename] for member in members}
