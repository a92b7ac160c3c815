"""Score tables for the terminal."""

import math

from rich.console import Console
from rich.table import Table

from hsisr.evaluation.results import Results

#: Score -> (heading, decimals, True if higher is better).
COLUMNS = {
    "psnr": ("PSNR dB", 2, True),
    "ssim": ("SSIM", 4, True),
    "sam": ("SAM deg", 2, False),
    "ergas": ("ERGAS", 2, False),
    "rmse": ("RMSE", 4, False),
    "cc": ("CC", 4, True),
}


def print_table(benchmarks: dict[str, Results]) -> None:
    """Print one table a benchmark, the best value of each column in bold."""
    console = Console()
    for name, results in benchmarks.items():
        title = f"{name}   protocol {results.protocol}, convention {results.convention}"
        table = Table(title=title, title_justify="left")
        table.add_column("model")
        for heading, _, _ in COLUMNS.values():
            table.add_column(heading, justify="right")
        best = best_models(results)
        for model, result in results.models.items():
            cells = []
            for key, (_, decimals, _) in COLUMNS.items():
                text = score_text(result.mean[key], decimals)
                cells.append(f"[bold]{text}[/bold]" if best[key] == model else text)
            table.add_row(model, *cells)
        console.print(table)


def score_text(value: float | None, decimals: int) -> str:
    """A score with so many decimals; infinity, which results files hold as none, as a sign."""
    return "\u221e" if value is None else f"{value:.{decimals}f}"


def best_models(results: Results) -> dict[str, str]:
    """Score -> model that leads in it."""
    return {
        key: (max if higher else min)(results.models, key=lambda model: _finite(results.models[model].mean[key]))
        for key, (_, _, higher) in COLUMNS.items()
    }


def _finite(value: float | None) -> float:
    return math.inf if value is None else value
