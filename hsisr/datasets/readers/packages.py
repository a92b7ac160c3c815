"""The files of a product, in a folder or in a zip archive that is read where it lies.

Agencies deliver a product as a folder, or as a zip of it, of images and descriptions whose names begin alike. Archives
are checked as `hsisr.datasets.archives` checks those that it unpacks; descriptions are XML without a document type, so
that no entity is expanded and no other file is named.
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

from hsisr.datasets.archives import zip_members
from hsisr.datasets.readers.damage import damage
from hsisr.errors import HsisrError

_ZIP = b"PK\x03\x04"
#: Largest descriptions that are read, and how many elements they have, how deep; real ones have 10 MB, 0.1 MB those
#: that are no XML, and a depth of 15 at most.
_MOST_XML_BYTES, _MOST_TEXT_BYTES, _MOST_TAG_BYTES = 64 * 2**20, 4 * 2**20, 2**20
_MOST_DEPTH, _MOST_ELEMENTS = 100, 500_000
#: Files of a folder that are looked at, and how deep they lie; Sentinel-2's lie five deep.
_MOST_FILES, _MOST_FOLDERS_DEEP = 5_000, 6


#: Packages that have been listed, while several readers ask whether one is theirs (`list_once`); else None.
_looked_into: ContextVar[dict[Path, "Package | None"] | None] = ContextVar("looked_into", default=None)


@contextmanager
def list_once() -> Iterator[None]:
    """Inside, a folder is walked, and an archive listed, once, however many readers ask for it."""
    token = _looked_into.set({})
    try:
        yield
    finally:
        _looked_into.reset(token)


@dataclass(frozen=True)
class Package:
    """The files of a folder, or of a zip archive. names: path inside -> path or name by which it is opened."""

    path: Path
    names: dict[str, str]
    zipped: bool = False

    @classmethod
    def of(cls, path: Path, head: bytes = b"") -> "Package | None":
        """The package that a folder or a zip archive is; None for another file. head: its first bytes."""
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
        if head.startswith(_ZIP):
            return cls(path, {name: member.filename for name, member in zip_members(path).items()}, zipped=True)
        return None

    @classmethod
    def around(cls, file: Path) -> "Package":
        """The package of the files that lie in the folder of this one, without what is below."""
        return cls(file.parent, {entry.name: str(entry) for entry in sorted(file.parent.iterdir()) if entry.is_file()})

    def starting(self, prefix: str) -> "Package":
        """The package of the files whose names begin so."""
        chosen = {name: where for name, where in self.names.items() if name.rpartition("/")[2].startswith(prefix)}
        return Package(self.path, chosen, self.zipped)

    def find(self, pattern: str) -> list[str]:
        """Paths inside whose end, from a / on, matches a pattern; small letters and capitals are the same."""
        wanted = re.compile(rf"(?:.*/)?(?:{pattern})", re.IGNORECASE)
        return sorted(name for name in self.names if wanted.fullmatch(name))

    def first(self, pattern: str) -> str | None:
        """The first of `find`; None if there is none."""
        return next(iter(self.find(pattern)), None)

    def on_top(self) -> list[str]:
        """Paths inside that lie in no folder, or in the one that an archive begins with."""
        return [name for name in self.names if name.count("/") <= int(self.zipped)]

    def place(self, name: str) -> Path:
        """What messages call a file."""
        return self.path / name

    def image(self, name: str) -> str:
        """What GDAL opens a file by."""
        if not self.zipped:
            return self.names[name]
        return f"/vsizip/{{{self.path.resolve()}}}/{self.names[name]}"

    def file(self, name: str) -> Path:
        """The file on the disk that holds it: itself, or the archive."""
        return self.path if self.zipped else Path(self.names[name])

    def files(self) -> tuple[Path, ...]:
        """All that holds the package."""
        return (self.path,) if self.zipped else tuple(map(Path, self.names.values()))

    def content(self, name: str, most: int = _MOST_XML_BYTES) -> bytes:
        """All bytes of a description. Raises HsisrError if it cannot be read, or has more than `most` bytes."""
        with damage(self.place(name), "description"):
            if self.zipped:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.names[name]) as file:
                    content = file.read(most + 1)
            else:
                with open(self.names[name], "rb") as file:
                    content = file.read(most + 1)
        if len(content) > most:
            raise HsisrError(f"{self.place(name)}: a description of more than {most:,} bytes; refused")
        return content

    def text(self, name: str) -> str:
        """A description as text; letters outside UTF-8 are replaced. Errors as `content`."""
        return self.content(name, _MOST_TEXT_BYTES).decode("utf-8", "replace")

    def xml(self, name: str) -> Element:
        """The root of an XML description, tags without their name spaces. Errors as `parse_xml`."""
        return parse_xml(self.place(name), self.content(name))


def parse_xml(path: Path, content: bytes) -> Element:
    """The root of an XML text, tags without their name spaces.

    Raises HsisrError for damage, for a document type (and with it any entity), and for elements that are nested too
    deeply, too many, or have too many attributes.
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
    """The text of the first element of any of these tags that has one."""
    for tag in tags:
        for element in root.iter(tag):
            if element.text and element.text.strip():
                return element.text.strip()
    return None


def number(path: Path, what: str, text: str | None) -> float:
    """A number that a description gives. Raises HsisrError if it gives none, or no finite one."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HsisrError(f"{path}: {what} must be a number, not {text!r}")
    return value


def _files_below(folder: Path) -> dict[str, str]:
    """Files of a folder and of those in it, by their path inside with / between the parts; not all of a large one."""
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
