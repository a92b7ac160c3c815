"""The manifest of a raw folder: its files, their source and hashes. It is written last, so its folder is complete."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hsisr.config import check_section
from hsisr.datasets.catalogue import entry
from hsisr.datasets.layout import find_parts
from hsisr.errors import HsisrError
from hsisr.files import file_hash, read_json, stamp, write_json

NAME = "manifest.json"


def _inside(name: str) -> str:
    """The name of a file, after a check that the file lies below the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts:
        raise ValueError("lies outside the folder")
    return name


class _File(BaseModel):
    model_config = ConfigDict(extra="allow")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)
    mtime_ns: int | None = None


class Manifest(BaseModel):
    """The required keys of a manifest. Other keys are kept."""

    model_config = ConfigDict(extra="allow", strict=True)

    dataset: str
    root: str = Field(pattern="^[^\x00]+$")
    source: str
    origin: list[str]
    date: str
    files: dict[Annotated[str, AfterValidator(_inside)], _File]


@dataclass(frozen=True)
class RawFiles:
    """The raw files of a data set: the folder they lie in, and name -> {sha256, size_bytes, mtime_ns, checked}."""

    root: Path
    files: dict[str, dict[str, Any]]
    manifest: dict[str, Any]

    def verify(self, name: str) -> Path:
        """Path of one file, after a check of its size and hash against the manifest."""
        path = self.root / name
        recorded = self.files[name]
        if not path.is_file():
            raise HsisrError(f"{path}: is gone since it was fetched; fetch {self.manifest['dataset']} again")
        if path.stat().st_size != recorded["size_bytes"] or file_hash(path) != recorded["sha256"]:
            dataset = self.manifest["dataset"]
            raise HsisrError(f"{path}: changed since it was fetched (its SHA-256 differs); run `hsisr fetch {dataset}`")
        return path


def hash_of(path: Path, recorded: dict[str, Any] | None) -> str:
    """SHA-256 of a file: the recorded one if size and time are those that were recorded with it, else computed."""
    state = path.stat()
    if recorded is None or (state.st_size, state.st_mtime_ns) != (recorded["size_bytes"], recorded.get("mtime_ns")):
        return file_hash(path)
    return str(recorded["sha256"])


def write(folder: Path, dataset: str, root: str, files: dict[str, dict[str, Any]], facts: dict[str, Any]) -> dict:
    """Write `folder`/manifest.json and return its content. root: "." or the absolute path of a local copy.

    A manifest that says the same stays as it was, with its times: else all that depends on it would be made again.
    """
    content = {**stamp("manifest", {"dataset": dataset}), "dataset": dataset, "root": root, **facts, "files": files}
    if (folder / NAME).is_file():
        earlier = read_json(folder / NAME)
        if _without_times(earlier) == _without_times(content):
            return earlier
    write_json(folder / NAME, content)
    return content


def read(folder: str | os.PathLike, dataset: str) -> RawFiles:
    """Open the raw folder of a data set. Raises HsisrError if it was not fetched, or if it holds another set."""
    folder = Path(folder)
    if not (folder / NAME).is_file():
        raise HsisrError(f"{folder}: {dataset} is not there yet (no {NAME}); run `hsisr fetch {dataset}`")
    path = folder / NAME
    content = read_json(path, "manifest")
    facts = check_section(Manifest, content, str(path))
    if facts.dataset != dataset:
        raise HsisrError(f"{folder}: holds the data set {facts.dataset!r}, expected {dataset!r}")
    return RawFiles((folder / facts.root).resolve(), content["files"], content)


def image_hashes(
    name: str, scene: str, raw_folder: str | os.PathLike, extra: Mapping[str, Mapping] | None = None
) -> set[str]:
    """SHA-256 of the fetched files that hold a scene's image, without its guide and labels; empty without a file.

    name: of the data set. raw_folder: where `fetch` put it. extra: see `entry`. Errors as `read`.
    """
    data_set, raw = entry(name, extra), read(raw_folder, name)
    return {raw.files[path]["sha256"] for path in find_parts(raw.files, data_set.layouts, scene)[0]}


def _without_times(content: Any) -> Any:
    """A manifest's content without the times of the fetch and of the files."""
    if not isinstance(content, dict):
        return content
    return {key: _without_times(value) for key, value in content.items() if key not in ("date", "mtime_ns")}
