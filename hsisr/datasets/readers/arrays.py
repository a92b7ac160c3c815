"""Shared by the readers of arrays: which variable is the cube, which axis is which, and how to build the Scene."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers.wavelengths import CENTRES, WIDTHS, find_vector, spectral_facts
from hsisr.errors import HsisrError, notice
from hsisr.lazy_array import LazyArray
from hsisr.limits import ALWAYS_ALLOWED_BYTES, BANDS, check, check_expansion
from hsisr.scene import Scene, holds

#: Axis letters: rows, columns, bands.
AXES = "HWB"
#: Cubes up to this size are read into memory. Larger ones stay on the disk and are read by windows.
IN_MEMORY_BYTES = 512 * 2**20
_stay_on_disk = ContextVar("_stay_on_disk", default=False)


@contextmanager
def leave_on_disk() -> Iterator[None]:
    """Inside this context, every scene stays on the disk, and hsisr does not search it for its nodata value.

    For work by windows, with memory that does not depend on the scene's size. Scenes get no mask, and only the bad
    bands that the file declares.
    """
    token = _stay_on_disk.set(True)
    try:
        yield
    finally:
        _stay_on_disk.reset(token)


@dataclass(frozen=True)
class Marks:
    """Further marks of samples without data, for files that declare more than one nodata value.

    values: further nodata values. least, most: limits of valid values, in stored numbers.
    """

    values: tuple[float, ...] = ()
    least: float | None = None
    most: float | None = None

    def find(self, block: np.ndarray) -> np.ndarray:
        """True where a stored number is marked."""
        found = np.zeros(block.shape, bool)
        for value in self.values:
            found |= np.isnan(block) if np.isnan(value) else block == value
        if self.least is not None:
            found |= block < self.least
        if self.most is not None:
            found |= block > self.most
        return found


NO_MARKS = Marks()


class LazyCube(LazyArray):
    """(bands, H, W) view of an array on disk, for any order of its axes. It reads only the indexed part.

    source: has `shape` and `dtype` and takes a tuple of slices, as h5py datasets and memory maps do.
    order: the axes of `source` that are bands, rows and columns. Every block is checked for NaN and infinity. They
    count as damage, unless a nodata value is declared: then NaN means no data. marks: further marks of no data.
    """

    def __init__(
        self, path: Path, source: Any, order: Sequence[int], nodata: float | None, marks: Marks = NO_MARKS
    ) -> None:
        self._path, self._source, self._order, self._nodata = path, source, tuple(order), nodata
        self._marks, self.files = marks, (path, *(source.files if isinstance(source, LazyArray) else ()))
        self.shape = tuple(int(source.shape[axis]) for axis in order)
        self.dtype = np.dtype(source.dtype).newbyteorder("=")

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """A checked block, with the axes in the order (bands, H, W)."""
        source_key: list[Any] = [0] * len(self._source.shape)
        for axis, part in zip(self._order, (bands, rows, columns), strict=True):
            source_key[axis] = part
        block = np.asarray(self._source[tuple(source_key)])
        block = np.ascontiguousarray(block.transpose(self._order), dtype=self.dtype)
        if self._nodata is not None:
            block = self._with_one_nodata_value(block)
        check_finite(self._path, block, self._nodata)
        return block

    def _with_one_nodata_value(self, block: np.ndarray) -> np.ndarray:
        """The block with the declared nodata value at all samples without data, by any mark."""
        marked = self._marks.find(block)
        if block.dtype.kind == "f":
            marked |= np.isnan(block)
        return np.where(marked, np.asarray(self._nodata).astype(block.dtype), block) if marked.any() else block


def build(
    path: Path, source: Any, order: Sequence[int], nodata: float | None = None, marks: Marks = NO_MARKS, **facts: Any
) -> Scene:
    """Scene of an array on disk (see LazyCube), named after the file, with masks from its nodata value.

    A nodata value that the stored type cannot hold is dropped, with a line to the user. facts: further fields of
    Scene. Raises HsisrError for types that are not real numbers, sizes larger than the file can hold, values that are
    not finite, and scenes without any data.
    """
    check_numeric(path, "the cube", np.dtype(source.dtype))
    if nodata is not None and not holds(np.dtype(source.dtype), nodata):
        notice(f"{path}: its nodata value {nodata:g} is none that {np.dtype(source.dtype)} holds; it marks nothing")
        nodata = None
    cube = LazyCube(path, source, order, nodata, marks)
    if 0 in cube.shape:
        raise HsisrError(f"{path}: the cube is empty (bands, rows, columns: {cube.shape})")
    check_claim(path, cube.nbytes, cube.files)
    check(path, BANDS, cube.shape[0], "bands")
    scene = Scene(cube, name=scene_name(path), nodata=nodata, **facts)
    if _stay_on_disk.get():
        return scene
    if cube.nbytes <= IN_MEMORY_BYTES:
        scene = scene.load()
    return _with_missing(path, scene)


def choose_variable(path: Path, shapes: Mapping[str, tuple[int, ...]], wanted: str | None) -> str:
    """Name of the variable that is the cube: the wanted one, or the only one with three axes.

    shapes: name -> shape of every numeric variable. Raises HsisrError if `wanted` is absent, or the choice unclear.
    """
    listed = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items()) or "nothing numeric"
    if wanted is not None:
        if wanted not in shapes:
            raise HsisrError(f"{path}: has no variable {wanted!r}; it holds {listed}")
        return wanted
    cubes = [name for name, shape in shapes.items() if len(shape) == 3]
    if len(cubes) != 1:
        problem = "no variable with three axes" if not cubes else f"{len(cubes)} variables with three axes"
        raise HsisrError(
            f"{path}: {problem}; it holds {listed}; name the cube with `variable` (--read variable=NAME; a guide: "
            "--read-guide)"
        )
    return cubes[0]


def find_spectral(
    path: Path, shapes: Mapping[str, tuple[int, ...]], values: Callable[[str], np.ndarray], bands: int, given: Any
) -> dict[str, Any]:
    """`wavelengths_nm`, `fwhm_nm` and `bad_bands` of a Scene, from variables beside its cube.

    shapes: of all numeric variables, by name. values: reads one. given: wavelengths in nm, as numbers or as the name of
    a variable; None: vectors with usual names are taken. Raises HsisrError for an unknown name, or other than numbers.
    """
    if isinstance(given, str) and "," not in given:
        if given not in shapes:
            raise HsisrError(f"{path}: has no numeric variable {given!r}; it holds {', '.join(shapes)}")
        given = values(given)
    if given is not None:
        return {"wavelengths_nm": vector(path, given, "wavelengths", bands)}
    names = (find_vector(shapes, known, bands) for known in (CENTRES, WIDTHS))
    centres, widths = (None if name is None else values(name) for name in names)
    return dict(spectral_facts(path, bands, centres, widths=widths))


def band_first_order(path: Path, axes: str | None, shape: Sequence[int]) -> tuple[int, int, int]:
    """The numbers of the axes that are bands, rows and columns.

    axes: the letters H (rows), W (columns), B (bands) in the array's order. Raises HsisrError if they do not fit.
    """
    if len(shape) != 3:
        raise HsisrError(f"{path}: the cube has shape {tuple(shape)}; expected three axes")
    if axes is None:
        raise HsisrError(
            f"{path}: the order of the axes of {'x'.join(map(str, shape))} is not known; give `axes`: HWB for rows, "
            "columns, bands (--read axes=HWB; a guide: --read-guide); BHW for bands, rows, columns"
        )
    letters = str(axes).upper()
    if sorted(letters) != sorted(AXES):
        raise HsisrError(f"{path}: axes {axes!r} must hold each of H (rows), W (columns), B (bands) once, as in HWB")
    return letters.index("B"), letters.index("H"), letters.index("W")


def check_numeric(path: Path, what: str, dtype: np.dtype) -> None:
    """Raise HsisrError unless the type is a real number of at most 64 bits."""
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise HsisrError(f"{path}: {what} has type {dtype}; expected integers or real numbers of up to 64 bits")


def check_claim(path: Path, claimed_bytes: int, files: Sequence[Path] = ()) -> None:
    """Raise HsisrError if a file claims far more bytes of pixels than a file of its size can hold.

    files: the files of the pixels, if `path` is not the only one. Files at a web address have no known size.
    """
    if claimed_bytes <= ALWAYS_ALLOWED_BYTES:
        return
    stored = {file.resolve(): file.stat().st_size for file in (path, *files) if file.is_file()}
    if stored:
        check_expansion(path, claimed_bytes, sum(stored.values()))


def check_finite(path: Path, values: np.ndarray, nodata: float | None) -> None:
    """Raise HsisrError if (bands, H, W) values that are not nodata hold NaN, infinity, or what float32 cannot hold."""
    if values.dtype.kind != "f":
        return
    finite = np.isfinite(values)
    if values.dtype.itemsize > 4:
        _check_range(path, values, finite, nodata)
    if nodata is not None:
        finite |= np.isnan(values) if np.isnan(nodata) else values == nodata
    if not finite.all():
        band, row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise HsisrError(
            f"{path}: {int((~finite).sum())} values are not finite, the first in band {band + 1} at row {row}, "
            f"column {column}; if NaN marks missing data, say so with --read nodata=nan (a guide: --read-guide "
            "nodata=nan; in Python nodata=float('nan')), else repair the file"
        )


def _check_range(path: Path, values: np.ndarray, finite: np.ndarray, nodata: float | None) -> None:
    beyond = finite & (np.abs(values) > np.finfo(np.float32).max)
    if nodata is not None:
        beyond &= values != nodata
    if beyond.any():
        band, row, column = (int(i) for i in np.argwhere(beyond)[0])
        value = float(values[band, row, column])
        raise HsisrError(
            f"{path}: holds values beyond 3.4e38, more than a 32-bit float can, the first in band {band + 1} at row "
            f"{row}, column {column}; if it marks missing data, say so with --read nodata={value!r} (a guide: "
            f"--read-guide nodata={value!r}; in Python nodata={value!r}), else repair the file"
        )


def vector(path: Path, values: Any, what: str, count: int) -> np.ndarray | None:
    """`values` as float64 (count,), or None. Raises HsisrError for another count, or a value that is not finite.

    values: numbers, or one text with commas between the numbers.
    """
    if values is None:
        return None
    if isinstance(values, str):
        values = values.split(",")
    try:
        result = np.asarray(values, dtype=float).ravel()
    except (TypeError, ValueError):
        raise HsisrError(f"{path}: {what} must be numbers, not {values!r}") from None
    if result.size != count:
        raise HsisrError(f"{path}: {result.size} {what} for {count} bands")
    if not np.isfinite(result).all():
        raise HsisrError(f"{path}: {what} must be finite")
    return result


def scene_name(path: Path) -> str:
    """A scene's name from a path: its stem, with `_` for everything but letters, digits, `_` and `-`."""
    stem = path.name if path.is_dir() else path.stem
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_") or "scene"


def _with_missing(path: Path, scene: Scene) -> Scene:
    """The scene with `bad_bands` and `mask` completed from its nodata value.

    A band without any data is bad. A pixel is missing if most other bands have no data there (see `hsisr.missing`).
    """
    if scene.nodata is None:
        return scene
    bands, height, width = scene.shape
    declared_bad = np.zeros(bands, bool) if scene.bad_bands is None else np.asarray(scene.bad_bands, bool)
    has_data = np.zeros(bands, bool)
    missing_bands = np.zeros((height, width), np.int32)
    for rows, block in scene.strips():
        missing = scene.without_data(block)
        assert missing is not None
        has_data |= ~missing.all(axis=(1, 2))
        missing_bands[rows] = missing[~declared_bad].sum(axis=0)
    bad = declared_bad | ~has_data
    if bad.all():
        raise HsisrError(f"{path}: holds no data: every sample is the nodata value {scene.nodata:g}")
    empty = int((~has_data & ~declared_bad).sum())
    valid = 2 * (missing_bands - empty) <= int((~bad).sum())
    mask = valid if scene.mask is None else valid & scene.mask
    return replace(scene, bad_bands=bad if bad.any() else None, mask=None if mask.all() else mask)
