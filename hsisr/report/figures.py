"""Line plots of the report: matplotlib draws them, the page's style sheet colours them.

Each plot becomes an SVG element for use inside HTML. Colours in it are variables of the style sheet, so that one
plot serves the light theme, the dark one and print; its text is text.
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


#: Colours of models in light and in dark: each at least 3:1 against the page, apart from each other to
#: colour-blind eyes as far as eight can be.
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

#: Shapes of the marks of models, each a closed outline in units of its half width: whoever does not tell the colours
#: apart tells these.
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

#: Marks along a line, about so many.
MARKS = 5

#: A step between neighbouring bands above this multiple of the usual one is a gap.
GAP = 2.5

_REFERENCE = "#010101"
_TEXT = "#020202"
_RULE = "#030303"
_PAPER = "#040404"
_WIDTH_IN, _LEFT_IN, _RIGHT_IN = 3.6, 0.58, 0.08
#: Width of a letter over the size of its font, at most; room for the name of an axis.
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
    """How a model is drawn in every plot.

    index: its entry of LINE_COLORS and of MARKERS; dashed: methods without training; width: of its line in points.
    """

    index: int
    dashed: bool
    width: float

    @property
    def color(self) -> str:
        """Its colour in matplotlib's plots."""
        return LINE_COLORS[self.index][0]

    @property
    def css_color(self) -> str:
        """Its colour in the page, which follows the theme."""
        return f"var(--line-{self.index})"

    @property
    def marker(self) -> list[list[float]]:
        """Its mark in the page: the outline, y pointing down."""
        return [[round(float(x), 2), round(-float(y), 2)] for x, y in MARKERS[self.index]]

    @property
    def marker_path(self) -> str:
        """Its mark as the path of an SVG."""
        return f"M{'L'.join(f'{x:g} {y:g}' for x, y in self.marker)}Z"

    def marks(self, count: int) -> range:
        """Which of so many points of its line bear its mark: other ones than those of its neighbours."""
        step = max(1, count // MARKS)
        return range(min(step * (2 * self.index + 1) // (2 * len(MARKERS)), count - 1), count, step)


def line_styles(networks: dict[str, bool]) -> dict[str, LineStyle]:
    """Model -> style, by the order of the models. networks: model -> whether it is trained."""
    return {
        name: LineStyle(index % len(LINE_COLORS), not trained, 1.5 if trained else 1.2)
        for index, (name, trained) in enumerate(networks.items())
    }


def spectra(scene: SceneView, point: int, styles: dict[str, LineStyle], label: str) -> str:
    """Reference and models at one marked pixel of a scene, and below what each model is off the reference, as SVG.

    point: 0-based. label: what a screen reader says.
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
    """A model and the reference at the pixel where the model is furthest off, as SVG."""
    estimate, reference = scene.models[model].worst_spectra
    with _figure() as (figure, (axes,)):
        _curve(axes, scene.wavelengths_nm, reference, color=_REFERENCE, linewidth=3.5, gid="m-reference")
        _curves(axes, scene, {model: estimate}, styles)
        axes.set_ylabel("Value")
        return _svg(figure, label)


def quality_against_time(
    points: dict[str, tuple[float, float]], heading: str, styles: dict[str, LineStyle], label: str
) -> str:
    """A mark a model: seconds per megapixel and band on a logarithmic axis against a score, as SVG.

    points: model -> (seconds, score). heading: of the score.
    """
    with _figure(height_in=2.6) as (figure, (axes,)):
        middle = float(np.exp(np.mean([np.log(seconds) for seconds, _ in points.values()])))
        for name, (seconds, score) in points.items():
            style = styles[name]
            drawn: dict[str, Any] = {"color": style.color, "linestyle": "none", "clip_on": False, "gid": f"m-{name}"}
            axes.plot([seconds], [score], **drawn, **_mark(style, 7))
            left = seconds < middle  # labels point to the middle, so that none leaves the figure
            offset, side = ((6, 0), "left") if left else ((-6, 0), "right")
            axes.annotate(name, (seconds, score), offset, textcoords="offset points", ha=side, va="center")
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.15)
        _tick_logarithm(axes.xaxis, [seconds for seconds, _ in points.values()])
        axes.set(xlabel="Seconds per megapixel and band", ylabel=heading)
        _part_labels(axes)
        return _svg(figure, label)


def seed_scores(seeds: dict[str, list[float]], heading: str, styles: dict[str, LineStyle], label: str) -> str:
    """A row a model: a mark for the score of each seed, a stroke at their mean, as SVG. heading: of the score."""
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
    """A row of marks an image, one at each of its recommended bands, as SVG. choices: image -> 0-based bands."""
    with _rows(list(choices)) as (figure, axes):
        for row, bands in enumerate(choices.values()):
            places = np.asarray(bands) + 1.0 if wavelengths_nm is None else np.asarray(wavelengths_nm)[bands]
            axes.vlines(places, row - 0.32, row + 0.32, color=_TEXT, linewidth=1.6)
        _name_bands(axes, wavelengths_nm)
        return _svg(figure, label)


def band_psnr(scene: SceneView, styles: dict[str, LineStyle], label: str) -> str:
    """PSNR in dB of every band, a line a model, as SVG."""
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
) -> str:
    """A value of every band, a line a curve, as SVG. curves: name -> (bands,). heading: of the values."""
    with _figure() as (figure, (axes,)):
        for name, values in curves.items():
            style = styles[name]
            _curve(axes, wavelengths_nm, values, color=style.color, linewidth=style.width, gid=f"m-{name}")
        axes.set_ylim(bottom=0)
        axes.set_ylabel(heading)
        _name_bands(axes, wavelengths_nm)
        return _svg(figure, label)


def training_loss(histories: Sequence[History], styles: dict[str, LineStyle], label: str) -> str:
    """Training loss against optimiser steps on a logarithmic axis, a line a run with a mark at its end, as SVG."""
    with _figure() as (figure, (axes,)):
        for history in histories:
            _run(axes, history, history.loss, styles[history.model], marked=len(history.loss) - 1)
        axes.set_yscale("log", nonpositive="mask")
        _tick_logarithm(axes.yaxis, [loss for history in histories for loss in history.loss if loss > 0])
        axes.set_ylabel("Training loss")
        return _svg(figure, label)


def validation_psnr(histories: Sequence[History], styles: dict[str, LineStyle], label: str) -> str:
    """Validation PSNR against optimiser steps, a line a run, a mark at the weights that were kept, as SVG."""
    with _figure() as (figure, (axes,)):
        for history in histories:
            _run(axes, history, history.validation_psnr, styles[history.model], marked=history.kept)
        axes.set_ylabel("Validation PSNR (dB)")
        return _svg(figure, label)


def segments(wavelengths_nm: np.ndarray) -> list[slice]:
    """Runs of bands that one line may join: where the wavelength steps back (the next spectrometer of a sensor
    begins) or jumps (bands were removed), the line breaks. wavelengths_nm: (bands,), rising or falling."""
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
    """The abscissa in nm; without wavelengths in numbers of bands, which are whole ones."""
    axes.set_xlabel("Band" if wavelengths_nm is None else "Wavelength (nm)")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=wavelengths_nm is None))


def _curve(
    axes: Axes, wavelengths_nm: np.ndarray | None, values: np.ndarray, marked: Sequence[int] = (), **style: Any
) -> None:
    """A line over the bands, which breaks where `segments` says; marked: bands that bear its mark."""
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
    """A line over the rows of a history, with a mark at one of them."""
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


def _mark(style: LineStyle, size: float) -> dict[str, Any]:
    """A model's mark as arguments of matplotlib; size: its width in points."""
    shape = {"marker": MARKERS[style.index], "markersize": size}
    return {**shape, "markeredgecolor": _PAPER, "markeredgewidth": 0.6}  # a rim, so that it stands out of the lines


def _tick_logarithm(axis: Axis, values: Sequence[float]) -> None:
    """Ticks of a logarithmic axis over some values: as many as there is room for, and never a single one."""
    decades = np.log10(max(values) / min(values)) if values else 0.0
    if decades < 0.3:
        axis.set_major_locator(MaxNLocator(4))  # so close together, they lie as on a common axis
    else:
        steps = ((0.8, (1, 1.5, 2, 3, 5, 7)), (1.5, (1, 2, 5)), (3, (1, 3)), (np.inf, (1,)))
        axis.set_major_locator(LogLocator(subs=next(subs for most, subs in steps if decades < most)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _part_labels(axes: Axes) -> None:
    """Move annotations up and down until none is printed over another."""
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
    """The values; a single one twice: a line of no length with round ends is a dot, without SVG's markers and ids."""
    return [*values, *values] if alone else [*values]


@contextmanager
def _rows(names: list[str]) -> Iterator[tuple[Figure, Axes]]:
    """A figure with a row a name, from top to bottom."""
    with _figure(height_in=0.75 + 0.22 * len(names)) as (figure, (axes,)):
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(False)
        axes.tick_params(axis="y", labelsize=7.5)
        yield figure, axes


@contextmanager
def _figure(height_in: float = 2.3, panels: tuple[int, ...] = (1,)) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure in the style of the page; panels: heights of the axes, one below the other, sharing the abscissa."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height_in))
        # fixed margins, in inches: matplotlib's own layout takes as long as all the drawing
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
    """Widen the left margin of a figure as its longest tick label needs, and put the names of its axes beside it.

    Browsers set the text, so that its width can only be reckoned from the number of letters.
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
    """A style of matplotlib's as attributes of SVG, for the page allows no style but its own sheet."""
    found = ""
    for key, value in (part.split(":", 1) for part in style.split(";") if part.strip()):
        key, value = key.strip(), value.strip()
        if key == "font":  # its family is that of the page
            key, value = "font-size", value.split("px")[0].split()[-1]
        found += f' {key}="{value}"'
    return found


def _for_html(svg: str, label: str) -> str:
    """An SVG file of matplotlib's as an element of a page: no prolog, style or ids; colours by name."""
    svg = _inline_marks(svg[svg.index("<svg") :])
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>.*?</defs>|<!--.*?-->", "", svg, flags=re.DOTALL)
    view_box = re.findall(r'viewBox="([^"]+)"', svg)[0]
    head = f'<svg viewBox="{view_box}" role="img" aria-label="{escape(label)}"><title>{escape(label)}</title>'
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
    svg = re.sub(r' style="([^"]*)"', lambda style: _attributes(style[1]), svg)
    svg = re.sub(r' id="m-([^"]+)"', r' data-model="\1"', svg)
    svg = re.sub(r' (id|clip-path)="[^"]*"|<use [^>]*/>', "", svg)
    # coordinates to a hundredth of a point; the text between tags stays as it is
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", tag[0]), svg)
    for index, (light, _) in enumerate(LINE_COLORS):
        svg = svg.replace(light, f"var(--line-{index})")
    for color, name in ((_REFERENCE, "--reference"), (_TEXT, "--muted"), (_RULE, "--rule"), (_PAPER, "--paper")):
        svg = svg.replace(color, f"var({name})")
    return re.sub(r">\s+<", "><", svg)


def _inline_marks(svg: str) -> str:
    """Marks as paths in their places: the names by which matplotlib repeats one would clash within a page.

    Ticks, which have no length here and are the only marks without a filling, are left out.
    """
    outlines = re.findall(r'<path id="(\w+)" d="([^"]*)"', svg)
    shapes = {name: " ".join(outline.split()) for name, outline in outlines}

    def place(use: re.Match) -> str:
        name, x, y, style = use.groups()
        return f'<path d="{shapes[name]}" transform="translate({x} {y})"{style}/>' if "fill" in style else ""

    return re.sub(r'<use xlink:href="#(\w+)" x="([^"]*)" y="([^"]*)"([^>]*)/>', place, svg)
