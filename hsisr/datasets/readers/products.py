"""Shared by the readers of products: rasters by windows, quality layers, joined detectors, places, and texts of `info`.

A product is the unit that an agency delivers: images, quality layers and a description. Its reader is a module like any
other (`matches`, `read`, `describe`). It follows the product's description, and refuses unknown ones in one line.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr import hdf5
from hsisr.datasets.readers import ground
from hsisr.datasets.readers.arrays import build, check_claim, leave_on_disk, scene_name
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.damage import first_bytes as leading_bytes
from hsisr.datasets.readers.images import quiet_gdal
from hsisr.datasets.readers.packages import Package
from hsisr.datasets.readers.scene import facts
from hsisr.datasets.stacking import stack
from hsisr.errors import HsisrError
from hsisr.lazy_array import ChosenBands, LazyArray
from hsisr.limits import BANDS, LEAST_PLAUSIBLE_NM, check
from hsisr.scene import Scene

#: Endings of a product's images -> GDAL's name of the format.
_DRIVERS = dict.fromkeys((".tif", ".tiff", ".geotiff"), "GTiff")
_DRIVERS |= {".jp2": "JP2OpenJPEG", ".bsq": "ENVI", ".bil": "ENVI", ".bip": "ENVI"}
#: Fields of a Scene that hold one entry for each band.
_SPECTRAL = ("wavelengths_nm", "fwhm_nm", "bad_bands")
_NM_PER_UM = 1000.0
#: The affine transform of a geolocation grid is fitted to this many points along each side.
_PLACES = 7


def raster(package: Package, name: str) -> Scene:
    """The image of a package as a lazy scene, with place and nodata value. Scale and offset are left to the reader.

    Raises HsisrError if it is damaged, claims more pixels than its size can hold, or has bands of different types.
    """
    place = package.place(name)
    driver = _DRIVERS.get(place.suffix.lower())
    if driver is None:
        raise HsisrError(f"{place}: an image of an unexpected kind; expected {', '.join(_DRIVERS)}")
    rows = _Rasters(place, package.image(name), driver, package.file(name))
    check_claim(place, rows.nbytes, package.files())  # counts all files, as a layer of flags is often blank
    with quiet_gdal(), damage(place, "image"):
        found = ground.georeference(rows.image)
        nodata = rows.image.nodata
    return Scene(rows, scene_name(place), crs=found.crs, transform=found.transform, nodata=nodata)


class _Rasters(LazyArray):
    """The bands of an open raster. path: for messages. name, driver: for GDAL. file: the file on the disk."""

    def __init__(self, path: Path, name: str, driver: str, file: Path) -> None:
        import rasterio

        self._path, self.files = path, (file,)
        with quiet_gdal(), damage(path, "image"):
            self.image = rasterio.open(name, driver=driver)
            types = set(self.image.dtypes)
        if len(types) != 1:
            raise HsisrError(f"{path}: its bands have different types: {', '.join(sorted(types))}")
        self.shape = (self.image.count, self.image.height, self.image.width)
        self.dtype = np.dtype(types.pop())
        check(path, BANDS, self.image.count, "bands")

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """Stored numbers of a window."""
        from rasterio.windows import Window

        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        with quiet_gdal(), damage(self._path, "image"):
            return self.image.read([band + 1 for band in range(bands.start, bands.stop, bands.step)], window=window)


def layer(package: Package, name: str, size: tuple[int, int], band: int = 0) -> np.ndarray:
    """A layer (rows, columns) of a package on an image's grid. A coarser layer is repeated.

    size: rows and columns of the image. band: in the layer's file, from 0. Raises HsisrError if the two do not fit.
    """
    found = raster(package, name)
    bands, rows, columns = found.shape
    finer = (size[0] // rows, size[1] // columns)
    if band >= bands or (rows * finer[0], columns * finer[1]) != size or finer[0] != finer[1]:
        raise HsisrError(
            f"{package.place(name)}: a layer of {bands} x {rows} x {columns}, which does not fit the image of "
            f"{size[0]} x {size[1]} pixels; leave the quality layers out with --read quality=none"
        )
    plane: np.ndarray = found.stored[band : band + 1, :, :][0]
    return plane if finer == (1, 1) else plane.repeat(finer[0], axis=0).repeat(finer[1], axis=1)


class Screened(LazyArray):
    """A cube with the nodata value at all flagged samples. flags: of the same shape, 0 where a sample is good."""

    def __init__(self, cube: LazyArray, flags: LazyArray, nodata: float) -> None:
        self._cube, self._flags, self._nodata = cube, flags, nodata
        self.shape, self.dtype, self.files = cube.shape, cube.dtype, cube.files

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """A block, with the nodata value at flagged samples."""
        flags = self._flags[bands, rows, columns]
        block = self._cube[bands, rows, columns]
        return np.where(flags != 0, np.asarray(self._nodata).astype(block.dtype), block) if flags.any() else block


class Plane:
    """An array on disk with two axes, (rows, columns), as a cube of one band."""

    def __init__(self, source: Any) -> None:
        self._source, self.shape, self.dtype = source, (1, *source.shape), source.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        return self._source[key[1:]][None]


def uses_quality(path: Path, quality: str) -> bool:
    """Whether the option `quality` asks for quality layers. Raises HsisrError for another word."""
    if quality not in ("mask", "none"):
        raise HsisrError(f"{path}: quality={quality}: expected mask, or none to leave the quality layers out")
    return quality == "mask"


def is_true(path: Path, option: str, value: Any) -> bool:
    """Whether the value of an option means true or false. Raises HsisrError for another word."""
    word = str(value).lower()
    if word not in ("true", "false", "1", "0"):
        raise HsisrError(f"{path}: {option}={value}: expected true or false")
    return word in ("true", "1")


def scale_bands(path: Path, scene: Scene, scales: np.ndarray, offsets: np.ndarray) -> Scene:
    """The scene with a scale and an offset for each band. If they differ, stored numbers become values."""
    if not (np.isfinite(scales).all() and np.isfinite(offsets).all() and scales.all()):
        raise HsisrError(f"{path}: a band's scale or offset is not a number, or the scale is 0")
    if len(set(scales)) == len(set(offsets)) == 1:
        return replace(scene, scale=float(scales[0]), offset=float(offsets[0]))
    bands = [
        replace(pick(scene, np.array([band])), scale=float(scale), offset=float(offset))
        for band, (scale, offset) in enumerate(zip(scales, offsets, strict=True))
    ]
    return stack(bands, [str(path)] * len(bands), scene.name)


def pick(scene: Scene, bands: np.ndarray) -> Scene:
    """The scene with only these bands (from 0, in this order), still lazy."""
    if np.array_equal(bands, np.arange(scene.shape[0])):
        return scene
    known = {key: getattr(scene, key) for key in _SPECTRAL}
    chosen: dict[str, Any] = {key: None if value is None else np.asarray(value)[bands] for key, value in known.items()}
    return replace(scene, stored=ChosenBands(scene.stored, np.asarray(bands)), **chosen)


def in_order(scene: Scene) -> Scene:
    """The scene with its bands in order of wavelength."""
    return pick(scene, np.argsort(np.asarray(scene.wavelengths_nm), kind="stable"))


def join(path: Path, short: Scene, long: Scene, names: tuple[str, str], overlap: str) -> tuple[Scene, str]:
    """Two detectors as one scene in order of wavelength, and in words what was done where both measure.

    short, long: the scenes of the shorter and the longer wavelengths. names: of the two detectors. overlap: one of
    these names, in small letters. Its bands are kept between the first wavelength of `long` and the last of `short`.
    Raises HsisrError for another word.
    """
    if overlap not in [name.lower() for name in names]:
        raise HsisrError(f"{path}: overlap={overlap}: expected {' or '.join(name.lower() for name in names)}")
    centres = [np.asarray(scene.wavelengths_nm) for scene in (short, long)]
    least, most = max(c.min() for c in centres), min(c.max() for c in centres)
    keep = [np.ones(len(c), bool) for c in centres]
    loser = 0 if overlap == names[1].lower() else 1
    keep[loser] = (centres[loser] < least) | (centres[loser] > most)
    parts = [pick(scene, np.flatnonzero(k)) for scene, k in zip((short, long), keep, strict=True) if k.any()]
    ranges = [f"{name} {c.min():.0f} to {c.max():.0f} nm" for name, c in zip(names, centres, strict=True)]
    told = ", ".join(ranges)
    if least <= most:
        told += (
            f"; of {least:.0f} to {most:.0f} nm, which both see, the bands of {names[1 - loser]} are kept and "
            f"{(~keep[loser]).sum()} of {names[loser]} left out"
        )
    return in_order(stack(parts, [f"{path}"] * len(parts), short.name)), told


def from_places(latitude: Any, longitude: Any) -> ground.Georeference:
    """The georeference of pixels with given latitudes and longitudes, (rows, columns) in degrees.

    latitude, longitude: arrays, or data sets of HDF5. Only a few of their numbers are read.
    The result is an affine transform if one fits within `ground.TOLERANCE_PX`; else a text on what is not used.
    """
    from rasterio.control import GroundControlPoint

    rows, columns = (np.unique(np.linspace(0, size - 1, _PLACES).round().astype(int)) for size in latitude.shape)
    points = [
        GroundControlPoint(row + 0.5, column + 0.5, float(longitude[row, column]), float(latitude[row, column]))
        for row in rows
        for column in columns
        if np.isfinite(latitude[row, column]) and np.isfinite(longitude[row, column])
    ]
    transform, residual = ground.affine_through(points)
    if transform is not None and residual <= ground.TOLERANCE_PX:
        return ground.Georeference("EPSG:4326", transform)
    return ground.Georeference(unused="a latitude and a longitude for each pixel, which no affine follows")


def holds_hdf5(path: Path, head: bytes, *members: str) -> bool:
    """Whether a file is HDF5 and itself contains all of these members.

    Readers look for names in `list(group)`, because `name in group` would open another file behind a link.
    """
    if not head.startswith(hdf5.MAGIC):
        return False
    try:
        with hdf5.open_any(path) as file:
            for member in members:
                hdf5.child(file, member)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError):
        return False  # damaged, or another format: another reader reports it
    return True


def vector_of(path: Path, what: str, owner: Any, name: str, count: int) -> np.ndarray:
    """`count` numbers of an attribute (of a group or data set), or of a data set below a group.

    Raises HsisrError for another count.
    """
    check(path, BANDS, count, "bands")
    with damage(path, "HDF5 file"):
        stored = None if name in owner.attrs else hdf5.dataset(owner, name, "iuf")
        held = hdf5.attribute(owner, name, list) if stored is None else []
        size = len(held) if stored is None else stored.size
        if size != count:
            raise HsisrError(f"{path}: {name} holds {size} numbers for the {count} bands of {what}")
        return np.asarray(held if stored is None else np.ravel(stored[...]), float)


def widths_of(path: Path, what: str, owner: Any, name: str, count: int) -> np.ndarray | None:
    """As `vector_of`, but None if the file states no widths of bands."""
    return vector_of(path, what, owner, name, count) if name in owner.attrs or name in list(owner) else None


def text_attribute(owner: Any, *names: str) -> str | None:
    """The first of these attributes that is a text, or a list that begins with a text; else None."""
    for name in names:
        values = hdf5.attribute(owner, name, list, [None])
        if values and isinstance(values[0], str):
            return values[0]
    return None


def name_flags(names: list[str]) -> str | None:
    """The mask of a scene's pixels in words: quality layers of these names; None without names."""
    return f"no data where {', '.join(names)} {'says' if len(names) == 1 else 'say'} so" if names else None


def finish(
    path: Path, scene: Scene, product: str, acquired: str | None = None, mask: np.ndarray | None = None, **told: Any
) -> Scene:
    """The scene of a product, built and checked like that of any array (`arrays.build`); a small one is in memory.

    product: its name, such as `EnMAP L2A`. acquired: time of acquisition, as the product writes it. mask: (rows,
    columns), True where a pixel is valid. told: further lines of `hsisr info`; entries that are None are left out.
    """
    provenance: dict[str, Any] = {"product": product, "acquired": acquired, **told}
    provenance = {key: value for key, value in provenance.items() if value is not None}
    provenance["tags"] = {"PRODUCT": product, **({} if acquired is None else {"ACQUIRED": acquired})}
    if mask is not None and not mask.any():
        raise HsisrError(
            f"{path}: its quality layers leave no pixel; leave them out with --read quality=none (a guide: "
            "--read-guide quality=none)"
        )
    _check_numbers(path, scene)
    fields = {key: getattr(scene, key) for key in ("scale", "offset", "crs", "transform", "guide", *_SPECTRAL)}
    made = build(path, scene.stored, (0, 1, 2), scene.nodata, mask=mask, provenance=provenance, **fields)
    valid = None if made.mask is None or made.mask.all() else made.mask
    return replace(made, name=scene_name(path), mask=valid)


def _check_numbers(path: Path, scene: Scene) -> None:
    """Raise HsisrError if wavelengths, widths or grid hold anything but numbers."""
    for what, values in (("wavelengths", scene.wavelengths_nm), ("widths of bands", scene.fwhm_nm)):
        if values is not None and not np.isfinite(values).all():
            raise HsisrError(f"{path}: its {what} are not all numbers; get it again")
    if scene.transform is not None:
        a, b, _, d, e, _ = scene.transform
        if not np.isfinite(scene.transform).all() or a * e == b * d:
            raise HsisrError(f"{path}: its grid {scene.transform} is none; get it again")


def describe(path: Path, read: Callable[..., Scene]) -> dict[str, Any]:
    """The lines of `hsisr info` about a product. Reads the pixels of quality layers, but no others."""
    with leave_on_disk():
        return describe_scene(read(path))


def describe_scene(scene: Scene) -> dict[str, Any]:
    """The lines of `hsisr info` about the scene of a product."""
    told = {key: value for key, value in scene.provenance.items() if key not in ("product", "tags")}
    found = {"format": scene.provenance["product"], **facts(scene), **told}
    if scene.fwhm_nm is not None:
        least, most = np.min(scene.fwhm_nm), np.max(scene.fwhm_nm)
        found["fwhm"] = f"{least:g} nm" if least == most else f"{least:g} to {most:g} nm"
    return found


def spectral(wavelengths: Any, widths: Any, good: np.ndarray | None = None) -> dict[str, Any]:
    """Wavelengths, widths and bad bands of a Scene, from numbers in nanometres, or all of them in micrometres.

    widths: None if unknown. good: True where a band is used.
    """
    bad = None if good is None or np.all(good) else ~np.asarray(good, bool)
    centres = np.asarray(wavelengths, float)
    unit = _NM_PER_UM if 0 < centres.max(initial=0) < LEAST_PLAUSIBLE_NM else 1.0
    fwhm = None if widths is None else unit * np.asarray(widths, float)
    return {"wavelengths_nm": unit * centres, "fwhm_nm": fwhm, "bad_bands": bad}


def package_of(path: Path, head: bytes, file: re.Pattern[str], metadata: str) -> Package | None:
    """The files of the one product in a folder, in an archive, or around one of its files; None if there is none.

    file: matches a file name of the product; its first group is the beginning that all its files share. metadata: the
    pattern of the description; a product has exactly one.
    """
    package = Package.of(path, head)
    if package is None:
        match = file.fullmatch(path.name)
        if match is None:
            return None
        package = Package.around(path).starting(match[1])
    found = sorted(set(package.on_top()) & set(package.find(metadata)))
    match = file.fullmatch(found[0].rpartition("/")[2]) if len(found) == 1 else None
    return None if match is None else package.starting(match[1])


def numbered_bands(path: Path, head: bytes, band: re.Pattern[str]) -> tuple[Package, dict[int, str]] | None:
    """The files of the one product of a folder or archive, and number -> file of each band; None without one product.

    band: matches a file of a band; its groups are the beginning that all files of the product share, and the number.
    Other products beside it, such as level 1 of the same scene, are left out with their descriptions.
    """
    package = Package.of(path, head)
    found = [] if package is None else [(m, name) for name in package.on_top() if (m := band.fullmatch(name))]
    starts = {match[1] for match, _ in found}
    if package is None or len(starts) != 1:
        return None
    return package.starting(f"{starts.pop()}_"), {int(match[2]): name for match, name in found}


def check_level(path: Path, product: str, level: re.Match[str] | None) -> None:
    """Raise HsisrError unless the level of a product is 2A. level: match of its name; the first group is like `L2A`."""
    if level is None or level[1].upper() != "L2A":
        raise HsisrError(f"{path}: {product} of level {level[1][1:] if level else 'unknown'}; expected level 2A")


def time_of(match: re.Match[str] | None, zone: str = "") -> str | None:
    """The time of acquisition from a name: year, month, day, hour, minute and second. None without a match."""
    return None if match is None else "{}-{}-{}T{}:{}:{}".format(*match.groups()) + zone


def first_bytes(path: Path) -> bytes:
    """The first bytes of a file, as many as show that it is an archive; empty for a folder."""
    return leading_bytes(path, 512) if path.is_file() else b""


def parameters(text: str, group: str | None = None) -> dict[str, str]:
    """The lines `KEY = VALUE` of a USGS description, without quotes. The first line of each key counts.

    group: only the lines of this group, if the text has it.
    """
    found: dict[str, str] = {}
    inside = group is None or not re.search(rf"\bGROUP\s*=\s*{group}\b", text)
    for line in text.splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if key in ("GROUP", "END_GROUP") and group is not None and value == group:
            inside = key == "GROUP"
        elif equals and inside:
            found.setdefault(key, value.strip('"'))
    return found


def number_of(owner: Any, name: str, default: float | None = None) -> float:
    """The number in an attribute, also if it stands in a list or a text; the default if the attribute is absent.

    Raises KeyError if it is absent without a default, ValueError if it is not a number.
    """
    value = hdf5.attribute(owner, name, list, None if default is None else [default])
    try:
        (number,) = value
        return float(number)
    except ValueError:
        raise ValueError(f"the attribute {name} is no number") from None
