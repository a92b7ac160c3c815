"""Tools for files: what is in them, what they look like, how they compare; and what this machine can do."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsisr.cli import complete
from hsisr.cli.app import (
    DEFAULT_CONFIG,
    FILES,
    KNOWN,
    MACHINE,
    ConfigFiles,
    Overwrite,
    Reading,
    command,
    reader_options,
)
from hsisr.errors import HsisrError, did_you_mean, notice, printable

if TYPE_CHECKING:
    import numpy as np

    from hsisr.scene import Scene

AnyFile = Annotated[Path, typer.Argument(help="Any file, or folder of band images, that hsisr reads.")]
Bands = Annotated[
    list[str] | None,
    typer.Option("--bands", "-b", help="Bands shown as red, green and blue, from 0, such as 29,19,9; or one for grey."),
]


@command(MACHINE, "hsisr doctor")
def doctor() -> None:
    """Print what this machine offers and what it lacks. The exit status is 0 if the demo can run."""
    from hsisr.doctor import report

    raise typer.Exit(0 if report() else 1)


@command(MACHINE, "hsisr clean-up", name="clean-up")
def clean_up(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders to clean; if left out, those of this project.")
    ] = None,
) -> None:
    """Remove temporary files of killed steps; files that a process uses, or can resume from, stay."""
    from hsisr import temporary
    from hsisr.files import size
    from hsisr.outputs import OWN_FOLDERS, cache_folder

    for folder in folders or []:
        if not folder.is_dir():
            raise HsisrError(f"{folder}: no such folder")
    chosen = folders or [*map(Path, OWN_FOLDERS), cache_folder()]
    removed = 0
    for path in [path for folder in chosen for path in temporary.left_in(folder)]:
        removed += temporary.disk_bytes(path)
        temporary.remove(path)
        print(printable(str(path)))
    print(f"{size(removed)} freed")


@command(MACHINE, "hsisr ops --build", name="ops")
def check_ops(
    build: Annotated[
        bool, typer.Option("--build", help="Compile the native backends that this machine can use.")
    ] = False,
) -> None:
    """Print which backend of MulSR's directional aggregation runs here and why, and check it."""
    from hsisr import ops

    print(ops.describe_backend())
    ops.check(build_missing=build)


@command(KNOWN, "hsisr import-weights MulSR_x8.pth --model mulsr --scale 8 -o mulsr-x8.safetensors")
def import_weights(
    checkpoint: Annotated[Path, typer.Argument(help="A paper's own checkpoint (.pth).")],
    model: Annotated[str, typer.Option(help="Registered network, such as mulsr.", autocompletion=complete.networks)],
    scale: Annotated[int, typer.Option(help="Scale of its training.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model file (.safetensors) to write.")],
    bands: Annotated[int, typer.Option(help="Number of bands of its training images.")] = 31,
    overwrite: Overwrite = False,
) -> None:
    """Turn a paper's own checkpoint into a model file; it reads tensors only and never runs code."""
    from hsisr.inference import import_checkpoint
    from hsisr.outputs import check_outputs, check_places

    check_places(out)
    check_outputs([out], [checkpoint], overwrite)
    import_checkpoint(checkpoint, model, scale, bands, out)
    print(out)


@command(KNOWN, "hsisr weights", "hsisr weights deepshare-cave-x4", "hsisr weights hybrid-cave-x8")
def weights(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Weights to fetch, or to make; if left out, print a table.", autocompletion=complete.weights
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Model file to write; <name>.safetensors if left out, those of hybrid where --model hybrid finds it.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """List weights, or fetch or make some: those of the papers' authors, of solo (with hsisr), and of hybrid.

    hsisr fetches the authors' weights and makes a model file; it makes those of hybrid here, from CAVE, in minutes. The
    published files stay in the folder `published` beside the model file. If the model file comes from the same
    published file already, it stays as it is.
    """
    from hsisr.files import file_hash
    from hsisr.inference import import_checkpoint
    from hsisr.models import model_files
    from hsisr.models.checkpoints import published
    from hsisr.models.shipped import made_model, made_names, shipped_models
    from hsisr.outputs import check_outputs, check_places

    made = made_names()
    if name is None:
        print(published.table())
        for scale, path in shipped_models().items():
            print(f"\nsolo, scale {scale}, any bands, no guide: comes with hsisr: {path}")
        for known, scale in made.items():
            path = made_model(scale)
            state = f"made here: {path}, SHA-256 {file_hash(path)}" if path.is_file() else "not made here yet"
            print(f"\n{known}: hybrid, scale {scale}, 31 bands of 400-700 nm, guide of red, green, blue: {state}")
        return
    if name in made:
        from hsisr.training.making import make_weights

        check_places(out)
        out = out or made_model(made[name])
        check_outputs([out], [], overwrite)
        print(make_weights(made[name], out))
        return
    entry = published.checkpoint(name, made)
    out = out or Path(f"{name}.safetensors")
    check_places(out)
    source = model_files.checkpoint_hash(out)
    check_outputs([out], [], overwrite or source is not None)
    checkpoint = published.fetch(entry, out.parent / "published")
    if overwrite or source != file_hash(checkpoint):
        check_outputs([out], [checkpoint], overwrite)
        assert entry.scale is not None  # a file that can be fetched is for one scale
        import_checkpoint(checkpoint, entry.base, entry.scale, entry.bands, out)
    print(out)


@command(KNOWN, "hsisr datasets", "hsisr datasets cave", name="datasets")
def list_datasets(
    dataset: Annotated[
        str | None,
        typer.Argument(help="One data set, in full; if left out, a table of all.", autocompletion=complete.datasets),
    ] = None,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """List the data sets and what of them is here, or print one with its licence and splits."""
    from hsisr.config import load
    from hsisr.datasets import overview

    in_project = config != DEFAULT_CONFIG or config[0].exists()
    own = load(config).datasets if in_project else {}
    print(overview.page(dataset, own) if dataset else overview.table(own))


@command(FILES, "hsisr info LR.tif", "hsisr info scene.mat --read variable=I_MS --read axes=HWB")
def info(file: AnyFile, read: Reading = None) -> None:
    """Print what is in a file: size, type, wavelengths, georeference, provenance."""
    from hsisr.datasets import overview

    print(overview.info(file, **reader_options(read)))


@command(FILES, "hsisr show LR.tif -o LR.png", "hsisr show LR.tif -b 29,19,9 -o LR.jpg")
def show(
    file: AnyFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write: .png or .jpg.")],
    bands: Bands = None,
    read: Reading = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a picture of a scene, or of a pair's LR image, guide and HR reference side by side."""
    from hsisr import datasets
    from hsisr.datasets import picture, quicklook
    from hsisr.outputs import check_outputs, check_places
    from hsisr.pipeline import pair_files

    check_places(out)
    check_outputs([out], [file], overwrite)
    picture.check_ending(out)
    chosen = _numbers(bands) if bands else None
    if pair_files.is_pair(file):
        if read:
            raise HsisrError(f"{file}: --read {' '.join(read)} says nothing about a pair file; leave it out")
        pair_files.show(pair_files.read(file), out, chosen)
    else:
        quicklook.show(datasets.read_scene(file, **reader_options(read)), out, chosen)


def _numbers(words: list[str]) -> list[int]:
    """The bands that the words name, each one or several with commas. Raises HsisrError for other words."""
    try:
        return [int(number) for word in words for number in word.split(",")]
    except ValueError:
        raise HsisrError(f"--bands {' '.join(words)}: expected band numbers from 0, such as 29,19,9, or one") from None


@command(FILES, "hsisr export scene.h5 scene.tif", "hsisr export scene.mat scene.tif --format cog")
def export(
    file: AnyFile,
    out: Annotated[Path, typer.Argument(help="Target; its ending chooses the format.")],
    format: Annotated[str | None, typer.Option(help="Format, if the ending does not say it, such as cog.")] = None,
    read: Reading = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a scene in another format: GeoTIFF, COG, ENVI, netCDF, MATLAB v5 or v7.3, .npy, scene file."""
    from hsisr import datasets
    from hsisr.datasets import writers
    from hsisr.outputs import check_outputs, check_places

    check_places(out)
    check_outputs(writers.written_files(out, format), [file], overwrite)
    print(writers.export(datasets.read_scene(file, **reader_options(read)), out, format))


@command(FILES, "hsisr degrade scene.tif --protocol wald --scale 4 -o pair.h5", name="degrade")
def degrade_scene(
    file: AnyFile,
    protocol: Annotated[
        str, typer.Option(help="Protocol of the LR image, such as wald.", autocompletion=complete.protocols)
    ],
    scale: Annotated[int, typer.Option(help="HR pixels per LR pixel, along a side.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Pair file (.h5) to write.")],
    response: Annotated[
        str | None,
        typer.Option(
            help="Spectral response of the guide: a name, or a file (.csv, .mat, .npy) with a row a wavelength and a "
            "column a channel; `none` for no guide; else the protocol's.",
            autocompletion=complete.responses,
        ),
    ] = None,
    psf: Annotated[
        Path | None,
        typer.Option(help="File of the PSF (.npy, .csv, .mat, .tif, .png), in HR pixels; if left out, the protocol's."),
    ] = None,
    noise: Annotated[float | None, typer.Option(help="Noise sigma, range [0, 1]; if left out, the protocol's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    read: Reading = None,
    overwrite: Overwrite = False,
) -> None:
    """Degrade any scene to a pair of LR image, guide and HR reference."""
    from hsisr import datasets, degrade
    from hsisr.outputs import check_outputs, check_places
    from hsisr.pipeline import pair_files

    check_places(out)
    check_outputs([out], [file], overwrite)
    scene = datasets.read_scene(file, **reader_options(read))
    rule = degrade.find_protocol(protocol)
    if psf is not None:
        rule = rule.with_psf(degrade.read_psf(psf))
    pair = degrade.pair(scene, rule, scale, seed=seed, response=response, noise=noise)
    settings = {"protocol": rule.name, "scale": scale, "response": response, "noise": noise, "seed": seed}
    pair_files.write(out, scene.name, pair, scene, settings)
    print(out)


@command(FILES, "hsisr registration pair.h5")
def registration(pair: Annotated[Path, typer.Argument(help="Pair file.")]) -> None:
    """Measure how far the LR image of a pair lies beside its guide."""
    from hsisr import degrade
    from hsisr.pipeline import pair_files

    held = pair_files.read(pair)
    found = degrade.registration(degrade.Pair(held.lr, held.guide, held.hr, held.mask, held.metadata))
    rows, columns = found.shift_px
    print(f"shift: {rows:+.2f} rows, {columns:+.2f} columns, in HR pixels; positive is down and right")
    print(f"PSF: sigma {found.sigma_px[0]:.2f} rows, {found.sigma_px[1]:.2f} columns, in HR pixels")
    print(f"unexplained: {found.unexplained:.1%} of the guide's variance; near 100 % the shift means nothing")


@command(FILES, "hsisr score HR.tif SR.tif --scale 4")
def score(
    reference: AnyFile,
    estimate: AnyFile,
    scale: Annotated[float, typer.Option(help="HR pixels per LR pixel, for ERGAS.")],
    convention: Annotated[
        str,
        typer.Option(
            help="plain, or one of published tables: mulsr, mixup, uestc, dhif, mogdcn, dian, ual.",
            autocompletion=complete.conventions,
        ),
    ] = "plain",
    peak: Annotated[float | None, typer.Option(help="Value that counts as 1; 1 if left out.")] = None,
    border: Annotated[int, typer.Option(help="Pixels cut off on every side.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    read: Reading = None,
    read_estimate: Annotated[
        list[str] | None, typer.Option("--read-estimate", help="The same for the estimate; --read is the reference's.")
    ] = None,
) -> None:
    """Score an image against its reference, under a named convention; both in one unit, in [0, 1] or with --peak."""
    from hsisr import datasets, metrics

    truth = datasets.read_scene(reference, **reader_options(read))
    other = datasets.read_scene(estimate, **reader_options(read_estimate))
    _check_comparable(reference, truth, estimate, other)
    mask = _common_ground(truth, other)
    truth, other = _common_bands(truth, other)
    scores = metrics.score(truth.filled_cube, other.filled_cube, scale, convention, mask=mask, border=border, peak=peak)
    if as_json:
        print(json.dumps({"convention": convention, "scale": scale, **metrics.json_ready(scores)}, indent=2))
        return
    print(f"convention {convention}, scale {scale:g}")
    for name, value in scores.items():
        print(f"{name:<6} {value:.6f}")


def _check_comparable(reference: Path, truth: "Scene", estimate: Path, other: "Scene") -> None:
    """Raise HsisrError if two images state that they show other ground, or other bands."""
    import numpy as np

    from hsisr.datasets.stacking import contradiction
    from hsisr.pipeline.known_bands import TOLERANCE_NM

    if truth.shape != other.shape:
        return  # the score says so
    apart = contradiction(other, truth)
    if apart is not None:
        raise HsisrError(
            f"{estimate}: {apart[0]}, but {reference} {apart[1]}; pixels are compared one by one: bring both to one "
            "grid (gdalwarp), or, if the coordinates are wrong, leave them out (--read-estimate georeference=none)"
        )
    if truth.wavelengths_nm is not None and other.wavelengths_nm is not None:
        nm = float(np.abs(np.asarray(other.wavelengths_nm) - np.asarray(truth.wavelengths_nm)).max())
        if nm > TOLERANCE_NM:
            raise HsisrError(
                f"{estimate}: its band centres lie up to {nm:.0f} nm from those of {reference}; bands are compared one "
                "by one: bring them into one order, or, if the centres are wrong, set them (--read-estimate "
                "wavelengths_nm=...)"
            )


def _common_bands(truth: "Scene", other: "Scene") -> "tuple[Scene, Scene]":
    """A reference and an estimate with the bands that hold data in both. A line says how many do not."""
    from hsisr.inference.images import Source

    if truth.shape != other.shape:
        return truth, other  # the score says so
    good = [Source(scene, scene.name).good.tolist() for scene in (truth, other)]
    both = sorted(set(good[0]) & set(good[1]))
    if not both:
        raise HsisrError(f"{other.name}: has no band with data in common with {truth.name}; nothing can be scored")
    if len(both) == truth.shape[0]:
        return truth, other
    lacking = f"{truth.shape[0] - len(both)} of {truth.shape[0]} bands"
    notice(f"{other.name}: {lacking} are bad or hold no data, in it or in the reference; they do not count")
    return truth.bands(both), other.bands(both)


def _common_ground(truth: "Scene", other: "Scene") -> "np.ndarray | None":
    """Where a reference and an estimate both hold data (H, W); None: everywhere. A line says what one lacks."""
    import numpy as np

    known, made = truth.valid_pixels(), other.valid_pixels()
    if made is None or made.shape != truth.shape[1:]:  # of other sizes, the score says so
        return known
    known = np.ones(made.shape, bool) if known is None else known
    lacking = int((known & ~made).sum()) / max(int(known.sum()), 1)
    if lacking:
        notice(f"{other.name}: has no data on {lacking:.1%} of the reference's valid pixels; they do not count")
    both: np.ndarray = known & made
    return both


@command(FILES, "hsisr compare before/cave_x8.json results/cave_x8.json")
def compare(
    first: Annotated[Path, typer.Argument(help="Results file, such as results/cave_x8.json.")],
    second: Annotated[Path, typer.Argument(help="Results file of the same benchmark.")],
) -> None:
    """Print two results files side by side; an error if protocol, convention or test scenes differ."""
    from hsisr.evaluation.compare import print_comparison

    print_comparison(first, second)


@command(MACHINE, "hsisr schema", "hsisr schema result")
def schema(
    kind: Annotated[str, typer.Argument(help="config or result.")] = "config",
) -> None:
    """Print the JSON schema of config.yaml or of a results file, as YAML."""
    import yaml

    from hsisr import config
    from hsisr.evaluation import results

    schemas = {"config": config.json_schema, "result": results.json_schema}
    if kind not in schemas:
        raise HsisrError(f"unknown schema {kind!r}; {did_you_mean(kind, schemas)}known: {', '.join(schemas)}")
    print(yaml.safe_dump(schemas[kind](), sort_keys=False, width=120), end="")
