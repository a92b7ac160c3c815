"""Readers: any supported file, or folder of band images, becomes a Scene. One module a format, chosen by content.

A reader module has three functions. `matches(path, head)` looks at the path and the first bytes.
`read(path, **options)` returns a Scene named after the path. `describe(path)` returns what `hsisr info` prints. If the
format can hold a single layer, there is also `read_plane(path)`. To add a format, write its module and add it to
READERS, and to PLANE_READERS if it reads single layers.
"""

import importlib
import inspect
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hsisr.datasets.readers import virtual
from hsisr.datasets.readers.damage import first_bytes
from hsisr.datasets.readers.packages import list_once
from hsisr.errors import HsisrError, did_you_mean
from hsisr.scene import Scene

#: Readers of agencies' products, which consist of several files or several arrays.
PRODUCTS = (
    *("prisma", "enmap", "emit", "desis", "sentinel2", "hyperion", "landsat"),
    *("aviris", "neon", "tanager", "planet", "stac"),
)
#: Names of readers, as in `reader:` of a catalogue entry. They try a file in this order.
READERS = ("scene", "numpy", "matlab", *PRODUCTS, "band_images", "hdf5", "rgb", "raster")
#: Readers of a single layer: labels or a mask.
PLANE_READERS = ("numpy", "matlab", "raster")

_HEAD_BYTES = 1024
#: Most files and folders of an unknown folder that a message looks at.
_MOST_LISTED = 1000


def read_scene(path: str | os.PathLike, reader: str = "auto", **options: Any) -> Scene:
    """Read a file, or a folder of band images, and return it as a Scene.

    path: of the file or folder. reader: one of READERS; `auto` decides by the content, never by the file's ending.
    options: of the reader, such as `variable`, `axes` or `wavelengths_nm`; see the `read` function of its module.
    If a folder holds nothing but one folder, hsisr reads that one: CAVE's archive unpacks like this.
    Raises HsisrError, with file and fault, for anything that cannot be read.
    """
    path = innermost(Path(path))
    _check_reachable(path)
    module = _module(reader) if reader != "auto" else _recognise(path)
    known = inspect.signature(module.read).parameters
    for key in options:
        if key not in known:
            raise HsisrError(
                f"{path}: the reader {_name(module)} has no option {key!r}; {did_you_mean(key, known)}it knows "
                f"{', '.join(list(known)[1:])}"
            )
    if not path.exists() and not virtual.is_virtual(path):
        raise HsisrError(f"{path}: no such file or folder")
    return module.read(path, **options)


def read_plane(path: str | os.PathLike) -> np.ndarray:
    """One layer (H, W) of a file, such as labels or a mask: the only array with two axes, or the only band."""
    path = Path(path)
    module = _recognise(path)
    if _name(module) not in PLANE_READERS:
        raise HsisrError(f"{path}: cannot be read as a layer of labels; expected .npy, .mat or a raster")
    return module.read_plane(path)


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """The content of a file or a folder of band images. Pixels are not read, if the format allows it."""
    path = innermost(Path(path))
    _check_reachable(path)
    return _recognise(path).describe(path)


def is_product(path: str | os.PathLike) -> bool:
    """Whether a file or folder is an agency's product. A product is one scene, even if it has many files."""
    path = innermost(Path(path))
    head = first_bytes(path, _HEAD_BYTES) if path.is_file() else b""
    with list_once():
        return path.exists() and any(_module(name).matches(path, head) for name in PRODUCTS)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise HsisrError(f"{path}: cannot be read ({error.strerror})") from error


def _check_reachable(path: Path) -> None:
    """Raise HsisrError for a file or folder without permission to read."""
    try:
        if path.exists() and not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise HsisrError(f"{path}: cannot be read (Permission denied)")
    except OSError as error:
        raise HsisrError(f"{path}: cannot be read ({error.strerror})") from error


def innermost(path: Path) -> Path:
    """The first folder that holds more than a single folder. Errors as `read_scene`."""
    path = path if path.name else path.resolve()  # "." is not the folder's name
    while _is_folder(path):
        try:
            inside = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        except OSError as error:
            raise HsisrError(f"{path}: cannot be read ({error.strerror})") from error
        if len(inside) != 1 or not inside[0].is_dir():
            break
        path = inside[0]
    return path


def _module(name: str) -> ModuleType:
    if name not in READERS:
        raise HsisrError(
            f"unknown reader {name!r}; {did_you_mean(name, [*READERS, 'auto'])}known: {', '.join(READERS)}, auto"
        )
    return importlib.import_module(f"hsisr.datasets.readers.{name}")


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _recognise(path: Path) -> ModuleType:
    if virtual.is_virtual(path):
        return _module("raster")
    if not path.exists():
        raise HsisrError(f"{path}: no such file or folder")
    head = b""
    if path.is_file():
        head = first_bytes(path, _HEAD_BYTES)
        if not head:
            raise HsisrError(f"{path}: empty file (0 bytes); get it again")
    with list_once():
        for name in READERS:
            module = _module(name)
            if module.matches(path, head):
                return module
    what = _describe_folder(path) if path.is_dir() else _guess(path, head)
    raise HsisrError(f"{path}: {what}; expected one of the formats {', '.join(READERS)}")


def _describe_folder(folder: Path) -> str:
    """The content of an unknown folder, for a message."""
    inside = sorted(folder.rglob("*"))[:_MOST_LISTED]
    what = "content not recognised (a folder without numbered images)"
    product = next((path for path in inside if path.is_dir() and is_product(path)), None)
    if product is not None:
        return f"{what}; it holds the product {product.relative_to(folder)}, name that"
    files = [file for file in inside if file.is_file()]
    endings = (".tif", ".tiff", ".hdr", ".mat", ".npy", ".h5", ".he5", ".nc")
    scenes = [file for file in files if file.suffix.lower() in endings]
    if scenes:
        return f"{what}; it holds {scenes[0].relative_to(folder)}, name the file that is meant"
    return what


def _guess(path: Path, head: bytes) -> str:
    start = head.lstrip()[:64].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, not data (an error page of the server, saved under this name); download it again"
    if head.startswith(b"PK\x03\x04"):
        return "a zip archive; unpack it first, or read /vsizip/ARCHIVE.zip/IMAGE.tif"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first (tar -xf)"
    if head.startswith(b"\x1f\x8b"):
        if path.name.lower().endswith((".tar.gz", ".tgz")):
            return "a compressed tar archive; unpack it first (tar -xzf)"
        return "a gzip archive; unpack it first, or read /vsigzip/IMAGE.tif.gz"
    if head.startswith(b"CDF"):
        return "a netCDF file of version 3; make one of version 4 first (nccopy -k nc4)"
    if head.startswith(b"\x0e\x03\x13\x01"):
        return "an HDF4 file; make a GeoTIFF or HDF5 of it first (gdal_translate, h4toh5)"
    return "content not recognised"
