"""Reader of a STAC item: a local JSON file that lists images (assets). One asset is the scene, another its guide.

Assets lie beside the item or in folders below. Assets at web addresses are read only if the user says so. The item's
facts on bands (centres, widths, scale, offset, nodata) are used if the image itself does not state them.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers import products, virtual
from hsisr.datasets.readers.arrays import check_claim, leave_on_disk
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.stacking import stack
from hsisr.errors import HsisrError
from hsisr.limits import BANDS, check
from hsisr.scene import Scene

_MOST_BYTES = 16 * 2**20
_NM_PER_UM = 1000.0


def matches(path: Path, head: bytes) -> bool:
    """True for a JSON file that calls itself a STAC item."""
    if path.suffix.lower() not in (".json", ".geojson") or not head.lstrip().startswith(b"{"):
        return False
    if path.stat().st_size > _MOST_BYTES:
        return False
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(item, dict) and "stac_version" in item and isinstance(item.get("assets"), dict)


def read(path: Path, asset: str | None = None, guide: str | None = None, remote: Any = False) -> Scene:
    """Scene of an item's assets.

    asset: key of the image, or several keys with commas, to stack their images. By default, the asset with the key or
    role `lr`, else the only one with the role `data`. guide: the same for its guide; by default the asset with the key
    or role `guide`, if there is one. remote: whether (`true`) to read assets at web addresses.
    Raises HsisrError for missing keys, and for assets outside the item's folder.
    """
    anywhere = products.is_true(path, "remote", remote)
    with damage(path, "STAC item"):
        item = json.loads(path.read_text(encoding="utf-8"))
        assets: Mapping[str, Any] = item["assets"]
        listed = ", ".join(assets) or "none"
    keys = _keys(asset) if asset else _find_keys(assets, "lr") or _only_data(assets)
    if not keys:
        raise HsisrError(f"{path}: which asset is the image? Say it with --read asset=KEY; it has {listed}")
    sharp = _keys(guide) if guide else _find_keys(assets, "guide")
    missing = [key for key in (*keys, *sharp) if key not in assets]
    if missing:
        raise HsisrError(f"{path}: has no asset {', '.join(missing)}; it has {listed}")
    scene = _image(path, assets, keys, anywhere)
    if sharp:
        scene = replace(scene, guide=_make(path, _image(path, assets, sharp, anywhere), ", ".join(sharp)))
    properties = item.get("properties")
    acquired = properties.get("datetime") if isinstance(properties, dict) else None
    return _make(path, scene, ", ".join(keys), acquired if isinstance(acquired, str) else None)


def describe(path: Path) -> dict[str, Any]:
    """What the item's scene and guide state about themselves."""
    return products.describe(path, read)


def _make(path: Path, scene: Scene, parts: str, acquired: str | None = None) -> Scene:
    unused = scene.provenance.get("georeference")
    return products.finish(path, scene, "STAC item", acquired, scene.mask, parts=parts, georeference=unused)


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in str(text).split(","))


def _roles(asset: Any) -> list[Any]:
    roles = asset.get("roles") if isinstance(asset, dict) else None
    return roles if isinstance(roles, list) else []


def _find_keys(assets: Mapping[str, Any], word: str) -> tuple[str, ...]:
    return tuple(key for key, asset in assets.items() if key.lower() == word or word in _roles(asset))


def _only_data(assets: Mapping[str, Any]) -> tuple[str, ...]:
    data = tuple(key for key, asset in assets.items() if "data" in _roles(asset) and "guide" not in _roles(asset))
    return data if len(data) == 1 else ()


def _image(path: Path, assets: Mapping[str, Any], keys: tuple[str, ...], remote: bool) -> Scene:
    from hsisr.datasets.readers import read_scene

    check(path, BANDS, len(keys), "assets of a scene")
    scenes: list[Scene] = []
    files: list[Path] = []
    claimed = 0
    for key in keys:
        place = _place(path, key, assets[key], remote)
        with leave_on_disk():
            scene = read_scene(place)
        files += [place, *scene.files]
        claimed += int(np.prod(scene.shape, dtype=object)) * np.dtype(scene.stored.dtype).itemsize
        check_claim(path, claimed, files)
        scenes.append(_add_facts(path, key, scene, assets[key]))
    return scenes[0] if len(scenes) == 1 else stack(scenes, [f"{path}: asset {key}" for key in keys], scenes[0].name)


def _place(path: Path, key: str, asset: Any, remote: bool) -> Path:
    """Path of an asset. Raises HsisrError if it lies outside the item's folder and the user did not ask for it."""
    href = asset.get("href") if isinstance(asset, dict) else None
    if not isinstance(href, str) or not href:
        raise HsisrError(f"{path}: its asset {key} has no href")
    if virtual.is_address(Path(href)):
        if not remote:
            raise HsisrError(f"{path}: its asset {key} lies at {href}; read it from there with --read remote=true")
        return Path(href)
    place = path.parent / href
    if Path(href).is_absolute() or ".." in Path(href).parts or virtual.is_virtual(Path(href)):
        raise HsisrError(f"{path}: its asset {key}, {href}, does not lie beside it, and is not followed; copy it there")
    if place.suffix.lower() in (".json", ".geojson"):
        raise HsisrError(f"{path}: its asset {key} is {href}, a text; expected an image")
    return place


def _add_facts(path: Path, key: str, scene: Scene, asset: Mapping[str, Any]) -> Scene:
    """The scene, completed with the item's facts on bands that the image does not state."""
    bands = [{} for _ in range(scene.shape[0])] if not isinstance(asset, dict) else _bands(asset, scene.shape[0])
    changes: dict[str, Any] = {}
    with damage(path, f"STAC item (bands of the asset {key})"):
        centres = [_first(band, "eo:center_wavelength", "center_wavelength") for band in bands]
        widths = [_first(band, "eo:full_width_half_max", "full_width_half_max") for band in bands]
        if scene.wavelengths_nm is None and all(centre is not None for centre in centres):
            changes["wavelengths_nm"] = np.array(centres, float) * _NM_PER_UM
            if scene.fwhm_nm is None and all(width is not None for width in widths):
                changes["fwhm_nm"] = np.array(widths, float) * _NM_PER_UM
        scales = {_first(band, "raster:scale", "scale") for band in bands}
        offsets = {_first(band, "raster:offset", "offset") for band in bands}
        if (scene.scale, scene.offset) == (1.0, 0.0) and len(scales) == len(offsets) == 1:
            scale, offset = scales.pop(), offsets.pop()
            changes |= {"scale": 1.0 if scale is None else float(scale), "offset": float(offset or 0.0)}
        nodata = {_first(band, "nodata") for band in bands}
        if scene.nodata is None and len(nodata) == 1 and None not in nodata:
            changes["nodata"] = float(nodata.pop())
    return replace(scene, **changes)


def _bands(asset: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """The facts on each band, from STAC 1.1's `bands` and 1.0's `eo:bands` and `raster:bands`."""
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for name in ("eo:bands", "raster:bands", "bands"):
        listed = asset.get(name)
        if isinstance(listed, list) and len(listed) == count and all(isinstance(band, dict) for band in listed):
            found = [{**known, **band} for known, band in zip(found, listed, strict=True)]
    return found


def _first(band: Mapping[str, Any], *keys: str) -> Any:
    return next((band[key] for key in keys if band.get(key) is not None), None)
