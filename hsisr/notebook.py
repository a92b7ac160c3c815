"""Scenes and pairs in a notebook: a line, a card with a picture, a plot, an xarray DataArray.

No step of the pipeline uses this module, so its code does not count in any step's identity. `Scene` and `Pair` load it
by its name; see `hsisr.sources`.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from hsisr.colours import spread_bands
from hsisr.datasets.quicklook import default_bands, quicklook
from hsisr.errors import HsisrError
from hsisr.lazy_array import LazyArray
from hsisr.scene import Scene

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

#: Longest side of the picture in a card, in pixels.
_THUMBNAIL_PX = 240
#: Coordinates of a DataArray that hold a field of a scene: name -> (field, dimension or dimensions).
_COORDINATES = {
    "fwhm_nm": ("fwhm_nm", ("band",)),
    "bad_band": ("bad_bands", ("band",)),
    "mask": ("mask", ("y", "x")),
    "labels": ("labels", ("y", "x")),
}


def describe(scene: Scene) -> str:
    """One line: name, size, stored type, wavelengths and CRS of a scene."""
    bands, rows, columns = scene.shape
    parts = [f"{bands} band{'s' * (bands != 1)} of {rows} x {columns}", str(np.dtype(scene.stored.dtype))]
    if scene.wavelengths_nm is not None:
        parts.append(f"{np.min(scene.wavelengths_nm):.0f} to {np.max(scene.wavelengths_nm):.0f} nm")
    if scene.crs is not None:
        parts.append(_short_crs(scene.crs))
    if scene.guide is not None:
        parts.append(f"guide {_size(scene.guide.shape)}")
    return f"Scene({scene.name!r}: {', '.join(parts)})"


def facts(scene: Scene) -> dict[str, str]:
    """The facts on a scene's card: fact -> value, in words."""
    found = {"size": f"{_size(scene.shape)} (bands, rows, columns)", "stored as": str(np.dtype(scene.stored.dtype))}
    if scene.scale != 1 or scene.offset != 0:
        found["value"] = f"stored x {scene.scale:g} + {scene.offset:g}"
    if scene.wavelengths_nm is not None:
        found["wavelengths"] = f"{np.min(scene.wavelengths_nm):.1f} to {np.max(scene.wavelengths_nm):.1f} nm"
    if scene.bad_bands is not None and np.any(scene.bad_bands):
        found["bad bands"] = str(int(np.sum(scene.bad_bands)))
    if scene.mask is not None:
        found["valid pixels"] = f"{np.mean(scene.mask):.1%}"
    if scene.nodata is not None:
        found["no data"] = f"{scene.nodata:g}"
    if scene.crs is not None:
        found["CRS"] = _short_crs(scene.crs)
    if scene.transform is not None:
        a, b, _, d, e, _ = scene.transform
        found["pixel size"] = f"{np.hypot(a, d):g} x {np.hypot(b, e):g} (CRS units)"
    if scene.guide is not None:
        found["guide"] = _size(scene.guide.shape)
    found["pixels"] = f"read from {scene.files[0].name} when used" if scene.files else "in memory"
    return found


def scene_card(scene: Scene) -> str:
    """HTML of a scene: a small picture beside its facts."""
    return _card(scene.name, facts(scene), [thumbnail(scene)])


def describe_pair(
    name: str, lr: np.ndarray, guide: np.ndarray | None, hr: np.ndarray | None, metadata: Mapping[str, Any]
) -> str:
    """One line: a pair's name, the sizes of its images, and its origin."""
    images = {"lr": lr, "guide": guide, "hr": hr}
    parts = [f"{key} {_size(image.shape)}" for key, image in images.items() if image is not None]
    parts += [f"{key} {metadata[key]}" for key in ("scale", "protocol") if key in metadata]
    return f"Pair({name!r}: {', '.join(parts)})"


def pair_card(
    name: str,
    lr: np.ndarray,
    guide: np.ndarray | None,
    hr: np.ndarray | None,
    metadata: Mapping[str, Any],
    wavelengths_nm: np.ndarray | None,
) -> str:
    """HTML of a pair: small pictures of its images beside their sizes and their origin.

    wavelengths_nm: of the bands of lr and hr; with them, both are shown like a scene. None: unknown.
    """
    images = {"LR image": lr, "guide": guide, "HR reference": hr}
    present = {key: image for key, image in images.items() if image is not None}
    words = {key: _size(image.shape) for key, image in present.items()}
    for key in ("protocol", "scale", "psf", "response", "noise_sigma"):
        if metadata.get(key) is not None:
            words[key.replace("_", " ")] = str(metadata[key])
    scenes = {
        key: Scene(image, wavelengths_nm=None if key == "guide" else wavelengths_nm) for key, image in present.items()
    }
    return _card(name, words, [thumbnail(scene) for scene in scenes.values()])


def plot(scene: Scene, bands: Sequence[int] | None = None, ax: "Axes | None" = None) -> "Axes":
    """Show a scene as a picture. Arguments and errors as `Scene.plot`."""
    import matplotlib.pyplot as plt

    chosen = _bands_shown(scene) if bands is None else [bands] if isinstance(bands, int) else list(bands)
    picture = quicklook(scene, chosen)
    if ax is None:
        ax = plt.subplots()[1]
    ax.imshow(picture)
    ax.set_axis_off()
    if scene.wavelengths_nm is None:
        shown = "bands " + ", ".join(str(band) for band in chosen)
    else:
        shown = ", ".join(f"{scene.wavelengths_nm[band]:.0f}" for band in chosen) + " nm"
    ax.set_title(f"{scene.name} ({shown})")
    return ax


def thumbnail(scene: Scene) -> np.ndarray | None:
    """A small RGB picture (H, W, 3) uint8 of a scene; None if no pixel is valid."""
    chosen = _bands_shown(scene)
    step = max(1, -(-max(scene.shape[1:]) // _THUMBNAIL_PX))
    planes = [_thin(scene, band, step) for band in chosen]
    mask = None if scene.mask is None else np.asarray(scene.mask)[::step, ::step]
    small = Scene(np.concatenate(planes), scene.name, scene.scale, scene.offset, mask=mask, nodata=scene.nodata)
    try:
        return quicklook(small, range(len(chosen)))
    except HsisrError:  # no pixel is valid
        return None


def to_xarray(scene: Scene) -> "xarray.DataArray":
    """The values of a scene as an xarray DataArray; see `Scene.to_xarray`."""
    try:
        import xarray
    except ImportError:
        raise HsisrError("to_xarray: xarray is not installed; pip install 'hsisr[xarray]'") from None

    scene = replace(scene, guide=None).load()  # so that it is read only once
    bands, rows, columns = scene.shape
    values = scene.cube
    missing = scene.without_data(scene.stored)
    if missing is not None:
        values[missing] = np.nan
    coordinates: dict[str, Any] = {}
    if scene.wavelengths_nm is None:
        coordinates["band"] = np.arange(bands)
    else:
        coordinates["wavelength"] = ("band", np.asarray(scene.wavelengths_nm, float), {"units": "nm"})
    for name, (field, dimensions) in _COORDINATES.items():
        value = getattr(scene, field)
        if value is not None:
            coordinates[name] = (dimensions, np.asarray(value))
    if scene.transform is not None:
        a, b, c, d, e, f = scene.transform
        if b == 0 and d == 0:  # the coordinates of a rotated image do not form two axes
            coordinates["x"] = c + a * (np.arange(columns) + 0.5)
            coordinates["y"] = f + e * (np.arange(rows) + 0.5)
    if scene.crs is not None or scene.transform is not None:
        coordinates["spatial_ref"] = ((), 0, _spatial_reference(scene))
    attributes: dict[str, Any] = {"provenance": json.dumps(scene.provenance, sort_keys=True, default=str)}
    if scene.label_names:
        attributes["label_names"] = list(scene.label_names)
    array = xarray.DataArray(values, coordinates, ("band", "y", "x"), scene.name, attributes)
    return array if scene.wavelengths_nm is None else array.swap_dims(band="wavelength")


def from_xarray(array: "xarray.DataArray") -> Scene:
    """The scene of a DataArray; see `Scene.from_xarray`."""
    try:
        axes, dimensions = array.ndim, tuple(array.dims)
    except AttributeError:  # a plain array, or a Dataset
        raise HsisrError(f"from_xarray: takes a DataArray, not a {type(array).__name__}") from None
    if axes != 3 or dimensions[1:] != ("y", "x"):
        raise HsisrError(
            f"from_xarray: the array has dimensions {dimensions}; expected (wavelength, y, x) or (band, y, x): "
            "bring them into that order with array.transpose(...), names with array.rename(...)"
        )
    values = array.values
    if values.dtype.kind not in "iuf":
        raise HsisrError(f"from_xarray: the array holds {values.dtype}; a scene holds real numbers")
    fields: dict[str, Any] = {
        field: array.coords[name].values for name, (field, _) in _COORDINATES.items() if name in array.coords
    }
    if "wavelength" in array.coords:
        fields["wavelengths_nm"] = _in_nanometres(array.coords["wavelength"])
    if values.dtype.kind == "f" and np.isnan(values).any():
        fields["nodata"] = float("nan")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", str(array.name)).strip("-") if array.name else ""
    return Scene(
        stored=values,
        name=name or "scene",
        label_names=tuple(str(label) for label in array.attrs.get("label_names", ())),
        provenance=json.loads(array.attrs.get("provenance", "{}")),
        **fields,
        **_place(array),
    )


def _bands_shown(scene: Scene) -> list[int]:
    """Natural colours if the scene has them, else bands spread over the spectrum, or the only band."""
    try:
        return default_bands(scene)
    except HsisrError:
        return spread_bands(scene.shape[0]) if scene.shape[0] > 2 else [0]


def _thin(scene: Scene, band: int, step: int) -> np.ndarray:
    """Every `step`-th pixel of a band as stored, (1, h, w). It is read by strips, so a large scene stays on disk."""
    rows = scene.shape[1]
    if not isinstance(scene.stored, LazyArray):
        return np.asarray(scene.stored[band : band + 1, ::step, ::step])
    parts = [
        scene.stored[slice(band, band + 1), slice(row, row + 1), slice(None)][:, :, ::step]
        for row in range(0, rows, step)
    ]
    return np.concatenate(parts, axis=1)


def _card(title: str, words: Mapping[str, str], pictures: Sequence[np.ndarray | None]) -> str:
    images = "".join(
        f'<img alt="{escape(title)}" style="max-height:{_THUMBNAIL_PX}px;margin-right:8px;image-rendering:pixelated" '
        f'src="data:image/png;base64,{base64.b64encode(_png(picture)).decode()}">'
        for picture in pictures
        if picture is not None
    )
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(key)}</th><td style="text-align:left">{escape(value)}</td></tr>'
        for key, value in words.items()
    )
    return (
        '<div style="display:flex;flex-wrap:wrap;align-items:flex-start;gap:8px">'
        f"<div>{images}</div><table><caption><b>{escape(title)}</b></caption>{rows}</table></div>"
    )


def _png(picture: np.ndarray) -> bytes:
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(int(side)) for side in shape)


def _short_crs(crs: str) -> str:
    """The authority's code of a CRS if there is one, else its name, or its first characters."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        known = CRS.from_user_input(crs)
    except CRSError:
        return crs[:40]
    authority = known.to_authority()
    if authority is not None:
        return ":".join(authority)
    named = re.search(r'"([^"]+)"', known.to_wkt())
    return named[1] if named else crs[:40]


def _spatial_reference(scene: Scene) -> dict[str, str]:
    """Attributes of the coordinate `spatial_ref`, as rioxarray writes and reads them."""
    found = {}
    if scene.crs is not None:
        from rasterio.crs import CRS

        wkt = CRS.from_user_input(scene.crs).to_wkt()
        found = {"crs_wkt": wkt, "spatial_ref": wkt}
    if scene.transform is not None:
        a, b, c, d, e, f = scene.transform
        found["GeoTransform"] = " ".join(repr(float(number)) for number in (c, a, b, f, d, e))
    return found


def _place(array: "xarray.DataArray") -> dict[str, Any]:
    """CRS and transform of a DataArray: from `spatial_ref`, else the transform of evenly spaced x and y."""
    attributes = array.coords["spatial_ref"].attrs if "spatial_ref" in array.coords else {}
    found: dict[str, Any] = {"crs": attributes.get("crs_wkt") or attributes.get("spatial_ref")}
    x, y = (array.coords[name].values.astype(float) if name in array.coords else None for name in ("x", "y"))
    if "GeoTransform" in attributes and (x is None or y is None or _agrees(attributes["GeoTransform"], x, y)):
        c, a, b, f, d, e = (float(word) for word in attributes["GeoTransform"].split())
        found["transform"] = (a, b, c, d, e, f)
    elif x is not None and y is not None and x.size > 1 and y.size > 1:
        steps = np.diff(x), np.diff(y)
        if not all(np.allclose(step, step[0], rtol=1e-6) for step in steps):
            raise HsisrError("from_xarray: x or y is not evenly spaced; resample the array, or drop these coordinates")
        a, e = float(steps[0].mean()), float(steps[1].mean())
        found["transform"] = (a, 0.0, float(x[0]) - a / 2, 0.0, e, float(y[0]) - e / 2)
    return found


def _agrees(transform: str, x: np.ndarray, y: np.ndarray) -> bool:
    """Whether a GeoTransform still fits the coordinates. It does not if the array was cut or thinned."""
    c, a, _, f, _, e = (float(word) for word in transform.split())
    expected = c + a * (np.arange(x.size) + 0.5), f + e * (np.arange(y.size) + 0.5)
    return np.allclose(x, expected[0], atol=abs(a) * 1e-6) and np.allclose(y, expected[1], atol=abs(e) * 1e-6)


def _in_nanometres(wavelength: "xarray.DataArray") -> np.ndarray:
    units = str(wavelength.attrs.get("units", "nm")).strip().lower()
    factors = {"nm": 1, "nanometers": 1, "nanometres": 1, "nanometer": 1, "nanometre": 1}
    factors |= dict.fromkeys(("um", "µm", "μm", "micrometers", "micrometres", "micrometer", "microns"), 1000)
    if units not in factors:
        raise HsisrError(f"from_xarray: the unit of the wavelengths is {units!r}; expected nm or um")
    return np.asarray(wavelength.values, float) * factors[units]
