"""Reader of a STAC item: a local JSON file that lists images (assets). One asset is the scene, another its guide.

Assets lie beside the item or in folders below. Assets at web addresses are read only if the user says so. The item's
facts on bands (centres, widths, scale, offset, nodata) are used if the image itself does not state them. In STAC 1.1
they may stand in the asset, for all its bands.

Earth Search lists the offset of Sentinel-2 also for images to which it was applied; the property `boa_offset_applied`
tells (Element84/earth-search, issues 24 and 66).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from hsisr.datasets.readers import products, virtual
from hsisr.datasets.readers.arrays import check_claim, leave_on_disk
from hsisr.datasets.readers.beside import lies_below
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.wavelengths import spectral_facts
from hsisr.datasets.stacking import stack
from hsisr.errors import HsisrError, notice
from hsisr.limits import BANDS, check
from hsisr.scene import Scene

_MOST_BYTES = 16 * 2**20
#: Facts on a band that may stand in its asset.
_SHARED = (
    *("eo:center_wavelength", "eo:full_width_half_max"),
    *("raster:scale", "raster:offset", "nodata"),
)
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")


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
    properties = item.get("properties")
    known: dict[str, Any] = properties if isinstance(properties, dict) else {}
    offset_applied = any(known.get(name) is True for name in _APPLIED)
    scene = _image(path, assets, keys, anywhere, offset_applied)
    if sharp:
        guide_image = _image(path, assets, sharp, anywhere, offset_applied)
        scene = replace(scene, guide=_make(path, guide_image, ", ".join(sharp)))
    acquired = known.get("datetime")
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


def _image(path: Path, assets: Mapping[str, Any], keys: tuple[str, ...], remote: bool, offset_applied: bool) -> Scene:
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
        scenes.append(_add_facts(path, key, scene, assets[key], offset_applied))
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
    written = Path(unquote(urlsplit(href).path)) if href.lower().startswith("file:") else Path(href)
    place = Path(os.path.normpath(path.parent / written))  # as written, so that no link changes what `..` means
    if virtual.is_virtual(written) or not lies_below(place, path.parent):
        raise HsisrError(f"{path}: its asset {key}, {href}, does not lie beside it, and is not followed; copy it there")
    if place.suffix.lower() in (".json", ".geojson"):
        raise HsisrError(f"{path}: its asset {key} is {href}, a text; expected an image")
    return place


def _add_facts(path: Path, key: str, scene: Scene, asset: Mapping[str, Any], offset_applied: bool) -> Scene:
    """The scene, completed with the item's facts on bands that the image does not state."""
    count = scene.shape[0]
    bands = _bands(path, key, asset, count)
    with damage(path, f"STAC item (bands of the asset {key})"):
        centres = [_first(band, "eo:center_wavelength", "center_wavelength") for band in bands]
        widths = [_first(band, "eo:full_width_half_max", "full_width_half_max") for band in bands]
        if scene.wavelengths_nm is None and None not in centres:
            found = spectral_facts(path, count, centres, "um", None if None in widths else widths)
            width = found["fwhm_nm"] if scene.fwhm_nm is None else scene.fwhm_nm
            scene = replace(scene, wavelengths_nm=found["wavelengths_nm"], fwhm_nm=width)
        scales, offsets, nodata = (
            [_number(band, *names) for band in bands]
            for names in (("raster:scale", "scale"), ("raster:offset", "offset"), ("nodata",))
        )
    if scene.nodata is None and any(value is not None for value in nodata):
        scene = _with_nodata(path, scene, nodata)
    if (scene.scale, scene.offset) != (1.0, 0.0):
        return scene
    if offset_applied and any(offsets):
        notice(f"{path}: states an offset for its asset {key}, and that it was applied; hsisr does not apply it again")
        offsets = [0.0] * count
    factors = np.array([1.0 if scale is None else scale for scale in scales])
    return products.scale_bands(path, scene, factors, np.array([offset or 0.0 for offset in offsets]))


def _with_nodata(path: Path, scene: Scene, nodata: list[float | None]) -> Scene:
    """The scene with a nodata value for each band. If they differ, samples without data become NaN."""
    if len({repr(value) for value in nodata}) == 1:
        return replace(scene, nodata=nodata[0])
    bands = [replace(products.pick(scene, np.array([band])), nodata=value) for band, value in enumerate(nodata)]
    return stack(bands, [str(path)] * len(bands), scene.name)


def _bands(path: Path, key: str, asset: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """The facts on each band, from STAC 1.1's asset and its `bands`, and from 1.0's `eo:bands` and `raster:bands`."""
    found: list[dict[str, Any]] = [{name: asset[name] for name in _SHARED if name in asset} for _ in range(count)]
    for name in ("eo:bands", "raster:bands", "bands"):
        listed = asset.get(name)
        if isinstance(listed, list) and len(listed) == count and all(isinstance(band, dict) for band in listed):
            found = [{**known, **band} for known, band in zip(found, listed, strict=True)]
        elif listed:
            notice(f"{path}: {name} of its asset {key} does not list the {count} bands of the image; it is left out")
    return found


def _number(band: Mapping[str, Any], *keys: str) -> float | None:
    value = _first(band, *keys)
    return None if value is None else float(value)


def _first(band: Mapping[str, Any], *keys: str) -> Any:
    return next((band[key] for key in keys if band.get(key) is not None), None)
