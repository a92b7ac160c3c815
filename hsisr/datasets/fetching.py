"""Fetching: bring a data set's published files to a raw folder, check them, and write the manifest last.

The source is `source`, else the environment variable HSISR_SOURCE_<NAME>, else the catalogue. Files of a local copy,
whole or in part, stay where they are: the manifest names their folder. Files of Python packages are copied.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from hsisr.datasets import catalogue, manifest
from hsisr.datasets.archives import is_archive, unpack
from hsisr.datasets.catalogue import DataSet, RemoteFile, entry
from hsisr.datasets.layout import find, find_parts, listing
from hsisr.errors import HsisrError
from hsisr.files import atomic_path, file_hash
from hsisr.locks import take_in_turn


def fetch(
    name: str,
    folder: str | os.PathLike,
    source: str | None = None,
    progress: bool = True,
    extra: Mapping[str, Mapping] | None = None,
) -> dict:
    """Bring a data set to `folder`, check it, write `folder`/manifest.json, and return the manifest.

    name: of the data set. source: a folder, an archive, a file:// or an http(s):// URL to use in place of the published
    one. progress: whether the screen shows the progress. extra: see `entry`.
    Files that are present and correct are not fetched again. An interrupted download continues.
    Raises HsisrError in one line if the data set cannot be fetched: which URL, why, and what to do.
    """
    data_set = entry(name, extra)
    folder = Path(folder).resolve()
    source = source or given_source(name) or data_set.path
    if (done := _find_complete(data_set, folder, source)) is not None:
        return done
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HsisrError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error
    if _local_path(source) is not None or (source is None and data_set.access != "download"):
        return _bring(data_set, folder, source, progress)
    with _alone(folder):
        return _find_complete(data_set, folder, source) or _bring(data_set, folder, source, progress)


def _bring(data_set: DataSet, folder: Path, source: str | None, progress: bool) -> dict:
    """Bring the files, check them, and write the manifest, which is returned."""
    found = _obtain(data_set, folder, source, progress)
    whole = source is None and data_set.access in ("download", "package")
    trusted = {} if data_set.access == "folder" else _recorded(folder, data_set.name)  # users change files of their own
    files = _record(data_set, found, trusted, whole, folder / manifest.NAME)
    facts = {
        "title": data_set.title,
        "licence": data_set.licence,
        "citation": data_set.citation,
        "source": source or "catalogue",
        "origin": found.origin,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "archives": {path.name: _facts_of(path) for path in found.archives},
    }
    root = "." if found.root == folder else str(found.root)
    content = manifest.write(folder, data_set.name, root, files, facts)
    for path in found.archives:
        if path.parent == folder and data_set.access == "download":
            path.unlink(missing_ok=True)  # its files lie unpacked and checked beside it
    return content


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder for this process's downloads, after those of others: two would write to one partial file."""
    lock = folder / ".fetch.lock"
    held = take_in_turn(lock, str(folder), "fetches it")
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        held.release()


def given_source(name: str) -> str | None:
    """The source of a data set that the variable `HSISR_SOURCE_<NAME>` names; None without.

    name: of the data set.
    """
    return os.environ.get(f"HSISR_SOURCE_{name.upper()}") or None


def local_files(
    name: str, folder: str | os.PathLike, source: str | None = None, extra: Mapping[str, Mapping] | None = None
) -> dict[str, str]:
    """SHA-256 of the files that `fetch` would use where they lie: file below the source -> hash.

    name: of the data set. folder: where `fetch` puts it. source, extra: as for `fetch`. Without files if the source is
    the network or a package, or if nothing is there. Files with the size and time that are in the manifest of an
    earlier fetch have its hash. Raises HsisrError as `fetch`.
    """
    data_set = entry(name, extra)
    folder = Path(folder).resolve()
    by_hand = data_set.access == "request"
    source = source or given_source(name) or data_set.path or (str(folder) if by_hand else None)
    local = _local_path(source)
    if local is None or not local.exists():
        return {}
    if local.is_file() and is_archive(local):
        root, used = local.parent, [local.name]
    else:
        root = (local.parent if local.is_file() else local).resolve()
        archives = [file.name for file in data_set.files if file.unpack and (root / file.name).is_file()]
        scenes = _scene_files(data_set, listing(root))
        first, second = (archives, scenes) if root == folder else (scenes, archives)
        used = first or second
    known: dict[str, dict] = {}
    if (folder / manifest.NAME).is_file():
        earlier = manifest.read(folder, name)
        known = earlier.manifest.get("archives", {}) | (earlier.files if earlier.root == root else {})
    return {path: manifest.hash_of(root / path, known.get(path)) for path in used}


def find_scenes(name: str, source: str, extra: Mapping[str, Mapping] | None = None) -> list[str] | None:
    """Find the scenes of a data set in a local folder, and return their names in the catalogue's order.

    name: of the data set. source: as for `fetch`. extra: see `entry`. None if hsisr would have to fetch first: from
    the network or out of an archive. Raises HsisrError if the folder is missing, or has no scene and no archive of
    the data set.
    """
    data_set, local = entry(name, extra), _local_path(source)
    if local is None:
        return None
    if not local.exists():
        raise HsisrError(f"{name}: {local}: no such file or folder")
    if local.is_file():
        if is_archive(local):
            return None
        local = local.parent  # as `fetch` takes it
    paths = listing(local)
    scenes = [scene for scene in data_set.scenes if find(paths, data_set.layout, scene)]
    if scenes or any((local / file.name).is_file() for file in data_set.files if file.unpack):
        return scenes or None
    raise HsisrError(f"{name}: {local} holds no scene of it; expected {_expected_names(data_set)}")


@dataclass(frozen=True)
class _Obtained:
    """Where the files lie, where they came from, and the archives that held them.

    brought: the files below the root that this fetch brought there; None: all files there count. Else files of an
    earlier source would count too.
    """

    root: Path
    origin: list[str]
    archives: list[Path] = field(default_factory=list)
    brought: frozenset[str] | None = None

    @property
    def files(self) -> list[str]:
        """The files that count, below the root."""
        return [path for path in listing(self.root) if self.brought is None or path in self.brought]


def _find_complete(data_set: DataSet, folder: Path, source: str | None) -> dict | None:
    """The manifest of an earlier fetch from the same source, if all scenes are still here as they were recorded."""
    if not (folder / manifest.NAME).is_file():
        return None
    raw = manifest.read(folder, data_set.name)
    if raw.root != folder or raw.manifest["source"] != (source or "catalogue"):
        return None
    whole = all(find(raw.files, data_set.layout, scene) for scene in data_set.scenes)
    same = all(
        (folder / path).is_file() and manifest.hash_of(folder / path, facts) == facts["sha256"]
        for path, facts in raw.files.items()
    )
    return raw.manifest if whole and same else None


def _obtain(data_set: DataSet, folder: Path, source: str | None, progress: bool) -> _Obtained:
    local = _local_path(source)
    if local is not None:
        return _from_local(data_set, folder, local)
    if source is not None or data_set.access == "download":
        return _from_network(data_set, folder, source, progress)
    if data_set.access == "package":
        return _from_package(data_set, folder)
    return _from_hand(data_set, folder)


def _from_local(data_set: DataSet, folder: Path, local: Path) -> _Obtained:
    """Files of a folder in the published layout, of a folder with the published archives, or of an archive."""
    if not local.exists():
        raise HsisrError(f"{data_set.name}: {local}: no such file or folder")
    if local.is_file() and is_archive(local):
        return _Obtained(folder, [str(local)], [local], _names(unpack(local, folder), folder))
    if local.is_file():
        local = local.parent
    if _holds_scenes(data_set, local):
        return _Obtained(local.resolve(), [str(local.resolve())])
    archives = [local / file.name for file in data_set.files if file.unpack and (local / file.name).is_file()]
    if not archives:
        raise HsisrError(f"{data_set.name}: {local} holds no scene of it; expected {_expected_names(data_set)}")
    unpacked = [path for archive in archives for path in unpack(archive, folder)]
    return _Obtained(folder, [str(path) for path in archives], archives, _names(unpacked, folder))


def _from_network(data_set: DataSet, folder: Path, source: str | None, progress: bool) -> _Obtained:
    from hsisr.datasets.download import download

    if not data_set.files:
        raise HsisrError(f"{data_set.name}: has no published files; give a local folder in place of {source}")
    origin: list[str] = []
    archives: list[Path] = []
    brought: list[Path] = []
    way_out = (
        f"with a copy of your own: HSISR_SOURCE_{data_set.name.upper()}=FOLDER, or sources: "
        f"{{{data_set.name}: FOLDER}} in the config"
    )
    for file in data_set.files:
        target = folder / file.name
        urls = file.urls if source is None else (_mirror_url(source, file, len(data_set.files)),)
        try:
            origin.append(download(urls, target, file.sha256, file.size_bytes, progress=progress, way_out=way_out))
        except HsisrError as error:
            raise HsisrError(f"{data_set.name}: {error}") from error
        if file.unpack:
            brought += unpack(target, folder)
            archives.append(target)
        else:
            brought.append(target)
    return _Obtained(folder, origin, archives, _names(brought, folder))


def _from_package(data_set: DataSet, folder: Path) -> _Obtained:
    """Copies of the files of an installed package. The package is not imported."""
    package = data_set.package or ""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise HsisrError(f"{data_set.name}: comes with the package {package}, which is absent: {data_set.install}")
    base = Path(next(iter(spec.submodule_search_locations))) / data_set.package_folder
    for file in data_set.files:
        if not (base / file.name).is_file():
            raise HsisrError(f"{data_set.name}: {base / file.name} is missing; install it again: {data_set.install}")
        with atomic_path(folder / file.name) as temporary:
            shutil.copyfile(base / file.name, temporary)
    return _Obtained(folder, [f"package {package} {_version(package)}"])


def _from_hand(data_set: DataSet, folder: Path) -> _Obtained:
    """Files that a person has put into the raw folder. If files are missing, one message says everything."""
    archives = [folder / file.name for file in data_set.files if file.unpack and (folder / file.name).is_file()]
    for archive in archives:
        unpack(archive, folder)
    if not _holds_scenes(data_set, folder):
        raise HsisrError(
            f"{data_set.name}: needs a person. {' '.join(data_set.instructions.split())} Put it into {folder} "
            f"(as {_expected_names(data_set)}) and run this again; it is then checked: every scene is looked for, and "
            f"its SHA-256 recorded. A copy elsewhere is named by HSISR_SOURCE_{data_set.name.upper()}=FOLDER"
        )
    return _Obtained(folder, [f"put there by hand, from {data_set.homepage}"], archives)


def _scene_files(data_set: DataSet, paths: list[str], missing: list[str] | None = None) -> list[str]:
    """Those of `paths` that belong to a scene, scene by scene. missing: gets the scenes that have none."""
    found: dict[str, None] = {}
    for scene in data_set.scenes:
        groups = find_parts(paths, data_set.layouts, scene)
        if not groups[0] and missing is not None:
            missing.append(scene)
        found |= dict.fromkeys(sorted({path for group in groups for path in group}))
    return list(found)


def _record(data_set: DataSet, found: _Obtained, earlier: dict[str, dict], whole: bool, known: Path) -> dict[str, dict]:
    """name -> {sha256, size_bytes, mtime_ns, checked} of every file of a scene, checked against known hashes.

    earlier: what an earlier fetch recorded and trusted, in the manifest `known`. whole: whether all scenes must be
    there; else one is enough.
    """
    root = found.root
    missing: list[str] = []
    published = _published_hashes(data_set)
    files = {
        path: _check_file(root / path, published.get(PurePosixPath(path).name), earlier.get(path), known)
        for path in _scene_files(data_set, found.files, missing)
    }
    if not files or (whole and missing):
        raise HsisrError(
            f"{data_set.name}: {root} lacks the scenes {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}; "
            f"expected {_expected_names(data_set)}"
        )
    return files


def _check_file(path: Path, published: str | None, trusted: dict | None, known: Path) -> dict[str, Any]:
    """The manifest's entry of one file. Raises HsisrError unless its hash is the published or the trusted one."""
    facts = _facts_of(path)
    actual, earlier = facts["sha256"], None if trusted is None else trusted["sha256"]
    if published is not None and actual != published:
        raise HsisrError(
            f"{path}: is not the published file (SHA-256 {actual[:16]}..., expected {published[:16]}...); get it again"
        )
    if published is None and earlier not in (None, actual):
        raise HsisrError(
            f"{path}: changed since it was first fetched (SHA-256 {actual[:16]}..., then {earlier[:16]}...); if that "
            f"is right, delete {known}; if not, get the file again; then fetch again"
        )
    return {**facts, "checked": "first use" if published is None else "published"}


def _recorded(folder: Path, name: str) -> dict[str, dict]:
    """What an earlier fetch recorded of each file; nothing without one."""
    return manifest.read(folder, name).files if (folder / manifest.NAME).is_file() else {}


def _published_hashes(data_set: DataSet) -> dict[str, str]:
    """File name -> SHA-256, from the catalogue."""
    hashes = {file.name: file.sha256 for file in data_set.files if file.sha256 and not file.unpack}
    return {**hashes, **(_hash_table(data_set.hashes) if data_set.hashes else {})}


@cache
def _hash_table(name: str) -> dict[str, str]:
    lines = (Path(catalogue.__file__).parent / name).read_text(encoding="utf-8").splitlines()
    return {file: digest for digest, file in (line.split(maxsplit=1) for line in lines)}


def _holds_scenes(data_set: DataSet, root: Path) -> bool:
    paths = listing(root)
    return any(find(paths, data_set.layout, scene) for scene in data_set.scenes)


def _names(paths: Iterable[Path], root: Path) -> frozenset[str]:
    """Files below a folder, as `listing` names them."""
    return frozenset(path.relative_to(root).as_posix() for path in paths)


def _expected_names(data_set: DataSet) -> str:
    example = data_set.scenes[0] if data_set.scenes else "<scene>"
    return " or ".join(pattern.replace("{scene}", example) for pattern in data_set.layout)


def _local_path(source: str | None) -> Path | None:
    """Path of a local source, or None for one on the network."""
    if source is None:
        return None
    parts = urlsplit(source)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme in ("http", "https"):
        return None
    if "://" in source:
        raise HsisrError(f"source {source}: cannot be read; give a folder, or a file://, http:// or https:// URL")
    return Path(source).expanduser()


def _mirror_url(source: str, file: RemoteFile, count: int) -> str:
    """URL of a file at a mirror. With only one file, `source` itself, if its name has the right ending."""
    suffix = PurePosixPath(file.name).suffix
    if count == 1 and PurePosixPath(urlsplit(source).path).suffix == suffix:
        return source
    return f"{source.rstrip('/')}/{file.name}"


def _facts_of(path: Path) -> dict[str, Any]:
    state = path.stat()  # before the file is read: a later change shows
    return {"sha256": file_hash(path), "size_bytes": state.st_size, "mtime_ns": state.st_mtime_ns}


def _version(package: str) -> str:
    return version(packages_distributions()[package][0])
