"""Stacking: several images on the same grid become one scene, for instance satellite bands in a file each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hsisr.errors import HsisrError
from hsisr.lazy_array import LazyArray
from hsisr.scene import Scene

#: Largest distance, in pixels, between the corners of two grids that count as the same.
_TOLERANCE_PX = 0.01
#: The same, from which on two scenes show other ground.
_OTHER_GROUND_PX = 0.5


def stack(scenes: Sequence[Scene], names: Sequence[str], name: str) -> Scene:
    """One scene, named `name`, of the bands of several `scenes`, in order. It is as lazy as they are.

    names: names of the scenes for messages. If all agree in type, scale, offset and nodata value, stored numbers stay
    unchanged. Else the bands become float32 values, with NaN for missing ones. A pixel masked in one scene is masked
    in the result. Raises HsisrError if size, CRS or transform differ.
    """
    first = scenes[0]
    for scene, called in zip(scenes[1:], names[1:], strict=True):
        _check_same_grid(first, names[0], scene, called)
    alike = len({(np.dtype(s.stored.dtype), s.scale, s.offset, _key(s.nodata)) for s in scenes}) == 1
    masks = [np.asarray(scene.mask, bool) for scene in scenes if scene.mask is not None]
    lacking = any(scene.nodata is not None for scene in scenes)
    bad = np.concatenate([_or(scene.bad_bands, np.zeros(scene.shape[0], bool)) for scene in scenes])
    return Scene(
        _Stack(scenes, as_values=not alike),
        name=name,
        scale=first.scale if alike else 1.0,
        offset=first.offset if alike else 0.0,
        wavelengths_nm=_join([scene.wavelengths_nm for scene in scenes]),
        fwhm_nm=_join([scene.fwhm_nm for scene in scenes]),
        bad_bands=bad if bad.any() else None,
        mask=np.logical_and.reduce(masks) if masks else None,
        crs=first.crs,
        transform=first.transform,
        nodata=first.nodata if alike else (float("nan") if lacking else None),
        provenance={key: value for key, value in first.provenance.items() if key == "georeference"},
    )


class _Stack(LazyArray):
    """(bands, H, W) of the stored numbers, or the values, of several scenes."""

    def __init__(self, scenes: Sequence[Scene], as_values: bool) -> None:
        self._scenes, self._as_values = tuple(scenes), as_values
        self._edges = np.cumsum([0, *(scene.shape[0] for scene in scenes)])
        self.shape = (int(self._edges[-1]), *scenes[0].shape[1:])
        self.dtype = np.dtype(np.float32) if as_values else np.dtype(scenes[0].stored.dtype)
        self.files = tuple(file for scene in scenes for file in scene.files)

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """A block, from the scenes that hold its bands."""
        wanted = np.arange(bands.start, bands.stop, bands.step)
        parts = []
        for number, scene in enumerate(self._scenes):
            own = wanted[(wanted >= self._edges[number]) & (wanted < self._edges[number + 1])] - self._edges[number]
            if len(own):
                block = np.asarray(scene.stored[slice(int(own[0]), int(own[-1]) + 1), rows, columns])
                block = block[own - own[0]]
                parts.append(self._values(scene, block) if self._as_values else block)
        return np.concatenate(parts)

    @staticmethod
    def _values(scene: Scene, block: np.ndarray) -> np.ndarray:
        values = (block.astype(np.float64) * scene.scale + scene.offset).astype(np.float32)
        missing = scene.without_data(block)
        return values if missing is None else np.where(missing, np.float32(np.nan), values)


def _check_same_grid(first: Scene, first_name: str, scene: Scene, name: str) -> None:
    if scene.shape[1:] != first.shape[1:]:
        one, other = (f"{s.shape[1]} x {s.shape[2]} pixels" for s in (scene, first))
        one = f"has {one}"
    else:
        one, other = grid_difference(scene, first, _TOLERANCE_PX) or ("", "")
    if one:
        raise HsisrError(
            f"{name}: {one}, but {first_name} {other}; bands that are stacked must lie on one grid: resample them "
            "(gdalwarp), or leave out those of another"
        )


def grid_difference(scene: Scene, other: Scene, tolerance_px: float) -> tuple[str, str] | None:
    """Where two scenes of one size lie, in words, if their corners are more than so many pixels apart; else None.

    Scenes also differ if one alone has a CRS or a transform.
    """
    from rasterio.crs import CRS

    if (scene.transform is None) != (other.transform is None):
        return f"lies at {scene.transform}", f"at {other.transform}"
    first, second = (None if s.crs is None else CRS.from_user_input(s.crs) for s in (scene, other))
    if first != second:
        words = ("no CRS" if crs is None else crs.to_string()[:60] for crs in (first, second))
        return f"lies in {next(words)}", f"in {next(words)}"
    if scene.transform is None or other.transform is None:
        return None
    pixel = max(abs(other.transform[k]) for k in (0, 1, 3, 4))
    reach = np.array([*scene.shape[:0:-1], 1.0, *scene.shape[:0:-1], 1.0])
    apart = np.abs((np.array(scene.transform) - np.array(other.transform)) * reach).max() / pixel
    return (f"lies at {scene.transform}", f"at {other.transform}") if apart > tolerance_px else None


def have_georeference(first: Scene, second: Scene) -> bool:
    """Whether both say where they lie, in a CRS or both in plain coordinates."""
    known = first.transform is not None and second.transform is not None
    return known and (first.crs is None) == (second.crs is None)


def contradiction(scene: Scene, other: Scene) -> tuple[str, str] | None:
    """Where two scenes of one size lie, in words, if both say so and mean other ground; else None."""
    return grid_difference(scene, other, _OTHER_GROUND_PX) if have_georeference(scene, other) else None


def _join(columns: Sequence[np.ndarray | None]) -> np.ndarray | None:
    known = [np.asarray(column, float) for column in columns if column is not None]
    return np.concatenate(known) if len(known) == len(columns) else None


def _or(values: Any, default: np.ndarray) -> np.ndarray:
    return default if values is None else np.asarray(values, bool)


def _key(nodata: float | None) -> Any:
    return "nan" if nodata is not None and np.isnan(nodata) else nodata
