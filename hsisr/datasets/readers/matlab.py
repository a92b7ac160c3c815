"""Reader of MATLAB files: version 5 through scipy, version 7.3 (HDF5) through h5py.

MATLAB's axes are rows, columns, bands unless `axes` says otherwise. A 7.3 file holds them in reverse order. The reader
undoes this, so a variable saved in either version gives the same Scene.
"""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hsisr import hdf5
from hsisr.datasets.readers.arrays import band_first_order, build, check_claim, choose_variable, find_spectral
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.hdf5 import GuardedDataset, list_own, open_for_strips
from hsisr.datasets.readers.wavelengths import CENTRES, find_vector
from hsisr.errors import HsisrError, notice
from hsisr.limits import OBJECTS, check
from hsisr.scene import Scene

#: Class of a numeric variable -> bytes of a value.
_ITEM_BYTES = {"double": 8, "single": 4, "logical": 1} | {
    f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)
}


def matches(path: Path, head: bytes) -> bool:
    """True for a MATLAB header of version 5 or 7.3, and for an HDF5 file whose variables carry MATLAB classes."""
    if head.startswith(hdf5.MAGIC):
        return _has_matlab_classes(path)
    return head[:6] == b"MATLAB" or (len(head) > 128 and head[124:128] in (b"\x00\x01IM", b"\x01\x00MI"))


def read(
    path: Path,
    variable: str | None = None,
    axes: str | None = None,
    rows: int | str | None = None,
    columns: int | str | None = None,
    wavelengths_nm: Any = None,
    mask: str | None = None,
    nodata: float | None = None,
) -> Scene:
    """Scene of a variable with three axes, of one layer, or of a matrix of spectra.

    variable: its name; by default the only one with three axes. axes: HWB by default, or BHW if only that fits the
    wavelengths; BP or PB for a matrix of bands and pixels. The pixels of a matrix run down the columns, as in MATLAB.
    rows, columns: their numbers, or names of variables. Without `variable` and `axes`, a file with nRow, nCol and one
    such matrix is understood. wavelengths_nm: numbers or the name of a variable; by default a vector with a usual name,
    such as `wavelength`, and beside it the widths (`fwhm`). mask: variable that is 0 at invalid pixels; by default
    `valid`, as `hsisr export` writes it.
    """
    file = _open(path, variable)
    if variable is None and axes is None:
        variable, axes, rows, columns = _stated_matrix(file) or (None, None, None, None)
    if not file.shapes and file.closed:
        raise HsisrError(
            f"{path}: holds structs, cells or objects alone ({', '.join(file.closed)}); hsisr reads plain arrays; save "
            f"the cube as one, in MATLAB: cube = {file.closed[0]}.FIELD; save('cube.mat', 'cube', '-v7.3')"
        )
    name = choose_variable(path, file.shapes, variable)
    source, order = _as_cube(path, file, name, axes, rows, columns)
    bands = source.shape[order[0]]
    spectral = find_spectral(path, file.shapes, file.values, bands, wavelengths_nm)
    mask = mask or ("valid" if "valid" in file.shapes else None)
    valid = None
    if mask is not None:
        valid = file.values(_find_variable(path, file, mask)) != 0
        if valid.shape != (source.shape[order[1]], source.shape[order[2]]):
            raise HsisrError(f"{path}: the mask {mask} is {'x'.join(map(str, valid.shape))}, the cube is not")
        valid = None if valid.all() else np.ascontiguousarray(valid)
    return build(path, source, order, nodata, mask=valid, **spectral)


def read_plane(path: Path) -> np.ndarray:
    """The only variable of the file with two axes, both longer than 1."""
    file = _open(path)
    planes = [name for name, shape in file.shapes.items() if len(shape) == 2 and min(shape) > 1]
    if len(planes) != 1:
        raise HsisrError(f"{path}: expected one variable with two axes (rows, columns), found {len(planes)}")
    return np.ascontiguousarray(file.values(planes[0]))


def describe(path: Path) -> dict[str, Any]:
    """Version, and the MATLAB shape and type of each numeric variable."""
    file = _open(path)
    variables = {name: f"{'x'.join(map(str, shape))} {file.types[name]}" for name, shape in file.shapes.items()}
    return {"format": file.version, **variables}


class _MatFile(Protocol):
    path: Path
    version: str
    shapes: dict[str, tuple[int, ...]]  # of numeric variables, in MATLAB's order of axes
    types: dict[str, str]
    closed: list[str]  # names of structs, cells and objects

    def values(self, name: str) -> np.ndarray:
        """The variable in memory, with MATLAB's order of axes."""

    def source(self, name: str) -> tuple[Any, bool]:
        """The variable to read from, and whether its axes are in reverse order."""


class _Version5:
    version = "MATLAB version 5"

    def __init__(self, path: Path) -> None:
        from scipy.io import whosmat

        self.path = path
        with damage(path, "MATLAB file"):
            listed = whosmat(str(path), appendmat=False)
        check(path, OBJECTS, len(listed), "variables")
        numeric = [(name, shape, kind) for name, shape, kind in listed if kind in _ITEM_BYTES]
        self.shapes = {name: tuple(int(n) for n in shape) for name, shape, _ in numeric}
        self.types = {name: kind for name, _, kind in numeric}
        self.closed = [name for name, _, kind in listed if kind in ("struct", "cell", "object")]

    def values(self, name: str) -> np.ndarray:
        from scipy.io import loadmat

        count = int(np.prod(self.shapes[name], dtype=object))
        check_claim(self.path, count * _ITEM_BYTES[self.types[name]])
        with damage(self.path, "MATLAB file"):
            content = loadmat(str(self.path), appendmat=False, variable_names=[name])
        array = content.get(name)
        if not isinstance(array, np.ndarray):
            raise HsisrError(f"{self.path}: damaged MATLAB file (the variable {name} cannot be read)")
        return array

    def source(self, name: str) -> tuple[Any, bool]:
        return self.values(name), False


class _Version73:
    version = "MATLAB version 7.3 (HDF5)"

    def __init__(self, path: Path, wanted: str | None = None) -> None:
        self.path = path
        with damage(path, "MATLAB file"):
            file = open_for_strips(path)
            self._variables = {
                name: item
                for name, item in list_own(path, file, wanted, depth=1).items()
                if item.dtype.kind in "uifb" and not _is_text(item)
            }
            self.closed = [
                name for name, item, _ in hdf5.members(file, path, 1) if item is not None and _is_closed(item)
            ]
            self.shapes = {name: item.shape[::-1] for name, item in self._variables.items()}
            self.types = {name: str(item.dtype) for name, item in self._variables.items()}

    def values(self, name: str) -> np.ndarray:
        dataset = self._variables[name]
        check_claim(self.path, dataset.size * dataset.dtype.itemsize)
        with damage(self.path, "MATLAB file"):
            return dataset[...].T

    def source(self, name: str) -> tuple[Any, bool]:
        return GuardedDataset(self.path, self._variables[name]), True


def _open(path: Path, wanted: str | None = None) -> _MatFile:
    with open(path, "rb") as file:
        head = file.read(1024)
    if head[:10] == b"MATLAB 7.3" or head.startswith(hdf5.MAGIC):
        return _Version73(path, wanted)
    return _Version5(path)


def _find_variable(path: Path, file: _MatFile, name: str) -> str:
    if name not in file.shapes:
        raise HsisrError(f"{path}: has no numeric variable {name!r}; it holds {', '.join(file.shapes)}")
    return name


def _stated_matrix(file: _MatFile) -> tuple[str, str, str, str] | None:
    """(variable, axes, rows, columns) of the only matrix with the stated nRow x nCol pixels, or None."""
    stated = ("nRow", "nCol")
    if any(len(shape) == 3 for shape in file.shapes.values()) or any(file.shapes.get(n) != (1, 1) for n in stated):
        return None
    pixels = _number(file, "rows", "nRow") * _number(file, "columns", "nCol")
    matrices = {name: shape for name, shape in file.shapes.items() if len(shape) == 2 and pixels in shape}
    if len(matrices) != 1:
        return None
    name, shape = matrices.popitem()
    return name, "BP" if shape[1] == pixels else "PB", *stated


def _as_cube(
    path: Path, file: _MatFile, name: str, axes: str | None, rows: int | str | None, columns: int | str | None
) -> tuple[Any, tuple[int, ...]]:
    """The array to read the cube from, and the axes that are bands, rows and columns."""
    shape = file.shapes[name]
    if axes is not None and sorted(axes.upper()) == ["B", "P"]:
        return _from_matrix(path, file, name, axes.upper(), rows, columns)
    if len(shape) == 2:
        if axes not in (None, "HW"):
            raise HsisrError(f"{path}: {name} has two axes, {axes} does not fit; give HW, BP or PB")
        return file.values(name)[..., np.newaxis], (2, 0, 1)
    order = band_first_order(path, axes or _usual_axes(path, file, name), shape)
    source, reverse = file.source(name)
    return source, tuple(len(shape) - 1 - axis for axis in order) if reverse else order


def _usual_axes(path: Path, file: _MatFile, name: str) -> str:
    """HWB, as MATLAB orders axes; BHW if there are wavelengths for the first axis alone. A line says so if in doubt."""
    shape = file.shapes[name]
    if len(shape) != 3:
        return "HWB"
    first, _, last = shape
    leads, ends = (find_vector(file.shapes, CENTRES, size) is not None for size in (first, last))
    if leads and not ends:
        notice(f"{path}: {name} holds bands, rows, columns, in this order, as its {first} wavelengths say")
        return "BHW"
    if first < min(shape[1:]) and (leads or not ends):
        notice(
            f"{path}: takes {name} {'x'.join(map(str, shape))} as {first} rows and {last} bands, in MATLAB's order; if "
            f"it holds {first} bands, say so with --read axes=BHW (a guide: --read-guide axes=BHW)"
        )
    return "HWB"


def _from_matrix(
    path: Path, file: _MatFile, name: str, axes: str, rows: int | str | None, columns: int | str | None
) -> tuple[np.ndarray, tuple[int, int, int]]:
    height, width = _number(file, "rows", rows), _number(file, "columns", columns)
    matrix = file.values(name)
    spectra = matrix if axes == "BP" else matrix.T
    if spectra.ndim != 2 or spectra.shape[1] != height * width:
        raise HsisrError(f"{path}: {name} is {'x'.join(map(str, matrix.shape))}, not {height} x {width} pixels")
    return spectra.reshape(-1, width, height), (0, 2, 1)  # MATLAB's pixels run down the columns


def _number(file: _MatFile, key: str, value: int | str | None) -> int:
    """A number of rows or columns, given as a number or as the name of a variable."""
    if value is None:
        raise HsisrError(f"{file.path}: a matrix of spectra needs `{key}`: a number, or the name of a variable")
    given = np.ravel(file.values(_find_variable(file.path, file, value)) if isinstance(value, str) else value)
    if given.size != 1 or not np.isfinite(given[0]) or given[0] < 1 or given[0] != int(given[0]):
        raise HsisrError(f"{file.path}: {key} must be a whole number of 1 or more, not {given[:3].tolist()}")
    return int(given[0])


def _is_text(dataset: Any) -> bool:
    return _is_closed(dataset) or dataset.attrs.get("MATLAB_class") in (b"char", b"function_handle")


def _is_closed(item: Any) -> bool:
    return item.attrs.get("MATLAB_class") in (b"struct", b"cell")


def _has_matlab_classes(path: Path) -> bool:
    try:
        with damage(path, "HDF5 file"), hdf5.open_any(path) as file:
            known = [item for _, item, _ in hdf5.members(file, path, 1) if item is not None]
            return len(known) > 0 and all("MATLAB_class" in item.attrs for item in known)
    except HsisrError:
        return False
