"""Line plots of the report. matplotlib draws them, and the page's style sheet colours them.

Each plot becomes an SVG element inside HTML. Its colours are variables of the style sheet, so one plot serves the light
theme, the dark theme and print. Its text stays text.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from hsisr.report.content import History, SceneView

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType


def _polygon(corners: int, first_degrees: float = 0.0) -> np.ndarray:
    """Corners (corners + 1, 2) on a circle, the first one also last; y points up."""
    turns = np.radians(first_degrees + 360 * np.arange(corners + 1) / corners)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1)


def _cross(turned_degrees: float) -> np.ndarray:
    """Outline (13, 2) of a cross of two bars."""
    arm = np.array([(1, -0.3), (1, 0.3), (0.3, 0.3)])
    turns = np.radians(turned_degrees + 90 * np.arange(4))
    turned = [arm @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]] for turn in turns]
    return np.concatenate([*turned, turned[0][:1]])


#: Colours of models in light and in dark. Each has a contrast of at least 3:1 to the page. For colour-blind people,
#: they differ from each other as much as eight colours can.
LINE_COLORS = (
    ("#7a5195", "#b99bd6"),
    ("#0f7f78", "#4fc4ba"),
    ("#c4471c", "#ff8f66"),
    ("#2563b0", "#7db4f5"),
    ("#a8771b", "#e0b45a"),
    ("#b8336a", "#f283ae"),
    ("#4f7a1c", "#a3cf6b"),
    ("#6b5b4b", "#bfae9b"),
)

#: Shapes of the models' marks, as closed outlines in units of the half width. They serve readers who cannot tell the
#: colours apart.
MARKERS = (
    _polygon(12),
    _polygon(4, 45),
    _polygon(3, 90),
    _polygon(4, 90),
    _polygon(3, 270),
    _cross(45),
    _polygon(3, 0),
    _cross(0),
)

#: Approximate number of marks along a line.
MARKS = 5

#: A larger step between neighbouring bands, as a multiple of the usual step, is a gap.
GAP = 2.5

_REFERENCE = "#010101"
_TEXT = "#020202"
_RULE = "#030303"
_PAPER = "#040404"
_WIDTH_IN, _LEFT_IN, _RIGHT_IN = 3.6, 0.58, 0.08
#: Largest width of a letter, over the size of its font; and room for the name of an axis, in points.
_LETTER_EM, _NAME_PT = 0.62, 11
_STYLE: "dict[RcKeyType, Any]" = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hsisr",
    "path.simplify": False,
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _TEXT,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "text.color": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.solid_capstyle": "round",
    "lines.dash_capstyle": "round",
    "lines.solid_joinstyle": "round",
}


@dataclass(frozen=True)
class LineStyle:
    """The style of a model in every plot.

    index: of its colour in LINE_COLORS and its mark in MARKERS. dashed: for methods without training. width: of its
    line in points.
    """

    index: int
    dashed: bool
    width: float

    @property
    def color(self) -> str:
        """The model's colour in matplotlib's plots."""
        return LINE_COLORS[self.index][0]

    @property
    def css_color(self) -> str:
        """The model's colour on the page. It follows the theme."""
        return f"var(--line-{self.index})"

    @property
    def marker(self) -> list[list[float]]:
        """The model's mark on the page: the outline, with y pointing down."""
        return [[round(float(x), 2), round(-float(y), 2)] for x, y in MARKERS[self.index]]

    @property
    def marker_path(self) -> str:
        """The model's mark as an SVG path."""
        return f"M{'L'.join(f'{x:g} {y:g}' for x, y in self.marker)}Z"

    def marks(self, count: int) -> range:
        """Which of `count` points on its line bear the mark. Each model uses other points than its neighbours."""
        step = max(1, count // MARKS)
        return range(min(step * (2 * self.index + 1) // (2 * len(MARKERS)), count - 1), count, step)


def line_styles(networks: dict[str, bool]) -> dict[str, LineStyle]:
    """Model -> style, in the order of the models. networks: model -> whether it is trained."""
    return {
        name: LineStyle(index % len(LINE_COLORS), not trained, 1.5 if trained else 1.2)
        for index, (name, trained) in enumerate(networks.items())
    }


def spectra(scene: SceneView, point: int, styles: dict[str, LineStyle], label: str) -> str:
    """Reference and models at one marked pixel of a scene, and below each model's difference to the reference, as SVG.

    point: 0-based. styles: of the models. label: text for a screen reader.
    """
    reference = scene.reference_spectra[point]
    estimates = {name: view.spectra[point] for name, view in scene.models.items()}
    with _figure(height_in=3.2, panels=(2, 1)) as (figure, (values, errors)):
        _curve(values, scene.wavelengths_nm, reference, color=_REFERENCE, linewidth=3.5, gid="m-reference")
        _curves(values, scene, estimates, styles)
        _curves(errors, scene, {name: spectrum - reference for name, spectrum in estimates.items()}, styles)
        errors.axhline(0, color=_REFERENCE, linewidth=1, zorder=1)
        values.set(xlabel="", ylabel="Value")
        errors.set_ylabel("Error")
        return _svg(figure, label)


def worst_spectrum(scene: SceneView, model: str, styles: dict[str, LineStyle], label: str) -> str:
    """A model and the reference at the pixel with the model's largest error, as SVG."""
    estimate, reference = scene.models[model].worst_spectra
    with _figure() as (figure, (axes,)):
        _curve(axes, scene.wavelengths_nm, reference, color=_REFERENCE, linewidth=3.5, gid="m-reference")
        _curves(axes, scene, {model: estimate}, styles)
        axes.set_ylabel("Value")
        return _svg(figure, label)


def quality_against_time(
    points: dict[str, tuple[float, float]], heading: str, styles: dict[str, LineStyle], label: str
) -> str:
    """One mark for each model: seconds per megapixel and band, on a logarithmic axis, against a score, as SVG.

    points: model -> (seconds, score). heading: of the score.
    """
    with _figure(height_in=2.6) as (figure, (axes,)):
        middle = float(np.exp(np.mean([np.log(seconds) for seconds, _ in points.values()])))
        for name, (seconds, score) in points.items():
            style = styles[name]
            drawn: dict[str, Any] = {"color": style.color, "linestyle": "none", "clip_on": False, "gid": f"m-{name}"}
            axes.plot([seconds], [score], **drawn, **_mark(style, 7))
            left = seconds < middle  # labels point to the middle, so none leaves the figure
            offset, side = ((6, 0), "left") if left else ((-6, 0), "right")
            axes.annotate(name, (seconds, score), offset, textcoords="offset points", ha=side, va="center")
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.15)
        _tick_logarithm(axes.xaxis, [seconds for seconds, _ in points.values()])
        axes.set(xlabel="Seconds per megapixel and band", ylabel=heading)
        _part_labels(axes)
        return _svg(figure, label)


def seed_scores(seeds: dict[str, list[float]], heading: str, styles: dict[str, LineStyle], label: str) -> str:
    """A row for each model: a mark for the score of each seed, a stroke at the mean, as SVG. heading: of the score."""
    with _rows(list(seeds)) as (figure, axes):
        for row, (name, scores) in enumerate(seeds.items()):
            style = styles[name]
            mark: dict[str, Any] = {"color": style.color, "linestyle": "none", "clip_on": False, "gid": f"m-{name}"}
            axes.vlines(np.mean(scores), row - 0.32, row + 0.32, color=_TEXT, linewidth=1.6)
            for score in scores:
                axes.plot([score], [row], **mark, **_mark(style, 6))
        axes.margins(x=0.06)
        axes.set_xlabel(heading)
        return _svg(figure, label)


def chosen_bands(choices: dict[str, list[int]], wavelengths_nm: np.ndarray | None, label: str) -> str:
    """One row of marks for each image, at its recommended bands, as SVG. choices: image -> 0-based bands."""
    with _rows(list(choices)) as (figure, axes):
        for row, bands in enumerate(choices.values()):
            places = np.asarray(bands) + 1.0 if wavelengths_nm is None else np.asarray(wavelengths_nm)[bands]
            axes.vlines(places, row - 0.32, row + 0.32, color=_TEXT, linewidth=1.6)
        _name_bands(axes, wavelengths_nm)
        return _svg(figure, label)


def band_psnr(scene: SceneView, styles: dict[str, LineStyle], label: str) -> str:
    """PSNR in dB of every band, one line for each model, as SVG."""
    with _figure() as (figure, (axes,)):
        _curves(axes, scene, {name: view.band_psnr for name, view in scene.models.items()}, styles)
        axes.set_ylabel("PSNR (dB)")
        return _svg(figure, label)


def by_band(
    wavelengths_nm: np.ndarray | None,
    curves: dict[str, np.ndarray],
    heading: str,
    styles: dict[str, LineStyle],
    label: str,
    numbers: Sequence[int],
) -> str:
    """Values of every band, one line for each curve, as SVG. curves: name -> (bands,). heading: of the values.

    numbers: of the bands, in place of unknown wavelengths.
    """
    with _figure() as (figure, (axes,)):
        for name, values in curves.items():
            style = styles[name]
            positions = np.asarray(numbers if wavelengths_nm is None else wavelengths_nm)
            _curve(axes, positions, values, color=style.color, linewidth=style.width, gid=f"m-{name}")
        axes.set_ylim(bottom=0)
        axes.set_ylabel(heading)
        _name_bands(axes, wavelengths_nm)
        return _svg(figure, label)


def training_loss(histories: Sequence[History], styles: dict[str, LineStyle], label: str) -> str:
    """Training loss on a logarithmic axis against optimiser steps, one line a run with a mark at its end, as SVG."""
    with _figure() as (figure, (axes,)):
        for history in histories:
            _run(axes, history, history.loss, styles[history.model], marked=len(history.loss) - 1)
        axes.set_yscale("log", nonpositive="mask")
        _tick_logarithm(axes.yaxis, [loss for history in histories for loss in history.loss if loss > 0])
        axes.set_ylabel("Training loss")
        return _svg(figure, label)


def validation_psnr(histories: Sequence[History], styles: dict[str, LineStyle], label: str) -> str:
    """Validation PSNR against optimiser steps, one line for each run, with a mark at the kept weights, as SVG."""
    with _figure() as (figure, (axes,)):
        for history in histories:
            _run(axes, history, history.validation_psnr, styles[history.model], marked=history.kept)
        axes.set_ylabel("Validation PSNR (dB)")
        return _svg(figure, label)


def segments(wavelengths_nm: np.ndarray) -> list[slice]:
    """Runs of bands that one line may join. The line breaks where the wavelength steps back (another spectrometer of
    the sensor begins) or jumps (bands were removed). wavelengths_nm: (bands,), rising or falling."""
    steps = np.diff(wavelengths_nm)
    if (steps < 0).sum() > (steps > 0).sum():
        steps = -steps
    usual = np.median(np.abs(steps)) if len(steps) else 0.0
    breaks = np.flatnonzero((steps <= 0) | (steps > GAP * usual)) + 1
    edges = [0, *breaks.tolist(), len(wavelengths_nm)]
    return [slice(first, last) for first, last in pairwise(edges)]


def _curves(axes: Axes, scene: SceneView, curves: dict[str, np.ndarray], styles: dict[str, LineStyle]) -> None:
    for name, values in curves.items():
        style = styles[name]
        _curve(
            axes,
            scene.wavelengths_nm,
            values,
            color=style.color,
            linewidth=style.width,
            linestyle=(0, (3, 2.4)) if style.dashed else "solid",
            gid=f"m-{name}",
            **_mark(style, 6),
            marked=style.marks(len(values)),
        )
    _name_bands(axes, scene.wavelengths_nm)


def _name_bands(axes: Axes, wavelengths_nm: np.ndarray | None) -> None:
    """Label the abscissa in nm, or without wavelengths in whole numbers of bands."""
    axes.set_xlabel("Band" if wavelengths_nm is None else "Wavelength (nm)")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=wavelengths_nm is None))


def _curve(
    axes: Axes, wavelengths_nm: np.ndarray | None, values: np.ndarray, marked: Sequence[int] = (), **style: Any
) -> None:
    """A line over the bands, with breaks by `segments`. marked: bands with a mark."""
    positions = np.arange(1, len(values) + 1) if wavelengths_nm is None else wavelengths_nm
    x: list[float] = []
    y: list[float] = []
    places: list[int] = []
    for run in segments(positions):
        alone = run.stop - run.start == 1
        places += [len(x) + band - run.start for band in marked if run.start <= band < run.stop]
        x += [*_visible(positions[run], alone), np.nan]
        y += [*_visible(values[run], alone), np.nan]
    axes.plot(x, y, clip_on=False, markevery=places, **style)


def _run(axes: Axes, history: History, values: np.ndarray, style: LineStyle, marked: int) -> None:
    """A line over the rows of a history, with a mark at one row."""
    axes.plot(
        history.steps,
        values,
        color=style.color,
        linewidth=1.3,
        clip_on=False,
        gid=f"m-{history.model}",
        **_mark(style, 7),
        markevery=[marked],
    )
    axes.set_xlabel("Optimiser step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _mark(style: LineStyle, size: float) -> dict[str, Any]:
    """A model's mark as arguments of matplotlib. size: its width in points."""
    shape = {"marker": MARKERS[style.index], "markersize": size}
    return {**shape, "markeredgecolor": _PAPER, "markeredgewidth": 0.6}  # a rim separates the mark from the lines


def _tick_logarithm(axis: Axis, values: Sequence[float]) -> None:
    """Ticks of a logarithmic axis over some values: as many as fit, but at least two."""
    decades = np.log10(max(values) / min(values)) if values else 0.0
    if decades < 0.3:
        axis.set_major_locator(MaxNLocator(4))  # close values look the same on a linear axis
    else:
        steps = ((0.8, (1, 1.5, 2, 3, 5, 7)), (1.5, (1, 2, 5)), (3, (1, 3)), (np.inf, (1,)))
        axis.set_major_locator(LogLocator(subs=next(subs for most, subs in steps if decades < most)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _part_labels(axes: Axes) -> None:
    """Move annotations up and down until none overlaps another."""
    line = 1.15 * float(rcParams["font.size"])
    texts = [text for text in axes.texts if isinstance(text, Annotation)]
    heights = {id(text): float(axes.transData.transform(text.xy)[1]) * 72 / axes.figure.dpi for text in texts}
    below = -np.inf
    for text in sorted(texts, key=lambda text: heights[id(text)]):
        place = max(heights[id(text)], below + line)
        x, _ = text.xyann
        text.xyann = (x, place - heights[id(text)])
        below = place


def _visible(values: np.ndarray, alone: bool) -> list[float]:
    """The values, but a single value twice: a line without length and with round ends is a dot, without SVG markers."""
    return [*values, *values] if alone else [*values]


@contextmanager
def _rows(names: list[str]) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one row for each name, from top to bottom."""
    with _figure(height_in=0.75 + 0.22 * len(names)) as (figure, (axes,)):
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(False)
        axes.tick_params(axis="y", labelsize=7.5)
        yield figure, axes


@contextmanager
def _figure(height_in: float = 2.3, panels: tuple[int, ...] = (1,)) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure in the page's style. panels: heights of the axes, one below the other, with a common abscissa."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height_in))
        # fixed margins, in inches: matplotlib's own layout takes as long as the whole drawing
        margins = {"left": _LEFT_IN / _WIDTH_IN, "right": 1 - _RIGHT_IN / _WIDTH_IN, "bottom": 0.42 / height_in}
        figure.subplots_adjust(**margins, top=0.97)
        grid = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=panels)
        axes = list(grid[:, 0])
        for panel in axes:
            panel.margins(x=0.01)
            panel.yaxis.set_major_locator(MaxNLocator(5 if panel is axes[0] else 3))
        axes[-1].xaxis.set_major_locator(MaxNLocator(5))
        yield figure, axes


def _make_room(figure: Figure) -> None:
    """Widen the left margin of a figure for its longest tick label, and put the names of the axes beside it.

    Browsers set the text, so its width is estimated from the number of letters.
    """
    axes, width_pt = figure.axes, 72 * _WIDTH_IN
    ticks = [panel.yaxis.get_major_formatter().format_ticks(panel.yaxis.get_majorticklocs().tolist()) for panel in axes]
    longest = max(len(tick) for panel in ticks for tick in panel)
    name_pt = _NAME_PT if any(panel.get_ylabel() for panel in axes) else 0
    size_pt = float(axes[0].yaxis.get_ticklabels()[0].get_fontsize())
    left_pt = min(max(72 * _LEFT_IN, name_pt + _LETTER_EM * size_pt * longest + _NAME_PT / 2), width_pt / 2)
    figure.subplots_adjust(left=left_pt / width_pt)
    for panel in axes:
        panel.yaxis.set_label_coords((_NAME_PT - left_pt) / (width_pt - left_pt - 72 * _RIGHT_IN), 0.5)


def _svg(figure: Figure, label: str) -> str:
    _make_room(figure)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _for_html(stream.getvalue(), label)


def _attributes(style: str) -> str:
    """A matplotlib style as SVG attributes: the page allows no style outside its own sheet."""
    found = ""
    for key, value in (part.split(":", 1) for part in style.split(";") if part.strip()):
        key, value = key.strip(), value.strip()
        if key == "font":  # the page's own font family is used
            key, value = "font-size", value.split("px")[0].split()[-1]
        found += f' {key}="{value}"'
    return found


def _for_html(svg: str, label: str) -> str:
    """An SVG file of matplotlib as an element of a page: no prolog, style or ids; colours by name."""
    svg = _inline_marks(svg[svg.index("<svg") :])
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>.*?</defs>|<!--.*?-->", "", svg, flags=re.DOTALL)
    view_box = re.findall(r'viewBox="([^"]+)"', svg)[0]
    head = f'<svg viewBox="{view_box}" role="img" aria-label="{escape(label)}"><title>{escape(label)}</title>'
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
    svg = re.sub(r' style="([^"]*)"', lambda style: _attributes(style[1]), svg)
    svg = re.sub(r' id="m-([^"]+)"', r' data-model="\1"', svg)
    svg = re.sub(r' (id|clip-path)="[^"]*"|<use [^>]*/>', "", svg)
    # round coordinates to a hundredth of a point, but neither the text between tags nor names and labels
    places = r' (?!data-model|aria-label)[\w-]+="[^"]*"'
    svg = re.sub(places, lambda place: re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", place[0]), svg)
    for index, (light, _) in enumerate(LINE_COLORS):
        svg = svg.replace(light, f"var(--line-{index})")
    for color, name in ((_REFERENCE, "--reference"), (_TEXT, "--muted"), (_RULE, "--rule"), (_PAPER, "--paper")):
        svg = svg.replace(color, f"var({name})")
    return re.sub(r">\s+<", "><", svg)


def _inline_marks(svg: str) -> str:
    """Replace marks by paths at their places. matplotlib repeats a mark by its id, and ids would clash on a page.

    Ticks are left out. They have no length here, and are the only marks without a filling.
    """
    outlines = re.findall(r'<path id="(\w+)" d="([^"]*)"', svg)
    shapes = {name: " ".join(outline.split()) for name, outline in outlines}

    def place(use: re.Match) -> str:
        name, x, y, style = use.groups()
        return f'<path d="{shapes[name]}" transform="translate({x} {y})"{style}/>' if "fill" in style else ""

    return re.sub(r'<use xlink:href="#(\w+)" x="([^"]*)" y="([^"]*)"([^>]*)/>', place, svg)
