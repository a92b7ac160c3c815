"""Images that are not plain files: their path leads into a zip or gzip archive, or to a web address.

Paths are `/vsizip/ARCHIVE.zip/IMAGE.tif`, `/vsigzip/IMAGE.tif.gz` and `https://HOST/IMAGE.tif`, as in GDAL. Only the
user can name such an image: hsisr does not follow one that a file names.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any

from hsisr.datasets.archives import zip_members
from hsisr.errors import HsisrError

_ZIP, _GZIP = "/vsizip/", "/vsigzip/"
#: A web address, also with a single /: Path turns // into /.
_ADDRESS = re.compile(r"(https?):/{1,2}([^/].*)", re.IGNORECASE)
#: Endings of such images -> GDAL's name of the format.
_DRIVERS = {".tif": "GTiff", ".tiff": "GTiff", ".jp2": "JP2OpenJPEG"}
#: For web addresses: do not list folders, and stop waiting after a time.
_SETTINGS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_CONNECTTIMEOUT": 30, "GDAL_HTTP_TIMEOUT": 120,
             "GDAL_HTTP_MAX_RETRY": 3}  # fmt: skip
#: GDAL first asks for this many bytes. If a server can only send whole files, GDAL takes only files up to this size.
_FIRST_BYTES = 16_384


def is_virtual(path: Path) -> bool:
    """Whether a path has one of these forms."""
    return str(path).startswith((_ZIP, _GZIP)) or is_address(path)


def is_address(path: Path) -> bool:
    """Whether a path is a web address."""
    return _ADDRESS.fullmatch(str(path)) is not None


def name_and_driver(path: Path) -> tuple[str, str]:
    """The name by which GDAL opens such a path, and GDAL's name of its format.

    Raises HsisrError if the archive is missing, lacks the image or is refused, and for other formats.
    """
    address = _ADDRESS.fullmatch(str(path))
    if address is not None:
        name = f"/vsicurl/{address[1].lower()}://{address[2]}"
        ending = Path(address[2].partition("?")[0]).suffix.lower()
    else:
        archive, member = _archive(path)
        ending = Path(member).suffix.lower()
        if str(path).startswith(_GZIP):
            name = f"{_GZIP}{archive.resolve()}"
        else:
            members = zip_members(archive)
            if member not in members:
                raise HsisrError(f"{archive}: holds no {member or 'image by no name'}; it holds {_some(members)}")
            name = name_inside_zip(archive, members[member])
    if ending not in _DRIVERS:
        raise HsisrError(f"{path}: of images in archives and on the web only {', '.join(_DRIVERS)} are read")
    return name, _DRIVERS[ending]


def name_inside_zip(archive: Path, member: str) -> str:
    """The name by which GDAL opens a file of a zip archive.

    Braces around the archive say where its path ends, whatever its ending. They cannot hold a lone brace. GDAL leaves
    out ./ at the beginning of a member's name.
    """
    member = member.removeprefix("./")
    path, depth = str(archive.resolve()), [0]
    for letter in path:
        depth.append(depth[-1] + {"{": 1, "}": -1}.get(letter, 0))
    balanced = min(depth) == 0 and depth[-1] == 0
    return f"{_ZIP}{{{path}}}/{member}" if balanced else f"{_ZIP}{path}/{member}"


def local_file(path: Path) -> Path | None:
    """The archive of such a path; None for a web address. Raises HsisrError if the archive is missing."""
    return None if is_address(path) else _archive(path)[0]


def settings(path: Path) -> AbstractContextManager[Any]:
    """GDAL's settings around each call for this path."""
    if not is_address(path):
        return nullcontext()
    import rasterio

    return rasterio.Env(**_SETTINGS)


@contextmanager
def reach(path: Path) -> Iterator[None]:
    """Around GDAL's calls for this path: report a web address that does not answer with a file in its own words.

    If a file arrived, GDAL reports its faults itself.
    """
    from rasterio.errors import RasterioIOError

    try:
        yield
    except RasterioIOError as error:
        reason = " ".join(str(error).split())
        address = _ADDRESS.fullmatch(str(path))
        if address is None:
            raise
        url = f"{address[1]}://{address[2]}"
        if re.search(r"HTTP response code|CURL error", reason):
            raise HsisrError(
                f"{url}: cannot be fetched ({reason}); check the address and the connection, or download the file"
            ) from error
        if _comes_whole(url):
            raise HsisrError(f"{url}: its server sends whole files only, not windows of them; download it") from error
        raise


def _comes_whole(url: str) -> bool:
    """Whether a server would send all of a file when asked for a part, and the file is too long for GDAL."""
    import requests

    try:
        with requests.get(url, headers={"Range": "bytes=0-0"}, stream=True, timeout=30) as answer:
            return answer.status_code == 200 and int(answer.headers.get("Content-Length", 0)) > _FIRST_BYTES
    except requests.RequestException:
        return False


def _archive(path: Path) -> tuple[Path, str]:
    """The archive, and the image inside (for gzip: the name without .gz). `Path` drops the / of an absolute path."""
    inside = str(path).removeprefix(_ZIP).removeprefix(_GZIP)
    readings = [inside]
    if inside.startswith("{"):  # braces around the archive, whose own name may hold some
        readings += [inside[1:place] + inside[place + 1 :] for place, letter in enumerate(inside) if letter == "}"]
    for reading, top in product(readings, ("", "/")):
        parts = reading.split("/")
        for count in range(1, len(parts) + 1):
            archive = Path(top + "/".join(parts[:count]))
            if archive.is_file():
                member = "/".join(parts[count:])
                return archive, member or archive.name.removesuffix(".gz")
    raise HsisrError(f"{path}: no such archive; expected {_ZIP}ARCHIVE.zip/IMAGE.tif or {_GZIP}IMAGE.tif.gz")


def _some(names: dict[str, Any]) -> str:
    listed = list(names)[:5]
    return ", ".join(listed) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
