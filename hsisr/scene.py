"""Scene: one image of many bands with all its metadata, and its HDF5 file.

A scene file holds the numbers of the sensor or the publisher, in the stored type, with a scale and an offset
(value = stored * scale + offset). `Scene.cube` gives the values as float32.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from hsisr import hdf5
from hsisr.colours import nearest_bands
from hsisr.errors import HsisrError
from hsisr.lazy_array import ChosenBands, LazyArray
from hsisr.lazy_names import notebook
from hsisr.limits import LEAST_PLAUSIBLE_NM
from hsisr.missing import fill_invalid, fill_samples, missing_pixels

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from numpy.typing import DTypeLike

#: Chunk side in pixels: a 64 x 64 window of all bands is one read.
CHUNK = 64
#: Most bytes in memory while a scene is read by strips.
STRIP_BYTES = 128 * 2**20

#: numpy's letters of types -> what they are called.
_KINDS = {"iuf": "real numbers, integers or floats", "iu": "integers: astype(int)", "b": "booleans: astype(bool)"}
_NUMBERS = "iuf"
#: Array beside the cube in a scene file -> numpy's letters of its types, and number of axes.
_ARRAYS = {
    "wavelengths_nm": (_NUMBERS, 1),
    "fwhm_nm": (_NUMBERS, 1),
    "bad_bands": ("b", 1),
    "mask": ("b", 2),
    "labels": ("iu", 2),
}
#: Depth of guides: a scene has one guide, and the guide has none.
_MOST_DEPTH = 2


@dataclass(frozen=True, eq=False, repr=False)
class Scene:
    """A scene: an image cube and its metadata.

    stored: (bands, H, W), any numeric type: a numpy array, or a lazy one (an h5py dataset, a raster's window reader)
        with `shape` and `dtype`, which reads only the indexed part.
    name: the scene's id, letters, digits, `_` and `-`.
    scale, offset: value = stored * scale + offset. Values of a scene ready for the pipeline lie in [0, 1].
    wavelengths_nm, fwhm_nm: (bands,) band centres and widths in nanometres, or None if unknown.
    bad_bands: (bands,) True where a band holds no data. mask: (H, W) True where a pixel is valid; None: all are.
    labels: (H, W) integer classes, 0 = unlabelled. label_names: one name for each class, from 0.
    crs: WKT or authority string. transform: affine (a, b, c, d, e, f) from (column, row) to CRS coordinates.
    nodata: stored value of samples without data; `cube` gives 0 for them.
    guide: the real sharp image of the same ground.
    provenance: known facts on the scene's origin, such as hashes and licence (JSON values).
    Raises HsisrError for anything else, so that every scene can be saved and opened again. Lists become arrays.

    Example:

        >>> scene = hsisr.Scene(np.zeros((4, 8, 8)), name="field")
        >>> np.asarray(scene).shape
        (4, 8, 8)
    """

    stored: Any
    name: str = "scene"
    scale: float = 1.0
    offset: float = 0.0
    wavelengths_nm: np.ndarray | None = None
    fwhm_nm: np.ndarray | None = None
    bad_bands: np.ndarray | None = None
    mask: np.ndarray | None = None
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    nodata: float | None = None
    guide: "Scene | None" = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bands, rows, columns = self._check_pixels()
        for key, kind, expected in _PLAIN:
            if not isinstance(getattr(self, key), kind):
                raise HsisrError(f"scene {self.name}: {key} is {getattr(self, key)!r:.80}; expected {expected}")
        if not (np.isfinite(self.scale) and np.isfinite(self.offset) and self.scale):
            raise HsisrError(f"scene {self.name}: scale {self.scale} and offset {self.offset} must be finite, not 0")
        sizes = {1: (bands,), 2: (rows, columns)}
        for key, (kinds, axes) in _ARRAYS.items():
            if getattr(self, key) is None:
                continue
            value = np.asarray(getattr(self, key))
            if value.shape != sizes[axes]:
                raise HsisrError(f"scene {self.name}: {key} has shape {value.shape}, expected {sizes[axes]}")
            if value.dtype.kind not in kinds:
                raise HsisrError(f"scene {self.name}: {key} holds {value.dtype}, expected {_KINDS[kinds]}")
            object.__setattr__(self, key, value)
        if self.wavelengths_nm is not None and self.wavelengths_nm.max() < LEAST_PLAUSIBLE_NM:
            raise HsisrError(
                f"scene {self.name}: its wavelengths only reach {self.wavelengths_nm.max():g}, as micrometres or "
                "numbers of bands do; wavelengths_nm are nanometres"
            )
        object.__setattr__(self, "label_names", tuple(self.label_names))
        if self.transform is not None:
            object.__setattr__(self, "transform", self._six_numbers(self.transform))

    def _check_pixels(self) -> tuple[int, int, int]:
        """Bands, rows and columns. Raises HsisrError unless the pixels are an array of numbers with these axes."""
        if isinstance(self.stored, np.ma.MaskedArray):
            raise HsisrError(
                f"scene {self.name}: its pixels are a masked array, whose mask would be lost; give the samples, "
                "np.ma.getdata(x), and mask=~np.ma.getmaskarray(x).any(axis=0), True where a pixel is valid"
            )
        try:
            shape, dtype = self.stored.shape, np.dtype(self.stored.dtype)
        except (AttributeError, TypeError):  # a list, a tensor, a path
            kind = type(self.stored)
            raise HsisrError(
                f"scene {self.name}: its pixels are a {kind.__module__}.{kind.__qualname__}; expected a numpy array "
                "(bands, rows, columns): np.asarray makes one; files are read by hsisr.read_scene"
            ) from None
        if len(shape) != 3 or 0 in shape:
            raise HsisrError(
                f"scene {self.name}: a cube must be (bands, rows, columns), none of them 0, not {tuple(shape)}"
            )
        if dtype.kind not in _NUMBERS:
            raise HsisrError(f"scene {self.name}: its pixels are {dtype}, expected {_KINDS[_NUMBERS]}")
        bands, rows, columns = shape
        return bands, rows, columns

    def _six_numbers(self, transform: Sequence[float]) -> tuple[float, ...]:
        """A transform as a tuple. That of rasterio has nine numbers, of which the last three are always 0, 0, 1."""
        try:
            numbers = tuple(float(number) for number in transform)
        except (TypeError, ValueError):
            numbers = ()
        if len(numbers) == 9 and numbers[6:] == (0, 0, 1):
            numbers = numbers[:6]
        if len(numbers) != 6 or not np.isfinite(numbers).all():
            raise HsisrError(f"scene {self.name}: transform {transform!r}; expected six finite numbers (a, ..., f)")
        return numbers

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""
        bands, rows, columns = self.stored.shape
        return int(bands), int(rows), int(columns)

    @property
    def cube(self) -> np.ndarray:
        """All values, float32 (bands, H, W), 0 where there is no data. Reads the file if the scene is lazy."""
        return self._values(self._block(...))

    @property
    def filled_cube(self) -> np.ndarray:
        """Like `cube`, but what has no data is filled from its neighbours, so that nothing of it gets into them.

        A missing pixel gets the values of the nearest one with data; for single samples see `hsisr.missing`.
        """
        stored = self._block(...)
        values = self._values(stored)
        valid = self.valid_in(slice(None), stored)
        good, missing = self._good, self.without_data(stored)
        if missing is not None and (missing[good] & valid).any():  # single samples
            part = values[good]
            fill_samples(part, missing[good] | ~valid)
            values[good] = part
        return fill_invalid(values, valid)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that the pixels of the scene, and of its guide, are still read from; empty if they are in memory."""
        own: tuple[Path, ...] = ()
        if isinstance(self.stored, LazyArray):
            own = self.stored.files
        elif isinstance(self.stored, h5py.Dataset):
            own = (Path(self.stored.file.filename),)
        elif isinstance(self.stored, np.memmap) and self.stored.filename is not None:
            own = (Path(self.stored.filename),)
        return own if self.guide is None else own + self.guide.files

    def __repr__(self) -> str:
        line: str = notebook().describe(self)
        return line

    def _repr_html_(self) -> str:
        card: str = notebook().scene_card(self)
        return card

    def __array__(self, dtype: "DTypeLike | None" = None, copy: bool | None = None) -> np.ndarray:
        """`cube`, for `np.asarray(scene)`. Raises ValueError for copy=False: values are computed, so always new."""
        if copy is False:
            raise ValueError(f"scene {self.name}: its values are computed, which makes a new array; leave copy=False")
        return self.cube if dtype is None else self.cube.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> "Scene":
        """A part of the scene, read into memory: scene[bands], or scene[bands, rows, columns].

        bands: a number, a slice, numbers or booleans, from 0. rows, columns: slices of step 1, as in `window`.
        Raises IndexError for missing bands, TypeError for another number of parts, HsisrError as `window`.
        """
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) not in (1, 3) or not all(isinstance(part, slice) for part in parts[1:]):
            raise TypeError(f"scene {self.name}: index it as scene[bands] or scene[bands, rows, columns], with slices")
        chosen = np.atleast_1d(np.arange(self.shape[0])[parts[0]])
        return (self.window(*parts[1:]) if len(parts) == 3 else self).bands(chosen)

    def plot(self, bands: Sequence[int] | None = None, ax: "Axes | None" = None) -> "Axes":
        """Show the scene as a picture with matplotlib, and return its axes.

        bands: three bands for red, green and blue (from 0), or one for grey. By default natural colours; if the scene
        has none, three bands spread over its spectrum. ax: axes to draw on; None: new ones.
        Raises HsisrError for bands that make no picture, and if no pixel is valid.
        """
        axes: Axes = notebook().plot(self, bands, ax)
        return axes

    def to_xarray(self) -> "xarray.DataArray":
        """The scene as an xarray DataArray (wavelength, y, x), or (band, y, x) without wavelengths. It needs xarray.

        Values are those of `cube`, float32, with NaN for samples without data. Coordinates: wavelength in nm, x and y
        of pixel centres; mask, labels, fwhm_nm and bad_band if the scene has them; `spatial_ref` with CRS and transform
        as in rioxarray. Attributes: provenance (JSON), label_names. A guide is left out.
        """
        array: xarray.DataArray = notebook().to_xarray(self)
        return array

    @staticmethod
    def from_xarray(array: "xarray.DataArray") -> "Scene":
        """The scene of a DataArray (wavelength, y, x) or (band, y, x), as `to_xarray` or rioxarray makes it.

        array: the DataArray. NaN means no data. Wavelengths may be in nm or um; the attribute `units` of their
        coordinate decides. If the array was cut or thinned, x and y give its place.
        Raises HsisrError for other dimensions, for values that are not real numbers, for unknown units, and for x or y
        that are not evenly spaced.
        """
        scene: Scene = notebook().from_xarray(array)
        return scene

    def strips(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Whole rows from top to bottom: (rows, stored values (bands, n, W)), at most STRIP_BYTES at a time.

        Use it for scenes larger than memory. n is a multiple of CHUNK, except in the last strip.
        """
        bands, height, width = self.shape
        fitting = STRIP_BYTES // (bands * width * np.dtype(self.stored.dtype).itemsize)
        step = max(CHUNK, fitting // CHUNK * CHUNK)
        for first in range(0, height, step):
            rows = slice(first, min(first + step, height))
            yield rows, self._block((slice(None), rows, slice(None)))

    def load(self) -> "Scene":
        """The scene with its pixels, and those of its guide, in memory."""
        return replace(self, stored=self._block(...), guide=None if self.guide is None else self.guide.load())

    def without_data(self, stored: np.ndarray) -> np.ndarray | None:
        """Where these stored values hold no data (bool, same shape); None if the scene declares no nodata value."""
        if self.nodata is None:
            return None
        if np.isnan(self.nodata):
            missing: np.ndarray = np.isnan(stored)
            return missing
        with np.errstate(over="ignore"):  # a nodata value outside the stored type equals no stored value
            missing = stored == np.asarray(self.nodata).astype(stored.dtype if stored.dtype.kind == "f" else float)
        return missing

    @property
    def _good(self) -> slice | np.ndarray:
        """What selects the bands with data: all, without a copy, if none is bad."""
        return slice(None) if self.bad_bands is None else ~np.asarray(self.bad_bands, bool)

    def valid_pixels(self) -> np.ndarray | None:
        """True where a pixel holds data (H, W), as `valid_in` tells; None without a mask if all do."""
        if self.nodata is None:
            return None if self.mask is None else np.asarray(self.mask, bool)
        valid = np.concatenate([self.valid_in(*strip) for strip in self.strips()])
        return None if valid.all() else valid

    def valid_in(self, rows: slice, stored: np.ndarray) -> np.ndarray:
        """True where a pixel of some rows holds data (n, W): by the mask and by the nodata value.

        rows: of the scene. stored: their stored numbers, (bands, n, W). By the nodata value, a pixel holds no data if
        most of its good bands have it (`hsisr.missing`).
        """
        valid = np.ones(stored.shape[1:], bool) if self.mask is None else np.asarray(self.mask[rows], bool)
        missing = self.without_data(stored)
        if missing is None:
            return valid
        return np.asarray(valid & ~missing_pixels(missing[self._good]))

    def without_masked(self, rows: slice, stored: np.ndarray) -> np.ndarray:
        """Stored numbers with the nodata value in masked pixels, for formats that mark missing pixels by a value.

        rows: of the scene. stored: their stored numbers, (bands, n, W). Returns an array like it, or `stored` itself.
        A pixel that most of its own samples already mark as missing stays unchanged. Without a mask or a nodata value,
        all pixels stay unchanged.
        """
        missing = self.without_data(stored)
        if self.mask is None or missing is None:
            return stored
        hidden = ~np.asarray(self.mask[rows], bool) & ~missing_pixels(missing[self._good])
        return np.where(hidden, np.asarray(self.nodata).astype(stored.dtype), stored) if hidden.any() else stored

    def window(self, rows: slice, columns: slice) -> "Scene":
        """The part of the scene inside `rows` and `columns` (slices in pixels, step 1), read into memory.

        The transform is adapted, and a guide is cut to the same ground. Raises HsisrError if the part is empty, or for
        another step.

        Example:

            >>> scene = hsisr.Scene(np.zeros((5, 20, 30)), "mine")
            >>> scene.window(slice(0, 10), slice(5, 15)).shape
            (5, 10, 10)
        """
        height, width = self.shape[1:]
        if {rows.step, columns.step} - {None, 1}:
            raise HsisrError(f"scene {self.name}: rows and columns are cut in steps of 1, not {rows} and {columns}")
        r0, r1, _ = rows.indices(height)
        c0, c1, _ = columns.indices(width)
        if r1 <= r0 or c1 <= c0:
            raise HsisrError(
                f"scene {self.name}: window {r0}:{r1}, {c0}:{c1} is empty; the scene is {height} x {width}"
            )

        def cut(plane: np.ndarray | None) -> np.ndarray | None:
            return None if plane is None else plane[r0:r1, c0:c1]

        guide = self.guide
        if guide is not None:
            fy, fx = guide.shape[1] / height, guide.shape[2] / width
            guide = guide.window(slice(round(r0 * fy), round(r1 * fy)), slice(round(c0 * fx), round(c1 * fx)))
        transform = self.transform
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (a, b, c + a * c0 + b * r0, d, e, f + d * c0 + e * r0)
        return replace(
            self,
            stored=self._block((slice(None), slice(r0, r1), slice(c0, c1))),
            mask=cut(self.mask),
            labels=cut(self.labels),
            transform=transform,
            guide=guide,
        )

    def bands(self, indices: Sequence[int] | np.ndarray) -> "Scene":
        """The scene with only some bands, read into memory.

        indices: numbers of the bands, counted from 0, in the wanted order; negative ones count from the end.
        Raises HsisrError for no band and for a single number, IndexError for numbers that the scene does not have.

        Example:

            >>> scene = hsisr.Scene(np.zeros((3, 20, 30)), "mine", wavelengths_nm=[450, 550, 650])
            >>> scene.bands([2, 0]).wavelengths_nm
            array([650, 450])
        """
        chosen = np.asarray(indices)
        if chosen.size:  # an empty list is one of floats, which count no bands
            chosen = np.arange(self.shape[0])[chosen]
        if chosen.ndim != 1 or not chosen.size:
            raise HsisrError(f"scene {self.name}: bands: expected a list of one or more band numbers, not {indices!r}")

        def pick(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else np.asarray(values)[chosen]

        return replace(
            self,
            stored=ChosenBands(self.stored, chosen)[...],
            wavelengths_nm=pick(self.wavelengths_nm),
            fwhm_nm=pick(self.fwhm_nm),
            bad_bands=pick(self.bad_bands),
        )

    def nearest_band(self, wavelength_nm: float) -> int:
        """Number, counted from 0, of the good band with the centre nearest to `wavelength_nm`.

        Raises HsisrError if the scene has no wavelengths.

        Example:

            >>> scene = hsisr.Scene(np.zeros((3, 20, 30)), "mine", wavelengths_nm=[450, 550, 650])
            >>> scene.nearest_band(610)
            2
        """
        if self.wavelengths_nm is None:
            raise HsisrError(f"scene {self.name}: its wavelengths are not known; give band numbers instead")
        return nearest_bands(self.wavelengths_nm, [wavelength_nm], self.bad_bands)[0]

    def save(self, path: str | os.PathLike[str], settings: Any = None) -> None:
        """Write the scene file, completely or not at all, over an older one.

        path: of the HDF5 file. settings: plain values behind the scene; the file keeps their hash, as `config_hash`.

        Raises HsisrError if the scene still reads that file, or if hsisr cannot write the file.

        Example:

            >>> hsisr.Scene(np.zeros((4, 8, 8)), name="field").save("field.h5")
            >>> hsisr.Scene.open("field.h5").name
            'field'
        """
        self.check_not_own_file(path)
        with hdf5.writing(path, "scene", settings) as file:
            self._write(file)

    def check_not_own_file(self, path: str | os.PathLike[str]) -> None:
        """Raise HsisrError if the scene's pixels are still read from the file `path`."""
        if any(file.exists() and Path(path).exists() and file.samefile(path) for file in self.files):
            raise HsisrError(f"{path}: the scene is read from this file; write another, or load it first (Scene.load)")

    @staticmethod
    def open(path: str | os.PathLike[str]) -> "Scene":
        """Open a scene file from `save`, and return the scene. Metadata is read now, pixels when they are needed.

        path: of the file. For other formats, use `hsisr.read_scene`.

        Raises HsisrError if the file is missing, damaged or not a scene file.
        """
        file = hdf5.open_file(path, "scene")
        try:
            with hdf5.explain_damage(path, "scene"):
                return Scene._read(file)
        except BaseException:
            file.close()
            raise

    def _block(self, key: Any) -> np.ndarray:
        block: np.ndarray = self.stored[key]
        return block

    def _values(self, stored: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # a nodata value may lie beyond 32-bit floats
            if self.scale == 1.0 and self.offset == 0.0:
                values = stored.astype(np.float32, copy=self.nodata is not None)
            else:
                values = np.empty(stored.shape, np.float32)
                for band, plane in enumerate(stored):  # in float64, one band at a time, to round only once
                    values[band] = plane.astype(np.float64) * self.scale + self.offset
        missing = self.without_data(stored)
        if missing is not None:
            values[missing] = 0.0
        return values

    def _write(self, group: h5py.Group) -> None:
        bands, rows, columns = self.shape
        chunks = (bands, min(CHUNK, rows), min(CHUNK, columns))
        cube = group.create_dataset(
            "cube",
            shape=self.shape,
            dtype=np.dtype(self.stored.dtype).newbyteorder("="),
            chunks=chunks,
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        for strip, values in self.strips():
            cube[:, strip] = values
        for key in _ARRAYS:
            value = getattr(self, key)
            if value is not None:
                group.create_dataset(key, data=value)
        attributes = {
            "name": self.name,
            "scale": self.scale,
            "offset": self.offset,
            "crs": self.crs,
            "nodata": self.nodata,
            "transform": None if self.transform is None else np.asarray(self.transform, dtype=float),
            "label_names": json.dumps(list(self.label_names)),
        }
        hdf5.set_attributes(group, {key: value for key, value in attributes.items() if value is not None})
        hdf5.write_text(group, "provenance", json.dumps(self.provenance, sort_keys=True, default=str))
        if self.guide is not None:
            self.guide._write(group.create_group("guide"))

    @staticmethod
    def _read(group: h5py.Group, depth: int = 1) -> "Scene":
        if depth > _MOST_DEPTH:
            raise ValueError("a guide has a guide")
        arrays = {key: hdf5.dataset(group, key, *kind)[...] for key, kind in _ARRAYS.items() if key in group}
        facts: dict[str, Any] = {
            "stored": _Cube(hdf5.dataset(group, "cube", "iuf", 3).id),
            "name": hdf5.attribute(group, "name", str),
            "scale": hdf5.attribute(group, "scale", float),
            "offset": hdf5.attribute(group, "offset", float),
            "crs": hdf5.attribute(group, "crs", str) if "crs" in group.attrs else None,
            "nodata": hdf5.attribute(group, "nodata", float) if "nodata" in group.attrs else None,
            "transform": hdf5.attribute(group, "transform", list) if "transform" in group.attrs else None,
            "label_names": tuple(str(name) for name in json.loads(hdf5.attribute(group, "label_names", str))),
            "provenance": json.loads(hdf5.read_text(group, "provenance")),
            "guide": Scene._read(hdf5.group(group, "guide"), depth + 1) if "guide" in group else None,
        }
        try:
            return Scene(**facts, **arrays)
        except HsisrError as error:  # parts that do not fit together
            raise ValueError(error) from None


#: Field of a scene, the type of its values, and what messages call it.
_PLAIN = (
    ("name", str, "a text"),
    ("scale", Real, "a number"),
    ("offset", Real, "a number"),
    ("nodata", Real | None, "a number or None"),
    ("crs", str | None, "a text such as 'EPSG:32633' or WKT (rasterio: crs.to_wkt()), or None"),
    ("label_names", list | tuple, "a tuple of texts"),
    ("guide", Scene | None, "a Scene or None"),
    ("provenance", dict, "a dict"),
)


class _Cube(h5py.Dataset):  # type: ignore[misc]  # h5py has no types
    """The cube of an open scene file. Damage becomes one line when it is read."""

    def __getitem__(self, key: Any, new_dtype: Any = None) -> Any:
        with hdf5.explain_damage(self.file.filename, "scene"):
            return super().__getitem__(key, new_dtype)


def check_scene(given: Any, function: str) -> None:
    """Raise HsisrError, with the way to make one, unless the argument of a function is a scene."""
    if not isinstance(given, Scene):
        raise HsisrError(
            f"{function}: takes a Scene, not a {type(given).__name__}; hsisr.Scene(array) makes one, and "
            "hsisr.read_scene(path) reads one"
        )


def holds(dtype: np.dtype, value: float) -> bool:
    """Whether a stored type can hold this number. Floats hold every number, rounded."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max and value == int(value)) if np.isfinite(value) else False
