"""The map of a sweep as a picture: a panel for each model, a row for each PSF, a column for each response and noise."""

import os
from collections.abc import Mapping

import numpy as np

from hsisr.files import atomic_path

#: Inches of a cell, of the words beside the first panel, and of everything above and below the panels.
_CELL, _WORDS, _HEAD = (0.62, 0.26), 1.9, 1.6


def draw(path: str | os.PathLike, table: Mapping[str, Mapping[str, Mapping[str, float | None]]], title: str) -> None:
    """Write a PNG of a score. table: model -> row -> column -> number, None for a refused place. All panels share one
    scale; each frames its worst place. path: of the PNG. title: of the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = {
        model: np.array([[np.nan if cell is None else cell for cell in row.values()] for row in rows.values()])
        for model, rows in table.items()
    }
    some = next(iter(table.values()))
    rows, columns = list(some), list(next(iter(some.values())))
    width = _WORDS + len(panels) * (len(columns) * _CELL[0] + 0.2) + 0.8
    figure = Figure(figsize=(width, _HEAD + len(rows) * _CELL[1]), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    known = np.concatenate([values[np.isfinite(values)] for values in panels.values()])
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (model, values) in zip(axes, panels.items(), strict=True):
        image = axis.imshow(values, vmin=low, vmax=high, cmap="viridis", aspect="auto")
        axis.set_title(model)
        axis.set_xticks(range(len(columns)), columns, rotation=60, ha="right", fontsize=7)
        axis.set_yticks(range(len(rows)), rows, fontsize=7)
        _write(axis, values, (low + high) / 2)
    figure.colorbar(image, ax=list(axes), fraction=0.03)
    with atomic_path(path, ".png") as temporary:
        figure.savefig(temporary, dpi=120)


def _write(axis, values: np.ndarray, middle: float) -> None:
    """Write the numbers into their cells, and frame the smallest."""
    from matplotlib.patches import Rectangle

    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "white" if value < middle else "black"
            axis.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=6, color=color)
    if np.isfinite(values).any():
        row, column = np.unravel_index(np.nanargmin(values), values.shape)
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#d55e00", linewidth=2))
