"""Writers: a Scene to GeoTIFF (also cloud-optimised), ENVI, netCDF, MATLAB 5 and 7.3, or .npy, by strips.

GeoTIFF, ENVI and netCDF keep stored values with scale, offset, CRS, transform, nodata, wavelengths, widths, bad bands.
MATLAB files and .npy hold values (float32). A MATLAB file also has wavelengths, widths, valid pixels and the name. In
.npy, samples without data are NaN.
"""

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr import hdf5, temporary
from hsisr.datasets import netcdf
from hsisr.datasets.quicklook import default_bands
from hsisr.datasets.readers.images import gdal_cache, quiet_gdal
from hsisr.errors import HsisrError, did_you_mean, notice
from hsisr.files import atomic_path, cannot_write, check_space
from hsisr.lazy_array import LazyArray
from hsisr.outputs import sidecars
from hsisr.scene import Scene, check_scene, holds

#: Ending of the target -> format.
FORMATS = {
    ".tif": "geotiff", ".tiff": "geotiff", ".hdr": "envi", ".img": "envi", ".dat": "envi", ".bsq": "envi",
    ".mat": "matlab5", ".npy": "npy", ".h5": "scene", ".nc": "netcdf",
}  # fmt: skip
#: Formats that a user can name. An ending alone does not choose some of them.
_BY_NAME = ("cog", "matlab7.3", *dict.fromkeys(FORMATS.values()))
#: Formats of images, which keep what a band is; the others hold arrays.
_RASTERS = ("geotiff", "cog", "envi", "netcdf")
#: Side of a GeoTIFF tile in pixels.
_TILE = 128
#: Level of deflate: the usual 6 takes much longer for floats, and makes files hardly smaller.
_LEVEL = 1
#: A GeoTIFF gets overviews if a side is longer than the first, in pixels; the smallest has no side above the second.
_LARGE_PX, _OVERVIEW_PX = 2048, 512
_MATLAB5_MOST_BYTES = 2**31 - 1
#: Two sides of a pixel are equal if they differ by less than this part.
_SAME_PIXEL = 1e-6


def export(scene: Scene, out: str | os.PathLike, format: str | None = None) -> Path:
    """Write a scene to `out` and return the path of its data.

    format: geotiff, cog, envi, netcdf, matlab5, matlab7.3, npy or scene; by default, the ending decides.
    ENVI makes two files, `out` and its header. If `out` ends in .hdr, the data get the ending .img.
    An older file of this name is replaced, and GDAL's files beside it are removed.
    Raises HsisrError for what is no Scene, for an unknown ending, if the scene does not fit into the format, or if it
    is read from `out`.
    """
    check_scene(scene, "export")
    out = Path(out)
    chosen = format_of(out, format)
    check_writable(scene, out, format)
    for file in written_files(out, format):
        scene.check_not_own_file(file)
    writers: dict[str, Callable[[Scene, Path], Path | None]] = {
        "geotiff": _write_geotiff, "cog": _write_cog, "envi": _write_envi, "matlab5": _write_matlab5,
        "matlab7.3": _write_matlab73, "npy": _write_npy, "scene": Scene.save, "netcdf": netcdf.write,
    }  # fmt: skip
    data = writers[chosen](scene, out) or out
    for file in sidecars(data):
        file.unlink(missing_ok=True)
    if chosen != "scene":
        _say_what_is_lost(scene, out, chosen in _RASTERS)
    return data


def written_files(out: str | os.PathLike, format: str | None = None) -> list[Path]:
    """Every file that `export` would write: data and header for ENVI, else one. Raises HsisrError as `export`."""
    out = Path(out)
    return list(_envi_pair(out)) if format_of(out, format) == "envi" else [out]


def check_writable(scene: Scene, out: str | os.PathLike, format: str | None = None) -> None:
    """Raise HsisrError if the scene's type, nodata value, CRS, grid or size does not fit into the format.

    This also works for a lazy scene, before its pixels are computed.
    """
    chosen = format_of(out, format)
    dtype = np.dtype(scene.stored.dtype)
    if chosen in _RASTERS:
        _check_raster(scene, Path(out), dtype)
    if chosen == "envi":
        _check_envi_grid(scene, Path(out))
    if chosen == "matlab5" and int(np.prod(scene.shape, dtype=object)) * 4 > _MATLAB5_MOST_BYTES:
        raise HsisrError(f"{out}: version 5 of .mat holds at most 2 GB a variable; export as matlab7.3")


def format_of(out: str | os.PathLike, format: str | None = None) -> str:
    """The format that `export` would write: `format`, or else by the ending. Raises HsisrError for an unknown one."""
    chosen = format or FORMATS.get(Path(out).suffix.lower())
    if chosen not in _BY_NAME:
        known = f"{', '.join(FORMATS)}; formats: {', '.join(_BY_NAME)}"
        near = did_you_mean(chosen or Path(out).suffix, [*FORMATS, *_BY_NAME])
        raise HsisrError(f"{out}: no format {chosen or Path(out).suffix!r}; {near}endings: {known}")
    return chosen


def ending_of(format: str | None) -> str:
    """The usual ending of a file of a format; None: that of GeoTIFF."""
    endings = {"envi": ".hdr", "matlab5": ".mat", "matlab7.3": ".mat", "npy": ".npy", "scene": ".h5", "netcdf": ".nc"}
    return endings.get(format or "", ".tif")


def _say_what_is_lost(scene: Scene, out: Path, is_raster: bool) -> None:
    """A line on what the format has no place for, though a user may count on it."""
    held = {
        "labels": scene.labels is not None,
        "guide": scene.guide is not None,
        "list of bad bands": not is_raster and np.any(scene.bad_bands),
    }
    lost = [word for word, is_held in held.items() if is_held]
    if lost:
        notice(f"{out}: its format has no place for the scene's {' and '.join(lost)}; a scene file (.h5) keeps all")


def _check_raster(scene: Scene, out: Path, dtype: np.dtype) -> None:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    if dtype == np.bool_ or dtype.kind not in "uif" or dtype == np.float16:
        raise HsisrError(f"scene {scene.name}: stored as {dtype}, which rasters do not have; convert it first")
    if scene.nodata is not None and not holds(dtype, scene.nodata):
        raise HsisrError(f"{out}: cannot be written (its nodata value {scene.nodata:g} does not fit into {dtype})")
    try:
        if scene.crs:
            CRS.from_user_input(scene.crs)
    except (CRSError, ValueError) as error:
        raise HsisrError(f"{out}: cannot be written ({' '.join(str(error).split())})") from error


def _check_envi_grid(scene: Scene, out: Path) -> None:
    """Refuse a grid that map info cannot express. GDAL would write another one.

    Map info holds two sizes of a pixel and an angle. What they mean together is clear for square pixels only.
    """
    if scene.transform is None:
        return
    a, b, _, d, e, _ = scene.transform
    upright = b == d == 0 and a > 0
    turned = bool(b or d) and np.allclose((a, b), (-e, d), rtol=0, atol=_SAME_PIXEL * np.hypot(a, d))
    if not (upright or turned):
        raise HsisrError(
            f"{out}: cannot be written (ENVI's map info expresses no grid that is sheared or mirrored, or turned with "
            "pixels that are not square); write a GeoTIFF or netCDF"
        )


def _write_geotiff(scene: Scene, out: Path) -> None:
    with atomic_path(out, suffix=".tif") as new, _quiet(out):
        written = _write_raster(scene, new, driver="GTiff", **_tiff_options(scene))
        if max(scene.shape[1:]) > _LARGE_PX:
            check_space(out, new.stat().st_size // 2, " for its overviews")  # a third, if they compress equally well
            _add_overviews(new, max(scene.shape[1:]))
            _check_written(new, written)


def _add_overviews(path: Path, longest: int) -> None:
    """Add smaller copies inside an image of this longer side, for viewers that show the whole image."""
    import rasterio
    from rasterio.enums import Resampling

    factors = [2]
    while longest / factors[-1] > _OVERVIEW_PX:
        factors.append(2 * factors[-1])
    with rasterio.Env(GDAL_PAM_ENABLED="NO", ZLEVEL_OVERVIEW=_LEVEL), rasterio.open(path, "r+") as image:
        image.build_overviews(factors, Resampling.average)


def _write_cog(scene: Scene, out: Path) -> None:
    """Cloud-optimised GeoTIFF: GDAL's COG driver copies a plain one, adding overviews."""
    import rasterio.shutil

    plain_options = _tiff_options(scene)
    options = {key: plain_options[key] for key in ("compress", "bigtiff", "interleave")} | {"level": _LEVEL}
    with temporary.new_folder(out.parent, "export") as folder, atomic_path(out, suffix=".tif") as new, _quiet(out):
        written = _write_raster(scene, folder / "plain.tif", driver="GTiff", **plain_options)
        try:
            rasterio.shutil.copy(folder / "plain.tif", new, driver="COG", **options)
        except Exception as error:  # GDAL's own errors have no public base
            raise OSError(str(error)) from error
        _check_written(new, written)


def _write_envi(scene: Scene, out: Path) -> Path:
    data, header = _envi_pair(out)
    check_space(out, _pixel_bytes(scene))
    with (
        gdal_cache(0),  # else GDAL goes through all rows that wait to be written, for each block that it reads
        temporary.new_folder(out.parent, "export") as folder,
        atomic_path(header) as header_file,
        atomic_path(data) as data_file,  # is flushed first: if that fails, the older header stays too
        _quiet(out),
    ):
        _write_raster(_as_envi_holds(scene, out), folder / "cube.img", driver="ENVI", interleave="bsq")
        os.replace(folder / "cube.img", data_file)
        text = (folder / "cube.hdr").read_text(encoding="utf-8")
        header_file.write_text(text.replace(str(folder / "cube.img"), scene.name), encoding="utf-8")
    return data


def _envi_pair(out: Path) -> tuple[Path, Path]:
    """Data and header. An ending that is not one of ENVI's belongs to the name."""
    stem = out.with_suffix("") if FORMATS.get(out.suffix.lower()) == "envi" else out
    data = stem.with_name(stem.name + ".img") if out.suffix.lower() == ".hdr" else out
    return data, stem.with_name(stem.name + ".hdr")


def _as_envi_holds(scene: Scene, out: Path) -> Scene:
    """The scene in a form that ENVI has. out: for messages.

    Signed 8-bit integers become 16-bit ones: ENVI lacks this type, and GDAL would write unsigned ones. ENVI has no
    masks: a masked scene without a nodata value gets one that no sample has, or else a line says that the mask is lost.
    """
    if np.dtype(scene.stored.dtype) == np.int8:
        scene = replace(scene, stored=_Widened(scene.stored))
    if scene.mask is None or scene.nodata is not None or np.all(scene.mask):
        return scene
    free = _free_number(scene)
    if free is None:
        count = int((~np.asarray(scene.mask, bool)).sum())
        notice(f"{out}: ENVI has no masks, so its {count} masked pixels look like the others; a GeoTIFF keeps the mask")
    return replace(scene, nodata=free)


def _free_number(scene: Scene) -> float | None:
    """NaN for floats; for integers, the end of the type's range that no sample has; None if samples have both."""
    dtype = np.dtype(scene.stored.dtype)
    if dtype.kind == "f":
        return float("nan")
    free = [np.iinfo(dtype).min, np.iinfo(dtype).max]
    for _, block in scene.strips():
        free = [number for number in free if not (block == number).any()]
    return float(free[0]) if free else None


class _Widened(LazyArray):
    """(bands, H, W) of 8-bit integers as 16-bit ones."""

    def __init__(self, stored: Any) -> None:
        self._stored, self.shape, self.dtype = stored, stored.shape, np.dtype(np.int16)

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """The same numbers as 16-bit integers."""
        return np.asarray(self._stored[bands, rows, columns]).astype(self.dtype)


def _write_raster(scene: Scene, path: Path, **options: Any) -> dict[tuple[int, int], int]:
    """Write the scene, and return the checksum of each strip by its first and end row.

    The file is then read back: GDAL does not report errors while it closes a file, for instance on a full disk.
    """
    import rasterio
    from rasterio.windows import Window

    bands, height, width = scene.shape
    dtype = np.dtype(scene.stored.dtype)
    georeference = {"crs": scene.crs} if scene.crs else {}
    if scene.transform is not None:
        georeference["transform"] = rasterio.Affine(*scene.transform)
    written: dict[tuple[int, int], int] = {}
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
        rasterio.open(
            path, "w", count=bands, height=height, width=width, dtype=dtype.name, nodata=scene.nodata,
            **georeference, **options,
        ) as image,
    ):  # fmt: skip
        image.scales, image.offsets = (scene.scale,) * bands, (scene.offset,) * bands
        _write_band_metadata(scene, image, options["driver"])
        for rows, block in scene.strips():
            block = scene.without_masked(rows, block)
            image.write(block, window=Window(0, rows.start, width, rows.stop - rows.start))
            written[rows.start, rows.stop] = _checksum(block)
        if scene.mask is not None and scene.nodata is None and options["driver"] == "GTiff":
            image.write_mask(np.asarray(scene.mask, bool))
    _check_written(path, written)
    return written


def _check_written(path: Path, written: Mapping[tuple[int, int], int]) -> None:
    """Raise OSError unless a raster holds what was written. written: first and end row -> checksum of the strip."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(path) as image:
        for (first, end), checksum in written.items():
            if _checksum(image.read(window=Window(0, first, image.width, end - first))) != checksum:
                raise OSError(f"GDAL has not written rows {first} to {end} whole")


def _checksum(block: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(block, block.dtype.newbyteorder("=")).data)


def _pixel_bytes(scene: Scene, sample_bytes: int | None = None) -> int:
    """Uncompressed bytes of the scene's pixels. sample_bytes: bytes of a sample, if not those of the stored type."""
    return int(np.prod(scene.shape, dtype=object)) * (sample_bytes or np.dtype(scene.stored.dtype).itemsize)


def _write_band_metadata(scene: Scene, image: Any, driver: str) -> None:
    """Wavelengths, widths and bad bands: in ENVI's header, or on every band of a GeoTIFF.

    A GeoTIFF gets them twice: in nanometres with GDAL's names for ENVI files, and in micrometres in the domain IMAGERY,
    which GDAL uses since 3.10.
    """
    centres = None if scene.wavelengths_nm is None else _format_numbers(scene.wavelengths_nm)
    widths = None if scene.fwhm_nm is None else _format_numbers(scene.fwhm_nm)
    good = None if scene.bad_bands is None else [str(int(not bad)) for bad in scene.bad_bands]
    known = {"wavelength": centres, "fwhm": widths, "bbl": good}
    columns = {key: values for key, values in known.items() if values is not None}
    units = {} if centres is None else {"wavelength_units": "Nanometers"}
    if driver == "ENVI":
        lists = {key: "{" + ", ".join(values) + "}" for key, values in columns.items()}
        image.update_tags(ns="ENVI", **lists, **units, **_envi_facts(scene))
        return
    image.update_tags(**scene.provenance.get("tags", {}))
    imagery = {
        key: _format_numbers(np.asarray(values, float) / 1000, decimals=9)
        for key, values in (("CENTRAL_WAVELENGTH_UM", scene.wavelengths_nm), ("FWHM_UM", scene.fwhm_nm))
        if values is not None
    }
    for index in range(1, image.count + 1):
        image.update_tags(index, **{key: values[index - 1] for key, values in columns.items()}, **units)
        if imagery:
            image.update_tags(index, ns="IMAGERY", **{key: values[index - 1] for key, values in imagery.items()})
        if centres is not None:
            image.set_band_description(index, f"band {index} ({centres[index - 1]} Nanometers)")


def _format_numbers(numbers: Any, decimals: int = 6) -> list[str]:
    """Numbers as texts."""
    return [str(round(float(number), decimals)) for number in numbers]


def _envi_facts(scene: Scene) -> dict[str, str]:
    """Further entries of an ENVI header: bands for natural colours, the factor of reflectance, the time.

    SPy reads this factor, but not the gains that GDAL writes.
    """
    facts = {}
    if 0 < scene.scale < 1 and scene.offset == 0:
        facts["reflectance_scale_factor"] = f"{1 / scene.scale:.12g}"
    if scene.wavelengths_nm is not None:
        with suppress(HsisrError):  # the scene has no natural colours
            facts["default_bands"] = "{" + ", ".join(str(band + 1) for band in default_bands(scene)) + "}"
    if scene.provenance.get("acquired"):
        facts["acquisition_time"] = str(scene.provenance["acquired"])
    return facts


def _write_matlab5(scene: Scene, out: Path) -> None:
    from scipy.io import savemat

    check_space(out, _pixel_bytes(scene, 4))
    content = {"cube": np.moveaxis(scene.cube, 0, -1), **_matlab_extras(scene)}
    with atomic_path(out, suffix=".mat") as new:
        savemat(new, content)  # compression takes much longer, and saves little of floats


def _write_matlab73(scene: Scene, out: Path) -> None:
    """HDF5 with MATLAB's 512-byte header and classes. The axes are in reverse order, as in MATLAB."""
    bands, height, width = scene.shape
    with atomic_path(out, suffix=".mat") as new:
        with hdf5.create(new, userblock_size=512) as file:
            chunks = (1, min(width, 256), min(height, 256))
            cube = file.create_dataset("cube", (bands, width, height), np.float32, chunks=chunks, compression=1)
            cube.attrs["MATLAB_class"] = np.bytes_("single")
            for rows, values in _value_strips(scene):
                cube[:, :, rows] = values.transpose(0, 2, 1)
            for name, value in _matlab_extras(scene).items():
                _write_matlab73_variable(file, name, value)
        with open(new, "rb+") as file:
            header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, written by hsisr HDF5 schema 1.00 ."
            file.write(header.ljust(116) + bytes(8) + b"\x00\x02IM")


def _write_matlab73_variable(file: Any, name: str, value: Any) -> None:
    if isinstance(value, str):
        dataset = file.create_dataset(name, data=np.frombuffer(value.encode("utf-16-le"), np.uint16)[:, None])
        dataset.attrs["MATLAB_class"] = np.bytes_("char")
        dataset.attrs["MATLAB_int_decode"] = np.int32(2)
        return
    dataset = file.create_dataset(name, data=value.T)
    dataset.attrs["MATLAB_class"] = np.bytes_({"float64": "double"}.get(value.dtype.name, value.dtype.name))


def _matlab_extras(scene: Scene) -> dict[str, Any]:
    extras: dict[str, Any] = {"name": scene.name}
    if scene.wavelengths_nm is not None:
        extras["wavelengths_nm"] = np.asarray(scene.wavelengths_nm, float)[None]
    if scene.fwhm_nm is not None:
        extras["fwhm_nm"] = np.asarray(scene.fwhm_nm, float)[None]
    if scene.mask is not None or scene.nodata is not None:
        extras["valid"] = np.concatenate([scene.valid_in(*strip) for strip in scene.strips()]).astype(np.uint8)
    return extras


def _write_npy(scene: Scene, out: Path) -> None:
    """Write without a mapped file: on a full disk, a mapped file would kill the process."""
    bands, height, width = scene.shape
    check_space(out, _pixel_bytes(scene, 4))
    with atomic_path(out, suffix=".npy") as new, open(new, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": scene.shape})
        start = file.tell()
        for rows, values in _value_strips(scene, np.nan):
            if scene.mask is not None:
                values = np.where(np.asarray(scene.mask[rows], bool), values, np.float32(np.nan))
            for band, plane in enumerate(values):
                file.seek(start + 4 * width * (band * height + rows.start))
                file.write(np.ascontiguousarray(plane, "<f4").data)


def _value_strips(scene: Scene, without_data: float = 0.0) -> Iterator[tuple[slice, np.ndarray]]:
    """Like `Scene.strips`, but with values. without_data: the value of samples that have none."""
    for rows, block in scene.strips():
        values = replace(scene, stored=block, mask=None, labels=None, guide=None).cube
        missing = scene.without_data(block)
        yield rows, values if missing is None else np.where(missing, np.float32(without_data), values)


def _tiff_options(scene: Scene) -> dict[str, Any]:
    kind = np.dtype(scene.stored.dtype).kind
    tiled = min(scene.shape[1:]) >= _TILE
    blocks = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE} if tiled else {}
    predictor = 3 if kind == "f" else 2
    packed = {"compress": "deflate", "zlevel": _LEVEL, "predictor": predictor}
    options = {**packed, "interleave": "band", "bigtiff": "if_safer", **blocks}
    return options | {"photometric": "minisblack", "alpha": "no"}  # GDAL treats four 8-bit bands as RGB with opacity


@contextmanager
def _quiet(path: Path) -> Iterator[None]:
    """Turn GDAL's errors into one line, and hide its warning about a missing georeference."""
    from rasterio.errors import RasterioError

    try:
        with quiet_gdal():
            yield
    except (RasterioError, ValueError) as error:
        raise cannot_write(path, error) from error
