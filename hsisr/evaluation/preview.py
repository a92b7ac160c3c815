"""Preview files: the small part of a model's output that the report draws. The report never super-resolves."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields

import h5py
import numpy as np

from hsisr import hdf5
from hsisr.colours import INFRARED_NM, NATURAL_NM, nearest_bands, spread_bands

#: Spectra are kept of at most this many pixels along the longer side.
MOST_SAMPLES = 48


@dataclass(frozen=True)
class Preview:
    """The facts that a report shows of one super-resolved scene.

    composite: (H, W, 3) float32 values of three bands. reference_composite, lr_composite: the same for the HR and the
    LR image (LR size). guide_composite: the same for three channels of the guide, (0, 0, 3) without a guide.
    composite_bands: their 0-based numbers. valid: (H, W), True where the scene has data; only these pixels count below.
    error: (H, W) RMSE over bands. spectral_angle: (H, W) degrees. Both are 0 where the scene has no data.
    points: (n, 2) rows and columns. spectra, reference_spectra: (n, bands). worst_point: (2,) row and column of the
    largest error. worst_spectra: (2, bands) of the estimate and the reference there. sample_rows (n,),
    sample_columns (m,): a regular grid of pixels. samples, reference_samples: (n, m, bands) their spectra.
    band_psnr: (bands,) dB.
    """

    composite: np.ndarray
    reference_composite: np.ndarray
    lr_composite: np.ndarray
    guide_composite: np.ndarray
    composite_bands: np.ndarray
    valid: np.ndarray
    error: np.ndarray
    spectral_angle: np.ndarray
    points: np.ndarray
    spectra: np.ndarray
    reference_spectra: np.ndarray
    worst_point: np.ndarray
    worst_spectra: np.ndarray
    sample_rows: np.ndarray
    sample_columns: np.ndarray
    samples: np.ndarray
    reference_samples: np.ndarray
    band_psnr: np.ndarray
    wavelengths_nm: np.ndarray


def make(
    lr: np.ndarray,
    estimate: np.ndarray,
    reference: np.ndarray,
    wavelengths_nm: np.ndarray | None,
    guide: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    clip: tuple[float, float] | None = None,
) -> Preview:
    """The preview of an estimate (bands, H, W) against its reference; lr (bands, h, w), guide (G, H, W).

    mask: (H, W), True where a pixel has data; None: all have. clip: limits to which scores clip the estimate; None:
    they do not clip.
    """
    bands = len(reference)
    shown = composite_bands(bands, wavelengths_nm)
    valid = np.ones(reference.shape[1:], bool) if mask is None else mask
    estimate = estimate if clip is None else np.clip(estimate, *clip)
    squared = np.zeros(reference.shape[1:])
    dot, norm_x, norm_y = np.zeros_like(squared), np.zeros_like(squared), np.zeros_like(squared)
    band_mse = np.empty(bands)
    for band in range(bands):
        x, y = reference[band].astype(np.float64), estimate[band].astype(np.float64)
        difference = (x - y) ** 2
        band_mse[band] = difference[valid].mean()
        squared += difference
        dot += x * y
        norm_x += x * x
        norm_y += y * y
    cosine = dot / np.sqrt(np.maximum(norm_x * norm_y, np.finfo(float).tiny))
    points = typical_points(reference, valid)
    rows, columns = points.T
    worst = np.unravel_index(np.argmax(np.where(valid, squared, -1)), squared.shape)
    sample_rows, sample_columns = sample_grid(*reference.shape[1:])
    return Preview(
        composite=_channels_last(estimate, shown),
        reference_composite=_channels_last(reference, shown),
        lr_composite=_channels_last(lr, shown),
        guide_composite=_guide_composite(guide),
        composite_bands=np.array(shown),
        valid=valid,
        error=np.where(valid, np.sqrt(squared / bands), 0).astype(np.float32),
        spectral_angle=np.where(valid, np.degrees(np.arccos(np.clip(cosine, -1, 1))), 0).astype(np.float32),
        points=points,
        spectra=estimate[:, rows, columns].T.astype(np.float32),
        reference_spectra=reference[:, rows, columns].T.astype(np.float32),
        worst_point=np.array(worst),
        worst_spectra=np.stack([estimate[:, worst[0], worst[1]], reference[:, worst[0], worst[1]]]).astype(np.float32),
        sample_rows=sample_rows,
        sample_columns=sample_columns,
        samples=_take_samples(estimate, sample_rows, sample_columns),
        reference_samples=_take_samples(reference, sample_rows, sample_columns),
        band_psnr=-10 * np.log10(np.maximum(band_mse, 1e-12)),
        wavelengths_nm=np.arange(1, bands + 1) if wavelengths_nm is None else wavelengths_nm,
    )


def composite_bands(bands: int, wavelengths_nm: np.ndarray | None) -> tuple[int, ...]:
    """The bands for red, green, blue: natural colours, or colour infrared if the scene reaches 800 nm.

    Without wavelengths: three bands spread over the scene, from last to first.
    """
    if wavelengths_nm is None:
        red, green, blue = spread_bands(bands)
    else:
        centres = INFRARED_NM if max(wavelengths_nm) > 800 else NATURAL_NM
        red, green, blue = nearest_bands(wavelengths_nm, centres)
    return red, green, blue


def typical_points(reference: np.ndarray, valid: np.ndarray, count: int = 3) -> np.ndarray:
    """Valid pixels (count, 2) of low, middle and high brightness: quantiles of the scene. The same every time."""
    brightness = np.where(valid, reference.mean(axis=0), np.inf)
    ranks = np.argsort(brightness, axis=None, kind="stable")[: np.count_nonzero(valid)]
    quantiles = [(2 * k + 1) / (2 * count) for k in range(count)]
    chosen = [ranks[int(quantile * (ranks.size - 1))] for quantile in quantiles]
    return np.stack(np.unravel_index(chosen, brightness.shape), axis=1)


def sample_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels whose spectra are kept: every n-th, starting in the middle of the first n."""
    step = -(-max(height, width) // MOST_SAMPLES)
    rows, columns = (np.arange((min(step, side) - 1) // 2, side, step) for side in (height, width))
    return rows, columns


def write(
    path: str | os.PathLike,
    previews: dict[str, Preview],
    settings: object = None,
    labelled: dict[str, np.ndarray] | None = None,
) -> None:
    """Write a model's previews, one group a scene. labelled: scene -> (n, bands) spectra of labelled pixels."""
    with hdf5.writing(path, "preview", settings) as file:
        for name, preview in previews.items():
            group = file.create_group(name)
            for key in fields(Preview):
                group[key.name] = getattr(preview, key.name)
        for name, spectra in (labelled or {}).items():
            file.create_dataset(f"{_LABELLED}/{name}", data=spectra)


def read(path: str | os.PathLike) -> dict[str, Preview]:
    """Scene -> preview. Raises HsisrError if the file is absent, damaged or of another kind."""
    with hdf5.reading(path, "preview") as file:
        return {name: _preview(hdf5.group(file, name)) for name in file if name != _LABELLED}


def read_labelled(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Scene -> (n, bands) spectra of labelled pixels; empty without labels. Errors as `read`."""
    with hdf5.reading(path, "preview") as file:
        if _LABELLED not in file:
            return {}
        labelled = hdf5.group(file, _LABELLED)
        return {name: hdf5.dataset(labelled, name, "f", 2)[...] for name in labelled}


#: Group of the labelled pixels. No scene has such a name.
_LABELLED = "_labelled"


#: Number of axes of each part of a preview. All parts hold numbers, or whether a pixel is valid.
_AXES = {
    "composite": 3,
    "reference_composite": 3,
    "lr_composite": 3,
    "guide_composite": 3,
    "composite_bands": 1,
    "valid": 2,
    "error": 2,
    "spectral_angle": 2,
    "points": 2,
    "spectra": 2,
    "reference_spectra": 2,
    "worst_point": 1,
    "worst_spectra": 2,
    "sample_rows": 1,
    "sample_columns": 1,
    "samples": 3,
    "reference_samples": 3,
    "band_psnr": 1,
    "wavelengths_nm": 1,
}


def _preview(group: h5py.Group) -> Preview:
    return Preview(**{name: hdf5.dataset(group, name, "biuf", axes)[...] for name, axes in _AXES.items()})


def _guide_composite(guide: np.ndarray | None) -> np.ndarray:
    """The first three channels of a guide, or its only channel three times; empty without a guide."""
    if guide is None:
        return np.empty((0, 0, 3), np.float32)
    return _channels_last(guide, (0, 1, 2) if len(guide) >= 3 else (0, 0, 0))


def _take_samples(cube: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.moveaxis(cube[:, rows[:, None], columns], 0, -1).astype(np.float32)


def _channels_last(cube: np.ndarray, bands: Sequence[int]) -> np.ndarray:
    return np.moveaxis(cube[list(bands)], 0, -1).astype(np.float32)
