"""The texts of `hsisr datasets` and `hsisr info`: the catalogue with what is present, one data set, one file."""

import io
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets import manifest
from hsisr.datasets.catalogue import PARTS, DataSet, Split, entry, names
from hsisr.datasets.layout import RAW, SCENE, find
from hsisr.errors import HsisrError, printable
from hsisr.scene import Scene

_COLUMNS = ("name", "scenes", "bands", "range", "from", "fetched", "converted", "title")


def table(extra: Mapping[str, Mapping] | None = None, root: str | os.PathLike = ".") -> str:
    """All data sets, one a line, with the scenes below the working folder `root`. extra: see `entry`."""
    return align_columns([_COLUMNS, *(_row(name, extra, Path(root)) for name in names(extra))])


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def page(name: str, extra: Mapping[str, Mapping] | None = None, root: str | os.PathLike = ".") -> str:
    """Everything known of one data set, and where its files lie, as text for the screen.

    name: of the data set. extra: see `entry`. root: the working folder that is searched for its files.
    Raises HsisrError for an unknown name.
    """
    data_set = entry(name, extra)
    facts = {
        "title": data_set.title,
        "licence": data_set.licence,
        "cite": data_set.citation,
        "homepage": data_set.homepage,
        "notes": data_set.notes,
        "comes from": _origin(data_set),
        "size": data_set.size,
        "or from": f"a folder, archive or URL given as sources: {{{name}: ...}} or HSISR_SOURCE_{name.upper()}",
        "fetched": _fetch_state(name, data_set, Path(root)),
        "converted": f"{_count_scene_files(name, data_set, Path(root))} of {len(data_set.scenes)} scenes",
        "read by": _reading(data_set),
        "bands": _bands(data_set),
        "value": _value(data_set),
        "guide": _guide(data_set),
        "protocol": data_set.protocol,
        "scenes": ", ".join(data_set.scenes),
    }
    for split, content in data_set.splits.items():
        default = ", the default" if split == data_set.default_split else ""
        facts[f"split {split}"] = f"{content.description or 'your own'}{default}; {_counts(content)}"
    return _lines(name, facts)


def info(path: str | os.PathLike, **options: Any) -> str:
    """The content of a file, or of a folder of band images, as text for the screen.

    path: of the file or folder, in any format that hsisr reads; raises HsisrError otherwise. options: of the reader
    (`variable`, `axes`, ...); with options, the text describes the scene that they give. Place and values are told
    if the file can be read as a scene.
    """
    from hsisr.datasets import facts
    from hsisr.datasets.readers import describe, products, read_scene
    from hsisr.datasets.readers.arrays import leave_on_disk
    from hsisr.datasets.readers.scene import facts as of_scene

    with leave_on_disk():
        if options:
            scene = read_scene(path, **options)
            told = products.describe_scene(scene) if "product" in scene.provenance else of_scene(scene)
        else:
            try:
                scene = read_scene(path)
            except HsisrError as error:  # for example, a file with several variables
                return _lines(str(path), describe(path) | {"as a scene": str(error).removeprefix(f"{path}: ")})
            with redirect_stderr(io.StringIO()):  # reading has already printed the warnings
                told = describe(path)
            if "rows" not in told:  # a file of arrays
                told |= {"as a scene": _size(scene)}
        place = facts.place(scene)
        if scene.guide is not None:
            place |= {f"guide {key}": value for key, value in facts.place(scene.guide).items()}
        told = {key: value for key, value in told.items() if key.replace("crs", "EPSG") not in place}
        return _lines(str(path), told | place | facts.values(scene))


def present(name: str, raw_folder: str | os.PathLike, extra: Mapping[str, Mapping] | None = None) -> list[str]:
    """The scenes of a data set in its raw folder, in the catalogue's order.

    name: of the data set. raw_folder: where `fetch` put it. extra: see `entry`.
    Raises HsisrError if it was not fetched.
    """
    data_set = entry(name, extra)
    raw = manifest.read(raw_folder, name)
    return [scene for scene in data_set.scenes if find(raw.files, data_set.layout, scene)]


def _size(scene: Scene) -> str:
    """Bands, rows, columns and wavelengths of a scene, in words."""
    bands, rows, columns = scene.shape
    size = f"{bands} bands, {rows} rows, {columns} columns"
    if scene.wavelengths_nm is None:
        return size
    return f"{size}, {min(scene.wavelengths_nm):g} to {max(scene.wavelengths_nm):g} nm"


def _row(name: str, extra: Mapping[str, Mapping] | None, root: Path) -> tuple[str, ...]:
    data_set = entry(name, extra)
    return (
        name,
        str(len(data_set.scenes)),
        "" if data_set.bands is None else str(data_set.bands),
        _range(data_set),
        data_set.access,
        _fetch_state(name, data_set, root).partition(" in ")[0],
        str(_count_scene_files(name, data_set, root) or ""),
        data_set.title,
    )


def _fetch_state(name: str, data_set: DataSet, root: Path) -> str:
    folder = (root / RAW.format(dataset=name)).parent
    try:
        raw = manifest.read(folder, name)
    except HsisrError:
        return "no"
    count = sum(bool(find(raw.files, data_set.layout, scene)) for scene in data_set.scenes)
    return f"{count} of {len(data_set.scenes)} in {raw.root}, {raw.manifest['date'][:10]}"


def _count_scene_files(name: str, data_set: DataSet, root: Path) -> int:
    return sum((root / SCENE.format(dataset=name, scene=scene)).is_file() for scene in data_set.scenes)


def _origin(data_set: DataSet) -> str:
    if data_set.access == "package":
        return f"the package {data_set.package} ({data_set.install})"
    if data_set.access == "folder":
        return str(data_set.path or "your own folder")
    if data_set.access == "request":
        return f"a person: {' '.join(data_set.instructions.split())}"
    return "; ".join(f"{file.name}: {' or '.join(file.urls)}" for file in data_set.files)


def _reading(data_set: DataSet) -> str:
    options = ", ".join(f"{key} {value}" for key, value in data_set.reader_options.items())
    return f"{data_set.reader} from {' or '.join(data_set.layout)}{f' ({options})' if options else ''}"


def _bands(data_set: DataSet) -> str:
    count = "as in the file" if data_set.bands is None else str(data_set.bands)
    steps = f"then {list(data_set.band_steps)}" if data_set.band_steps else ""
    return ", ".join(filter(None, (count, _range(data_set), steps)))


def _range(data_set: DataSet) -> str:
    centres = data_set.wavelengths_nm
    return "" if centres is None else f"{min(centres):.0f}-{max(centres):.0f} nm"


def _value(data_set: DataSet) -> str:
    black = f" above {data_set.black_level:g}" if data_set.black_level else ""
    if data_set.scale == "type_maximum":
        return f"stored{black} / largest number of the stored type"
    if data_set.scale == "scene_maximum":
        return f"stored{black} / largest value of the scene"
    return f"stored{black} * {data_set.scale:.6g}"


def _guide(data_set: DataSet) -> str:
    if data_set.guide is not None:
        return f"real, from {' or '.join(data_set.guide.layout)}"
    return f"simulated by {data_set.response}" if data_set.response else ""


def _counts(split: Split) -> str:
    counts = {part: len(getattr(split, part)) for part in PARTS}
    return ", ".join(f"{count} {part}" for part, count in counts.items() if count)


def _lines(title: str, facts: Mapping[str, Any]) -> str:
    shown = {_text(key): _text(value) for key, value in facts.items() if value not in ("", None, ())}
    width = max((len(key) for key in shown), default=0)
    return "\n".join([printable(title), *(f"  {key.ljust(width)}  {value}" for key, value in shown.items())])


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.10g}"
    return printable(" ".join(str(value).split()))
