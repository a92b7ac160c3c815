"""training.png: the course of a run so far, redrawn during training."""

import os
from collections.abc import Sequence

from hsisr.files import atomic_path

#: Colours of loss, validation PSNR and learning rate. Colour-blind people can tell them apart, too.
_COLORS = ("#0072b2", "#d55e00", "#666666")


def draw(path: str | os.PathLike, rows: Sequence[Sequence[float | None]], title: str) -> None:
    """Write a PNG of loss, validation PSNR and learning rate over steps. rows: those of a history."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    steps, _, losses, psnr, rates = (list(column) for column in zip(*(row[:5] for row in rows), strict=True))
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))
    names = ("loss", "validation PSNR (dB)", "learning rate")
    for axes, values, name, color in zip(panels, (losses, psnr, rates), names, _COLORS, strict=True):
        values = [float("nan") if value is None else value for value in values]
        axes.plot(steps, values, color=color, marker="." if len(steps) < 30 else "")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    if min(losses) > 0:
        panels[0].set_yscale("log")
    panels[-1].set_xlabel("optimiser step")
    with atomic_path(path, ".png") as temporary:
        figure.savefig(temporary, dpi=110)
