"""Reader of hsisr's own scene files."""

from pathlib import Path
from typing import Any

from hsisr import hdf5
from hsisr.scene import Scene


def matches(path: Path, head: bytes) -> bool:
    """True for an HDF5 file that carries the stamp of a scene."""
    if not head.startswith(hdf5.MAGIC):
        return False
    return hdf5.schema_of(path).startswith("hsisr/scene/")


def read(path: Path) -> Scene:
    """The scene, opened lazily."""
    return Scene.open(path)


def describe(path: Path) -> dict[str, Any]:
    """Everything a scene file says of itself."""
    scene = Scene.open(path)
    return {"format": "hsisr scene", **facts(scene), **{f"from {k}": v for k, v in scene.provenance.items()}}


def facts(scene: Scene) -> dict[str, Any]:
    """What `hsisr info` prints of a scene."""
    bands, rows, columns = scene.shape
    found: dict[str, Any] = {"name": scene.name, "bands": bands, "rows": rows, "columns": columns}
    found["type"] = f"{scene.stored.dtype}, value = stored * {scene.scale:.6g} + {scene.offset:g}"
    if scene.wavelengths_nm is not None:
        found["wavelengths"] = f"{min(scene.wavelengths_nm):g} to {max(scene.wavelengths_nm):g} nm"
    for key in ("bad_bands", "mask", "labels"):
        value = getattr(scene, key)
        if value is not None:
            found[key.replace("_", " ")] = f"{(value != 0).sum()} of {value.size}"
    found |= {"crs": scene.crs, "transform": scene.transform, "nodata": scene.nodata}
    if scene.guide is not None:
        found |= {f"guide {key}": value for key, value in facts(scene.guide).items()}
    return {key: value for key, value in found.items() if value is not None}
