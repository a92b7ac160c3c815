"""ENVI pairs: which data file belongs to which header.

Scanners and processors name the data `X`, `X.img`, `X.dat`, `X.raw`, `X.pix` and in thirty other ways, and the header
`X.hdr` or `X.img.hdr`. The whole name before the last ending counts, with its dots: `scan.v2.hdr` is not the header of
`scan.img`.
"""

import re
from pathlib import Path

from hsisr.datasets.readers.damage import first_bytes
from hsisr.errors import HsisrError
from hsisr.outputs import ENVI_DATA

#: A file `X` with one of these endings is never the data of a header `X.hdr` beside it.
_OTHER = frozenset(
    (".hdr", ".xml", ".txt", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".h5", ".hdf5", ".nc", ".mat", ".npy", ".npz",
     ".enp", ".ovr", ".msk", ".sta", ".csv", ".json", ".log", ".md", ".zip", ".gz", ".kml", ".prj", ".pdf", ".py",
     ".yaml", ".bmp", ".html", ".shp", ".shx", ".dbf", ".geojson", ".roi", ".mtl", ".jp2", ".glu", ".igm", ".glt")
)  # fmt: skip


def data_file(path: Path, head: bytes) -> Path | None:
    """The data file of an ENVI pair, given either file of the pair; None if `path` belongs to no pair.

    head: the first bytes of `path`. Raises HsisrError for a header without data, or with several possible data files.
    """
    if head[:4] == b"ENVI":
        return _data_of(path)
    return path if header_file(path) is not None else None


def header_file(data: Path) -> Path | None:
    """The header of a data file: `X.img.hdr`, or `X.hdr`, in small letters or capitals; None if there is none."""
    names = (data.name,) if data.suffix.lower() in _OTHER else (data.name, data.stem)
    for name in filter(None, names):  # the root folder has no name
        for ending in (".hdr", ".HDR", ".Hdr"):
            header = data.with_name(name + ending)
            if header != data and header.is_file() and _is_header(header):
                return header
    return None


def tie_point(header: Path) -> tuple[float, float] | None:
    """Column and row, from 0, of the point whose coordinates the map info states; None without map info."""
    text = header.read_text(encoding="utf-8", errors="replace")
    words = re.search(r"^\s*map info\s*=\s*\{[^,}]*,([^,}]*),([^,}]*),", text, re.IGNORECASE | re.MULTILINE)
    try:
        return None if words is None else (float(words[1]) - 1, float(words[2]) - 1)
    except ValueError:
        return None


def _data_of(header: Path) -> Path:
    stem = header.stem
    exact = header.with_name(stem)
    if exact.is_file():
        return exact
    beside = [
        file
        for file in sorted(header.parent.iterdir())
        if file.suffix.lower() not in _OTHER and file.name != header.name and file.stem == stem
        if file.suffix and file.is_file()
    ]
    # if several files fit, one with an ending of ENVI's own programs wins
    usual = [file for ending in ENVI_DATA for file in beside if file.suffix.lower() == ending]
    # a file with its own header, such as X.raw.hdr, belongs to that header
    found = [file for file in usual or beside if header_file(file) == header]
    if not found:
        told = _hint_at_kind(header, stem)
        raise HsisrError(
            f"{header}: an ENVI header without its data file; expected {stem}, {stem}.img or the like{told}"
        )
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise HsisrError(
            f"{header}: several files could be its data: {names}; name the one that is meant instead of it"
        )
    return found[0]


def _hint_at_kind(header: Path, stem: str) -> str:
    """A hint if the header describes another kind of file: processors write such headers beside their GeoTIFFs."""
    tiff = next((file for end in (".tif", ".TIF", ".tiff") if (file := header.with_name(stem + end)).is_file()), None)
    return f"; it describes {tiff.name}, give that" if tiff is not None else ""


def _is_header(path: Path) -> bool:
    return first_bytes(path, 4) == b"ENVI"
