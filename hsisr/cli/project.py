"""Commands for a project of one's own: `init` writes it, `run` runs its workflow."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from hsisr.cli import complete
from hsisr.cli.app import PROJECT, app, command, in_lines
from hsisr.errors import HsisrError


@command(PROJECT, "hsisr init my-study --dataset cave --source /data/CAVE")
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Data set, such as cave; if left out, Indian Pines, which comes with hsisr.",
            autocompletion=complete.datasets,
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Folder, archive or URL that holds it; if left out, the publisher's.")
    ] = None,
    scale: Annotated[int, typer.Option(help="HR pixels per LR pixel, along a side.")] = 4,
) -> None:
    """Write a project: Snakefile, config.yaml, profiles, README.md. The command overwrites nothing."""
    from hsisr.pipeline import project

    for path in project.create(folder, dataset, source, scale):
        print(path)
    print(f"next: cd {shlex.quote(str(folder))} && hsisr run")


@app.command(
    rich_help_panel=PROJECT,
    epilog=in_lines(["hsisr run", "hsisr run -n results/cave_x8.json"]),
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
def run(context: typer.Context) -> None:
    """Run the workflow of this folder: targets and options go to snakemake, such as -n, --cores 4, results/x.json."""
    if not any(Path(name).is_file() for name in ("Snakefile", "workflow/Snakefile")):
        raise HsisrError(f"{Path.cwd()}: holds no Snakefile; `hsisr init FOLDER` writes a project, then cd FOLDER")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for place, advice in (
        (cache / "snakemake", "choose another place (export XDG_CACHE_HOME=FOLDER)"),
        (Path.cwd() / ".snakemake", "copy the project to a folder that you may write to"),
    ):
        existing = next(folder for folder in (place, *place.parents) if folder.exists())
        if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
            raise HsisrError(f"{place}: Snakemake cannot write its files there; {advice}")
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *context.args])
