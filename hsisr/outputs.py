"""Outputs: where a command may write. Never over its inputs, over other files only if told, never in a new place.

Every command, and every Python function with an `out`, calls `check_outputs` before its work. Commands also call
`check_places`, because a new folder may be a typing error; Python functions make the folder. The steps of the pipeline
call neither: they write their own files again.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hsisr.errors import HsisrError, printable

#: Endings of GDAL's files beside an image, after the image's whole name.
SIDECARS = (".aux.xml", ".ovr", ".msk")
#: Endings of files that need no header. A header beside one belongs to another image.
_NO_HEADER = frozenset(
    (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".mat", ".npy", ".npz", ".h5", ".hdf5", ".he5", ".nc")
)
#: ENVI's own programs give these endings to data, beside a header of the same name.
ENVI_DATA = ("", ".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".bin", ".sli")
#: Folders of a project, and files that mark a project. The folders are made if they are missing.
OWN_FOLDERS = ("data", "logs", "predictions", "results", "runs")
_PROJECT_FILES = ("Snakefile", "config.yaml")


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/hsisr, by default ~/.cache/hsisr: what hsisr builds, for all projects."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hsisr"


def check_outputs(
    outs: Iterable[str | os.PathLike], inputs: Iterable[str | os.PathLike | None], overwrite: bool = False
) -> None:
    """Raise HsisrError, in one line, unless these files may be written.

    outs: every file to be written, for an ENVI image both data and header. inputs: files and folders that are read;
    None stands for a missing one. overwrite: whether other existing files may be replaced.
    An output, or GDAL's file beside it, may not be one of the inputs or belong to one. This includes the same name,
    a link, header or data of an ENVI pair, a sidecar, and a file in an input folder.
    """
    written = [Path(out) for out in outs]
    given = [Path(image) for image in inputs if image is not None]
    read = {file: image for image in given for file in _identities(image)}
    folders = [image.resolve() for image in given if image.is_dir()]
    for number, out in enumerate(written):
        for file in _with_sidecars(out):
            _check_not_read(out, file, read, folders)
        if any(_same(out, other) for other in written[:number]):
            raise HsisrError(f"{out}: is named for two outputs; give each a name of its own")
    for out in written:
        if out.is_dir():
            raise HsisrError(f"{out}: is a folder; give the name of a file")
        _check_folder(out)
        if os.path.lexists(out) and not overwrite:
            raise HsisrError(
                f"{out}: exists already; choose another output, or replace it with --overwrite (in Python "
                "overwrite=True)"
            )
        _check_header(out, written)


def check_places(*outs: str | os.PathLike | None) -> None:
    """Raise HsisrError, with the output, if its folder does not exist.

    A project's own folders are made: runs, results, data, predictions and logs beside a Snakefile or a config.yaml, and
    `runs` in the current folder.
    """
    for out in outs:
        if out is not None:
            if printable(os.fspath(out)) != os.fspath(out):
                raise HsisrError(f"{out}: holds a line break, or another character that is not shown; choose another")
            _check_place(Path(out))


def sidecars(path: str | os.PathLike) -> list[Path]:
    """Paths of GDAL's files beside an image. They need not exist."""
    path = Path(path)
    return [path.with_name(path.name + ending) for ending in SIDECARS]


def _check_place(out: Path) -> None:
    """Raise HsisrError if the folder of `out` is missing, unless it is one of a project's own."""
    parent = out.parent
    if parent.is_dir() or _in_project(out):
        return
    missing = next((folder for folder in reversed([parent, *parent.parents]) if not folder.is_dir()), parent)
    if missing.exists():
        raise HsisrError(f"{out}: {missing} is a file, not a folder; choose another output")
    raise HsisrError(f"{out}: there is no folder {missing}; make it (mkdir -p {parent}), or correct the name")


def _check_folder(out: Path) -> None:
    """Raise HsisrError if an existing part of the path to `out` is not a folder, or not writable."""
    folder = next(folder for folder in Path(os.path.abspath(out)).parents if os.path.lexists(folder))
    reason = None if os.access(folder, os.W_OK | os.X_OK) else errno.EACCES
    reason = reason if folder.is_dir() else errno.ENOTDIR
    if reason is not None:
        raise HsisrError(f"{out}: cannot write there ({folder}: {os.strerror(reason)}); choose another folder")


def _check_header(out: Path, written: Sequence[Path]) -> None:
    """Raise HsisrError if `out` is the header of data that are not written with it: they would be read by another."""
    if out.suffix.lower() != ".hdr" or not out.exists():
        return
    for data in (out.with_name(out.stem + ending) for ending in ENVI_DATA):
        if data.is_file() and not any(_same(data, other) for other in written):
            raise HsisrError(f"{out}: is the header of {data} too, which would no longer fit; choose another output")


def _in_project(out: Path) -> bool:
    """Whether `out` lies in a project's folder, or in `runs` of the current folder, where models are kept."""
    absolute = Path(os.path.abspath(out))
    if Path.cwd() / "runs" in absolute.parents:
        return True
    return any(
        folder.name in OWN_FOLDERS and any((folder.parent / name).is_file() for name in _PROJECT_FILES)
        for folder in absolute.parents
    )


def _check_not_read(out: Path, file: Path, read: dict[tuple, Path], folders: Sequence[Path]) -> None:
    """Raise HsisrError if `file`, which is `out` or lies beside it, is an input."""
    what = "" if file == out else f" (its {file.name})"
    own = _identity(file) or ("name", os.path.abspath(file))
    if own in read:
        raise HsisrError(
            f"{out}: is the input {read[own]}, or belongs to it{what}; inputs are never overwritten; choose another"
        )
    for folder in folders:
        if os.path.lexists(file) and not file.is_dir() and folder in file.resolve().parents:
            raise HsisrError(
                f"{out}: exists{what} in the input folder {folder}; inputs are never overwritten; choose another"
            )


def _identities(image: Path) -> set[tuple]:
    """Marks that identify an input's files: numbers of the file system, or names if there is no file yet."""
    found: set[tuple] = set()
    for file in _belonging(image):
        found.add(("name", os.path.abspath(file)))
        identity = _identity(file)
        if identity is not None:
            found.add(identity)
    return found


def files_of(image: str | os.PathLike) -> list[Path]:
    """The existing files that an image is read from, as far as names tell, without files of viewers.

    They are the image, its mask, and header or data of an ENVI pair; for a folder, all files that are not hidden.
    """
    image = Path(image)
    found: Iterable[Path] = _belonging(image)
    if image.is_dir():
        found = (file for file in image.rglob("*") if "/." not in f"/{file.relative_to(image).as_posix()}")
    return sorted({file for file in found if file.is_file() and not file.name.endswith((".aux.xml", ".ovr"))})


def _belonging(image: Path) -> list[Path]:
    """An input with its sidecars, and with header or data of an ENVI pair."""
    files = _with_sidecars(image)
    if image.suffix.lower() == ".hdr":
        inside = image.parent.iterdir() if image.parent.is_dir() else ()
        files += [file for file in inside if image.stem in (file.name, file.stem) and file.suffix not in _NO_HEADER]
    elif image.suffix.lower() not in _NO_HEADER and not image.is_dir():
        for ending in (".hdr", ".HDR"):
            files += [image.with_name(image.name + ending), image.with_name(image.stem + ending)]
    return files


def _with_sidecars(path: Path) -> list[Path]:
    return [path, *sidecars(path)] if path.name else [path]  # the current folder has no name


def _identity(path: Path) -> tuple | None:
    """Device and number of the file behind a name, after all links; None if there is no file."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino)


def _same(first: Path, second: Path) -> bool:
    if os.path.abspath(first) == os.path.abspath(second):
        return True
    identity = _identity(first)
    return identity is not None and identity == _identity(second)
