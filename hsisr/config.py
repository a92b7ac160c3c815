"""The configuration: pydantic models of config.yaml, one section per step, and errors a user can act on.

`load` reads and merges files as Snakemake does; `Config` is what the rest of the package takes. Nothing here
imports torch: the Snakefile checks the configuration before it plans a job.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass, is_pydantic_dataclass

from hsisr import limits
from hsisr.errors import HsisrError, did_you_mean
from hsisr.files import read_text

#: Levels of keys in a configuration.
_MOST_DEPTH = 50
#: Characters of a value that an error repeats.
_MOST_SHOWN = 80
_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
_DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"
#: Pattern -> what a user reads in its place.
_PATTERNS = {
    _NAME: "small letters and digits, with single - between them",
    _DEVICE: "auto, cpu, cuda or cuda:<index>",
}

#: Faults of pydantic: keys that a section does not have, and values of another kind, with what is expected.
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_EXPECTED = {
    "string_type": "text (put a number, a date, yes or no into quotes)",
    **dict.fromkeys(("list_type", "tuple_type"), "a list, in [ ]"),
    **dict.fromkeys(("dict_type", "model_type", "dataclass_type"), "keys and values"),
}

_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}

Name = Annotated[str, Field(pattern=_NAME)]


def _no_switch(value: Any) -> Any:
    if str(value) in ("True", "False"):  # also numpy's, which pydantic takes for numbers too
        raise ValueError("expected a number, not true or false")
    return value


Positive = Annotated[int, BeforeValidator(_no_switch), Field(gt=0)]


class Section(BaseModel):
    """A section of the configuration: unknown keys are errors, values do not change after loading.

    Numbers are finite, and true and false are none: pydantic would take them for 1 and 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        types = set(_types(cls.model_fields[str(info.field_name)].annotation))
        given = value if isinstance(value, (list, tuple)) else [value]
        if types & {int, float} and bool not in types and any(isinstance(entry, bool) for entry in given):
            raise ValueError("expected a number, not true or false")
        return value


def _types(annotation: Any) -> Iterator[Any]:
    """The types in an annotation such as `list[int] | None`."""
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _types(argument)


class Patches(Section):
    """What the `patches` step cuts out of the training pairs."""

    size_lr_px: Positive = Field(12, ge=4, description="Side of a training patch in LR pixels.")
    stride_lr_px: Positive = Field(6, description="Distance between patches in LR pixels, for fixed protocols.")
    crops_per_scene: Positive = Field(
        1000,
        description="Random crops per scene and epoch, for protocols that degrade at random while training, and with "
        "`places: random`.",
    )
    places: Literal["grid", "random"] = Field(
        "grid",
        description="For fixed protocols. grid: patches `stride_lr_px` apart; random: `crops_per_scene` of each "
        "scene, at random places that stay the same.",
    )
    to_border: bool = Field(
        True,
        description="On a grid: take also the patches that touch the far borders, if the stride leaves a rest.",
    )


class Schedule(Section):
    """Learning rate over the run."""

    kind: Literal["constant", "halving", "cosine", "mixup"] = Field(
        "halving",
        description="constant; halved every `every_epochs`; one half cosine down to 1 % at the end, of steps or of "
        "`max_minutes`, whichever comes first; or Spectral "
        "Mixup's: times 0.3^floor(n / every_epochs) in epoch n, counted from 1, and times 0.3 more in the last.",
    )
    every_epochs: float = Field(30, gt=0, description="Epochs between halvings; Spectral Mixup's published value is 5.")
    warmup_steps: int = Field(0, ge=0, description="Optimiser steps in which the rate rises linearly from the start.")


class TotalVariation(Section):
    """Penalty for a rough output, added to every objective's L1 distance: the loss of SSPSR and Spectral Mixup.

    Not for hybrid, which learns corrections.
    """

    space: float = Field(
        0, ge=0, description="Weight of the mean squared difference of neighbouring pixels; published: 1e-3."
    )
    bands: float = Field(
        0, ge=0, description="Weight of the mean squared difference of neighbouring bands; published: 2e-3."
    )


class Objective(Section):
    """An objective beside the labelled one."""

    count: Positive = Field(1, description="How often it runs in an iteration.")
    weight: float = Field(
        1,
        gt=0,
        description="Factor on its loss. Adam evens out the scale of a gradient, so with steps of its own it acts "
        "through Adam's moments only, which all objectives share.",
    )
    start_epoch: float = Field(0, ge=0, description="Epochs, from 0, after which it begins.")
    stop_epoch: float | None = Field(None, gt=0, description="Epochs, from 0, after which it ends; none: never.")

    @model_validator(mode="after")
    def _in_order(self) -> "Objective":
        if self.stop_epoch is not None and self.stop_epoch <= self.start_epoch:
            raise ValueError(f"stop_epoch {self.stop_epoch:g} must lie after start_epoch {self.start_epoch:g}")
        return self


class RgbObjective(Objective):
    """The auxiliary task on photographs."""

    dataset: str = Field("rgb_photos", description="Data set of photographs: rgb_photos, div2k, or one of your own.")


class UnlabelledObjective(Objective):
    """Semi-supervision on LR-only scenes."""

    response: Literal["cie1964", "cie1964@index"] = Field(
        "cie1964",
        description="How bands become eight channels: cie1964 for the scene's wavelengths; cie1964@index takes the "
        "published matrix for 400-700 nm by number of the band, as the published program does on every data set.",
    )


class Objectives(Section):
    """Spectral Mixup's three components (arXiv 2101.07589), in the order in which an iteration visits them."""

    mixup: Objective | None = Field(
        None,
        description="Virtual spectra: bands of the labelled batch mixed at random; `count` mixtures. Any network "
        "but hybrid, which learns corrections.",
    )
    rgb: RgbObjective | None = Field(
        None,
        description="Super-resolve `count` batches of photographs; needs a network with an RGB path: deepshare, solo.",
    )
    unlabelled: UnlabelledObjective | None = Field(
        None,
        description="On `count` batches of LR-only scenes, both paths must agree. Needs an RGB path, wavelengths, and"
        " a split with an unlabelled part.",
    )
    step: Literal["each", "together"] = Field(
        "each",
        description="each: every loss has its own optimiser step (published); together: one step an iteration, on the "
        "weighted sum of all losses.",
    )


class Training(Section):
    """How to train a network. The defaults are MulSR's published protocol (spec: IEEE TGRS 2023).

    An iteration is a batch of labelled patches and what `objectives` adds to it.
    """

    epochs: float | None = Field(
        200,
        gt=0,
        description="Passes over the patches; an objective with fewer patches of its own ends a pass earlier. "
        "`max_steps` may end the training before.",
    )
    max_steps: Positive | None = Field(None, description="Number of optimiser steps after which the training ends.")
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="Minutes after which the training ends; interruptions do not count. If you raise the number "
        "before the end, the training goes on to the later end. The last step of such a run depends on "
        "the machine.",
    )
    patience_validations: Positive | None = Field(
        None, description="The training ends after so many validations in a row without a new best; none: never."
    )
    batch_size: Positive = Field(32, description="Patches in a batch, over all devices.")
    accumulate: Positive = Field(
        1,
        description="Number of parts of a batch, which train one after the other if the batch does not fit into "
        "memory; the result is the same, except for rounding.",
    )
    bands_per_step: Positive = Field(
        1,
        description="Bands of each patch in one optimiser step; published: 1. For networks that work band by band, as "
        "mulsr; others take all.",
    )
    visit: Literal["all", "random"] = Field(
        "all",
        description="`all`: every band of a batch in order, one step after the other (published); "
        "`random`: one step a batch, on bands drawn at random for each patch. For the same networks.",
    )
    optimiser: Literal["adam", "muon"] = Field(
        "adam",
        description="`adam`: as published. `muon`: orthogonal steps for the weights of hidden layers; small networks "
        "learn in fewer steps.",
    )
    learning_rate: float = Field(1e-4, gt=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1, description="Adam's second decay: 0.99 in the paper, 0.999 in its program.")
    clip_gradient: float | None = Field(None, gt=0, description="Largest norm of the gradient; none as published.")
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay of an exponential moving average of the weights, such as 0.999. hsisr then validates and "
        "keeps the average; none: the weights themselves.",
    )
    schedule: Schedule = Schedule()
    labelled_scenes: Positive | None = Field(
        None, description="Train on the first so many scenes of the training part only, for ablations; none: all."
    )
    patches_per_epoch: Positive | None = Field(
        None,
        description="Patches of an epoch at most, drawn anew for each: Spectral Mixup's --data_train_num; none: all. "
        "Not for hybrid, which draws its own.",
    )
    total_variation: TotalVariation = TotalVariation()
    objectives: Objectives = Objectives()
    augment: bool | Literal["dihedral"] = Field(
        True,
        description="true: flips, roll by half the height and rotations, each with probability 1/2 (MulSR); dihedral: "
        "every patch in its 8 flips and rotations in every epoch, crops in one of them at random (Spectral Mixup). "
        "hybrid always takes one of the 8 at random.",
    )
    validate_every_steps: Positive = Field(1000, description="Optimiser steps between scores of the validation part.")
    save_every_seconds: float = Field(
        30, gt=0, description="Seconds between saved states, from which a stopped run resumes."
    )
    select: Literal["validation", "last"] = Field(
        "validation",
        description="Which weights to keep: those of the best validation PSNR, or the last. The test part never "
        "chooses.",
    )
    threads: Positive | None = Field(
        None, description="CPU threads; none: those of the job. Fix it for byte-identical results."
    )
    workers: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Processes that prepare batches; 0: the trainer itself; none: with a GPU, all but one of "
        "`threads`, else 0. The batches do not depend on it.",
    )
    device: str = Field("auto", pattern=_DEVICE, description="auto, cpu, cuda or cuda:<index>.")
    devices: Positive = Field(
        1,
        description="GPUs, or CPU processes, of each node that share every batch; the result is the same, except for "
        "rounding.",
    )
    nodes: Positive = Field(1, description="Nodes that share every batch, started by srun or torchrun.")
    precision: Literal[32, "bf16", "fp16"] = Field(
        32, description="32; or bf16, fp16 (GPUs only): mixed with 32, weights and scores stay in 32."
    )


class Recipe(Section):
    """A model of the configuration: a base from the registry, its options beside these keys, and its seeds."""

    model_config = ConfigDict(extra="allow", frozen=True)

    base: str = Field(
        description="Registered model: bicubic, gsa, mulsr, ...; or module:Class, a network in a file beside "
        "config.yaml or in an installed package; see docs/custom-experiments.md."
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1, description="Seeds; each makes one run.")
    training: dict[str, Any] = Field(
        {},
        description="Changes to the section `training` for this model. In `schedule`, `total_variation` and "
        "`objectives` too, only the given keys change; {} puts back the defaults.",
    )
    weights: str | None = Field(
        None,
        description="Existing weights instead of a training: a paper's own checkpoint, a model file of hsisr, or "
        "`shipped`, those of solo that come with hsisr or those of hybrid that `hsisr weights` has made; none: train. "
        "With weights, only device and threads of `training` count.",
    )

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is listed twice; the same run would count twice")
        return seeds

    @property
    def options(self) -> dict[str, Any]:
        """The model's own options: every key that is not a recipe's."""
        return dict(self.model_extra or {})


class BenchmarkChoice(Section):
    """What a benchmark compares, and what differs from the defaults of its data set."""

    models: list[Name] | None = Field(None, min_length=1, description="Names from `models:` or of registered models.")
    response: str | None = Field(
        None,
        description="Spectral response of the simulated guide: a name, or a file (.csv, .txt, .mat, .npy); a name "
        "with @index behind it goes by number of the band, not by wavelength.",
    )
    noise: float | None = Field(
        None, ge=0, description="Noise sigma on the LR image of the test, range [0, 1]; 0.0316 is variance 0.001."
    )
    seed: int = Field(0, ge=0, description="Seed of the degradation's noise.")
    convention: str | None = Field(
        None, description="Metric convention, if not that of the protocol: plain clips nothing."
    )
    patches: Patches | None = Field(None, description="Training patches: what differs from the section `patches`.")
    folds: int | None = Field(
        None,
        ge=2,
        le=1000,
        description="Cross-validation: number of folds into which hsisr deals the scenes of the split. Each fold "
        "tests the scenes on which the others train; scores are means over the folds. None: the split as "
        "it is.",
    )
    fold_seed: int = Field(0, ge=0, description="Seed that deals the scenes into folds.")


class Evaluation(Section):
    """What hsisr measures beside the scores."""

    runtime: bool = Field(
        True, description="Time, memory and operations of all models of a benchmark, in turns, on one crop."
    )
    classification: bool = Field(True, description="Land cover, where a data set has labels.")


def _bytes(value: Any) -> Any:
    """Bytes of `1G`, `512M` or a number."""
    word = str(value).strip().lower().removesuffix("b").removesuffix("i")
    try:
        count = float(word[:-1]) * _UNITS[word[-1]] if word[-1:] in _UNITS else float(word)
    except ValueError:
        count = 0
    if not 0 < count < 2**63:
        raise ValueError("expected a size such as 512M or 2G")
    return int(count)


def _bands(value: Any) -> Any:
    """Numbers of `0-30,40`."""
    if isinstance(value, int):
        return (value,)
    if not isinstance(value, str):
        return value
    try:
        ranges = [[int(number) for number in part.split("-", 1)] for part in value.split(",")]
    except ValueError:
        raise ValueError("expected numbers from 0 and ranges of them, such as 0-30,40") from None
    return tuple(band for part in ranges for band in range(part[0], part[-1] + 1))


Bytes = Annotated[int, BeforeValidator(_bytes), WithJsonSchema({"type": ["string", "integer"]})]
Bands = Annotated[
    tuple[Annotated[int, Field(ge=0), BeforeValidator(_no_switch)], ...],
    BeforeValidator(_bands),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": ["string", "integer"]}, {"type": "array", "items": {"type": "integer"}}]}),
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Width = Annotated[float, Field(gt=0, allow_inf_nan=False)]
#: Names of `hsisr.degrade.FAMILIES`.
Family = Literal[
    "gaussian", "kolmogorov", "airy", "moffat", "sinc", "lorentzian", "hermite", "parabolic", "gabor", "delta"
]
Peak = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_no_switch)]


def _move(value: Any) -> Any:
    """A model of registration; true is a shift, as it was when there was no other."""
    return {True: "shift", False: None}[value] if isinstance(value, bool) else value


#: How a guide is moved by what is measured.
Move = Annotated[
    Literal["shift", "affine", "field"] | None,
    BeforeValidator(_move),
    WithJsonSchema({"enum": ["shift", "affine", "field", True, False, None]}),
]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SceneOptions:
    """How a scene of the user's own is super-resolved: of `hsisr predict`, the section `predict` and Python alike."""

    scale: Positive | None = Field(None, description="HR pixels per LR pixel; if left out, as model or guide say.")
    align: bool = Field(False, description="Reproject or resample the guide onto the scene's grid.")
    correct_shift: Move = Field(
        None,
        description="Measure how the guide lies and move it: by a shift above 0.5 LR pixel (or without a word), an "
        "affine map, or a field, a smooth displacement.",
    )
    grid: Literal["lr", "guide"] = Field(
        "lr",
        description="Where the result lies: as the scene, or as the guide that is off by the affine map or field "
        "that is measured; then the guide is not resampled, and the result is sharper; for prior and hybrid.",
    )
    mask_change: bool = Field(
        False,
        description="Leave the guide's detail out where it shows other ground or lacks data; even out haze and shadow.",
    )
    keep_light: bool = Field(
        False, description="Leave smooth differences of light between guide and scene as they are; else even them out."
    )
    exact: bool = Field(False, description="The whole scene at once: no tiles, no borders.")
    tile: Annotated[int, Field(ge=8), BeforeValidator(_no_switch)] | None = Field(
        None, description="Side of a tile in LR pixels; if left out, as memory allows."
    )
    halo: Annotated[int, BeforeValidator(_no_switch), Field(ge=0)] | None = Field(
        None, description="LR pixels to read around a tile; if left out, measured."
    )
    memory: Bytes | None = Field(
        None, description="Memory for the work of one tile; else a quarter of what is free when the run starts."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:<index>; several with commas share the rows.")
    precision: Literal["32", "bf16", "fp16"] = Field("32", description="32, bf16 or fp16.")
    format: str | None = Field(None, description="Format where the ending does not choose it.")
    peak: Peak | None = Field(None, description="Value of the scene that counts as 1 for the model.")
    guide_peak: Peak | None = Field(None, description="The same for the guide.")
    bands: Bands | None = Field(None, description="Bands to use, from 0, such as 0-30,40.")
    guide_bands: Bands | None = Field(None, description="Bands of the guide to use.")
    read: dict[str, Any] = Field(
        default_factory=dict, description="Options of the scene's reader, such as variable=I_MS, axes=HWB or nodata=0."
    )
    read_guide: dict[str, Any] = Field(default_factory=dict, description="The same for the guide.")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Prediction(SceneOptions):
    """A scene of the user's own to super-resolve; the keys are the options of `hsisr predict`."""

    lr: str = Field(description="The scene: any file that hsisr reads.")
    guide: str | None = Field(None, description="Sharp image of the same ground.")
    model: str = Field(description="Run folder (trained first), model file, or an untrained method.")
    preview: str | None = Field(None, description="Picture (.png, .jpg) of scene, result and guide side by side.")
    report: str | None = Field(
        None, description="Page (.html) that says how well the result agrees with scene and guide."
    )
    maps: str | None = Field(None, description="Folder for maps and numbers of displacement, light and change.")
    uncertainty: str | None = Field(
        None, description="File for the standard deviation of every sample of the result; for prior, hybrid and solo."
    )
    cog: bool = Field(False, description="Write a cloud-optimised GeoTIFF.")
    memory: Bytes = Field(768 * 2**20, description="Memory for the work of one tile; the job asks for 4 GB in all.")
    parts: Positive = Field(
        1, le=10_000, description="Jobs that share the tile rows of a large scene, on one machine or many."
    )
    format: Literal["geotiff", "cog"] | None = Field(None, description="Format of the file, whose ending is .tif.")

    def words(self, joins: bool = True) -> list[str]:
        """The arguments of `hsisr predict` that say the same, less the output.

        joins: whether they are of the command that writes the result, and not of one that makes a part of it.
        """
        lr = f"./{self.lr}" if self.lr.startswith("-") else self.lr  # else it is taken for an option
        words, left_out = [lr], {"lr", "parts", *([] if joins else ["preview", "report", "maps", "uncertainty"])}
        for key, field in _fields_of(Prediction).items():
            if key in left_out:
                continue
            value, option = getattr(self, key), f"--{key.replace('_', '-')}"
            if isinstance(value, dict):
                words += [word for name, entry in value.items() for word in (option, f"{name}={entry}")]
            elif isinstance(value, tuple):
                words += [option, ",".join(map(str, value))]
            elif value != field.get_default() or key == "memory":  # the command's own default is what is free
                words += [option] if value is True else [option, str(value)]
        return words


class Sweep(Section):
    """One scene under every degradation of a grid of PSFs, widths, shifts, responses and noise."""

    scene: str = Field(description="The scene: any file that hsisr reads, such as data/scenes/cave/balloons.h5.")
    scale: Annotated[int, Field(ge=2)] = Field(4, description="HR pixels per LR pixel.")
    models: list[str] = Field(
        ["bicubic", "gsa", "prior"],
        min_length=1,
        description="Untrained methods, run folders (trained first) and model files.",
    )
    psfs: list[Family] = Field(list(get_args(Family)), min_length=1, description="PSF families.")
    fwhm_lr: list[Width] = Field([1.0], min_length=1, description="Full widths at half maximum, LR pixels.")
    shifts_px: list[Finite] = Field([0.0], min_length=1, description="Shifts of rows and columns alike, HR pixels.")
    responses: list[Annotated[int, Field(ge=1)] | str] = Field(
        [3, 4, 8, 16],
        min_length=1,
        description="Of the guide: a count of channels, equal boxes over the scene's bands, or a response's name.",
    )
    snr_db: list[Finite | None] = Field([None, 30.0], min_length=1, description="Noise of the LR image; null: without.")
    size_px: Positive | None = Field(
        256, description="Side of the square in the middle of the scene that the sweep uses; none: the whole scene."
    )
    seed: int = Field(0, ge=0, description="Seed of the noise.")


class Report(Section):
    """What the report shows."""

    title: str = "Hyperspectral super-resolution"
    scenes: Positive = Field(
        4, description="Number of test scenes that the report shows as pictures, for each benchmark."
    )


class Config(Section):
    """config.yaml."""

    benchmarks: dict[str, BenchmarkChoice] = Field(
        {}, description="Benchmarks that `all` makes, named <dataset>_x<scale>[_<protocol>]."
    )
    models: dict[Name, Recipe] = Field({}, description="Models beside the registered ones.")
    sources: dict[str, str] = Field({}, description="Data set -> folder, file:// or URL that replaces the publisher's.")
    scenes: dict[str, list[str]] = Field({}, description="Data set -> scenes to use, if not all.")
    splits: dict[str, str] = Field({}, description="Data set -> name of one of its splits.")
    datasets: dict[str, dict[str, Any]] = Field({}, description="Your own data sets; see docs/datasets.md.")
    protocols: dict[str, dict[str, Any]] = Field(
        {},
        description="Protocols of your own: name -> psf, sampling, noise, response; see docs/protocols-and-metrics.md.",
    )
    patches: Patches = Patches()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    predict: dict[Name, Prediction] = Field(
        {}, description="Scenes of your own: name -> what makes predictions/<name>.tif; see docs/your-own-scene.md."
    )
    sweeps: dict[Name, Sweep] = Field(
        {}, description="Name -> a scene and a grid of degradations, for results/sweeps/<name>.json."
    )
    report: Report = Report()

    @field_validator(
        "benchmarks",
        "scenes",
        "sources",
        "models",
        "splits",
        "datasets",
        "protocols",
        "predict",
        "sweeps",
        mode="before",
    )
    @classmethod
    def _empty_section(cls, value: Any) -> Any:
        return {} if value is None else value  # `models:` with everything below it commented out

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _bare_benchmark(cls, value: Any) -> Any:
        if isinstance(value, Mapping):  # `cave_x8:` with nothing below it takes all defaults
            return {name: {} if choice is None else choice for name, choice in value.items()}
        return value

    @classmethod
    def parse(cls, content: Any, where: str = "config.yaml") -> "Config":
        """Check a mapping and return the configuration; `where` names its origin in errors.

        Raises HsisrError: one line that names the key, the value and what is allowed.
        """
        if content is None:
            content = {}
        if not isinstance(content, Mapping):
            raise HsisrError(f"{where}: expected keys and values, found {type(content).__name__}")
        content = _plain(content)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise HsisrError(_one_line(cls, error, content, where)) from None


def load(paths: str | os.PathLike | Iterable[str | os.PathLike] = "config.yaml") -> Config:
    """Read configuration files; where several name a key, the last one wins, sections are merged.

    Raises HsisrError for an absent file, for text that is not YAML and for anything that `Config.parse` refuses.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    files = [Path(path) for path in paths]
    merged: dict = {}
    for file in files:
        merged = merge(merged, _read_yaml(file))
    return Config.parse(merged, " + ".join(map(str, files)))


def merge(base: dict, change: dict) -> dict:
    """Content of the configuration with changes, where sections are merged. base: the content. change: has priority."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def check_files(paths: Iterable[str | os.PathLike]) -> None:
    """Raise HsisrError for a file that `load` cannot read, such as one that names a key twice.

    For files that Snakemake reads: it would keep the last value in silence.
    """
    for path in paths:
        _read_yaml(Path(path))


def check_section(model: type[BaseModel], content: Mapping[str, Any], where: str, beside: Iterable[str] = ()) -> Any:
    """Build one pydantic section, with the same one-line errors as the configuration.

    where: the key that holds it. beside: keys that may stand beside the section's own, to name in errors.
    """
    content = _plain(content)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise HsisrError(_one_line(model, error, content, where, ".", beside)) from None


def checked_options(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a pydantic dataclass of options, checked and converted; errors name the option in one line."""
    try:
        return dict(vars(TypeAdapter(kind).validate_python(dict(content))))
    except ValidationError as error:
        raise HsisrError(_one_line(kind, error, content, "option", " ")) from None


def json_schema() -> dict:
    """JSON schema of config.yaml, for editors and for `workflow/schemas`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}


class _Loader(yaml.SafeLoader):
    """YAML that names no key twice: the last one would win in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[str, yaml.ScalarNode] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and seen.setdefault(key.value, key) is not key:
                first, second = seen[key.value].start_mark.line + 1, key.start_mark.line + 1
                where = f"line {first}" if first == second else f"lines {first} and {second}"
                raise HsisrError(f"{self.name}: names {key.value} twice, {where}; keep one, or join what they hold")
        return node


def _read_yaml(path: Path) -> dict:
    if not path.exists():
        raise HsisrError(f"{path}: no such configuration file")
    try:
        loader = _Loader(read_text(path))
        loader.name = str(path)
        content = loader.get_single_data()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise HsisrError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    _check_extent(path, content)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise HsisrError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def _check_extent(path: Path, content: Any) -> None:
    """Raise HsisrError for content that holds itself, or that a few aliases make endless."""
    left = [(content, 0)]
    count = 0
    while left:
        value, depth = left.pop()
        count += 1
        if depth > _MOST_DEPTH:
            raise HsisrError(f"{path}: is nested more than {_MOST_DEPTH} levels deep, or holds itself")
        limits.check(path, limits.VALUES, count, "values, with aliases (*) written out")
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        left += [(entry, depth + 1) for entry in inside]


def _plain(content: Any) -> Any:
    if isinstance(content, Mapping):  # Snakemake hands over its own mapping types
        return {str(key): _plain(value) for key, value in content.items()}
    return [_plain(value) for value in content] if isinstance(content, (list, tuple)) else content


def _one_line(
    model: Any,
    error: ValidationError,
    content: Mapping,
    where: str,
    separator: str = ": ",
    beside: Iterable[str] = (),
) -> str:
    faults: dict[tuple, list[str]] = {}  # place -> what is wrong there, for each type that the value may have
    for fault in sorted(error.errors(), key=lambda one: one["type"] not in _UNKNOWN):  # a wrong key leaves one missing
        place, value, reason = _place(fault, content), fault["input"], _reason(model, fault, beside)
        bare = fault["type"] in (*_UNKNOWN, "missing") or isinstance(value, Mapping) or len(repr(value)) > _MOST_SHOWN
        if place not in faults and not bare:
            reason = f"{value!r} is not allowed; {reason}"
        faults.setdefault(place, []).append(reason)
    place, *others = faults
    key, reason = ".".join(map(str, place)), "; or ".join(faults[place])
    more = f" ({len(others)} more problems after this one)" if others else ""
    return f"{where}{separator if key else ': '}{key}{': ' if key else ''}{' '.join(reason.split())}{more}"


def _place(fault: Any, content: Any) -> tuple:
    """Keys and numbers of list entries that lead to a fault. pydantic puts names of types between them."""
    missing = fault["loc"][-1:] if fault["type"] == "missing" else ()
    place = []
    for part in fault["loc"][: len(fault["loc"]) - len(missing)]:
        if part in content if isinstance(content, Mapping) else isinstance(content, list) and isinstance(part, int):
            place.append(part)
            content = content[part]
    return (*place, *missing)


def _reason(model: Any, fault: Any, beside: Iterable[str]) -> str:
    """What is wrong with a value, or what is expected in its place."""
    kind, value = fault["type"], fault["input"]
    if kind in _UNKNOWN:
        known = sorted({*_known_keys(model, fault["loc"][:-1]), *beside})
        return f"unknown key; {did_you_mean(fault['loc'][-1], known)}allowed here: {', '.join(known)}"
    if kind == "missing":
        return "is missing"
    if kind == "string_pattern_mismatch":
        return f"expected {_PATTERNS.get(fault['ctx']['pattern'], fault['ctx']['pattern'])}"
    if kind == "literal_error":
        allowed = fault["ctx"]["expected"]
        meant = did_you_mean(value, re.findall(r"'([^']+)'", allowed)) if str(value).isalpha() else ""
        return f"{meant}must be {allowed}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message.replace("Input should be", "must be")
    return f"{message[0].lower()}{message[1:]}"


def _known_keys(model: Any, location: tuple) -> list[str]:
    for part in location:
        field = _fields_of(model).get(str(part))  # none for names and numbers of entries
        model = model if field is None else _section_of(field.annotation)
    return sorted(_fields_of(model))


def _fields_of(section: Any) -> Mapping[str, Any]:
    if isinstance(section, type) and issubclass(section, BaseModel):
        return section.model_fields
    return section.__pydantic_fields__ if is_pydantic_dataclass(section) else {}


def _section_of(annotation: Any) -> Any:
    """The section inside an annotation such as `dict[str, Section]`."""
    if _fields_of(annotation):
        return annotation
    for argument in get_args(annotation):
        section = _section_of(argument)
        if section is not None:
            return section
    return None
