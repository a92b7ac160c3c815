"""Reader of GeoTIFF and ENVI, JPEG 2000, HFA, ERS and VRT through GDAL, with all metadata that hsisr uses.

Metadata are CRS and transform; wavelengths, band widths and bad bands; nodata; scale and offset. The spectral ones come
from the tags of each band (`wavelength`, `fwhm`, `bbl`, GDAL's IMAGERY domain), from its description, from the file's
tags or from the ENVI header. Alpha bands and masks become masks, and the pages of a TIFF become bands.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers import beside, envi, ground, virtual
from hsisr.datasets.readers.arrays import build, check_claim, vector
from hsisr.datasets.readers.damage import damage, first_bytes
from hsisr.datasets.readers.images import gdal_name, quiet_gdal, raster_driver_of, valid_pixels
from hsisr.datasets.readers.wavelengths import numbers, read_descriptions, spectral_facts
from hsisr.errors import HsisrError
from hsisr.files import natural_key
from hsisr.lazy_array import LazyArray
from hsisr.limits import BANDS, TEXT_BYTES, check
from hsisr.scene import Scene

#: Names of centres and widths in the tags of bands and of whole files.
_CENTRES = (
    "wavelength", "wavelengths", "center_wavelength", "central_wavelength", "centre_wavelength", "wavelength_nm",
    "wavelengths_nm", "band_wavelength", "wavelength_center", "wavelength_um",
)  # fmt: skip
_WIDTHS = ("fwhm", "fwhm_nm", "bandwidth", "band_width", "fwhms")
#: GDAL's names of formats -> the usual names.
_FORMATS = {"GTiff": "GeoTIFF", "JP2OpenJPEG": "JPEG 2000"}
_UNITS = ("wavelength_units", "wavelength_unit", "wavelengths_units", "wavelengths_unit")


def matches(path: Path, head: bytes) -> bool:
    """True for TIFF, JPEG 2000, HFA, ERS and VRT, for an ENVI header, and for a file with an ENVI header beside it."""
    return raster_driver_of(head) is not None or envi.data_file(path, head) is not None


def read(
    path: Path,
    wavelengths_nm: Any = None,
    nodata: float | None = None,
    crs: str | None = None,
    georeference: str | None = None,
    sources: str = "beside",
) -> Scene:
    """Scene of a raster file. wavelengths_nm, nodata, crs: replace the values of the metadata.

    georeference: `none` leaves out the file's georeference, such as control points that fit no grid.
    sources: the place of files that a VRT names: `beside` (in its folder or below), or `any`.
    Raises HsisrError for damage, for values that are not finite, and for metadata that contradict each other.
    """
    image = _Raster(path, sources)
    facts = image.facts(wavelengths_nm, crs, georeference)
    if nodata is not None:
        facts["nodata"] = nodata
    return build(path, image, (0, 1, 2), **facts)


def read_plane(path: Path) -> np.ndarray:
    """The only band of a raster file."""
    image = _Raster(path)
    if image.shape[0] != 1:
        raise HsisrError(f"{path}: {image.shape[0]} bands; a layer of labels has one")
    return image[...][0]


def describe(path: Path) -> dict[str, Any]:
    """Shape, type and metadata. Pixels are not read, except those of masks."""
    image = _Raster(path)
    facts = image.facts()
    found: dict[str, Any] = {"format": image.format, "bands": image.shape[0], "rows": image.shape[1]}
    found |= {"columns": image.shape[2], "type": str(image.dtype)}
    centres, bad = facts["wavelengths_nm"], facts["bad_bands"]
    if centres is not None:
        used = centres[centres > 0]
        found["wavelengths"] = f"{used.min():g} to {used.max():g} nm"
    if bad is not None:
        found["bad bands"] = int(bad.sum())
    if facts["mask"] is not None:
        found["masked pixels"] = int((~facts["mask"]).sum())
    found |= {key: facts[key] for key in ("scale", "offset", "nodata", "crs", "transform") if facts[key] is not None}
    if "georeference" in facts["provenance"]:
        found["georeference"] = facts["provenance"]["georeference"]
    return found


class _Raster(LazyArray):
    """An open raster file."""

    def __init__(self, path: Path, sources: str = "beside") -> None:
        self.path = path
        head, name, driver = b"", None, None
        if virtual.is_virtual(path):
            name, driver = virtual.name_and_driver(path)
        else:
            head = first_bytes(path, 1024)
            driver = raster_driver_of(head)
        self.format = _FORMATS.get(driver or "ENVI", driver or "ENVI")
        data = path if driver is not None else envi.data_file(path, head)
        if data is None:
            raise HsisrError(f"{path}: neither TIFF nor ENVI")
        header = envi.header_file(data) if self.format == "ENVI" else None
        if header is not None:
            check(header, TEXT_BYTES, header.stat().st_size, "bytes of text")
        if header is not None and b"spectral library" in header.read_bytes().lower():
            raise HsisrError(f"{path}: a library of spectra, not an image")
        self._tie = None if header is None else envi.tie_point(header)
        with self._guard():
            if driver == "GTiff":
                self._images = self._pages(name or path)
            elif driver is None:
                self._images = [_open_envi(data)]
            else:
                self._images = [beside.open_image(path, driver, sources) if name is None else _open(name, driver)]
            self._image = self._images[0]
            self.files = self._read_from(data, header)
            check(path, BANDS, sum(image.count for image in self._images), "bands")
            check_claim(path, sum(_bytes(image) for image in self._images), self.files)
            types = {dtype for image in self._images for dtype in image.dtypes}
        if len(types) != 1:
            raise HsisrError(f"{path}: its bands have different types: {', '.join(sorted(types))}")
        self._check_interpretation()
        if self.format == "ENVI":
            self._check_envi(data)
        with self._guard():
            self._mask, alpha = valid_pixels(path, self._image)
        #: For each band of the scene, its image and its band there.
        self._places = [
            (number, band)
            for number, image in enumerate(self._images)
            for band in range(1, image.count + 1)
            if band != alpha
        ]
        self.shape = (len(self._places), self._image.height, self._image.width)
        self._set_scale()
        #: If bands differ in scale or offset, they are read as values; else stored numbers stay unchanged.
        self._uniform = len(set(self.scales)) == 1 and len(set(self.offsets)) == 1
        self.dtype = np.dtype(types.pop()) if self._uniform else np.dtype(np.float32)

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """Stored numbers of a window; values if the bands differ in scale or offset."""
        from rasterio.windows import Window

        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        indices = list(range(bands.start, bands.stop, bands.step))
        with self._guard():
            if len(self._images) == 1:
                block = self._image.read([self._places[index][1] for index in indices], window=window)
            else:
                places = [self._places[index] for index in indices]
                block = np.stack([self._images[number].read(band, window=window) for number, band in places])
        return block if self._uniform else self._in_values(block, indices)

    def facts(
        self, wavelengths_nm: Any = None, crs: str | None = None, georeference: str | None = None
    ) -> dict[str, Any]:
        """Fields of Scene from the metadata. The arguments, as for `read`, replace them."""
        with self._guard():
            tags = self._image.tags()
            spectral = self._spectral(tags, vector(self.path, wavelengths_nm, "wavelengths", self.shape[0]))
            place = ground.as_told(self.path, ground.georeference(self._image, self._tie), crs, georeference)
        provenance: dict[str, Any] = {"tags": tags} if tags else {}
        if place.unused:
            provenance["georeference"] = place.unused
        return {
            **spectral,
            "nodata": self._nodata(),
            "scale": float(self.scales[0]) if self._uniform else 1.0,
            "offset": float(self.offsets[0]) if self._uniform else 0.0,
            "crs": place.crs,
            "transform": place.transform,
            "mask": self._mask,
            "provenance": provenance,
        }

    @contextmanager
    def _guard(self) -> Iterator[None]:
        with quiet_gdal(), virtual.settings(self.path), damage(self.path, "raster file"), virtual.reach(self.path):
            yield

    def _read_from(self, data: Path, header: Path | None) -> tuple[Path, ...]:
        """The files that hold the image, as far as they lie on a local disk."""
        if virtual.is_virtual(self.path):
            archive = virtual.local_file(self.path)
            return () if archive is None else (archive,)
        if header is not None:  # GDAL may have opened links to these files
            return data, header
        return tuple(Path(file) for image in self._images for file in image.files)

    def _pages(self, path: Path | str) -> list[Any]:
        """The open image, or for a TIFF with several pages, one image for each page."""
        import rasterio

        image = _open(path, "GTiff")
        if len(image.subdatasets) < 2:
            return [image]
        check(self.path, BANDS, len(image.subdatasets), "pages")
        pages = [rasterio.open(name) for name in sorted(image.subdatasets, key=natural_key)]
        if len({(page.count, page.height, page.width, page.dtypes) for page in pages}) != 1:
            sizes = ", ".join(dict.fromkeys(f"{page.count} x {page.height} x {page.width}" for page in pages))
            raise HsisrError(
                f"{path}: holds {len(pages)} pages that differ (bands x rows x columns: {sizes}), so that they are not "
                "the bands of one scene; save the one that is meant in a file of its own"
            )
        return pages

    def _check_interpretation(self) -> None:
        with self._guard():
            holds_indices = self._image.count == 1 and self._image.colorinterp[0].name == "palette"
        if holds_indices:
            raise HsisrError(
                f"{self.path}: holds palette indices, not values; save it with its colours "
                "(gdal_translate -expand rgb), or as the numbers behind them"
            )

    def _check_envi(self, data_file: Path) -> None:
        """Refuse incomplete files: GDAL uses defaults for missing header entries, and zeros for missing data."""
        header = self._header()
        for key in ("samples", "lines", "bands", "data_type", "interleave"):
            if key not in header:
                raise HsisrError(f"{self.path}: its ENVI header lacks `{key.replace('_', ' ')}`; it is cut or damaged")
        size = (self._image.count, self._image.height, self._image.width)
        expected = int(np.prod(size, dtype=object)) * np.dtype(self._image.dtypes[0]).itemsize
        with self._guard():
            expected += int(header.get("header_offset", "0") or 0)
        actual = data_file.stat().st_size
        if actual < expected and header.get("file_compression", "0").strip() in ("", "0"):
            raise HsisrError(
                f"{data_file}: damaged or cut raster file ({actual:,} bytes, its header says {expected:,})"
            )

    def _header(self) -> dict[str, str]:
        """The ENVI header, keys in lower case with _ for blanks; empty for other formats."""
        with self._guard():
            return {name.lower(): value for name, value in self._image.tags(ns="ENVI").items()}

    def _of_bands(self, say: Callable[[Any], Sequence[Any]]) -> list[Any]:
        """One fact of rasterio for each band of the scene. say: from an image to this fact for all its bands (slow)."""
        with self._guard():
            columns = [say(image) for image in self._images]
        return [columns[number][band - 1] for number, band in self._places]

    def _set_scale(self) -> None:
        """Scales and offsets of the bands. An ENVI header also gives the factor that reflectance was multiplied by."""
        self.scales = np.array(self._of_bands(lambda image: image.scales))
        self.offsets = np.array(self._of_bands(lambda image: image.offsets))
        factor = self._header().get("reflectance_scale_factor")
        if factor is not None and (self.scales == 1).all() and (self.offsets == 0).all():
            value = float(numbers(self.path, factor, "reflectance scale factors", 1)[0][0])
            if value > 0:
                self.scales = self.scales / value
        if not (np.isfinite(self.scales).all() and np.isfinite(self.offsets).all() and self.scales.all()):
            raise HsisrError(f"{self.path}: a band's scale or offset is not a number, or the scale is 0")

    def _in_values(self, block: np.ndarray, bands: list[int]) -> np.ndarray:
        values = (block * self.scales[bands, None, None] + self.offsets[bands, None, None]).astype(np.float32)
        nodata = self._nodata()
        if nodata is not None:
            values[np.isnan(block) if np.isnan(nodata) else block == nodata] = nodata
        return values

    def _spectral(self, tags: dict[str, str], centres_nm: np.ndarray | None) -> dict[str, np.ndarray | None]:
        """Wavelengths, widths and bad bands: from the header, else the bands, else the file, else descriptions."""
        header, file = self._header(), {key.lower(): value for key, value in tags.items()}
        bands = [self._band_tags(number, band) for number, band in self._places]
        units = _first(header, _UNITS) or next((u for band in bands if (u := _first(band, _UNITS))), None)
        units = units or _first(file, _UNITS) or ""
        centres, named = (centres_nm, None) if centres_nm is not None else self._column(_CENTRES, header, bands, file)
        if centres is None:
            centres = read_descriptions(self._of_bands(lambda image: image.descriptions))
        if not units and named is not None:
            units = {"nm": "nm", "um": "um"}.get(named.rpartition("_")[2], "")
        widths, _ = self._column(_WIDTHS, header, bands, file)
        good: Any = header.get("bbl") or file.get("bbl")
        if good is None and any("bbl" in band for band in bands):
            good = [band.get("bbl", "1") for band in bands]
        found = spectral_facts(self.path, self.shape[0], centres, units, widths, good)
        return found if centres_nm is None else found | {"wavelengths_nm": centres_nm}

    def _column(
        self, keys: tuple[str, ...], header: dict[str, str], bands: list[dict[str, str]], file: dict[str, str]
    ) -> tuple[Any, str | None]:
        """The values of one of these keys for all bands, and the key; (None, None) without any."""
        for key in keys:
            if header.get(key):
                return header[key], key
            given = sum(key in band for band in bands)
            if given == len(bands):
                return [band[key] for band in bands], key
            if given:
                raise HsisrError(
                    f"{self.path}: gives the {key} of {given} of {len(bands)} bands only; set all of them with "
                    "--read wavelengths_nm=450,460,..., or write 0 for bands that are not used"
                )
            if file.get(key):
                return file[key], key
        return None, None

    def _band_tags(self, number: int, band: int) -> dict[str, str]:
        """Lower-case tags of one band. Tags of GDAL's IMAGERY domain are included like plain ones."""
        image = self._images[number]
        imagery = {key.lower(): value for key, value in image.tags(band, ns="IMAGERY").items()}
        tags: dict[str, str] = {}
        if "central_wavelength_um" in imagery:
            tags |= {"wavelength": imagery["central_wavelength_um"], "wavelength_units": "um"}
            tags |= {"fwhm": imagery["fwhm_um"]} if "fwhm_um" in imagery else {}
        plain = {key.lower().replace(" ", "_"): value for key, value in image.tags(band).items()}
        return {**tags, **plain}

    def _nodata(self) -> float | None:
        values = set(self._of_bands(lambda image: image.nodatavals)) - {None}
        plain = {value for value in values if not np.isnan(value)}
        if len(plain) > 1:
            raise HsisrError(f"{self.path}: its bands declare different nodata values: {sorted(plain)}")
        return next(iter(plain or values), None)


def _bytes(image: Any) -> int:
    count: int = image.count * image.height * image.width * np.dtype(image.dtypes[0]).itemsize
    return count


def _first(tags: dict[str, str], keys: tuple[str, ...]) -> str | None:
    return next((tags[key] for key in keys if tags.get(key)), None)


def _open(path: Path | str, driver: str) -> Any:
    import rasterio

    return rasterio.open(gdal_name(path) if isinstance(path, Path) else path, driver=driver)


def _open_envi(data: Path) -> Any:
    """The data file, opened by GDAL with the right header.

    For a data file `scan.v2`, GDAL would use `scan.hdr`. In this case, it opens links to both files with plain names.
    """
    header = envi.header_file(data)
    by_gdal = data.with_suffix(".hdr")
    if header is None or header == by_gdal or not by_gdal.is_file():
        return _open(data, "ENVI")
    with tempfile.TemporaryDirectory() as folder:
        for source, name in ((data, "cube"), (header, "cube.hdr")):
            os.symlink(source.resolve(), Path(folder) / name)
        return _open(Path(folder) / "cube", "ENVI")
