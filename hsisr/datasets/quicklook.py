"""Quicklook: a scene as an RGB picture."""

import os
from collections.abc import Sequence

import numpy as np

from hsisr.colours import NATURAL_NM
from hsisr.datasets import picture
from hsisr.errors import HsisrError
from hsisr.scene import Scene, check_scene

#: Grey levels are stretched between these percentiles of the valid pixels, the same for all three channels.
_PERCENTILES = (1.0, 99.0)
_BANDS_HINT = "--bands R,G,B, or one for grey (in Python bands=[...])"


def quicklook(scene: Scene, bands: Sequence[int] | None = None) -> np.ndarray:
    """RGB picture (H, W, 3) uint8 of a scene; invalid pixels are black.

    bands: three bands for red, green and blue (from 0), or one for grey. By default, the bands nearest to 650, 550 and
    450 nm. An image of three bands is shown unchanged, an image of one band in grey.
    Raises HsisrError if `bands` is not given and the wavelengths are unknown or not visible.
    """
    chosen = default_bands(scene) if bands is None else list(bands)
    if len(chosen) not in (1, 3) or any(not 0 <= band < scene.shape[0] for band in chosen):
        raise HsisrError(
            f"scene {scene.name}: bands {chosen} make no picture; give 3, or 1, of 0 to {scene.shape[0] - 1}"
        )
    picked = scene.bands(chosen)
    values = picked.cube
    valid = np.ones(scene.shape[1:], bool) if scene.mask is None else np.asarray(scene.mask, bool)
    missing = picked.without_data(picked.stored)
    if missing is not None:
        valid = valid & ~missing.any(axis=0)
    if not valid.any():
        raise HsisrError(f"scene {scene.name}: no pixel is valid in bands {chosen}")
    return stretch(values, valid, values[:, valid])


def stretch(values: np.ndarray, valid: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """RGB picture (H, W, 3) uint8 of values (3 or 1, H, W), from black to white between percentiles of `reference`.

    valid: (H, W); invalid pixels are black.
    """
    low, high = np.percentile(reference, _PERCENTILES) if np.size(reference) else (0.0, 1.0)
    stretched = np.clip((values - low) / max(high - low, np.finfo(np.float32).tiny), 0, 1)
    grey = np.where(valid, np.rint(stretched * 255), 0).astype(np.uint8)
    return np.moveaxis(np.broadcast_to(grey, (3, *valid.shape)), 0, -1).copy()


def show(scene: Scene, out: str | os.PathLike, bands: Sequence[int] | None = None) -> None:
    """Write the quicklook of a scene as PNG or JPEG; the ending of `out` decides.

    bands: three bands (from 0) for red, green and blue, or one for grey. None: the bands nearest to these colours.
    Raises HsisrError for what is no Scene, and as `quicklook`.
    """
    check_scene(scene, "show")
    picture.write(out, quicklook(scene, bands))


def default_bands(scene: Scene) -> list[int]:
    """The bands for red, green and blue, or for grey, if the user names none. Errors as `quicklook`."""
    if scene.wavelengths_nm is None:
        if scene.shape[0] in (1, 3):
            return list(range(scene.shape[0]))
        raise HsisrError(
            f"scene {scene.name}: its wavelengths are not known; say which of its {scene.shape[0]} bands make red, "
            f"green and blue: {_BANDS_HINT}"
        )
    chosen = [scene.nearest_band(wavelength) for wavelength in NATURAL_NM]
    if len(set(chosen)) < 3:
        raise HsisrError(
            f"scene {scene.name}: its {scene.shape[0]} bands do not cover the visible; say which make red, green, "
            f"blue: {_BANDS_HINT}"
        )
    return chosen
