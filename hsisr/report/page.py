"""The page: the benchmarks' sections in the template, with style and script inside."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import hsisr
from hsisr import datasets
from hsisr.evaluation.results import Results
from hsisr.evaluation.table import columns_of, refusals, scoring_words
from hsisr.report import figures, gallery, probes, rule_graph, sweeps, tables, words
from hsisr.report.content import Content, SceneView
from hsisr.report.figures import LINE_COLORS, LineStyle
from hsisr.report.gallery import GUIDE, LR_INPUT, REFERENCE, Row
from hsisr.report.pictures import Encoding, choose_encoding

#: Scores with a table of their own in the overview.
OVERVIEW = ("psnr", "ssim", "sam", "ergas")

#: Selection method -> its name on the page.
SELECTIONS_IN_WORDS = {
    "neighbourhood_grouping": "neighbourhood grouping",
    "entropy_and_correlation": "entropy and correlation",
}

#: Encoding of the pictures of the first screen.
CARD_ENCODING = Encoding(90, 256)

#: Most bytes for the pictures of all benchmarks together. In base64, they grow by a third.
PICTURE_BYTES = 13e6


@dataclass(frozen=True)
class Plot:
    """A line plot with its heading."""

    heading: str
    svg: Markup


@dataclass(frozen=True)
class Marker:
    """A marked pixel: its number, and its place in percent of the picture's height and width."""

    number: int
    top: float
    left: float


@dataclass(frozen=True)
class SceneBlock:
    """One scene of a section.

    key: name of the scene in the style sheet. about: size and composite in words. height, width: of the reference in
    pixels. complete: whether all pixels have data. best: the model with the highest PSNR. probe: see
    `hsisr.report.probes`.
    """

    name: str
    key: str
    about: str
    height: int
    width: int
    complete: bool
    columns: list[str]
    rows: list[Row]
    markers: list[Marker]
    plots: list[Plot]
    best: str
    probe: dict[str, Any]

    @property
    def has_guide(self) -> bool:
        """Whether one of its pictures is the guide."""
        return GUIDE in self.columns

    @property
    def style(self) -> str:
        """Rules for its shape and its marked pixels in the style sheet. The page allows no style elsewhere."""
        chosen = f'[data-scene="{self.key}"]'
        shape = f"{chosen} {{ --ratio: {self.width / self.height:.4f}; --columns: {len(self.columns)} }}"
        places = [
            f"{chosen} .p{marker.number} {{ top: {marker.top:.3f}%; left: {marker.left:.3f}% }}"
            for marker in self.markers
        ]
        return "\n".join([shape, *places])


@dataclass(frozen=True)
class CardPicture:
    """One picture of a card. source: a `data:` address. value: the text below its name; may be empty."""

    name: str
    source: str
    alt: str
    value: str = ""


@dataclass(frozen=True)
class Card:
    """A benchmark on the first screen: its finding, pictures of its best result, and how it was scored."""

    name: str
    finding: str
    scored: str
    pictures: list[CardPicture]


@dataclass(frozen=True)
class Section:
    """One benchmark: its card, its HTML, its part of the style sheet, its plots by name (see `hsisr.report.figures`),
    and the pictures of its scenes."""

    card: Card
    html: Markup
    style: str
    plots: Mapping[str, str]
    galleries: dict[str, list[Row]]


@dataclass(frozen=True)
class Overview:
    """Tables of the benchmarks that share a protocol and a convention."""

    heading: str
    tables: list[tables.Table]


def section(content: Content, share: float) -> Section:
    """The section of one benchmark. share: its part of PICTURE_BYTES and SPECTRA_BYTES, 0 to 1."""
    benchmark, results = content.benchmark, content.results
    styles = figures.line_styles({name: model.is_network for name, model in benchmark.models.items()})
    stride = probes.choose_stride(content.scenes, probes.SPECTRA_BYTES * share)
    scenes = [
        _scene_block(benchmark.name, scene, results, styles, probes.probe(scene, stride, styles))
        for scene in content.scenes
    ]
    pictures = [picture.image for scene in scenes for row in scene.rows for picture in row.pictures]
    encoding = choose_encoding(pictures, PICTURE_BYTES * share)
    several = len(results.parts["test"]) > 1
    wavelengths_nm = content.scenes[0].wavelengths_nm if content.scenes else None
    quality, band_plots = _quality(results, styles), _band_plots(results, wavelengths_nm)
    training, seeds = _training(content, styles), _seeds(results, styles)
    alone = [plot for plot in (seeds, quality) if plot]
    plots = {plot.heading: plot.svg for plot in (*alone, *band_plots, *training)}
    plots |= {f"{scene.name} {plot.heading}": plot.svg for scene in scenes for plot in scene.plots}
    jobs, links = rule_graph.rules_of(benchmark)
    html = _render(
        "section.html.j2",
        name=benchmark.name,
        entry=datasets.entry(benchmark.dataset, benchmark.config.datasets),
        results=results,
        finding=words.finding(results),
        facts=words.facts(benchmark, results),
        scores=tables.scores(results),
        seeds=seeds,
        costs=tables.costs(results),
        quality=quality,
        published=tables.published_scores(results),
        papers={paper.source: paper.degradation for paper in tables.rivals(results)},
        missing=tables.missing_scenes(results),
        classification=tables.classification(results),
        bands=tables.bands(results, wavelengths_nm),
        band_plots=band_plots,
        scene_tables=[tables.scenes(results, key) for key in tables.keys(results)] if several else [],
        styles=styles,
        scenes=scenes,
        test_count=len(results.parts["test"]),
        encoding=encoding,
        training=training,
        missing_histories=content.missing_histories,
        jobs=jobs,
        rules=Markup(rule_graph.draw(jobs, links, f"Rules that make the results of {benchmark.name}")),
        configuration=yaml.safe_dump(benchmark.config.model_dump(mode="json", exclude_defaults=True), sort_keys=False),
    )
    style = "\n".join(scene.style for scene in scenes)
    galleries = {scene.name: scene.rows for scene in scenes}
    return Section(_card(benchmark.name, results, scenes), html, style, plots, galleries)


def sweep(name: str, result: Mapping[str, Any], picture: str) -> Markup:
    """The part of the page about a sweep. picture: data URI of its map."""
    return _render(
        "sweep.html.j2",
        name=name,
        result=result,
        table=sweeps.table(result),
        picture=Markup(picture),
        refusals=refusals(result),
    )


def render(
    title: str, sections: Sequence[Section], benchmarks: Mapping[str, Results], swept: Mapping[str, Markup]
) -> str:
    """The whole page. sections: from `section`, in the order of benchmarks. swept: sweep -> HTML from `sweep`.

    The page's policy names the hashes of its only style sheet and its only script, so nothing else can run or style it.
    """
    return document(
        "page.html.j2",
        title,
        [section.style for section in sections],
        cards=[section.card for section in sections],
        overviews=_overviews(benchmarks),
        sections=[section.html for section in sections],
        swept=swept,
    )


def document(template: str, title: str, styles: Sequence[str], **values: object) -> str:
    """A page from a template that extends base.html.j2, with the style and the script of all pages inside.

    template: its name. title: of the page. styles: the page's own rules. values: for the template. Policy as in
    `render`.
    """
    style, script = "\n".join([_colours(), _text("style.css"), *styles]), _text("page.js") + _text("probe.js")
    return _render(
        template,
        title=title,
        version=hsisr.__version__,
        style=Markup(style),
        style_hash=_policy_hash(style),
        script=Markup(script),
        script_hash=_policy_hash(script),
        **values,
    )


def _overviews(benchmarks: Mapping[str, Results]) -> list[Overview]:
    """Benchmarks in common tables, but only if they were scored alike: numbers in one column must be comparable."""
    groups: dict[str, dict[str, Results]] = {}
    for name, results in benchmarks.items():
        groups.setdefault(f"protocol {results.protocol}, {scoring_words(results)}", {})[name] = results
    found = []
    for alike, group in groups.items():
        if len(group) > 1:
            present = [key for key in OVERVIEW if any(key in tables.keys(results) for results in group.values())]
            found.append(
                Overview(f"Benchmarks side by side: {alike}", [tables.overview(group, key) for key in present])
            )
    return found


def _card(name: str, results: Results, scenes: Sequence[SceneBlock]) -> Card:
    pictures = []
    if scenes:
        scene = scenes[0]
        composites = {picture.column: picture for picture in scene.rows[0].pictures}
        for column in (LR_INPUT, scene.best, REFERENCE):
            picture = composites[column]
            pictures.append(
                CardPicture(column, CARD_ENCODING.data_uri(picture.image), f"{scene.name}: {column}", picture.caption)
            )
    where = f"; the pictures show {scenes[0].name}" if scenes else ""
    scored = f"Protocol {results.protocol}, scale {results.scale}, {scoring_words(results)}{where}."
    return Card(name, words.finding(results), scored, pictures)


def _colours() -> str:
    """Colours of lines in both themes, and colours of maps, for the style sheet."""
    light, dark = (
        " ".join(f"--line-{index}: {pair[theme]};" for index, pair in enumerate(LINE_COLORS)) for theme in (0, 1)
    )
    maps = [f".{scale.name} {{ background: {scale.css_gradient} }}" for scale in gallery.MAP_SCALES]
    dark_rule = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return "\n".join([f":root {{ {light} }}", dark_rule, *maps])


def _policy_hash(text: str) -> str:
    """The hash of this text, by which a page's policy allows an element."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _render(template: str, **values: object) -> Markup:
    loader = PackageLoader("hsisr.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return Markup(environment.get_template(template).render(values))


def _text(name: str) -> str:
    return (resources.files("hsisr.report") / "templates" / name).read_text(encoding="utf-8")


def _scene_block(
    benchmark: str, scene: SceneView, results: Results, styles: dict[str, LineStyle], probe: dict[str, Any]
) -> SceneBlock:
    height, width = scene.reference.shape[:2]
    bands = len(scene.reference_spectra[0])
    psnr_label = f"PSNR of every band of {scene.name}: {', '.join(scene.models)}"
    psnr = Plot("PSNR of each band", Markup(figures.band_psnr(scene, styles, psnr_label)))
    scores = {model: results.models[model].scenes[scene.name] for model in scene.models}
    values = {model: tables.value(found, "psnr") for model, found in scores.items()}
    known = {model: value for model, value in values.items() if value is not None}
    best = max(known, key=lambda model: known[model])
    rows = gallery.rows(scene, {model: f"{tables.text(found, 'psnr')} dB" for model, found in scores.items()})
    return SceneBlock(
        name=scene.name,
        key=f"{benchmark}/{scene.name}",
        about=f"{height} x {width} pixels, {bands} band{'s' if bands > 1 else ''}; {_composite_words(scene)}",
        height=height,
        width=width,
        complete=bool(scene.valid.all()),
        columns=[picture.column for picture in rows[0].pictures],
        rows=rows,
        markers=[
            Marker(number, 100 * (row + 0.5) / height, 100 * (column + 0.5) / width)
            for number, (row, column) in enumerate(scene.points.tolist(), start=1)
        ],
        plots=[
            *(_spectrum(scene, number, styles) for number in range(1, len(scene.points) + 1)),
            _worst(scene, best, styles),
            psnr,
        ],
        best=best,
        probe=probe,
    )


def _worst(scene: SceneView, model: str, styles: dict[str, LineStyle]) -> Plot:
    row, column = scene.models[model].worst_point
    heading = f"Worst pixel of {model} (row {row}, column {column})"
    return Plot(heading, Markup(figures.worst_spectrum(scene, model, styles, f"{heading} of {scene.name}")))


def _seeds(results: Results, styles: dict[str, LineStyle]) -> Plot | None:
    """The scores of every seed, if a model was trained with several."""
    key = tables.leading_key(results)
    if not any(len(model.seeds) > 1 for model in results.models.values()):
        return None
    found = {name: model.seeds.values() or [model.mean] for name, model in results.models.items()}
    points = {name: [score for seed in seeds if (score := seed.get(key)) is not None] for name, seeds in found.items()}
    points = {name: scores for name, scores in points.items() if scores}
    heading = columns_of(results)[key][0]
    said = ", ".join(f"{name} {', '.join(f'{score:.4g}' for score in scores)}" for name, scores in points.items())
    label = f"{heading} of every seed: {said}"
    return Plot(f"{heading} of every seed", Markup(figures.seed_scores(points, heading, styles, label)))


def _quality(results: Results, styles: dict[str, LineStyle]) -> Plot | None:
    """Quality against time, if both are known for several models."""
    key = tables.leading_key(results)
    points = {}
    for name, model in results.models.items():
        seconds, score = model.timing.get("seconds_per_megapixel_band"), model.mean.get(key)
        if seconds and score is not None:
            points[name] = (seconds, score)
    if len(points) < 2:
        return None
    heading = columns_of(results)[key][0]
    said = ", ".join(f"{name} {seconds:.2g} s, {score:.4g}" for name, (seconds, score) in points.items())
    label = f"{heading} against seconds per megapixel and band: {said}"
    return Plot("Quality against time", Markup(figures.quality_against_time(points, heading, styles, label)))


def _band_plots(results: Results, wavelengths_nm: np.ndarray | None) -> list[Plot]:
    """The recommended bands of the reference and of every model, one plot for each selection method."""
    plots = []
    for method, reference in results.reference_bands.items():
        choices = {"Reference": reference}
        choices |= {name: model.bands[method].bands for name, model in results.models.items() if model.bands}
        heading = f"Recommended bands: {SELECTIONS_IN_WORDS[method]}"
        plots.append(Plot(heading, Markup(figures.chosen_bands(choices, wavelengths_nm, heading))))
    return plots


def _training(content: Content, styles: dict[str, LineStyle]) -> list[Plot]:
    histories = content.histories
    if not histories:
        return []
    runs = ", ".join(dict.fromkeys(history.model for history in histories))
    name = content.benchmark.name
    loss = figures.training_loss(histories, styles, f"Training loss on {name} against optimiser steps: {runs}")
    psnr = figures.validation_psnr(histories, styles, f"Validation PSNR on {name} against optimiser steps: {runs}")
    return [Plot("Training loss", Markup(loss)), Plot("Validation PSNR", Markup(psnr))]


def _spectrum(scene: SceneView, number: int, styles: dict[str, LineStyle]) -> Plot:
    row, column = scene.points[number - 1]
    place = f"point {number} (row {row}, column {column})"
    label = f"Spectra at {place} of {scene.name}: {', '.join(scene.models)}, reference; below, the error of each model"
    return Plot(f"Spectrum at {place}", Markup(figures.spectra(scene, number - 1, styles, label)))


def _composite_words(scene: SceneView) -> str:
    if scene.wavelengths_nm is None:
        numbers = ", ".join(str(band + 1) for band in scene.composite_bands)
        return f"red, green and blue show bands {numbers}, counted from 1"
    centres = ", ".join(f"{scene.wavelengths_nm[band]:.0f}" for band in scene.composite_bands)
    return f"red, green and blue show {centres} nm"
