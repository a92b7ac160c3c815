"""Commands for a user's own scenes: `predict` super-resolves them, `finetune` adapts a model, `validate` tests one."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from hsisr.cli import complete
from hsisr.cli.app import (
    DEFAULT_CONFIG,
    OWN_SCENES,
    ConfigFiles,
    Overwrite,
    Reading,
    command,
    reader_options,
)
from hsisr.errors import HsisrError

LrFiles = Annotated[Path, typer.Argument(help="The scene: any file that hsisr reads, or a folder of them.")]
LrFile = Annotated[Path, typer.Argument(help="The scene: any file that hsisr reads.")]
Scale = Annotated[int | None, typer.Option(help="HR pixels per LR pixel; if left out, as model or guide say.")]
ReadingGuide = Annotated[list[str] | None, typer.Option("--read-guide", help="The same for the guide.")]
Align = Annotated[bool, typer.Option("--align", help="Reproject or resample the guide onto the scene's grid.")]
CorrectShift = Annotated[
    str | None,
    typer.Option(
        "--correct-shift",
        metavar="[shift|affine|field]",
        help="Measure how the guide lies and move it: by a shift above 0.5 LR pixel (or without a word), an affine "
        "map, or a field, a smooth displacement.",
    ),
]
MaskChange = Annotated[
    bool,
    typer.Option(
        "--mask-change",
        help="Leave the guide's detail out where it shows other ground or lacks data; even out haze and shadow.",
    ),
]
KeepLight = Annotated[
    bool,
    typer.Option(
        "--keep-light",
        help="Leave smooth differences of light between guide and scene as they are; else even them out.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<index>; several with commas share the rows.")]
Peak = Annotated[float | None, typer.Option(help="Value of the scene that counts as 1 for the model.")]
GuidePeak = Annotated[float | None, typer.Option("--guide-peak", help="The same for the guide.")]
Bands = Annotated[str | None, typer.Option("--bands", help="Bands to use, from 0, such as 0-30,40.")]
GuideBands = Annotated[str | None, typer.Option("--guide-bands", help="Bands of the guide to use.")]


@command(
    OWN_SCENES,
    "hsisr predict LR.tif --guide GUIDE.tif",
    "hsisr predict LR.tif --guide GUIDE.tif --model runs/own-scene -o SR.tif --preview SR.png",
    "hsisr predict LR.tif --guide GUIDE.tif -o SR.tif --report quality.html",
    "hsisr predict LR.tif --guide GUIDE.tif -o SR.tif --uncertainty SIGMA.tif",
    "hsisr predict LR.tif --scale 4",
)
def predict(
    lr: LrFiles,
    model: Annotated[
        str | None,
        typer.Option(
            help="Run folder, model.safetensors, or bicubic, gsa, ...; if left out, prior with a guide, solo without.",
            autocompletion=complete.usable_models,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write (a folder for a folder of scenes); <LR>_sr.tif if left out."),
    ] = None,
    guide: Annotated[
        list[Path] | None,
        typer.Option(
            help="Sharp image of the same ground; repeat it for more bands; or a folder with the scenes' names."
        ),
    ] = None,
    scale: Scale = None,
    align: Align = False,
    correct_shift: CorrectShift = None,
    grid: Annotated[
        str,
        typer.Option(
            metavar="[lr|guide]",
            help="Where the result lies: as the scene, or as the guide that is off by the affine map or field that is "
            "measured; then the guide is not resampled, and the result is sharper; for prior and hybrid.",
        ),
    ] = "lr",
    mask_change: MaskChange = False,
    keep_light: KeepLight = False,
    preview: Annotated[
        Path | None, typer.Option(help="Picture (.png, .jpg) of scene, result and guide side by side.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Page (.html) that says how well the result agrees with scene and guide.")
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Folder for maps and numbers of displacement, light and change.")
    ] = None,
    uncertainty: Annotated[
        Path | None,
        typer.Option(help="File for the standard deviation of every sample of the result; for prior, hybrid and solo."),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="The whole scene at once: no tiles, no borders.")] = False,
    tile: Annotated[
        int | None, typer.Option(min=8, help="Side of a tile in LR pixels; if left out, as memory allows.")
    ] = None,
    halo: Annotated[
        int | None, typer.Option(min=0, help="LR pixels to read around a tile; if left out, measured.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory for one tile, such as 2G; if left out, a quarter of the free memory.")
    ] = None,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="32, bf16 or fp16.")] = "32",
    format: Annotated[str | None, typer.Option(help="Format of the output, if its ending does not say it.")] = None,
    cog: Annotated[bool, typer.Option("--cog", help="Write a cloud-optimised GeoTIFF.")] = False,
    peak: Peak = None,
    guide_peak: GuidePeak = None,
    bands: Bands = None,
    guide_bands: GuideBands = None,
    read: Reading = None,
    read_guide: ReadingGuide = None,
    part: Annotated[
        str | None,
        typer.Option(
            help="Make one part of a run that several processes share: `plan`, or 3/8; without it, join the parts."
        ),
    ] = None,
    overwrite: Overwrite = False,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Super-resolve a scene tile by tile, with its georeference.

    If the command stops for any reason, run it again: it goes on where it was. If a model file needs a network of your
    own, name this network in config.yaml under `models:`.
    """
    from hsisr.inference.defaults import default_model, default_out, has_guide
    from hsisr.inference.folder import is_collection, super_resolve_folder
    from hsisr.inference.scenes import Options, Page, super_resolve_file
    from hsisr.outputs import check_places

    options = Options(
        scale=scale, tile=tile, halo=halo, memory=memory, device=device, precision=precision,
        exact=exact, align=align, correct_shift=correct_shift, grid=grid, mask_change=mask_change,
        keep_light=keep_light, peak=peak, guide_peak=guide_peak,
        bands=bands, guide_bands=guide_bands, read=reader_options(read),
        read_guide=reader_options(read_guide),
        format="cog" if cog else format,
    )  # fmt: skip
    collection = is_collection(lr)
    out = out or default_out(lr, collection, options.format)
    check_places(out, preview, report, uncertainty)
    if model is None:
        model = default_model(lr, bool(guide) or (not collection and has_guide(lr, options.read)), scale)
    trust_named_in(config, [model])
    if part is not None:
        from hsisr.inference.parts import super_resolve_part

        if collection:
            raise HsisrError(f"{lr}: is a folder of scenes, and --part is of one; give one scene")
        for name, value in {
            "--preview": preview,
            "--report": report,
            "--maps": maps,
            "--uncertainty": uncertainty,
        }.items():
            if value is not None:
                raise HsisrError(f"{name}: a part writes tile rows only; give {name} to the command that joins them")
        super_resolve_part(lr, guide or None, model, out, part, options, overwrite)
        return
    if collection:
        if report is not None:
            raise HsisrError(f"{report}: --report tells of one scene, and {lr} is a folder of them; name one file")
        if guide is not None and len(guide) > 1:
            raise HsisrError(f"{lr}: is a folder of scenes, which takes one --guide: a file or a folder")
        if maps is not None:
            raise HsisrError(f"{lr}: is a folder of scenes, and --maps is of one; give one scene")
        if uncertainty is not None:
            raise HsisrError(f"{lr}: is a folder of scenes, and --uncertainty is of one; give one scene")
        sharp = guide[0] if guide else None
        for path in super_resolve_folder(lr, sharp, model, out, options, preview is not None, overwrite):
            print(path)
    else:
        pages: dict[Path, Page] = {}
        if report is not None:
            from hsisr.report import quality

            pages[report] = quality.writer(report)
        print(super_resolve_file(lr, guide or None, model, out, options, preview, overwrite, maps, pages, uncertainty))


@command(
    OWN_SCENES,
    "hsisr finetune LR.tif GUIDE.tif --minutes 3 -o runs/own-scene",
    "hsisr finetune LR.tif GUIDE.tif --model hybrid -o runs/own-scene",
)
def finetune(
    lr: LrFile,
    guide: Annotated[
        Path | None, typer.Argument(help="Sharp image of the same ground, for models that use one.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Run folder or model file to start from, or the name of a network to start fresh.",
            autocompletion=complete.trainable_models,
        ),
    ] = "mulsr-xs",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Run folder to write; `hsisr predict --model` takes it.")
    ] = Path("runs/own-scene"),
    minutes: Annotated[float, typer.Option(help="Minutes of training.")] = 3.0,
    steps: Annotated[int | None, typer.Option(help="Number of optimiser steps, instead of minutes.")] = None,
    hold_out: Annotated[
        float, typer.Option("--hold-out", help="Part of the scene for the scores; training never sees it.")
    ] = 0.25,
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the order of patches.")] = 0,
    scale: Scale = None,
    align: Align = False,
    correct_shift: CorrectShift = None,
    mask_change: MaskChange = False,
    keep_light: KeepLight = False,
    device: Device = "auto",
    peak: Peak = None,
    guide_peak: GuidePeak = None,
    bands: Bands = None,
    guide_bands: GuideBands = None,
    read: Reading = None,
    read_guide: ReadingGuide = None,
    overwrite: Overwrite = False,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Adapt a model to a scene of your own, without a sharp reference; score it on a part that it has not seen."""
    from hsisr.finetuning.adaptation import finetune as adapt
    from hsisr.finetuning.adaptation import table
    from hsisr.inference.scenes import Options
    from hsisr.outputs import check_places

    check_places(out)
    trust_named_in(config, [model])
    options = Options(
        scale=scale, device=device, align=align, correct_shift=correct_shift, mask_change=mask_change,
        keep_light=keep_light, peak=peak, guide_peak=guide_peak,
        bands=bands, guide_bands=guide_bands, read=reader_options(read),
        read_guide=reader_options(read_guide),
    )  # fmt: skip
    summary = adapt(lr, guide, model, out, minutes, steps, hold_out, seed, options, overwrite)
    print(table(summary))
    print(out)


@command(
    OWN_SCENES,
    "hsisr validate LR.tif GUIDE.tif",
    "hsisr validate LR.tif GUIDE.tif --withhold 3 --model prior -o withheld.json",
)
def validate(
    lr: LrFile,
    guide: Annotated[Path, typer.Argument(help="Sharp image of the same ground, of two bands or more.")],
    withhold: Annotated[
        list[int] | None,
        typer.Option(help="Band of the guide (from 0) to withhold; repeat it for more; if left out, each in turn."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Method that uses a guide.", autocompletion=complete.usable_models)
    ] = "prior",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="JSON file to write; <LR>_withheld.json if left out.")
    ] = None,
    scale: Scale = None,
    align: Align = False,
    correct_shift: CorrectShift = None,
    device: Device = "auto",
    peak: Peak = None,
    guide_peak: GuidePeak = None,
    bands: Bands = None,
    guide_bands: GuideBands = None,
    read: Reading = None,
    read_guide: ReadingGuide = None,
    overwrite: Overwrite = False,
    config: ConfigFiles = DEFAULT_CONFIG,
) -> None:
    """Test a method on your own images without a reference: withhold bands of the guide, predict and compare them.

    The command learns the response of a withheld band at LR resolution, where it knows the band, but not its detail.
    """
    from hsisr.evaluation.withheld import table
    from hsisr.evaluation.withheld import validate as withhold_bands
    from hsisr.files import write_json
    from hsisr.inference.scenes import Options, model_file
    from hsisr.outputs import check_outputs, check_places

    out = out or lr.with_name(f"{lr.name if lr.is_dir() else lr.stem}_withheld.json")
    check_places(out)
    check_outputs([out], [lr, guide, model_file(model)], overwrite)
    trust_named_in(config, [model])
    options = Options(
        scale=scale, device=device, align=align, correct_shift=correct_shift, peak=peak, guide_peak=guide_peak,
        bands=bands, guide_bands=guide_bands, read=reader_options(read),
        read_guide=reader_options(read_guide),
    )  # fmt: skip
    summary = withhold_bands(lr, guide, withhold or (), model, options)
    write_json(out, summary)
    print(table(summary))
    print(out)


def trust_named_in(files: list[Path], models: Iterable[str]) -> None:
    """Let the networks be imported that model files need, if they are somebody's own and a configuration names them."""
    from hsisr.config import load
    from hsisr.inference.scenes import model_file
    from hsisr.models import model_files, own, registry

    needed = False
    for file in filter(None, map(model_file, models)):
        with suppress(HsisrError):  # the command itself says what is wrong with a file, after a look at its outputs
            needed |= own.is_path(model_files.read_metadata(file)["base"])
    if not needed:
        return
    if files != DEFAULT_CONFIG or files[0].exists():
        for recipe in load(files).models.values():
            registry.trust(recipe.base)
