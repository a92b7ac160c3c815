"""The files of a product, in a folder, or in a zip or tar archive that is read without unpacking.

Agencies deliver a product as a folder, or as its archive: images and descriptions whose names begin alike. Archives
pass the same checks as in `hsisr.datasets.archives`. Descriptions are XML. A document type is refused, so no XML can
expand entities or name other files.
"""

import math
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from hsisr.datasets.archives import tar_members, zip_members
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.images import gdal_name
from hsisr.datasets.readers.virtual import name_inside_zip
from hsisr.errors import HsisrError

_ZIP, _TAR = "zip", "tar"
#: Endings of images of which another file holds the header.
_WITH_HEADER = (".bsq", ".bil", ".bip")
#: Limits of descriptions: bytes, nesting depth and number of elements. Real XML has up to 10 MB and a depth of 15;
#: other texts have 0.1 MB.
_MOST_XML_BYTES, _MOST_TEXT_BYTES, _MOST_TAG_BYTES = 64 * 2**20, 4 * 2**20, 2**20
_MOST_DEPTH, _MOST_ELEMENTS = 100, 500_000
#: Most files of a folder that hsisr looks at, and most levels of folders; Sentinel-2 uses five levels.
_MOST_FILES, _MOST_FOLDERS_DEEP = 5_000, 6


#: Packages listed so far, while several readers test the same path (`list_once`); else None.
_looked_into: ContextVar[dict[Path, "Package | None"] | None] = ContextVar("looked_into", default=None)


@contextmanager
def list_once() -> Iterator[None]:
    """Inside this context, each folder or archive is listed only once, however many readers ask for it."""
    token = _looked_into.set({})
    try:
        yield
    finally:
        _looked_into.reset(token)


@dataclass(frozen=True)
class Package:
    """The files of a folder or an archive.

    names: path inside -> the file's path; in a zip, the archive's name of it; in a tar, its first byte and its length.
    archive: zip, tar, or empty for a folder.
    """

    path: Path
    names: dict[str, str]
    archive: str = ""

    @classmethod
    def of(cls, path: Path, head: bytes = b"") -> "Package | None":
        """The package of a folder or an archive; None for another file. head: its first bytes."""
        known = _looked_into.get()
        if known is None:
            return cls._list(path, head)
        if path not in known:
            known[path] = cls._list(path, head)
        return known[path]

    @classmethod
    def _list(cls, path: Path, head: bytes) -> "Package | None":
        if path.is_dir():
            return cls(path, _files_below(path))
        if head.startswith(b"PK\x03\x04"):
            archive, members = _ZIP, zip_members(path)
        elif head[257:262] == b"ustar":
            archive = _TAR
            members = {name: f"{first}_{length}" for name, (first, length) in tar_members(path).items()}
        else:
            return None
        return cls(path, {name: own for name, own in members.items() if not _is_hidden(name)}, archive)

    @classmethod
    def around(cls, file: Path) -> "Package":
        """The package of all files in the same folder as this one, without the folders below."""
        return cls(file.parent, {entry.name: str(entry) for entry in sorted(file.parent.iterdir()) if entry.is_file()})

    def starting(self, prefix: str) -> "Package":
        """The package of the files whose names begin with `prefix`."""
        chosen = {name: where for name, where in self.names.items() if name.rpartition("/")[2].startswith(prefix)}
        return Package(self.path, chosen, self.archive)

    def find(self, pattern: str) -> list[str]:
        """Paths inside whose last parts match a pattern. Small letters and capitals count as equal."""
        wanted = re.compile(rf"(?:.*/)?(?:{pattern})", re.IGNORECASE)
        return sorted(name for name in self.names if wanted.fullmatch(name))

    def first(self, pattern: str) -> str | None:
        """The first of `find`; None if there is none."""
        return next(iter(self.find(pattern)), None)

    def on_top(self) -> list[str]:
        """Paths inside that lie at the top. In an archive all do: portals wrap products in folders of their own.

        DLR's orders hold `dims_op_oc_.../ENMAP.HSI.L2A/ENMAP01-.../`.
        """
        return [name for name in self.names if self.archive or "/" not in name]

    def place(self, name: str) -> Path:
        """The path of a file, for messages."""
        return self.path / name

    def image(self, name: str) -> str:
        """The name by which GDAL opens a file."""
        own = self.names[name]
        if self.archive == _ZIP:
            return name_inside_zip(self.path, own)
        if self.archive == _TAR:
            if Path(name).suffix.lower() in _WITH_HEADER:
                raise HsisrError(f"{self.place(name)}: needs its header beside it; unpack the archive first (tar -xf)")
            return f"/vsisubfile/{own},{self.path.resolve()}"
        return gdal_name(Path(own))

    def file(self, name: str) -> Path:
        """The file on the disk: the file itself, or its archive."""
        return self.path if self.archive else Path(self.names[name])

    def files(self) -> tuple[Path, ...]:
        """All files on the disk that hold the package."""
        return (self.path,) if self.archive else tuple(map(Path, self.names.values()))

    def _head(self, name: str, count: int) -> bytes:
        """The first bytes of a file."""
        own = self.names[name]
        if self.archive == _ZIP:
            with zipfile.ZipFile(self.path) as zipped, zipped.open(own) as file:
                return file.read(count)
        if self.archive == _TAR:
            first, length = map(int, own.split("_"))
            with open(self.path, "rb") as tarred:
                tarred.seek(first)
                return tarred.read(min(length, count))
        with open(own, "rb") as file:
            return file.read(count)

    def content(self, name: str, most: int = _MOST_XML_BYTES) -> bytes:
        """All bytes of a description. Raises HsisrError if it cannot be read, or has more than `most` bytes."""
        with damage(self.place(name), "description"):
            content = self._head(name, most + 1)
        if len(content) > most:
            raise HsisrError(f"{self.place(name)}: a description of more than {most:,} bytes; refused")
        return content

    def text(self, name: str) -> str:
        """A description as text. Bytes that are not UTF-8 are replaced. Errors as `content`."""
        return self.content(name, _MOST_TEXT_BYTES).decode("utf-8", "replace")

    def xml(self, name: str) -> Element:
        """The root of an XML description, tags without their name spaces. Errors as `parse_xml`."""
        return parse_xml(self.place(name), self.content(name))


def parse_xml(path: Path, content: bytes) -> Element:
    """The root of an XML text, tags without their name spaces.

    Raises HsisrError for damage, for a document type (and so for any entity), and for elements that are too many, too
    deeply nested, or have too many attributes.
    """
    if re.search(rb"<[^<]{%d}" % _MOST_TAG_BYTES, content):
        raise HsisrError(f"{path}: XML with a tag of more than {_MOST_TAG_BYTES:,} bytes; refused")
    builder, depth, elements = TreeBuilder(), 0, 0
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1 + len(attributes)
        if elements > _MOST_ELEMENTS:
            raise HsisrError(f"{path}: XML of more than {_MOST_ELEMENTS:,} elements and attributes; refused")
        if depth > _MOST_DEPTH:
            raise HsisrError(f"{path}: its elements are nested more than {_MOST_DEPTH} deep; refused")
        builder.start(tag.rpartition(" ")[2], attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag.rpartition(" ")[2])

    def refuse(*_: object) -> None:
        raise HsisrError(f"{path}: XML with a document type, which may name other files; refused")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    with damage(path, "XML file"):
        parser.Parse(content, True)
        return builder.close()


def text_of(root: Element, *tags: str) -> str | None:
    """The text of the first element with one of these tags, and with text in it."""
    for tag in tags:
        for element in root.iter(tag):
            if element.text and element.text.strip():
                return element.text.strip()
    return None


def number(path: Path, what: str, text: str | None) -> float:
    """A number in a description. Raises HsisrError if it is missing or not finite."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HsisrError(f"{path}: {what} must be a number, not {text!r}")
    return value


def _is_hidden(name: str) -> bool:
    """Whether a file of an archive is hidden, such as those that macOS adds: `__MACOSX/._image.tif`."""
    return name.rpartition("/")[2].startswith(".")


def _files_below(folder: Path) -> dict[str, str]:
    """Files of a folder and its folders, by their path inside with / between the parts. Of a large one, not all."""
    found: dict[str, str] = {}
    with damage(folder, "folder"):
        for parent, folders, files in os.walk(folder):
            folders.sort()
            if len(Path(parent).relative_to(folder).parts) >= _MOST_FOLDERS_DEEP:
                folders.clear()
            for name in sorted(files):
                if not name.startswith("."):
                    file = Path(parent, name)
                    found[file.relative_to(folder).as_posix()] = str(file)
            if len(found) > _MOST_FILES:
                break
    return found
