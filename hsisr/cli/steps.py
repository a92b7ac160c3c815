"""The steps of the pipeline, in the order in which data moves."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from hsisr.cli import complete
from hsisr.cli.app import DEFAULT_CONFIG, STEPS, BenchmarkName, ConfigFiles, DatasetName, Overwrite, command
from hsisr.errors import HsisrError, notice

#: What the rules pass on, so that a results file can say which command makes it again.
Given = Annotated[str | None, typer.Option("--given", hidden=True)]


@command(STEPS, "hsisr fetch cave", "HSISR_SOURCE_CAVE=/data/CAVE hsisr fetch cave")
def fetch(dataset: DatasetName, config: ConfigFiles = DEFAULT_CONFIG) -> None:
    """Get a data set from its publisher, into data/raw/<dataset>.

    HSISR_SOURCE_<DATASET> and `sources:` in the configuration, in this order, replace the place it comes from.
    """
    from hsisr import datasets
    from hsisr.pipeline import paths, steps

    settings = _load(config)
    folder = Path(paths.RAW.format(dataset=dataset)).parent
    datasets.fetch(dataset, folder, source=steps.source_of(settings, dataset), extra=settings.datasets)


@command(STEPS, "hsisr convert cave balloons")
def convert(
    dataset: DatasetName,
    scene: Annotated[
        str | None, typer.Argument(help="One scene; if left out, all of the data set.", autocompletion=complete.scenes)
    ] = None,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Convert scenes of a fetched data set to data/scenes/<dataset>/<scene>.h5."""
    from hsisr import datasets
    from hsisr.datasets import manifest
    from hsisr.pipeline import paths, steps

    settings = _load(config)
    raw = Path(paths.RAW.format(dataset=dataset)).parent
    entry = datasets.entry(dataset, settings.datasets)
    source, fetched = steps.source_of(settings, dataset) or entry.path, manifest.read(raw, dataset).manifest["source"]
    if source not in (None, fetched):  # without one now, a variable may have named it to `hsisr fetch` alone
        raise HsisrError(f"{dataset}: was fetched from {fetched}, not from {source}; run `hsisr fetch {dataset}` first")
    for name in [scene] if scene else settings.scenes.get(dataset, entry.scenes):
        out = paths.SCENE.format(dataset=dataset, scene=name)
        datasets.convert(dataset, name, raw, out, steps.conversion(settings, dataset).identity, settings.datasets)


@command(STEPS, "hsisr split cave")
def split(dataset: DatasetName, config: ConfigFiles = DEFAULT_CONFIG) -> None:
    """Write data/splits/<dataset>.json: which scenes or regions train, validate and test."""
    from hsisr import datasets
    from hsisr.pipeline import paths, steps

    settings = _load(config)
    datasets.split(
        dataset,
        paths.SPLIT.format(dataset=dataset),
        settings=steps.splitting(settings, dataset).identity,
        scenes=settings.scenes.get(dataset),
        split=settings.splits.get(dataset),
        extra=settings.datasets,
    )


@command(STEPS, "hsisr pairs cave_x8 balloons", name="pairs")
def make_pairs(
    benchmark: BenchmarkName,
    item: Annotated[
        str | None, typer.Argument(help="One scene or region; if left out, all.", autocompletion=complete.items)
    ] = None,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Degrade scenes to pairs of LR image, guide and HR reference."""
    from hsisr.pipeline import pair_files, paths

    chosen = _resolve(config, benchmark)
    names = [item] if item else [entry.name for part in chosen.parts.values() for entry in part]
    for name in names:
        pair_files.make(chosen, name, chosen.path(paths.PAIR, item=name))


@command(STEPS, "hsisr patches cave_x8", name="patches")
def make_patches(
    benchmark: BenchmarkName,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Cut the LR-only scenes instead.")] = False,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Cut the training part of a benchmark into its patch file."""
    from hsisr.pipeline import patch_files

    for chosen in _resolve(config, benchmark).scored:
        out = chosen.patch_path("unlabelled" if unlabelled else "train")
        count = patch_files.make(chosen, out, "unlabelled" if unlabelled else "train")
        print(f"{out}: {count} patches in an epoch")


@command(STEPS, "hsisr train indian_pines_x4 mulsr-demo --seed 0")
def train(
    benchmark: BenchmarkName,
    model: Annotated[
        str | None,
        typer.Argument(help="One model; if left out, every network.", autocompletion=complete.benchmark_models),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="One seed; if left out, all seeds of the model.")] = None,
    gpus: Annotated[int | None, typer.Option(help="Most GPUs of training.devices to use; 0: no limit.")] = None,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Train networks. If the command stops for any reason, run it again: it goes on where it was."""
    from hsisr.training import train

    for folder in train(_load(config), benchmark, model, seed, gpus):
        print(folder)


@command(STEPS, "hsisr evaluate indian_pines_x4", "hsisr evaluate indian_pines_x4 prior")
def evaluate(
    benchmark: BenchmarkName,
    model: Annotated[
        str | None,
        typer.Argument(help="One model; if left out, all, and their table.", autocompletion=complete.benchmark_models),
    ] = None,
    given: Given = None,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Score models on the test part of a benchmark."""
    from hsisr import evaluation
    from hsisr.evaluation.table import print_table
    from hsisr.pipeline import paths

    chosen = _resolve(config, benchmark)
    if model is None:
        print_table({benchmark: evaluation.evaluate_benchmark(chosen, _command(given, paths.RESULTS, benchmark))})
    else:
        for fold in chosen.scored:
            evaluation.evaluate_model(fold, model, _command(given, paths.SCORES, fold.name, model))


@command(STEPS, "hsisr runtime indian_pines_x4")
def runtime(
    benchmark: BenchmarkName,
    given: Given = None,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Measure time, memory and operations of all models of a benchmark, in turns. Run nothing else meanwhile."""
    from hsisr import evaluation
    from hsisr.pipeline import paths

    chosen = _resolve(config, benchmark).scored[0]
    command = _command(given, paths.RUNTIME, chosen.name)
    for name, costs in evaluation.measure_runtime(chosen, command).timing.items():
        print(name, *(f"{key} {value:.3g}" for key, value in costs.items()))


@command(STEPS, "hsisr classify indian_pines_x4")
def classify(
    benchmark: BenchmarkName,
    given: Given = None,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Classify land cover in the reference and in every model's result. Needs labels, and the scores of all models."""
    from hsisr import evaluation
    from hsisr.pipeline import paths

    command = _command(given, paths.CLASSIFICATION, benchmark)
    for name, found in evaluation.classify(_resolve(config, benchmark), command).models.items():
        print(name, *(f"{classifier} OA {scores['blocks']['oa']:.4f}" for classifier, scores in found.items()))


@command(STEPS, "hsisr merge indian_pines_x4")
def merge(
    benchmark: BenchmarkName,
    given: Given = None,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Gather the scores of a benchmark's models into results/<benchmark>.json."""
    from hsisr import evaluation
    from hsisr.evaluation.table import print_table
    from hsisr.pipeline import paths

    merged = evaluation.merge(_resolve(config, benchmark), _command(given, paths.RESULTS, benchmark))
    print_table({benchmark: merged})


@command(STEPS, "hsisr sweep mine.tif -m bicubic -m prior --scale 4 --out sweep.json")
def sweep(
    what: Annotated[
        str,
        typer.Argument(
            help="Name below `sweeps:` of the configuration, or a scene's file.", autocompletion=complete.sweeps
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="For a file: untrained method, run folder or model file.",
            autocompletion=complete.usable_models,
        ),
    ] = None,
    scale: Annotated[int | None, typer.Option(help="For a file: HR pixels per LR pixel; 4 if left out.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="For a file: JSON to write, with a PNG beside it.")
    ] = None,
    overwrite: Overwrite = False,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Run models over a grid of PSFs, responses and noise on one scene. If it stops, run it again: it goes on."""
    from hsisr.cli.predict import trust_named_in
    from hsisr.config import Sweep, check_section
    from hsisr.evaluation import sweep as sweeps
    from hsisr.evaluation.table import print_sweep
    from hsisr.inference.scenes import model_file
    from hsisr.outputs import check_outputs, check_places
    from hsisr.pipeline import paths

    settings = _load(config).sweeps if all(file.exists() for file in config) else {}
    given = {"models": model, "scale": scale}
    if what in settings:
        if model or scale or out:
            raise HsisrError(f"sweeps.{what} says models, scale and place itself; leave --model, --scale and --out out")
        chosen, path = settings[what], Path(paths.SWEEP.format(sweep=what))
    else:
        content = {"scene": what, **{key: value for key, value in given.items() if value is not None}}
        chosen, path = check_section(Sweep, content, "sweep"), out or Path(paths.SWEEP.format(sweep=Path(what).stem))
    picture = path.with_suffix(".png")
    check_places(out)
    own = what in settings or sweeps.is_unfinished(path)  # a step of the pipeline, or what an earlier call began
    check_outputs([path, picture], [chosen.scene, *map(model_file, chosen.models)], overwrite or own)
    trust_named_in(config, chosen.models)
    print_sweep(sweeps.run(chosen, path, picture))
    print(f"{path}, {picture}")


@command(STEPS, "hsisr table")
def table(config: ConfigFiles = DEFAULT_CONFIG) -> None:
    """Print the scores of every benchmark of the configuration, and where the report is."""
    from hsisr.evaluation import results
    from hsisr.evaluation.table import print_table
    from hsisr.pipeline import paths, steps
    from hsisr.pipeline.benchmark import resolve

    settings = _load(config)
    if not settings.benchmarks:
        raise HsisrError("no scores to print: the configuration names no benchmarks; add one under benchmarks:")
    files = {name: paths.RESULTS.format(benchmark=name) for name in settings.benchmarks}
    for file in files.values():
        if not Path(file).is_file():
            raise HsisrError(f"{file}: is not made yet; `snakemake {file} --cores all` makes it")
    found = {name: results.read(file, results.Results) for name, file in files.items()}
    for name, file in files.items():
        try:
            results.check_current(file, found[name], steps.merging(resolve(settings, name)))
        except HsisrError as error:  # the scores of before are still worth a look, also where the data is not
            notice(f"{name}: these may not be the scores of the present configuration: {error}")
    print_table(found)
    if Path(paths.REPORT).is_file():
        print(f"report: {Path(paths.REPORT).resolve()}")


@command(STEPS, "hsisr report")
def report(config: ConfigFiles = DEFAULT_CONFIG) -> None:
    """Write the report of the configuration's benchmarks as one HTML page, and its figures as files."""
    from hsisr.pipeline import paths
    from hsisr.pipeline.benchmark import resolve
    from hsisr.report import build

    settings = _load(config)
    benchmarks = [resolve(settings, name) for name in settings.benchmarks]
    build(benchmarks, paths.REPORT, settings.report, paths.FIGURES, settings.sweeps)
    print(f"report: {Path(paths.REPORT).resolve()}")


def _command(given: str | None, target: str, benchmark: str, model: str | None = None) -> str:
    """What makes a file again. given: of a rule, what its Snakemake was told of the configuration."""
    if given is None:
        return shlex.join(["hsisr", *sys.argv[1:]])
    return f"snakemake {target.format(benchmark=benchmark, model=model)} --cores all {given}".rstrip()


def _load(files: list[Path]):
    from hsisr.config import load

    return load(files)


def _resolve(files: list[Path], name: str):
    from hsisr.pipeline.benchmark import resolve

    return resolve(_load(files), name)
