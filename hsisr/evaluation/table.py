"""Score tables for the terminal."""

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from hsisr.errors import HsisrError, notice
from hsisr.evaluation.results import ModelResult, Results

#: The baseline that results are compared with.
FLOOR = "bicubic"

#: Score -> (heading, decimals, True if higher is better).
COLUMNS = {
    "psnr": ("PSNR dB", 2, True),
    "ssim": ("SSIM", 4, True),
    "sam": ("SAM deg", 2, False),
    "ergas": ("ERGAS", 2, False),
    "rmse": ("RMSE", 4, False),
    "cc": ("CC", 4, True),
}
#: The same columns for full resolution, without a reference.
FULL_COLUMNS = {
    "consistency_lr": ("LR RMSE", 4, False),
    "consistency_guide": ("guide RMSE", 4, False),
    "d_lambda": ("D_lambda", 4, False),
    "d_s": ("D_s", 4, False),
    "qnr": ("QNR", 4, True),
}

#: The same columns for the summary of a sweep.
SWEEP_COLUMNS = {
    "psnr_mean": ("PSNR dB", 2, True),
    "psnr_worst": ("worst over the grid", 2, True),
    "psnr_best": ("best", 2, True),
    "sam_mean": ("SAM deg", 2, False),
    "sam_worst": ("worst SAM", 2, False),
}


def columns_of(results: Results) -> dict[str, tuple[str, int, bool]]:
    """The columns of a benchmark's table: those of its convention, or of the scores without a reference."""
    columns = FULL_COLUMNS if results.convention is None else COLUMNS
    for name, model in results.models.items():
        lacking = [key for key in columns if key not in model.mean]
        if lacking:
            raise HsisrError(f"results of {name}: without {', '.join(lacking)}; evaluate it again")
    return columns


def print_table(benchmarks: dict[str, Results]) -> None:
    """Print one table for each benchmark: the best model first, the best values in bold, and a line on the meaning."""
    for name, results in benchmarks.items():
        scored = scoring_words(results)
        title = f"{name}   protocol {results.protocol}, {scored}"
        if results.folds:
            title += f", {len(results.folds)} folds"
        table = Table(title=title, title_justify="left", box=None)
        table.add_column("model")
        columns = columns_of(results)
        for heading, _, _ in columns.values():
            table.add_column(heading, justify="right")
        best = best_models(results)
        for model in ranking(results):
            cells = []
            for key, (_, decimals, _) in columns.items():
                text = score_text(results.models[model].mean[key], decimals, key)
                cells.append(f"[bold]{text}[/bold]" if best[key] == model else text)
            table.add_row(model, *cells)
            if results.folds:  # on its own line: beside the scores it is too wide
                spread = results.models[model].fold_std
                table.add_row("", *(f"\u00b1 {score_text(spread[key], columns[key][1])}" for key in columns))
        console = console_for(table)
        console.print(table)
        console.print(meaning(results), highlight=False, soft_wrap=True)
        if results.folds:
            console.print("Scores are means over the folds, \u00b1 their standard deviation.", highlight=False)


def print_sweep(result: Mapping[str, Any]) -> None:
    """Print, for each model, mean, worst and best score over the grid of a sweep, and the worst place."""
    title = f"{result['scene']}   x{result['scale']}, {len(result['grid'])} degradations"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("model")
    for heading, _, _ in SWEEP_COLUMNS.values():
        table.add_column(heading, justify="right")
    table.add_column("worst at")
    for model, found in result["models"].items():
        cells = [score_text(found.get(key), decimals) for key, (_, decimals, _) in SWEEP_COLUMNS.items()]
        table.add_row(model, *cells, worst_words(found))
    console_for(table).print(table)
    for line in refusals(result):
        notice(f"refused by {line}")


def refusals(result: Mapping[str, Any]) -> list[str]:
    """The reasons why models refused places of the grid, one line for each reason."""
    found: dict[str, int] = {}
    for entry in result["grid"]:
        for model, reason in entry["refused"].items():
            found[f"{model}: {reason}"] = found.get(f"{model}: {reason}", 0) + 1
    return [f"{reason} ({count} of {len(result['grid'])})" for reason, count in found.items()]


def console_for(table: Table) -> Console:
    """A console as wide as the table, at least: in a narrow one, rich would cut numbers and names."""
    console = Console()
    unbounded = console.options.update(max_width=10_000)
    console.width = max(console.width, Measurement.get(console, unbounded, table).maximum)
    return console


def worst_words(found: Mapping[str, Any]) -> str:
    """Where a model is worst over the grid of a sweep, and how many places it refused. found: its summary."""
    refused = [f"refused {found['refused']} of {found['places'] + found['refused']}"] if found["refused"] else []
    return "; ".join(([found["worst_at"]] if found["places"] else []) + refused)


def leading_key(results: Results) -> str:
    """The score that ranks the models: PSNR, or QNR without a reference."""
    return "qnr" if results.convention is None else "psnr"


def scoring_words(results: Results) -> str:
    """How results were scored, in two words."""
    return f"convention {results.convention}" if results.convention else "no reference"


def ranking(results: Results) -> list[str]:
    """The models, best first. Models without the score come last."""
    values = _known_scores(results, leading_key(results))
    return sorted(results.models, key=lambda name: values.get(name, -math.inf), reverse=True)


def spread_of(model: ModelResult) -> Mapping[str, float | None]:
    """Standard deviations of a model's scores over folds, else over seeds; empty if there is only one."""
    if model.folds:
        return model.fold_std
    return model.seed_std if len(model.seeds) > 1 else {}


def leading_models(results: Results) -> list[str]:
    """The best model, and those whose printed score is the same, or differs by no more than the spread of the two."""
    key, order = leading_key(results), ranking(results)
    values = _known_scores(results, key)
    printed = {name: score_text(results.models[name].mean[key], 2, key) for name in order}
    spread = {name: spread_of(results.models[name]).get(key) or 0.0 for name in order}
    best = order[0]
    return [
        name
        for name in order
        if printed[name] == printed[best]
        or (name in values and values[best] - values[name] <= math.hypot(spread[best], spread[name]))
    ]


def meaning(results: Results) -> str:
    """One sentence for the reader of the table: which model leads, by how much, and on what."""
    key, leaders = leading_key(results), leading_models(results)
    score, floor = results.models[leaders[0]].mean[key], results.models.get(FLOOR)
    tested = results.parts["test"]
    where = tested[0] if len(tested) == 1 else f"{len(tested)} scenes"
    if results.folds:
        where += f", each in the one of {len(results.folds)} folds that tests it"
    imported = [name for name, model in results.models.items() if model.weights]
    ground = f"on ground that no model has seen in training: {where}."
    if imported:  # nobody here knows their training scenes
        ground = f"on {where}. No model that trained here has seen this ground; {', '.join(imported)} may have."
    if key == "qnr" and score is None:  # a guide of several channels has no QNR
        return f"Scored without a reference, {ground}"
    *others, last = leaders
    who = f"{', '.join(others)} and {last} lead" if others else f"{last} leads"
    first, lowest = (score_text(results.models[name].mean[key], 2, key) for name in (leaders[0], leaders[-1]))
    unit = " dB PSNR" if key == "psnr" else " QNR"
    said = f"{who} with {first}{unit}"
    if lowest != first:
        said = f"{who} with {first} to {lowest}{unit}, no further apart than they spread"
    base = None if floor is None else floor.mean[key]
    if FLOOR not in leaders and key == "psnr" and score is not None and base is not None:
        said += f", {score - base:.2f} dB above {FLOOR} interpolation"
    return f"{said}, {ground}"


def score_text(value: float | None, decimals: int, key: str = "") -> str:
    """A score with `decimals` decimals. If it is None: infinity for the `key` PSNR, a dash for other scores."""
    if value is None:
        return "\u221e" if key == "psnr" else "-"
    return f"{value:.{decimals}f}"


def best_models(results: Results) -> dict[str, str | None]:
    """Score -> the leading model; None if no model has the score."""
    best: dict[str, str | None] = {}
    for key, (_, _, higher) in columns_of(results).items():
        known = _known_scores(results, key)
        best[key] = (max if higher else min)(known, key=known.__getitem__) if known else None
    return best


def _known_scores(results: Results, key: str) -> dict[str, float]:
    """Model -> its score, for models that have one. A PSNR of None is infinite: the images are identical."""
    scores = {name: model.mean[key] for name, model in results.models.items()}
    if key == "psnr":
        scores = {name: math.inf if score is None else score for name, score in scores.items()}
    return {name: score for name, score in scores.items() if score is not None}
