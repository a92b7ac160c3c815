"""The page: sections of benchmarks put into the template, with style and script inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import hsisr
from hsisr import datasets
from hsisr.evaluation.results import Results
from hsisr.evaluation.table import columns_of
from hsisr.report import figures, gallery, sweeps, tables, words
from hsisr.report.content import Content, SceneView
from hsisr.report.figures import LINE_COLORS, LineStyle
from hsisr.report.gallery import LR_INPUT, REFERENCE, Row
from hsisr.report.pictures import choose_encoding

#: Scores of which the overview has a table each.
OVERVIEW = ("psnr", "ssim", "sam", "ergas")

#: Selection method -> what the page says of it.
SELECTIONS_IN_WORDS = {
    "neighbourhood_grouping": "neighbourhood grouping",
    "entropy_and_correlation": "entropy and correlation",
}

#: What the pictures of all benchmarks may take together; in base64 they grow by a third.
PICTURE_BYTES = 14e6


@dataclass(frozen=True)
class Plot:
    """A line plot with its heading."""

    heading: str
    svg: Markup


@dataclass(frozen=True)
class Marker:
    """A marked pixel: its number and its place in percent of the picture's height and width."""

    number: int
    top: float
    left: float


@dataclass(frozen=True)
class SceneBlock:
    """One scene of a section.

    about: size and composite in words. height, width: of the reference in pixels. best: the model of highest PSNR.
    """

    name: str
    about: str
    height: int
    width: int
    columns: list[str]
    rows: list[Row]
    markers: list[Marker]
    plots: list[Plot]
    best: str


@dataclass(frozen=True)
class Section:
    """One benchmark: its HTML; its plots by name (see `hsisr.report.figures`); the pictures of its scenes."""

    html: Markup
    plots: Mapping[str, str]
    galleries: dict[str, list[Row]]


def section(content: Content, share: float) -> Section:
    """What the report shows of one benchmark; share: what its pictures may take of PICTURE_BYTES, 0 to 1."""
    benchmark, results = content.benchmark, content.results
    styles = figures.line_styles({name: model.is_network for name, model in benchmark.models.items()})
    scenes = [_scene_block(scene, results, styles) for scene in content.scenes]
    pictures = [picture.image for scene in scenes for row in scene.rows for picture in row.pictures]
    encoding = choose_encoding(pictures, PICTURE_BYTES * share)
    several = len(results.parts["test"]) > 1
    wavelengths_nm = content.scenes[0].wavelengths_nm if content.scenes else None
    quality, band_plots = _quality(results, styles), _band_plots(results, wavelengths_nm)
    training, seeds = _training(content, styles), _seeds(results, styles)
    alone = [plot for plot in (seeds, quality) if plot]
    plots = {plot.heading: plot.svg for plot in (*alone, *band_plots, *training)}
    plots |= {f"{scene.name} {plot.heading}": plot.svg for scene in scenes for plot in scene.plots}
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
    )
    return Section(html, plots, {scene.name: scene.rows for scene in scenes})


def sweep(name: str, result: Mapping[str, Any], picture: str) -> Markup:
    """What the report shows of a sweep. picture: data URI of its map."""
    return _render(
        "sweep.html.j2",
        name=name,
        result=result,
        table=sweeps.table(result),
        picture=Markup(picture),
        refusals=sweeps.refusals(result),
    )


def render(title: str, sections: Sequence[Markup], benchmarks: Mapping[str, Results]) -> str:
    """The whole page. sections: from `section`, in the order of benchmarks."""
    return _render(
        "page.html.j2",
        title=title,
        version=hsisr.__version__,
        overviews=[tables.overview(benchmarks, key) for key in OVERVIEW] if len(benchmarks) > 1 else [],
        sections=sections,
        line_colors=LINE_COLORS,
        style=Markup(_text("style.css")),
        script=Markup(_text("page.js")),
    )


def _render(template: str, **values: object) -> Markup:
    loader = PackageLoader("hsisr.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return Markup(environment.get_template(template).render(values))


def _text(name: str) -> str:
    return (resources.files("hsisr.report") / "templates" / name).read_text(encoding="utf-8")


def _scene_block(scene: SceneView, results: Results, styles: dict[str, LineStyle]) -> SceneBlock:
    height, width = scene.reference.shape[:2]
    psnr_label = f"PSNR of every band of {scene.name}: {', '.join(scene.models)}"
    psnr = Plot("PSNR of each band", Markup(figures.band_psnr(scene, styles, psnr_label)))
    scores = {model: results.models[model].scenes[scene.name] for model in scene.models}
    values = {model: tables.value(found, "psnr") for model, found in scores.items()}
    known = {model: value for model, value in values.items() if value is not None}
    best = max(known, key=lambda model: known[model])
    return SceneBlock(
        name=scene.name,
        about=f"{height} x {width} pixels, {len(scene.reference_spectra[0])} bands; {_composite_words(scene)}",
        height=height,
        width=width,
        columns=[LR_INPUT, *scene.models, REFERENCE],
        rows=gallery.rows(scene, {model: f"{tables.text(found, 'psnr')} dB" for model, found in scores.items()}),
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
    )


def _worst(scene: SceneView, model: str, styles: dict[str, LineStyle]) -> Plot:
    row, column = scene.models[model].worst_point
    heading = f"Worst pixel of {model} (row {row}, column {column})"
    return Plot(heading, Markup(figures.worst_spectrum(scene, model, styles, f"{heading} of {scene.name}")))


def _seeds(results: Results, styles: dict[str, LineStyle]) -> Plot | None:
    """What every seed scored, where a model was trained with several."""
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
    """Quality against time, where both are known of several models."""
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
    """Where the recommended bands of the reference and of every model lie, a plot a selection method."""
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
        return f"red, green and blue show bands {numbers}"
    centres = ", ".join(f"{scene.wavelengths_nm[band]:.0f}" for band in scene.composite_bands)
    return f"red, green and blue show {centres} nm"
