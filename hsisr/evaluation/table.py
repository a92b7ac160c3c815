"""Score tables for the terminal."""

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
                text = f"{result.mean[key]:.{decimals}f}"
                cells.append(f"[bold]{text}[/bold]" if best[key] == model else text)
            table.add_row(model, *cells)
        console.print(table)


def best_models(results: Results) -> dict[str, str]:
    """Score -> model that leads in it."""
    return {
        key: (max if higher else min)(results.models, key=lambda model: results.models[model].mean[key])
        for key, (_, _, higher) in COLUMNS.items()
    }
