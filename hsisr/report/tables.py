"""Tables of scores: what stands in each cell and which cells lead; for the page, as Markdown and as CSV."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsisr.evaluation.results import ModelResult, Results, Scores
from hsisr.evaluation.table import COLUMNS, FULL_COLUMNS, columns_of, score_text

#: Marks of the two leading values, as papers do: best bold, second underlined.
BEST, SECOND = "best", "second"

#: What stands where a model has nothing to show, such as the parameters of a classical method.
NOTHING = "\u2013"

#: Scores by which models are ordered in words: the first one that a benchmark has.
_LEADING = ("psnr", "qnr", "consistency_lr")

_COLUMNS = {**COLUMNS, **FULL_COLUMNS}


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a smaller addition (such as a spread), and a mark (BEST, SECOND or none)."""

    text: str
    addition: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading; direction: `higher` or `lower` if that is better, else empty."""

    heading: str
    direction: str = ""


@dataclass(frozen=True)
class Table:
    """A table of scores. rows: heading of the row -> cells, one a column."""

    caption: str
    corner: str
    columns: list[Column]
    rows: dict[str, list[Cell]]


def keys(results: Results) -> list[str]:
    """The scores that some model has, in the order in which tables show them."""
    means = [model.mean for model in results.models.values()]
    return [key for key in columns_of(results) if any(value(mean, key) is not None for mean in means)]


def leading_key(results: Results) -> str:
    """The score by which models are ordered in words."""
    found = keys(results)
    return next(key for key in _LEADING if key in found)


def value(scores: Scores, key: str) -> float | None:
    """A score, infinity where PSNR is none in the file (identical images), None where a model has no such score."""
    return math.inf if key == "psnr" and key in scores and scores[key] is None else scores.get(key)


def scores(results: Results) -> Table:
    """Models against scores and costs; the spread of networks with several seeds stands beside the score."""
    models = results.models
    rows: dict[str, list[Cell]] = {name: [] for name in models}
    for key in keys(results):
        marks = ranks({name: value(model.mean, key) for name, model in models.items()}, key)
        for name, model in models.items():
            rows[name].append(Cell(text(model.mean, key), _spread(model, key), marks.get(name, "")))
    for name, model in models.items():
        rows[name] += map(Cell, _costs(model))
    columns = [Column(_COLUMNS[key][0], _direction(key)) for key in keys(results)]
    columns += [Column("Parameters"), Column("Steps"), Column("Training"), Column("Inference")]
    return Table("Mean scores over the test part", "Model", columns, rows)


def scenes(results: Results, key: str) -> Table:
    """Scenes against models for one score, the leaders of each scene marked."""
    models = results.models
    rows = {}
    for scene in next(iter(models.values())).scenes:
        marks = ranks({name: value(model.scenes[scene], key) for name, model in models.items()}, key)
        rows[scene] = [Cell(text(model.scenes[scene], key), mark=marks.get(name, "")) for name, model in models.items()]
    heading, _, higher = _COLUMNS[key]
    caption = f"{heading} of each scene, {'higher' if higher else 'lower'} is better"
    return Table(caption, "Scene", [Column(name) for name in models], rows)


def overview(benchmarks: Mapping[str, Results], key: str = "psnr") -> Table:
    """Benchmarks against models for one score, the leaders of each benchmark marked."""
    names = list(dict.fromkeys(name for results in benchmarks.values() for name in results.models))
    rows = {}
    for benchmark, results in benchmarks.items():
        means = {name: model.mean for name, model in results.models.items() if key in model.mean}
        marks = ranks({name: value(mean, key) for name, mean in means.items()}, key)
        cells = {name: Cell(text(mean, key), mark=marks.get(name, "")) for name, mean in means.items()}
        rows[benchmark] = [cells.get(name, Cell(NOTHING)) for name in names]
    return Table(f"Mean {_COLUMNS[key][0]} over each test part", "Benchmark", [Column(name) for name in names], rows)


def ranks(values: Mapping[str, float | None], key: str) -> dict[str, str]:
    """Name -> BEST or SECOND among values of one score, by the rounded numbers that the reader sees: equal numbers
    share their rank, None has none. Of a single number nothing leads."""
    _, decimals, higher = _COLUMNS[key]
    rounded = {name: round(number, decimals) for name, number in values.items() if number is not None}
    order = sorted(set(rounded.values()), reverse=higher)
    if len(order) < 2:
        return {}
    return {name: (BEST, SECOND)[order.index(number)] for name, number in rounded.items() if number in order[:2]}


def text(scores: Scores, key: str) -> str:
    """A score as it is printed, NOTHING where a model has no such score."""
    return NOTHING if value(scores, key) is None else score_text(scores[key], _COLUMNS[key][1], key)


def duration(seconds: float) -> str:
    """Seconds in words: `0.35 s`, `12 s`, `4 min 10 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def markdown(title: str, benchmarks: Mapping[str, Results]) -> str:
    """The score tables of all benchmarks as Markdown: best in bold, second underlined."""
    parts = [f"# {title}"]
    for name, results in benchmarks.items():
        table = scores(results)
        head = [table.corner, *(column.heading for column in table.columns)]
        lines = [_markdown_row(head), _markdown_row(["---", *["---:"] * len(table.columns)])]
        lines += [_markdown_row([row, *map(_markdown_cell, cells)]) for row, cells in table.rows.items()]
        scored = f"convention {results.convention}" if results.convention else "no reference"
        about = f"Protocol {results.protocol}, {scored}; made by `{results.command}`."
        parts += [f"## {name}", about, "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def scores_csv(benchmarks: Mapping[str, Results]) -> str:
    """Every score of every scene as CSV, a row a benchmark, model and scene; full precision."""
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


def _spread(model: ModelResult, key: str) -> str:
    if len(model.seeds) < 2 or model.seed_std.get(key) is None:
        return ""
    return f"\u00b1 {model.seed_std[key]:.{_COLUMNS[key][1]}f}"


def _costs(model: ModelResult) -> list[str]:
    """Parameters, training steps, time of training, time of super-resolving the test part."""
    training = model.timing.get("training_seconds")
    return [
        f"{model.parameters:,}" if model.parameters else NOTHING,
        f"{model.training_steps:,}" if model.training_steps else NOTHING,
        NOTHING if training is None else duration(training),
        duration(model.timing["seconds"]),
    ]


def _markdown_cell(cell: Cell) -> str:
    marked = {BEST: f"**{cell.text}**", SECOND: f"<u>{cell.text}</u>"}.get(cell.mark, cell.text)
    return f"{marked} {cell.addition}".strip()


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
