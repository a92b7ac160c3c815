"""Reader of GeoTIFF and ENVI through GDAL, with everything that their metadata says.

Read from either format: CRS and transform; wavelengths, band widths and bad bands, from the tags of each band
(`wavelength`, `fwhm`, `bbl`, GDAL's IMAGERY domain) or from the ENVI header; nodata; scale and offset.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers.arrays import build, vector
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.images import driver_of, quiet_gdal
from hsisr.errors import HsisrError
from hsisr.lazy_array import LazyArray
from hsisr.scene import Scene

_NM_PER_UNIT = {"nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "um": 1e3, "micron": 1e3, "micrometer": 1e3,
                "micrometre": 1e3, "\u00b5m": 1e3, "\u03bcm": 1e3}  # fmt: skip
#: Without a unit, centres above this are nanometres and those below are micrometres: no optical sensor is ambiguous.
_LEAST_PLAUSIBLE_NM = 100.0


def matches(path: Path, head: bytes) -> bool:
    """True for TIFF, for an ENVI header, and for a file with an ENVI header beside it."""
    return driver_of(head) == "GTiff" or _envi_data_file(path, head) is not None


def read(path: Path, wavelengths_nm: Any = None, nodata: float | None = None) -> Scene:
    """Scene of a raster file. wavelengths_nm, nodata: take the place of what the metadata says.

    Raises HsisrError for damage, for values that are not finite, and for metadata that contradict themselves.
    """
    image = _Raster(path)
    facts = image.facts()
    if wavelengths_nm is not None:
        facts["wavelengths_nm"] = vector(path, wavelengths_nm, "wavelengths", image.shape[0])
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
    """Shape, type and metadata; no pixels are read."""
    image = _Raster(path)
    facts = image.facts()
    found: dict[str, Any] = {"format": image.format, "bands": image.shape[0], "rows": image.shape[1]}
    found |= {"columns": image.shape[2], "type": str(image.dtype)}
    if facts["wavelengths_nm"] is not None:
        found["wavelengths"] = f"{facts['wavelengths_nm'].min():g} to {facts['wavelengths_nm'].max():g} nm"
    if facts["bad_bands"] is not None:
        found["bad bands"] = int(facts["bad_bands"].sum())
    found |= {key: facts[key] for key in ("scale", "offset", "nodata", "crs", "transform") if facts[key] is not None}
    return found


class _Raster(LazyArray):
    """An open raster file."""

    def __init__(self, path: Path) -> None:
        import rasterio

        with open(path, "rb") as file:
            head = file.read(1024)
        driver = driver_of(head)
        data_file = path if driver == "GTiff" else _envi_data_file(path, head)
        if data_file is None:
            raise HsisrError(f"{path}: neither TIFF nor ENVI")
        self.path = path
        with self._guarded():
            self._image = rasterio.open(data_file, driver="GTiff" if driver == "GTiff" else "ENVI")
            self.shape = (self._image.count, self._image.height, self._image.width)
            types = set(self._image.dtypes)
        self.format = "GeoTIFF" if driver == "GTiff" else "ENVI"
        if len(types) != 1:
            raise HsisrError(f"{path}: its bands have different types: {', '.join(sorted(types))}")
        self._check_interpretation()
        if self.format == "ENVI":
            self._check_envi(data_file)
        self.scales, self.offsets = np.array(self._image.scales), np.array(self._image.offsets)
        if not (np.isfinite(self.scales).all() and np.isfinite(self.offsets).all() and self.scales.all()):
            raise HsisrError(f"{path}: a band's scale or offset is not a number, or the scale is 0")
        #: Bands that differ in scale or offset are read as values; else stored numbers stay as they are.
        self._uniform = len(set(self.scales)) == 1 and len(set(self.offsets)) == 1
        self.dtype = np.dtype(types.pop()) if self._uniform else np.dtype(np.float32)

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """Stored numbers of a window; values where the bands differ in scale or offset."""
        from rasterio.windows import Window

        indexes = [index + 1 for index in range(bands.start, bands.stop, bands.step)]
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        with self._guarded():
            block = self._image.read(indexes, window=window)
        return block if self._uniform else self._in_values(block, [index - 1 for index in indexes])

    def facts(self) -> dict[str, Any]:
        """Fields of Scene that the metadata give."""
        with self._guarded():
            per_band = [self._band_tags(index) for index in range(1, self.shape[0] + 1)]
            crs = self._image.crs
            transform = self._image.transform
            mask = self._valid_pixels()
            tags = self._image.tags()
        return {
            "wavelengths_nm": self._lengths(per_band, "wavelength"),
            "fwhm_nm": self._lengths(per_band, "fwhm"),
            "bad_bands": self._bad_bands(per_band),
            "nodata": self._nodata(),
            "scale": float(self.scales[0]) if self._uniform else 1.0,
            "offset": float(self.offsets[0]) if self._uniform else 0.0,
            "crs": crs.to_wkt() if crs else None,
            "transform": None if transform.is_identity else tuple(transform)[:6],
            "mask": mask,
            "provenance": {"tags": tags} if tags else {},
        }

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with quiet_gdal(), damage(self.path, "raster file"):
            yield

    def _check_interpretation(self) -> None:
        if self.shape[0] == 1 and self._image.colorinterp[0].name == "palette":
            raise HsisrError(f"{self.path}: holds palette indices, not values")

    def _check_envi(self, data_file: Path) -> None:
        """GDAL takes defaults for what a header lacks and zeros for what the data lack: refuse both."""
        header = self._header()
        for key in ("samples", "lines", "bands", "data_type", "interleave"):
            if key not in header:
                raise HsisrError(f"{self.path}: its ENVI header lacks `{key.replace('_', ' ')}`; it is cut or damaged")
        expected = int(np.prod(self.shape, dtype=object)) * np.dtype(self._image.dtypes[0]).itemsize
        with self._guarded():
            expected += int(header.get("header_offset", "0") or 0)
        actual = data_file.stat().st_size
        if actual < expected and header.get("file_compression", "0").strip() in ("", "0"):
            raise HsisrError(
                f"{data_file}: damaged or cut raster file ({actual:,} bytes, its header says {expected:,})"
            )

    def _header(self) -> dict[str, str]:
        """The ENVI header, keys in lower case with _ for blanks; empty for a GeoTIFF."""
        return {name.lower(): value for name, value in self._image.tags(ns="ENVI").items()}

    def _in_values(self, block: np.ndarray, bands: list[int]) -> np.ndarray:
        values = (block * self.scales[bands, None, None] + self.offsets[bands, None, None]).astype(np.float32)
        nodata = self._nodata()
        if nodata is not None:
            values[np.isnan(block) if np.isnan(nodata) else block == nodata] = nodata
        return values

    def _band_tags(self, index: int) -> dict[str, str]:
        """Lower-case tags of one band; those of GDAL's IMAGERY domain are given as if they were plain."""
        imagery = {key.lower(): value for key, value in self._image.tags(index, ns="IMAGERY").items()}
        tags = {}
        if "central_wavelength_um" in imagery:
            tags |= {"wavelength": imagery["central_wavelength_um"], "wavelength_units": "um"}
            tags |= {"fwhm": imagery["fwhm_um"]} if "fwhm_um" in imagery else {}
        plain = {key.lower(): value for key, value in self._image.tags(index).items()}
        return {**tags, **plain}

    def _lengths(self, per_band: list[dict[str, str]], key: str) -> np.ndarray | None:
        """Wavelengths or band widths in nanometres, or None where the file does not give them."""
        header = self._header()
        if key in header:
            values = header[key].strip("{} \n").split(",")
            units = header.get("wavelength_units", "")
        elif any(key in tags for tags in per_band):
            if not all(key in tags for tags in per_band):
                count = sum(key in tags for tags in per_band)
                raise HsisrError(f"{self.path}: gives the {key} of {count} of {self.shape[0]} bands only")
            values = [tags[key] for tags in per_band]
            units = next(
                (tags[k] for tags in per_band for k in ("wavelength_units", "wavelength_unit") if k in tags), ""
            )
        else:
            return None
        lengths = vector(self.path, [value.strip() for value in values], f"{key} values", self.shape[0])
        return None if lengths is None else lengths * self._nm_per_unit(units, lengths, per_band, key)

    def _nm_per_unit(self, units: str, lengths: np.ndarray, per_band: list[dict[str, str]], key: str) -> float:
        name = units.strip().lower().rstrip("s")
        if name in _NM_PER_UNIT:
            return _NM_PER_UNIT[name]
        if key == "fwhm":  # widths have the unit of the centres
            centres = self._lengths(per_band, "wavelength")
            given = centres is not None and np.median(centres) / max(np.median(lengths), 1e-12) > 1e4
            return 1e3 if given else 1.0
        return 1.0 if np.median(lengths) > _LEAST_PLAUSIBLE_NM else 1e3

    def _bad_bands(self, per_band: list[dict[str, str]]) -> np.ndarray | None:
        header = self._header()
        if "bbl" in header:
            good = [value.strip() for value in header["bbl"].strip("{} \n").split(",")]
        else:
            good = [tags.get("bbl", "1") for tags in per_band]
        flags = vector(self.path, good, "entries of the bad-band list", self.shape[0])
        bad = np.asarray(flags) == 0
        return bad if bad.any() else None

    def _nodata(self) -> float | None:
        values = {value for value in self._image.nodatavals if value is not None}
        plain = {value for value in values if not np.isnan(value)}
        if len(plain) > 1:
            raise HsisrError(f"{self.path}: its bands declare different nodata values: {sorted(plain)}")
        return next(iter(plain or values), None)

    def _valid_pixels(self) -> np.ndarray | None:
        from rasterio.enums import MaskFlags

        flags = self._image.mask_flag_enums[0]
        if MaskFlags.per_dataset not in flags or MaskFlags.alpha in flags:
            return None
        valid = self._image.read_masks(1) != 0
        return None if valid.all() else valid


def _envi_data_file(path: Path, head: bytes) -> Path | None:
    """The data file of an ENVI pair, given either of the two; None if `path` belongs to no such pair."""
    if head[:4] == b"ENVI":
        stem = path.with_suffix("")
        beside = [stem, *(stem.with_suffix(suffix) for suffix in (".img", ".dat", ".bsq", ".bil", ".bip", ".raw"))]
        found = [file for file in beside if file.is_file()]
        if not found:
            raise HsisrError(f"{path}: an ENVI header without its data file; expected {stem.name}, .img, .dat or .bsq")
        return found[0]
    for header in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")):
        if header != path and header.is_file():
            with open(header, "rb") as file:
                if file.read(4) == b"ENVI":
                    return path
    return None
