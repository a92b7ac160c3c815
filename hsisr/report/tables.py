"""Tables of scores: the text of each cell and the leading cells; for the page, as Markdown and as CSV."""

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hsisr import datasets
from hsisr.errors import printable
from hsisr.evaluation.results import ModelResult, Results
from hsisr.evaluation.table import COLUMNS, FULL_COLUMNS, columns_of, score_text, scoring_words, spread_of
from hsisr.models.registry import entry
from hsisr.report.published import Published, find_published

#: Marks of the two leading values, as in papers: best bold, second underlined.
BEST, SECOND = "best", "second"

#: Text of a cell without a value, such as the parameters of a classical method.
NOTHING = "\u2013"

#: Scores that rank models in words. The first that a benchmark has is used.
_LEADING = ("psnr", "qnr", "consistency_lr")

_COLUMNS = {**COLUMNS, **FULL_COLUMNS}

#: Rows of the classification table that belong to no model.
REFERENCE_ROW, LR_ROW = "Reference", "LR, interpolated"

#: Classifier, band selection -> name on the page.
CLASSIFIERS = {"svm": "SVM", "forest": "Forest"}
SELECTIONS = {"neighbourhood_grouping": "Grouping", "entropy_and_correlation": "Entropy"}

#: Kind of division, accuracy -> name on the page.
_ACCURACIES = (
    ("blocks", "oa", "OA"),
    ("blocks", "aa", "AA"),
    ("blocks", "kappa", "\u03ba"),
    ("random", "oa", "OA, optimistic"),
)
_PERCENT_DECIMALS = 1


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a smaller addition (such as a spread), and a mark (BEST, SECOND or none).

    order: the number to sort by, if the text does not begin with it.
    """

    text: str
    addition: str = ""
    mark: str = ""
    order: float | None = None


@dataclass(frozen=True)
class Column:
    """A column's heading. direction: `higher` or `lower` if that is better, else empty."""

    heading: str
    direction: str = ""


@dataclass(frozen=True)
class Table:
    """A table of scores. rows: heading of the row -> cells, one for each column."""

    caption: str
    corner: str
    columns: list[Column]
    rows: dict[str, list[Cell]]


def keys(results: Results) -> list[str]:
    """The scores that at least one model has, in the order of tables."""
    means = [model.mean for model in results.models.values()]
    return [key for key in columns_of(results) if any(value(mean, key) is not None for mean in means)]


def leading_key(results: Results) -> str:
    """The score that ranks models in words."""
    found = keys(results)
    return next(key for key in _LEADING if key in found)


def value(scores: Mapping[str, float | None], key: str) -> float | None:
    """A score. A PSNR of None in the file is infinity (identical images). None if a model has no such score."""
    return math.inf if key == "psnr" and key in scores and scores[key] is None else scores.get(key)


def scores(results: Results) -> Table:
    """Scores of the models. The spread over folds, or over a network's seeds, stands beside the score."""
    models = results.models
    rows: dict[str, list[Cell]] = {name: [] for name in models}
    for key in keys(results):
        spreads = {name: spread_of(model).get(key) or 0.0 for name, model in models.items()}
        marks = ranks({name: value(model.mean, key) for name, model in models.items()}, key, spreads)
        for name, model in models.items():
            rows[name].append(Cell(text(model.mean, key), _spread_text(model, key), marks.get(name, "")))
    columns = [Column(_COLUMNS[key][0], _direction(key)) for key in keys(results)]
    tested = f"{len(results.folds)} folds" if results.folds else "the test part"
    return Table(f"Mean scores over {tested}", "Model", columns, rows)


def costs(results: Results) -> Table:
    """Costs of the models: size, training, and inference on the test part and per million values."""
    columns = [
        "Parameters",
        "Steps",
        "Training",
        "Inference",
        "Per megapixel and band",
        "Operations per value",
        "Memory",
    ]
    rows = {name: _costs(model) for name, model in results.models.items()}
    return Table("Size, time and memory of each model", "Model", [Column(heading) for heading in columns], rows)


def published_scores(results: Results) -> Table | None:
    """Our models above the papers' scores for this data set and scale, with those of the same protocol first; None if
    no such scores are known."""
    theirs = rivals(results)
    if not theirs:
        return None
    shown = [key for key in keys(results) if any(key in paper.scores for paper in theirs)]
    own = Cell(results.protocol)
    rows = {
        f"{name}, here": [*(Cell(text(model.mean, key)) for key in shown), own]
        for name, model in results.models.items()
    }
    for paper in theirs:
        scored = [Cell(text(paper.scores, key)) for key in shown]
        rows[f"{paper.method}, as printed by {paper.short}"] = [*scored, Cell(paper.protocol or "another")]
    columns = [*(Column(_COLUMNS[key][0], _direction(key)) for key in shown), Column("Protocol")]
    return Table("Scores here and as papers print them", "Method", columns, rows)


def rivals(results: Results) -> list[Published]:
    """The papers' scores for this data set and scale, of methods with the same inputs as ours: a guide, or none.

    Those of the results' own protocol come first. If they name their test scenes, the others are left out.
    """
    guide = results.response is not None or any(entry(model.base).needs_guide for model in results.models.values())
    found = find_published(results.dataset, results.scale, guide)
    league = [paper for paper in found if paper.protocol == results.protocol]
    if any(paper.split is not None for paper in league):
        return league
    return league + [paper for paper in found if paper.protocol != results.protocol]


def missing_scenes(results: Results) -> str:
    """In one sentence, how the test scenes differ from those of published rows with the same protocol. Empty if they
    are the same, or if the papers' scenes are unknown."""
    rows = [paper for paper in rivals(results) if paper.protocol == results.protocol]
    split = next((paper.split for paper in rows if paper.split is not None), None)
    if split is None:
        return ""
    theirs = [str(scene) for scene in datasets.entry(results.dataset).splits[split].test]
    ours = results.parts["test"]
    missing = [name for name in theirs if name not in ours]
    more = [name for name in ours if name not in theirs]
    said = []
    if missing:
        said.append(f"{len(missing)} of their {len(theirs)} test scenes are missing here: {', '.join(missing)}")
    if more:
        said.append(f"here are tested besides: {', '.join(more)}")
    return f"{'; '.join(said)}. The means cannot be compared." if said else ""


def classification(results: Results) -> Table | None:
    """Accuracies of land-cover classes for each image; None if nothing was classified.

    The reference comes first and does not compete. Among the others, the leaders are marked.
    """
    if results.classification is None or not results.classification.reference:
        return None
    setup = results.classification
    images = {REFERENCE_ROW: setup.reference, LR_ROW: setup.lr}
    images |= {name: model.classification for name, model in results.models.items() if model.classification}
    rows: dict[str, list[Cell]] = {name: [] for name in images}
    columns = []
    for classifier, heading in CLASSIFIERS.items():
        for kind, key, title in _ACCURACIES:
            columns.append(Column(f"{heading} {title}", "higher"))
            means = {name: 100 * image[classifier][kind][key] for name, image in images.items()}
            marks = _leaders({name: mean for name, mean in means.items() if name != REFERENCE_ROW}, _PERCENT_DECIMALS)
            for name, image in images.items():
                spread = f"\u00b1 {100 * image[classifier][kind][f'{key}_std']:.{_PERCENT_DECIMALS}f}"
                rows[name].append(Cell(f"{means[name]:.{_PERCENT_DECIMALS}f}", spread, marks.get(name, "")))
    return Table("Accuracy of land-cover classification, percent", "Image", columns, rows)


def bands(results: Results, wavelengths_nm: Sequence[float] | np.ndarray | None) -> Table | None:
    """For each model, overlap and distance between its recommended bands and the reference's; None without any."""
    rows: dict[str, list[Cell]] = {name: [] for name, model in results.models.items() if model.bands}
    if not rows:
        return None
    columns, unit = [], "bands" if wavelengths_nm is None else "nm"
    for method, heading in SELECTIONS.items():
        columns += [Column(f"{heading}: overlap", "higher"), Column(f"{heading}: distance, {unit}", "lower")]
        found = {name: results.models[name].bands[method] for name in rows}
        overlaps = _leaders({name: choice.overlap for name, choice in found.items()}, 2)
        distances = _leaders({name: -choice.distance for name, choice in found.items()}, 1)
        for name, choice in found.items():
            rows[name].append(Cell(f"{choice.overlap:.2f}", mark=overlaps.get(name, "")))
            rows[name].append(Cell(f"{choice.distance:.1f}", mark=distances.get(name, "")))
    return Table("Recommended bands against those of the reference", "Model", columns, rows)


def scenes(results: Results, key: str) -> Table:
    """One score of each scene and model, with the leaders of each scene marked."""
    models = results.models
    rows = {}
    for scene in next(iter(models.values())).scenes:
        marks = ranks({name: value(model.scenes[scene], key) for name, model in models.items()}, key)
        rows[scene] = [Cell(text(model.scenes[scene], key), mark=marks.get(name, "")) for name, model in models.items()]
    heading, _, higher = _COLUMNS[key]
    caption = f"{heading} of each scene, {'higher' if higher else 'lower'} is better"
    return Table(caption, "Scene", [Column(name) for name in models], rows)


def overview(benchmarks: Mapping[str, Results], key: str = "psnr") -> Table:
    """One score of each benchmark and model, with the leaders of each benchmark marked."""
    names = list(dict.fromkeys(name for results in benchmarks.values() for name in results.models))
    rows = {}
    for benchmark, results in benchmarks.items():
        means = {name: model.mean for name, model in results.models.items() if key in model.mean}
        marks = ranks({name: value(mean, key) for name, mean in means.items()}, key)
        cells = {name: Cell(text(mean, key), mark=marks.get(name, "")) for name, mean in means.items()}
        rows[benchmark] = [cells.get(name, Cell(NOTHING)) for name in names]
    return Table(f"Mean {_COLUMNS[key][0]} over each test part", "Benchmark", [Column(name) for name in names], rows)


def ranks(values: Mapping[str, float | None], key: str, spreads: Mapping[str, float] | None = None) -> dict[str, str]:
    """Name -> BEST or SECOND among values of one score, by the rounded numbers on the page.

    Equal numbers share their rank. None has no rank. A single number does not lead. spreads: standard deviations over
    seeds or folds. Numbers also share their rank if they differ by no more than the spread of their difference.
    """
    _, decimals, higher = _COLUMNS[key]
    known = {name: number if higher else -number for name, number in values.items() if number is not None}
    return _leaders(known, decimals, spreads)


def ranks_of(values: Mapping[str, float], decimals: int, higher: bool) -> dict[str, str]:
    """As `ranks`, for numbers that are not in results files."""
    return _leaders({name: number if higher else -number for name, number in values.items()}, decimals)


def _leaders(values: Mapping[str, float], decimals: int, spreads: Mapping[str, float] | None = None) -> dict[str, str]:
    """As `ranks`, for numbers that are better if they are higher."""
    left = {name: round(number, decimals) for name, number in values.items()}
    spread = spreads or {}
    marks: dict[str, str] = {}
    for mark in (BEST, SECOND):
        if not left:
            break
        first = max(left, key=lambda name: left[name])
        top = left[first]
        reach = {name: math.hypot(spread.get(first, 0.0), spread.get(name, 0.0)) for name in left}
        near = [name for name, number in left.items() if number == top or top - number <= reach[name]]
        marks |= dict.fromkeys(near, mark)
        left = {name: number for name, number in left.items() if name not in marks}
    return marks if set(marks.values()) == {BEST, SECOND} else {}


def text(scores: Mapping[str, float | None], key: str) -> str:
    """A printed score; NOTHING if a model has no such score."""
    return NOTHING if value(scores, key) is None else score_text(scores[key], _COLUMNS[key][1], key)


def duration(seconds: float) -> str:
    """Seconds in words: `0.35 s`, `12 s`, `4 min 10 s`, `2 h 5 min`."""
    if seconds < 0.1:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def markdown(
    title: str,
    benchmarks: Mapping[str, Results],
    wavelengths_nm: Mapping[str, np.ndarray | None],
    sweeps: Mapping[str, Table],
) -> str:
    """The score tables of all benchmarks and sweeps as Markdown: best in bold, second underlined.

    wavelengths_nm: benchmark -> wavelengths of its bands, or None. sweeps: name -> `hsisr.report.sweeps.table`.
    """
    parts = [f"# {_markdown_text(title)}"]
    for name, results in benchmarks.items():
        command = printable(results.command).replace("`", "'")
        parts += [f"## {name}", f"Protocol {results.protocol}, {scoring_words(results)}; made by `{command}`."]
        for table in (
            scores(results),
            costs(results),
            classification(results),
            bands(results, wavelengths_nm[name]),
            published_scores(results),
        ):
            if table is not None:
                parts += [f"{table.caption}:", _markdown_table(table)]
        if note := missing_scenes(results):
            parts.append(note)
    for name, table in sweeps.items():
        parts += [f"## sweep {name}", f"{table.caption}:", _markdown_table(table)]
    return "\n\n".join(parts) + "\n"


def latex(benchmarks: Mapping[str, Results]) -> str:
    """The score tables of all benchmarks as LaTeX (package booktabs): best in bold, second underlined."""
    parts = ["% needs \\usepackage{booktabs}"]
    for name, results in benchmarks.items():
        table = scores(results)
        arrows = {"higher": " $\\uparrow$", "lower": " $\\downarrow$", "": ""}
        heads = [_latex_text(column.heading) + arrows[column.direction] for column in table.columns]
        rows = [" & ".join([_latex_text(row), *map(_latex_cell, cells)]) for row, cells in table.rows.items()]
        caption = _latex_text(f"{name}: protocol {results.protocol}, {scoring_words(results)}.")
        parts.append(
            "\n".join(
                [
                    "\\begin{table}",
                    f"  \\caption{{{caption}}}",
                    f"  \\begin{{tabular}}{{l{'r' * len(heads)}}}",
                    "    \\toprule",
                    f"    {table.corner} & {' & '.join(heads)} \\\\",
                    "    \\midrule",
                    *(f"    {row} \\\\" for row in rows),
                    "    \\bottomrule",
                    "  \\end{tabular}",
                    "\\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def scores_csv(benchmarks: Mapping[str, Results]) -> str:
    """Every score of every scene as CSV, one row for each benchmark, model and scene, with full precision."""
    found = list(dict.fromkeys(k for r in benchmarks.values() for m in r.models.values() for k in m.mean))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["benchmark", "protocol", "convention", "model", "base", "scene", *found])
    for benchmark, results in benchmarks.items():
        for name, model in results.models.items():
            start = [benchmark, results.protocol, results.convention, name, model.base]
            for scene, scores in model.scenes.items():
                writer.writerow([*start, scene, *(value(scores, key) for key in found)])
    return stream.getvalue()


def _direction(key: str) -> str:
    return "higher" if _COLUMNS[key][2] else "lower"


def _spread_text(model: ModelResult, key: str) -> str:
    spread = spread_of(model).get(key)
    return "" if spread is None else f"\u00b1 {spread:.{_COLUMNS[key][1]}f}"


def _costs(model: ModelResult) -> list[Cell]:
    """The row of a model in `costs`."""
    timing = model.timing
    return [
        _amount(model.parameters or None, "{:,}".format),
        _amount(model.training_steps or None, "{:,}".format),
        _amount(timing.get("training_seconds"), duration),
        _amount(timing["seconds"], duration),
        _amount(timing.get("seconds_per_megapixel_band"), duration),
        _amount(model.flops_per_value, _with_prefix),
        _amount(timing.get("peak_memory_mb"), "{:.0f} MB".format),
    ]


def _amount(number: float | None, words: Callable[[float], str]) -> Cell:
    """A number in words, or NOTHING. The cell sorts by the number."""
    return Cell(NOTHING) if number is None else Cell(words(number), order=float(number))


def _with_prefix(number: float) -> str:
    """A number with three digits and a prefix: 1,250,000 is `1.25 M`."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.3g}"


def _latex_text(text: str) -> str:
    special = {"&": "\\&", "%": "\\%", "_": "\\_", "#": "\\#", "$": "\\$", "\u221e": "$\\infty$"}
    return "".join(special.get(letter, letter) for letter in text)


def _latex_cell(cell: Cell) -> str:
    text = "--" if cell.text == NOTHING else _latex_text(cell.text)
    marked = {BEST: f"\\textbf{{{text}}}", SECOND: f"\\underline{{{text}}}"}.get(cell.mark, text)
    return f"{marked} $\\pm$ {cell.addition.removeprefix(chr(0xB1)).strip()}" if cell.addition else marked


def _markdown_table(table: Table) -> str:
    head = [table.corner, *(column.heading for column in table.columns)]
    lines = [_markdown_row(head), _markdown_row(["---", *["---:"] * len(table.columns)])]
    lines += [_markdown_row([_markdown_text(row), *map(_markdown_cell, cells)]) for row, cells in table.rows.items()]
    return "\n".join(lines)


def _markdown_text(text: str) -> str:
    """A text that Markdown shows unchanged."""
    return re.sub(r"([\\`*{}\[\]<>#|!&~])", r"\\\1", printable(text))


def _markdown_cell(cell: Cell) -> str:
    marked = {BEST: f"**{cell.text}**", SECOND: f"<u>{cell.text}</u>"}.get(cell.mark, cell.text)
    return f"{marked} {cell.addition}".strip()


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
