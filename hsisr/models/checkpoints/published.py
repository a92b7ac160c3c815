"""The checkpoints of the papers' authors: where they are, and how to fetch those that one may fetch."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import yaml

from hsisr.datasets.download import download
from hsisr.datasets.overview import align_columns
from hsisr.errors import HsisrError, did_you_mean


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint, before it is here.

    base, scale, bands: the network that its weights fit; scale None where one place has several. dataset: that it was
    trained on. place: where a person finds it. listing, files, pattern: where a program does: a Hugging Face listing,
    the address that file names follow, and what the name of the file holds; empty where there is no plain URL.
    hosts: to which that place may redirect.
    """

    name: str
    base: str
    dataset: str
    scale: int | None
    bands: int
    paper: str
    licence: str
    place: str
    listing: str = ""
    files: str = ""
    pattern: str = ""
    hosts: tuple[str, ...] = ()

    @property
    def by_hand(self) -> str:
        """What to do with a file that was brought here by hand."""
        return (
            f"get it from {self.place}, then: hsisr import-weights FILE --model {self.base} --scale "
            f"{self.scale or 'SCALE'} --bands {self.bands} -o {self.name}.safetensors"
        )


def known_checkpoints() -> list[Checkpoint]:
    """All published checkpoints."""
    text = resources.files("hsisr.models.checkpoints").joinpath("published.yaml").read_text(encoding="utf-8")
    return [Checkpoint(name, **facts) for name, facts in yaml.safe_load(text).items()]


def checkpoint(name: str, others: Iterable[str] = ()) -> Checkpoint:
    """The checkpoint of a name. Raises HsisrError, listing the known ones and `others`, if there is none."""
    found = {entry.name: entry for entry in known_checkpoints()}
    if name not in found:
        known = [*found, *others]
        raise HsisrError(f"unknown published weights {name!r}; {did_you_mean(name, known)}known: {', '.join(known)}")
    return found[name]


def table() -> str:
    """All of them, a line each."""
    rows = [("name", "network", "trained on", "scale", "licence", "fetched by hsisr", "place")]
    for entry in known_checkpoints():
        fetched = "yes" if entry.listing else "no"
        scale = f"x{entry.scale}" if entry.scale else "several"
        rows.append((entry.name, entry.base, entry.dataset, scale, entry.licence, fetched, entry.place))
    return align_columns(rows)


def fetch(entry: Checkpoint, folder: Path, progress: bool = True) -> Path:
    """Bring a published file into `folder`, resumed and checked for completeness; returns its path.

    Raises HsisrError, with the way to do it by hand, if there is no plain URL, no network, or not exactly one file
    of this name.
    """
    if not entry.listing:
        raise HsisrError(f"{entry.name} has no plain URL: {entry.by_hand}")
    folder.mkdir(parents=True, exist_ok=True)
    name = _choose(_file_names(entry, folder), entry)
    target = folder / Path(name).name
    download([entry.files + quote(name)], target, progress=progress, way_out=entry.by_hand, hosts=entry.hosts)
    return target


def _file_names(entry: Checkpoint, folder: Path) -> list[str]:
    """Names of the files at its place, read anew every time."""
    page = folder / f"{entry.name}.listing.json"
    page.unlink(missing_ok=True)
    try:
        download([entry.listing], page, progress=False, way_out=entry.by_hand)
        return [str(file["rfilename"]) for file in json.loads(page.read_bytes())["siblings"]]
    except (ValueError, KeyError, TypeError):
        raise HsisrError(f"{entry.listing}: not a listing of files; {entry.by_hand}") from None
    finally:
        page.unlink(missing_ok=True)


def _choose(names: Sequence[str], entry: Checkpoint) -> str:
    found = [n for n in names if n.endswith((".pth", ".pt")) and re.search(entry.pattern, n, re.IGNORECASE)]
    if len(found) != 1:
        told = ", ".join(found or names) or "no file"
        raise HsisrError(
            f"{entry.files}: expected one checkpoint with '{entry.pattern}' in its name, found {told}; {entry.by_hand}"
        )
    return found[0]
