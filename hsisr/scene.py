"""Scene: one image of many bands with everything that travels with it, and its HDF5 file.

A scene file holds what the sensor or the publisher stored, in the stored type, with a scale and an offset
(value = stored * scale + offset); `Scene.cube` gives the values as float32.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hsisr.errors import HsisrError
from hsisr.files import atomic_path, check_stamp, stamp
from hsisr.missing import fill_samples

#: Chunk side in pixels: a 64 x 64 window of all bands is one read.
CHUNK = 64
#: Most bytes that are held at a time where a scene passes through without being loaded whole.
STRIP_BYTES = 128 * 2**20

#: What h5py and numpy raise for a damaged file.
_DAMAGE = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, MemoryError, OverflowError)


class FileBacked:
    """Base of lazy cubes that read from files. files: those files."""

    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A scene: an image cube and what is known of it.

    stored: (bands, H, W), any numeric type: a numpy array, or a lazy one (an h5py dataset, a raster's window reader)
        that has `shape` and `dtype` and reads what it is indexed with.
    name: the scene's id, letters, digits, `_` and `-`.
    scale, offset: value = stored * scale + offset; values of a scene ready for the pipeline lie in [0, 1].
    wavelengths_nm, fwhm_nm: (bands,) band centres and widths in nanometres, or None where unknown.
    bad_bands: (bands,) True where a band holds no data. mask: (H, W) True where a pixel is valid; None: all are.
    labels: (H, W) integer classes, 0 = unlabelled; label_names: one name a class, from 0.
    crs: WKT or authority string; transform: affine (a, b, c, d, e, f) from (column, row) to CRS coordinates.
    nodata: stored value of samples that hold no data; `cube` gives 0 for them.
    guide: the real sharp image of the same ground.
    provenance: origin, hashes, licence: whatever is known of where the scene came from (JSON values).
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
    provenance: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.stored.shape) != 3 or 0 in self.stored.shape:
            raise HsisrError(
                f"scene {self.name}: a cube must be (bands, rows, columns), none of them 0, not {self.stored.shape}"
            )
        bands, rows, columns = self.stored.shape
        if not (np.isfinite(self.scale) and np.isfinite(self.offset) and self.scale):
            raise HsisrError(f"scene {self.name}: scale {self.scale} and offset {self.offset} must be finite, not 0")
        expected = {
            "wavelengths_nm": (bands,),
            "fwhm_nm": (bands,),
            "bad_bands": (bands,),
            "mask": (rows, columns),
            "labels": (rows, columns),
        }
        for key, shape in expected.items():
            value = getattr(self, key)
            if value is not None and np.shape(value) != shape:
                raise HsisrError(f"scene {self.name}: {key} has shape {np.shape(value)}, expected {shape}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""
        return tuple(int(n) for n in self.stored.shape)

    @property
    def cube(self) -> np.ndarray:
        """All values, float32 (bands, H, W), 0 where there is no data; reads the file if the scene is lazy."""
        return self._values(self._block(...))

    @property
    def filled_cube(self) -> np.ndarray:
        """Like `cube`, but single samples without data are filled from their neighbours; see `hsisr.missing`."""
        stored = self._block(...)
        values = self._values(stored)
        good = slice(None) if self.bad_bands is None else ~np.asarray(self.bad_bands, bool)
        missing = self.without_data(stored)
        if missing is not None and missing[good].any():
            part = values[good]
            fill_samples(part, missing[good])
            values[good] = part
        return values

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that its pixels, and its guide's, are still read from; none where they are in memory."""
        own: tuple[Path, ...] = ()
        if isinstance(self.stored, FileBacked):
            own = self.stored.files
        elif isinstance(self.stored, h5py.Dataset):
            own = (Path(self.stored.file.filename),)
        elif isinstance(self.stored, np.memmap) and self.stored.filename is not None:
            own = (Path(self.stored.filename),)
        return own if self.guide is None else own + self.guide.files

    def strips(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Whole rows from top to bottom: (rows, stored values (bands, n, W)), at most STRIP_BYTES of them at a time.

        The way through a scene that is larger than memory. n is a multiple of CHUNK, except in the last strip.
        """
        bands, height, width = self.shape
        fitting = STRIP_BYTES // (bands * width * np.dtype(self.stored.dtype).itemsize)
        step = max(CHUNK, fitting // CHUNK * CHUNK)
        for first in range(0, height, step):
            rows = slice(first, min(first + step, height))
            yield rows, self._block((slice(None), rows, slice(None)))

    def load(self) -> "Scene":
        """The scene with its pixels, and its guide's, in memory."""
        return replace(self, stored=self._block(...), guide=None if self.guide is None else self.guide.load())

    def without_data(self, stored: np.ndarray) -> np.ndarray | None:
        """Where these stored values hold no data (bool, same shape); None if the scene declares no nodata value."""
        if self.nodata is None:
            return None
        if np.isnan(self.nodata):
            return np.isnan(stored)
        with np.errstate(over="ignore"):  # a value outside the stored type equals none of them
            return stored == np.asarray(self.nodata).astype(stored.dtype if stored.dtype.kind == "f" else float)

    def window(self, rows: slice, columns: slice) -> "Scene":
        """The part of the scene inside `rows` and `columns` (slices in pixels, step 1), read into memory.

        The transform moves with it; a guide is cut to the same ground.
        """
        height, width = self.shape[1:]
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

    def bands(self, indices: Sequence[int]) -> "Scene":
        """The scene with only these bands (0-based, in this order), read into memory."""
        indices = np.asarray(indices)

        def pick(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else np.asarray(values)[indices]

        return replace(
            self,
            stored=self._block(...)[indices],
            wavelengths_nm=pick(self.wavelengths_nm),
            fwhm_nm=pick(self.fwhm_nm),
            bad_bands=pick(self.bad_bands),
        )

    def nearest_band(self, wavelength_nm: float) -> int:
        """Index of the good band whose centre is nearest to a wavelength. Raises HsisrError without wavelengths."""
        if self.wavelengths_nm is None:
            raise HsisrError(f"scene {self.name}: its wavelengths are not known; give band numbers instead")
        distance = np.abs(np.asarray(self.wavelengths_nm, dtype=float) - wavelength_nm)
        if self.bad_bands is not None:
            distance = np.where(self.bad_bands, np.inf, distance)
        return int(np.argmin(distance))

    def save(self, path: str | os.PathLike, settings: Any = None) -> None:
        """Write the scene file, whole or not at all, over an older one. settings: what made it; its hash is kept.

        Raises HsisrError if the scene is still read from that file, or it cannot be written.
        """
        self.check_not_own_file(path)
        with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
            _set_attributes(file, stamp("scene", settings))
            self._write(file)

    def check_not_own_file(self, path: str | os.PathLike) -> None:
        """Raise HsisrError if `path` is a file that the scene's pixels are still read from."""
        if any(file.exists() and Path(path).exists() and file.samefile(path) for file in self.files):
            raise HsisrError(f"{path}: the scene is read from this file; write another, or load it first (Scene.load)")

    @staticmethod
    def open(path: str | os.PathLike) -> "Scene":
        """Open a scene file lazily: metadata now, pixels when asked for.

        Raises HsisrError if the file is absent, damaged or not a scene file.
        """
        path = Path(path)
        if not path.is_file():
            raise HsisrError(f"{path}: no such scene file")
        if not _is_hdf5(path):
            raise HsisrError(f"{path}: not an hsisr scene file; hsisr.read_scene reads other files")
        try:
            file = h5py.File(path, "r")
            check_stamp(path, {"schema": _text(file.attrs.get("schema", ""))}, "scene")
            return Scene._read(file)
        except _DAMAGE as error:
            raise HsisrError(
                f"{path}: damaged scene file ({error}); if hsisr made it, convert again, else get it again"
            ) from error

    def _block(self, key: Any) -> np.ndarray:
        try:
            return self.stored[key]
        except _DAMAGE as error:
            where = self.stored.file.filename if isinstance(self.stored, h5py.Dataset) else f"scene {self.name}"
            raise HsisrError(f"{where}: damaged pixels ({error}); make or get the file again") from error

    def _values(self, stored: np.ndarray) -> np.ndarray:
        if self.scale == 1.0 and self.offset == 0.0:
            values = stored.astype(np.float32, copy=self.nodata is not None)
        else:
            values = np.empty(stored.shape, np.float32)
            for band, plane in enumerate(stored):  # in float64, a band at a time, to round once
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
        for key in ("wavelengths_nm", "fwhm_nm", "bad_bands", "mask", "labels"):
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
        _set_attributes(group, {key: value for key, value in attributes.items() if value is not None})
        provenance = json.dumps(self.provenance, sort_keys=True, default=str).encode()
        group.create_dataset("provenance", data=provenance, dtype=h5py.string_dtype("utf-8", len(provenance)))
        if self.guide is not None:
            self.guide._write(group.create_group("guide"))

    @staticmethod
    def _read(group: h5py.Group) -> "Scene":
        arrays = {
            key: group[key][...] for key in ("wavelengths_nm", "fwhm_nm", "bad_bands", "mask", "labels") if key in group
        }
        attrs = group.attrs
        transform = attrs.get("transform")
        return Scene(
            stored=group["cube"],
            name=_text(attrs["name"]),
            scale=float(attrs["scale"]),
            offset=float(attrs["offset"]),
            crs=_text(attrs["crs"]) if "crs" in attrs else None,
            nodata=None if "nodata" not in attrs else float(attrs["nodata"]),
            transform=None if transform is None else tuple(float(v) for v in transform),
            label_names=tuple(json.loads(_text(attrs["label_names"]))),
            provenance=json.loads(_text(group["provenance"][()])),
            guide=Scene._read(group["guide"]) if "guide" in group else None,
            **arrays,
        )


def holds(dtype: np.dtype, value: float) -> bool:
    """Whether a stored type holds this number; floats hold all, rounded."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max and value == int(value)) if np.isfinite(value) else False


def _is_hdf5(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(8) in (b"\x89HDF\r\n\x1a\n", b"")
    except OSError as error:
        raise HsisrError(f"{path}: cannot be read ({error.strerror})") from error


def _set_attributes(group: h5py.Group, attributes: dict[str, Any]) -> None:
    """Write attributes, strings with a fixed length.

    Strings of variable length lie in HDF5's global heap, and a damaged heap sends the library into an endless loop.
    """
    for key, value in attributes.items():
        if isinstance(value, str):
            encoded = value.encode()
            group.attrs.create(key, encoded, dtype=h5py.string_dtype("utf-8", max(len(encoded), 1)))
        else:
            group.attrs[key] = value


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
