"""Spectra of the pixels that a reader selects: those of the reference and of every model, packed into the page."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hsisr.report.content import SceneView
from hsisr.report.figures import LineStyle, segments

#: Most bytes for the spectra of all benchmarks together. In base64, they grow by a third.
SPECTRA_BYTES = 4e6


def choose_stride(scenes: Sequence[SceneView], most_bytes: float) -> int:
    """Step between shown pixels of the scenes' grids, in rows and columns, so that they take at most most_bytes."""
    longest = max((side for scene in scenes for side in scene.reference_samples.shape[:2]), default=1)
    strides = range(1, longest + 1)
    return next((n for n in strides if sum(_size_bytes(scene, n) for scene in scenes) <= most_bytes), longest)


def probe(scene: SceneView, stride: int, styles: Mapping[str, LineStyle]) -> dict[str, Any]:
    """The data for the page's script to draw the spectra of a scene's pixels, as plain values for JSON.

    stride: from `choose_stride`. styles: of the models. `spectra` holds one text for each pixel, row after row: the
    base64 form of `pack`, with the reference first and then the models in their order; null for a pixel without data.
    """
    rows, columns = scene.sample_rows[::stride], scene.sample_columns[::stride]
    cubes = np.stack([scene.reference_samples, *(view.samples for view in scene.models.values())], axis=2)
    pixels = cubes[::stride, ::stride].reshape(-1, *cubes.shape[2:])
    valid = scene.valid[np.ix_(rows, columns)].ravel()
    numbers = np.arange(1.0, cubes.shape[-1] + 1)
    positions = numbers if scene.wavelengths_nm is None else scene.wavelengths_nm
    return {
        "size": [*scene.reference.shape[:2]],
        "rows": rows.tolist(),
        "columns": columns.tolist(),
        "every": int(max([1, *np.diff(rows)[:1], *np.diff(columns)[:1]])),
        "positions": [round(float(position), 1) for position in positions],
        "unit": "" if scene.wavelengths_nm is None else "nm",
        "runs": [[run.start, run.stop] for run in segments(positions)],
        "band": scene.composite_bands[1],
        "models": [_line(name, styles[name], len(positions)) for name in scene.models],
        "spectra": [
            base64.b64encode(pack(spectra)).decode() if known else None
            for spectra, known in zip(pixels, valid, strict=True)
        ],
    }


def pack(spectra: np.ndarray) -> bytes:
    """Spectra (n, bands) of one pixel as bytes: low and step as float32, then 16-bit codes; all little-endian.

    A value is low + code * step. Each pixel has its own range, so dark pixels keep their digits.
    """
    low, high = float(spectra.min()), float(spectra.max())
    header = np.array([low, max((high - low) / 65535, 1e-12)], "<f4")
    low, step = header.astype(float)
    return header.tobytes() + np.clip(np.rint((spectra - low) / step), 0, 65535).astype("<u2").tobytes()


def _size_bytes(scene: SceneView, stride: int) -> int:
    rows, columns, bands = scene.reference_samples.shape
    pixels = math.ceil(rows / stride) * math.ceil(columns / stride)
    return pixels * (8 + 2 * bands * (1 + len(scene.models)))


def _line(name: str, style: LineStyle, bands: int) -> dict[str, Any]:
    """A model's line: its style, and the bands with a mark."""
    return {"name": name, "marker": style.marker, "marked": [*style.marks(bands)], **asdict(style)}
