"""The quality page of one result, in the style of the report: does the result agree with its own inputs?"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from hsisr.colours import INFRARED_NM, NATURAL_NM, nearest_bands, spread_bands
from hsisr.datasets import facts as file_facts
from hsisr.degrade.psf import FWHM_PER_SIGMA
from hsisr.degrade.sampling import interpolate
from hsisr.errors import HsisrError
from hsisr.evaluation import quality
from hsisr.evaluation.quality import Agreement, Quality, blocks, spectrum
from hsisr.files import write_text
from hsisr.inference.feed import Feed
from hsisr.inference.images import Source, spread_pieces
from hsisr.missing import fill_invalid
from hsisr.models.windows import hr_spans
from hsisr.report import figures, page
from hsisr.report.gallery import GUIDE, LR_INPUT, Picture, Row
from hsisr.report.page import Plot
from hsisr.report.pictures import ColorScale, Stretch, blacken, choose_encoding
from hsisr.report.tables import NOTHING, Cell, Column, Table
from hsisr.scene import Scene

#: Side of the shown part in LR pixels, and number of places tried for it along an axis.
_SHOWN_LR_PX, _PLACES = 72, 3
#: Most bytes for all pictures together.
_PICTURE_BYTES = 6e6
#: For a guide without wavelengths: if it explains less than this part of a range's variance, detail there is a claim.
_LITTLE = 0.5
#: Red, green and blue of the second composite, and the largest distance of a band from each.
_SWIR_NM, _TOLERANCE_NM = (2200.0, 1650.0, 860.0), 60.0
_BICUBIC, _MAP_COLOURS = "Bicubic", "inferno"


@dataclass(frozen=True)
class Gallery:
    """The pictures of the shown part. about: in words. height, width: in HR pixels."""

    about: str
    height: int
    width: int
    rows: list[Row]

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [picture.column for picture in self.rows[0].pictures]

    @property
    def style(self) -> str:
        """Rules for its shape, for the style sheet."""
        shape = f"--ratio: {self.width / self.height:.4f}; --columns: {len(self.columns)}"
        return f'[data-scene="cut"] {{ {shape} }}'


def writer(out: str | os.PathLike) -> Callable[[Feed, Scene, Scene | None], None]:
    """A function that writes the page to `out`, given a method's images and its result, for `super_resolve_file`.

    Raises HsisrError if `out` does not end in .html or .htm.
    """
    if Path(out).suffix.lower() not in (".html", ".htm"):
        raise HsisrError(f"{out}: a page ends in .html; give it such a name")

    def write(feed: Feed, result: Scene, sigma: Scene | None) -> None:
        write_text(out, render(feed, result, quality.measure(feed, result), sigma))

    return write


def render(feed: Feed, result: Scene, found: Quality, sigma: Scene | None = None) -> str:
    """The page, as HTML that needs no network. feed: the method's images. result: the written scene.

    found: from `hsisr.evaluation.quality.measure`. sigma: standard deviations of the result; None without them.
    """
    shown = _gallery(feed, result, found, sigma)
    pictures = [picture.image for row in shown.rows for picture in row.pictures]
    return page.document(
        "quality.html.j2",
        f"Quality of a result: {feed.method.name} x{feed.method.scale}",
        [shown.style],
        file=feed.lr.label,
        finding=_finding(feed, found),
        facts=_facts(feed, result, found),
        ranges=_range_table(feed, found),
        has_reach=_has_reach(feed, found),
        claims=_claims(feed, found),
        indices=_index_table(found),
        index_words=_index_words(feed, found),
        guide=_guide_table(feed, found),
        scores=_score_table(found),
        tile_px=found.tile_px,
        least_tile_px=quality.LEAST_TILE_PX,
        sampled=_say_sampled(found),
        moved=feed.way is not None,
        plots=_plots(feed, found),
        shown=shown,
        encoding=choose_encoding(pictures, _PICTURE_BYTES),
    )


def _finding(feed: Feed, found: Quality) -> str:
    """The page's summary in two sentences."""
    rmse, level = float(np.sqrt(np.mean(found.lr.rmse**2))), float(found.lr.mean.mean())
    off = f"{_percent(rmse / abs(level))} of its mean" if level else f"{rmse:.3g}"
    footprint = "the measured footprint" if found.measured else "an assumed footprint"
    said = f"Seen through {footprint} of an LR pixel, the result differs from the LR image by {off} (RMSE)."
    *others, last = [*_claims(feed, found)] or [""]
    claims = f"{', '.join(others)} and {last}" if others else last
    return f"{said} Detail in {claims} is a claim of the model." if claims else said


def _facts(feed: Feed, result: Scene, found: Quality) -> list[tuple[str, str]]:
    """(heading, text) of the result's inputs, and of the estimated properties."""
    scale, bands = feed.method.scale, feed.lr.shape[0]
    counted = f"{result.shape[0]} band{'s' if result.shape[0] > 1 else ''}"
    facts = [
        ("LR image", _image_words(feed.lr)),
        ("Guide", "none" if feed.guide is None else _image_words(feed.guide.source)),
        ("Result", f"{result.shape[1]} x {result.shape[2]} pixels, {counted}, {result.stored.dtype}"),
        ("Method", f"{feed.method.name}, scale {scale}"),
        ("Footprint", _footprint_words(found, scale)),
        ("Registration", _registration_words(feed, found)),
        ("Noise", "cannot be told from the image itself in a single band"),
        ("Looked at", _say_sampled(found)),
    ]
    if bands > 1:
        told = f"{found.noise:.3g} (standard deviation in the values' unit, if it is white and alike in all bands)"
        known = f"{found.components} of {bands} dimensions of the spectra are stronger than the noise"
        facts[-2:-1] = [("Noise", told), ("Components", known)]
    acquired = feed.lr.scene.provenance.get("acquired")
    return facts[:1] + ([("Acquired", str(acquired))] if acquired else []) + facts[1:]


def _image_words(image: Source) -> str:
    bands, height, width = image.shape
    words = f"{image.label}: {height} x {width} pixels, {bands} band{'s' if bands > 1 else ''} with data"
    centres = image.wavelengths_nm
    if centres is not None:
        words += f", {centres.min():.0f} to {centres.max():.0f} nm" if bands > 1 else f", {centres[0]:.0f} nm"
    if image.scene.transform is not None:
        words += f", pixels of {file_facts.place(image.scene)['pixel size']}"
    product = image.scene.provenance.get("product")
    return f"{words}; {product}" if product else words


def _footprint_words(found: Quality, scale: int) -> str:
    if not any(found.footprint.sigma_px()):
        return "one pixel of the result, measured against the guide"
    rows, columns = (FWHM_PER_SIGMA * sigma / scale for sigma in found.footprint.sigma_px())
    size = f"full width at half maximum {rows:.2f} x {columns:.2f} LR pixels (rows, columns; as a Gaussian)"
    return f"{size}, measured against the guide" if found.measured else f"{size}, assumed, not measured"


def _registration_words(feed: Feed, found: Quality) -> str:
    if feed.guide is None:
        return "no guide"
    moved, unexplained = "", ""
    if found.offset is not None:
        unexplained = f"the LR image does not explain {_percent(found.offset.unexplained)} of the guide"
    if any(feed.guide.shift_px):
        rows, columns = (shift / feed.method.scale for shift in feed.guide.shift_px)
        moved = f"hsisr moved the guide by {rows:+.2f} rows, {columns:+.2f} columns of the LR image; "
    if feed.guide.displacement is not None:
        moved = f"hsisr moved the guide from place to place by {feed.guide.displacement}; "
    if feed.way is not None:
        moved = f"the result lies on the guide's grid, off the LR image's by {feed.guide.displacement}; "
    if found.offset is None:
        return f"{moved}the remaining shift cannot be measured (too small, or without detail)"
    if not found.offset.trusted:
        return f"{moved}the remaining shift is uncertain ({unexplained})"
    if feed.guide.displacement is not None:  # it states the unexplained part itself
        return f"{moved}the remaining shift is {found.offset}"
    return f"{moved}the remaining shift is {found.offset}; {unexplained}"


def _say_sampled(found: Quality) -> str:
    if found.sampled.share >= 1:
        return "the whole scene"
    return f"{len(found.sampled)} blocks spread over the scene, {_percent(found.sampled.share)} of it"


def _claims(feed: Feed, found: Quality) -> dict[str, str]:
    """Ranges that the guide does not see (or explains little, if it states no wavelengths), with the reason."""
    centres, claims = feed.lr.wavelengths_nm, {}
    if centres is None or found.explained is None:
        return {}
    for name, places in spectrum.ranges(centres, len(centres)).items():
        share = _over_known(np.mean, np.clip(found.explained[places], 0, 1))
        if found.guide_reach_nm is not None and not _count_seen(centres[places], found):
            claims[name] = f"outside of the guide's range, {_span_words(found.guide_reach_nm)}"
        elif found.guide_reach_nm is None and share < _LITTLE:
            claims[name] = f"the guide explains {_percent(share)} of it at LR"
    return claims


def _has_reach(feed: Feed, found: Quality) -> bool:
    """Whether both images state their wavelengths."""
    return feed.lr.wavelengths_nm is not None and found.guide_reach_nm is not None


def _span_words(span_nm: tuple[float, float]) -> str:
    return f"{span_nm[0]:.0f} to {span_nm[1]:.0f} nm"


def _count_seen(centres_nm: np.ndarray, found: Quality) -> int:
    """Number of these bands within the guide's reach."""
    low, high = found.guide_reach_nm or (np.inf, -np.inf)
    return int(((centres_nm >= low) & (centres_nm <= high)).sum())


def _range_table(feed: Feed, found: Quality) -> Table:
    """LR consistency for each range of the spectrum."""
    centres, rows = feed.lr.wavelengths_nm, {}
    has_reach = _has_reach(feed, found)
    for name, places in spectrum.ranges(centres, feed.lr.shape[0]).items():
        part = found.lr
        relative = _relative(part.rmse[places], part.mean[places])
        worst = places[int(np.nan_to_num(relative, nan=-1).argmax())]
        where = f"band {feed.lr.numbers[worst]}" if centres is None else f"{centres[worst]:.0f} nm"
        cells = [
            Cell(str(len(places))),
            Cell(f"{part.mean[places].mean():.4g}"),
            Cell(f"{np.sqrt(np.mean(part.rmse[places] ** 2)):.3g}"),
            Cell(_percent(np.sqrt(_over_known(np.mean, relative**2)))),
            Cell(_percent(_over_known(np.max, relative)), where),
        ]
        if found.explained is not None:
            cells.append(Cell(_percent(_over_known(np.mean, np.clip(found.explained[places], 0, 1)))))
        if centres is not None and has_reach:
            cells.append(Cell(f"{_count_seen(centres[places], found)} of {len(places)}"))
        rows[name] = cells
    columns = [Column("Bands"), Column("Mean of LR"), Column("RMSE", "lower"), Column("RMSE, of mean", "lower")]
    columns.append(Column("Worst band", "lower"))
    columns += [Column("Explained by guide")] if found.explained is not None else []
    columns += [Column("In the guide's reach")] if has_reach else []
    return Table("Result, seen through the footprint, against the LR image", "Range", columns, rows)


def _index_table(found: Quality) -> Table | None:
    if not found.indices:
        return None
    rows = {name: _agreement_cells(agreement, 0) for name, agreement in found.indices.items()}
    columns = [Column("Mean of LR"), Column("RMSE", "lower"), Column("Correlation", "higher")]
    return Table(
        "Indices at LR: of the result, seen through the footprint, against the LR image's", "Index", columns, rows
    )


def _index_words(feed: Feed, found: Quality) -> dict[str, str]:
    """Name of each index -> its formula, and the bands that stand for its wavelengths."""
    words = {}
    for name, places in spectrum.index_bands(feed.lr.wavelengths_nm).items():
        if name in found.indices and feed.lr.wavelengths_nm is not None:
            first, second = feed.lr.wavelengths_nm[list(places)]
            words[name] = f"{spectrum.INDICES[name].words}, of the bands at {first:.0f} and {second:.0f} nm"
    return words


def _guide_table(feed: Feed, found: Quality) -> Table | None:
    if feed.guide is None or found.guide is None or found.response_rmse is None:
        return None
    centres = feed.guide.source.wavelengths_nm
    rows = {}
    for channel, band in enumerate(feed.guide.source.numbers):
        name = f"band {band}" + ("" if centres is None else f", {centres[channel]:.0f} nm")
        off, left = (
            Cell(_percent(float(_relative(rmse[channel], found.guide.mean[channel]))))
            for rmse in (found.guide.rmse, found.response_rmse)
        )
        rows[name] = [*_agreement_cells(found.guide, channel), off, left]
    columns = [Column("Mean of guide"), Column("RMSE", "lower"), Column("Correlation", "higher")]
    columns += [Column("RMSE, of mean", "lower"), Column("The same at LR")]
    return Table("Result, seen through the response, against the guide", "Guide", columns, rows)


def _agreement_cells(agreement: Agreement, channel: int) -> list[Cell]:
    correlation = agreement.correlation[channel]
    return [
        Cell(f"{agreement.mean[channel]:.4g}"),
        Cell(f"{agreement.rmse[channel]:.3g}"),
        Cell(f"{correlation:.4f}" if np.isfinite(correlation) else NOTHING),
    ]


def _score_table(found: Quality) -> Table | None:
    """D_lambda, D_s and QNR, one row for each convention."""
    rows = {}
    for name, ending in (
        ("Measured footprint" if found.measured else "Assumed footprint", ""),
        ("PRISMA benchmark", "_prisma"),
    ):
        if f"d_lambda{ending}" in found.scores:
            values = [found.scores.get(f"{key}{ending}") for key in ("d_lambda", "d_s", "qnr")]
            rows[name] = [
                Cell(NOTHING if value is None or not np.isfinite(value) else f"{value:.4f}") for value in values
            ]
    if not rows:
        return None
    columns = [Column("D_\u03bb", "lower"), Column("D_s", "lower"), Column("QNR", "higher")]
    return Table("Distortions, and quality without a reference", "Convention", columns, rows)


def _plots(feed: Feed, found: Quality) -> list[Plot]:
    centres = feed.lr.wavelengths_nm
    relative = 100 * _relative(found.lr.rmse, found.lr.mean)
    curves = {"RMSE against the LR image, % of the band's mean": (relative, "%")}
    if found.explained is not None:
        curves["Explained by the guide at LR"] = (np.clip(found.explained, 0, 1), "Part of variance")
    plots = []
    for heading, (values, unit) in curves.items():
        least, most, middle = (_over_known(of, values) for of in (np.min, np.max, np.median))
        span = f"{least:.3g} to {most:.3g}, median {middle:.3g}" if np.isfinite(most) else NOTHING
        label = f"{heading}, of {len(values)} bands: {span}"
        styles = figures.line_styles({"value": True})
        shown = figures.by_band(centres, {"value": values}, unit, styles, label, feed.lr.numbers)
        plots.append(Plot(heading, Markup(shown)))
    return plots


def _gallery(feed: Feed, result: Scene, found: Quality, sigma: Scene | None) -> Gallery:
    """Before and after, for the part of the scene with most valid pixels."""
    scale = feed.method.scale
    rows, columns = _place(feed)
    block = blocks.read(feed, Source(result, "result"), found.footprint, rows, columns)
    low_valid = feed.lr.window(rows, columns)[1]
    composites = _composites(feed)
    used = sorted({band for bands in composites for band in bands})
    low = fill_invalid(block.low[used], low_valid)
    after = f"{feed.method.name} x{scale}"
    coarse = low_valid.repeat(scale, axis=0).repeat(scale, axis=1)
    images = {
        LR_INPUT: (low.repeat(scale, axis=1).repeat(scale, axis=2), coarse),
        _BICUBIC: (interpolate(low, scale, "bicubic"), coarse),
        after: (block.estimate[used], block.made),
    }
    shown: list[Row] = []
    about = f"rows {rows[0]} to {rows[1] - 1}, columns {columns[0]} to {columns[1] - 1} of the LR image"
    for bands in composites:
        words = feed.lr.in_words(bands)
        places = [used.index(band) for band in bands]
        stretch = _stretch(low[places], low_valid)
        pictures = [
            Picture(name, _picture(image[places], valid, stretch), f"{name}: {words}")
            for name, (image, valid) in images.items()
        ]
        if feed.guide is not None and not shown:
            pictures.append(_guide_picture(feed, rows, columns))
        shown.append(Row(words, pictures))
    level = abs(float(found.lr.mean.mean()))
    if level:
        shown.append(_map(block, level, scale, after))
    if level and sigma is not None:
        shown.append(_sigma_map(feed, sigma, rows, columns, level, after))
    return Gallery(about, block.estimate.shape[1], block.estimate.shape[2], shown)


def _place(feed: Feed) -> tuple[blocks.Span, blocks.Span]:
    """The shown part, in LR pixels: of a few parts spread over the scene, the one with the most data."""
    height, width = feed.lr.shape[1:]
    places = [
        (rows, columns)
        for rows in spread_pieces(height, _PLACES, _SHOWN_LR_PX)
        for columns in spread_pieces(width, _PLACES, _SHOWN_LR_PX)
    ]
    return max(places, key=lambda place: feed.lr.window(place[0], place[1], slice(0, 1))[1].mean())


def _composites(feed: Feed) -> list[list[int]]:
    """Good bands for red, green and blue: one composite in natural colours or infrared, and one of the SWIR."""
    centres, count = feed.lr.wavelengths_nm, feed.lr.shape[0]
    if centres is None:
        return [spread_bands(count) if count > 2 else [0, 0, 0]]
    found = []
    for wanted in ((NATURAL_NM, INFRARED_NM), (_SWIR_NM,)):
        near = [
            bands
            for colours in wanted
            if np.abs(centres[bands := nearest_bands(centres, colours)] - colours).max() <= _TOLERANCE_NM
        ]
        found += near[:1]
    return found or [spread_bands(count) if count > 2 else [0, 0, 0]]


def _guide_picture(feed: Feed, rows: blocks.Span, columns: blocks.Span) -> Picture:
    """The guide, with its own stretch."""
    assert feed.guide is not None
    scale, source = feed.method.scale, feed.guide.source
    values, valid = feed.guide.window(*hr_spans(rows, columns, scale))
    centres = source.wavelengths_nm
    bands = spread_bands(len(values)) if len(values) > 2 else [0, 0, 0]
    if centres is not None and len(values) > 2:
        bands = nearest_bands(centres, NATURAL_NM)
    words = source.in_words(bands)
    return Picture(GUIDE, _picture(values[bands], valid, _stretch(values[bands], valid)), f"{GUIDE}: {words}", words)


def _stretch(image: np.ndarray, valid: np.ndarray) -> Stretch:
    """The stretch of the valid pixels (h, w) of an image (3, h, w)."""
    return Stretch.of(np.moveaxis(image, 0, -1), valid)


def _picture(image: np.ndarray, valid: np.ndarray, stretch: Stretch) -> np.ndarray:
    """An image (3, h, w) as a picture, black where it has no data."""
    return blacken(stretch(np.moveaxis(image, 0, -1)), valid)


def _map(block: blocks.Block, level: float, scale: int, after: str) -> Row:
    """Map of the differences between result and LR image. level: mean of the LR image."""
    error = np.sqrt(((block.degraded - block.low) ** 2).mean(axis=0)) / level
    picture, colours = _share_map(after, "Disagreement with the LR image", error, block.seen)
    picture = replace(picture, image=picture.image.repeat(scale, axis=0).repeat(scale, axis=1))
    return Row("RMSE at LR, of the scene's mean", [picture], " %", colours)


def _sigma_map(feed: Feed, sigma: Scene, rows: blocks.Span, columns: blocks.Span, level: float, after: str) -> Row:
    """Map of the result's standard deviation. level: mean of the LR image."""
    lying = blocks.on_lr_grid(feed, Source(sigma, "standard deviation"))
    values, valid = lying.window(*hr_spans(rows, columns, feed.method.scale))
    deviation = np.sqrt((values**2).mean(axis=0)) / level
    picture, colours = _share_map(after, "Standard deviation of the result", deviation, valid)
    return Row("Uncertainty (RMS over the bands), of the scene's mean", [picture], " %", colours)


def _share_map(column: str, alt: str, share: np.ndarray, valid: np.ndarray) -> tuple[Picture, ColorScale]:
    """A map of parts (h, w) in percent, with the mean of its valid pixels below it."""
    colours = ColorScale.over(_MAP_COLOURS, [100 * share], valid)
    caption = f"mean {_percent(float(share[valid].mean()))}" if valid.any() else "no data"
    return Picture(column, blacken(colours(100 * share), valid), alt, caption), colours


def _relative(error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Errors as parts of means; NaN where the mean is 0."""
    size = np.abs(mean)
    return np.divide(error, size, out=np.full(np.shape(size), np.nan), where=size > 0)


def _over_known(of: Callable[[np.ndarray], Any], values: np.ndarray) -> float:
    """A statistic of the values that are no NaN; NaN if there is none."""
    known = values[~np.isnan(values)]
    return float(of(known)) if known.size else np.nan


def _percent(share: float) -> str:
    """A share with two or three digits."""
    return NOTHING if np.isnan(share) else f"{100 * share:.3g} %"
