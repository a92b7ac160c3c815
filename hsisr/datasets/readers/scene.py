"""Reader of hsisr's own scene files."""

from pathlib import Path
from typing import Any

from hsisr import hdf5
from hsisr.scene import Scene


def matches(path: Path, head: bytes) -> bool:
    """True for an HDF5 file with the stamp of a scene."""
    if not head.startswith(hdf5.MAGIC):
        return False
    return hdf5.schema_of(path).startswith("hsisr/scene/")


def read(path: Path) -> Scene:
    """The scene, opened lazily."""
    return Scene.open(path)


def describe(path: Path) -> dict[str, Any]:
    """The metadata of a scene file."""
    scene = Scene.open(path)
    return {"format": "hsisr scene", **facts(scene), **{f"from {k}": v for k, v in scene.provenance.items()}}


def facts(scene: Scene) -> dict[str, Any]:
    """The lines of `hsisr info` about a scene."""
    bands, rows, columns = scene.shape
    found: dict[str, Any] = {"name": scene.name, "bands": bands, "rows": rows, "columns": columns}
    found["type"] = f"{scene.stored.dtype}{_value(scene)}"
    if scene.wavelengths_nm is not None:
        least, most = min(scene.wavelengths_nm), max(scene.wavelengths_nm)
        found["wavelengths"] = f"{least:g} nm" if least == most else f"{least:g} to {most:g} nm"
    for key, word in (("bad_bands", "bad bands"), ("mask", "valid pixels"), ("labels", "labels")):
        value = getattr(scene, key)
        if value is not None:
            found[word] = f"{(value != 0).sum()} of {value.size}"
    found |= {"crs": scene.crs, "transform": scene.transform, "nodata": scene.nodata}
    if scene.guide is not None:
        found |= {f"guide {key}": value for key, value in facts(scene.guide).items()}
    return {key: value for key, value in found.items() if value is not None}


def _value(scene: Scene) -> str:
    """The formula from a stored number to a value, in words; empty if the two are equal."""
    if scene.scale == 1 and scene.offset == 0:
        return ""
    offset = f" {'-' if scene.offset < 0 else '+'} {abs(scene.offset):g}" if scene.offset else ""
    return f", value = stored * {scene.scale:.6g}{offset}"
