"""Fetching: bring a data set's published files to a raw folder, check them, and write the manifest last.

The source is `source`, else the environment variable HSISR_SOURCE_<NAME>, else the catalogue. Files of a local copy,
whole or in part, stay where they are: the manifest names their folder. Files of Python packages are copied.
"""

import importlib.util
import os
import shutil
from collections.abc import Mapping
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
from hsisr.datasets.layout import find, listing
from hsisr.errors import HsisrError
from hsisr.files import atomic_path, file_hash


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
    source = source or os.environ.get(f"HSISR_SOURCE_{name.upper()}") or data_set.path
    if (done := _find_complete(data_set, folder, source)) is not None:
        return done
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HsisrError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error
    found = _obtain(data_set, folder, source, progress)
    whole = source is None and data_set.access in ("download", "package")
    files = _record(data_set, found.root, _earlier_hashes(folder, name), whole)
    facts = {
        "title": data_set.title,
        "licence": data_set.licence,
        "citation": data_set.citation,
        "source": source or "catalogue",
        "origin": found.origin,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "archives": {path.name: _facts_of(path) for path in found.archives},
    }
    content = manifest.write(folder, name, "." if found.root == folder else str(found.root), files, facts)
    for path in found.archives:
        if path.parent == folder and data_set.access == "download":
            path.unlink(missing_ok=True)  # its files lie unpacked and checked beside it
    return content


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
        return None
    paths = listing(local)
    scenes = [scene for scene in data_set.scenes if find(paths, data_set.layout, scene)]
    if scenes or any((local / file.name).is_file() for file in data_set.files if file.unpack):
        return scenes or None
    raise HsisrError(f"{name}: {local} holds no scene of it; expected {_expected_names(data_set)}")


@dataclass(frozen=True)
class _Obtained:
    """Where the files lie, where they came from, and the archives that held them."""

    root: Path
    origin: list[str]
    archives: list[Path] = field(default_factory=list)


def _find_complete(data_set: DataSet, folder: Path, source: str | None) -> dict | None:
    """The manifest of an earlier fetch from the same source, if all scenes are still here in the recorded sizes."""
    if not (folder / manifest.NAME).is_file():
        return None
    raw = manifest.read(folder, data_set.name)
    if raw.root != folder or raw.manifest["source"] != (source or "catalogue"):
        return None
    whole = all(find(raw.files, data_set.layout, scene) for scene in data_set.scenes)
    same = all(
        (folder / path).is_file() and (folder / path).stat().st_size == facts["size_bytes"]
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
        unpack(local, folder)
        return _Obtained(folder, [str(local)], [local])
    if local.is_file():
        local = local.parent
    if _holds_scenes(data_set, local):
        return _Obtained(local.resolve(), [str(local.resolve())])
    archives = [local / file.name for file in data_set.files if file.unpack and (local / file.name).is_file()]
    if not archives:
        raise HsisrError(f"{data_set.name}: {local} holds no scene of it; expected {_expected_names(data_set)}")
    for archive in archives:
        unpack(archive, folder)
    return _Obtained(folder, [str(path) for path in archives], archives)


def _from_network(data_set: DataSet, folder: Path, source: str | None, progress: bool) -> _Obtained:
    from hsisr.datasets.download import download

    if not data_set.files:
        raise HsisrError(f"{data_set.name}: has no published files; give a local folder in place of {source}")
    origin, archives = [], []
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
            unpack(target, folder)
            archives.append(target)
    return _Obtained(folder, origin, archives)


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


def _record(data_set: DataSet, root: Path, earlier: dict[str, str], whole: bool) -> dict[str, dict]:
    """name -> {sha256, size_bytes, checked} of every file of a scene, checked against known hashes.

    earlier: hashes that an earlier fetch trusted. whole: whether all scenes must be there; else one is enough.
    """
    paths = listing(root)
    published = _published_hashes(data_set)
    files: dict[str, dict] = {}
    missing = []
    for scene in data_set.scenes:
        found = [find(paths, layout, scene) for layout in data_set.layouts]
        if not found[0]:
            missing.append(scene)
        for path in sorted({path for group in found for path in group}):
            files[path] = _check_file(root / path, published.get(PurePosixPath(path).name), earlier.get(path))
    if not files or (whole and missing):
        raise HsisrError(
            f"{data_set.name}: {root} lacks the scenes {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}; "
            f"expected {_expected_names(data_set)}"
        )
    return files


def _check_file(path: Path, published: str | None, earlier: str | None) -> dict[str, Any]:
    """The manifest's entry of one file. Raises HsisrError unless its hash is the published or the earlier one."""
    actual = file_hash(path)
    if published is not None and actual != published:
        raise HsisrError(
            f"{path}: is not the published file (SHA-256 {actual[:16]}..., expected {published[:16]}...); get it again"
        )
    if published is None and earlier not in (None, actual):
        raise HsisrError(
            f"{path}: changed since it was first fetched (SHA-256 {actual[:16]}..., then {earlier[:16]}...); if the "
            f"publisher replaced it, delete {manifest.NAME} beside it and fetch again"
        )
    checked = "first use" if published is None else "published"
    return {"sha256": actual, "size_bytes": path.stat().st_size, "checked": checked}


def _earlier_hashes(folder: Path, name: str) -> dict[str, str]:
    """Hashes that an earlier fetch trusted on first use."""
    if not (folder / manifest.NAME).is_file():
        return {}
    return {path: facts["sha256"] for path, facts in manifest.read(folder, name).files.items()}


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
    return {"sha256": file_hash(path), "size_bytes": path.stat().st_size}


def _version(package: str) -> str:
    return version(packages_distributions()[package][0])
