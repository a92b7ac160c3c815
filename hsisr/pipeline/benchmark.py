"""A benchmark: one data set, one scale, one protocol, and the models compared on it, put together from the
configuration, the catalogue and the registry.

`resolve` is the one place that knows how a name such as `cave_x8` becomes work; the Snakefile plans with it and
every sub-command runs with it, so the two cannot differ.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hsisr import datasets, degrade
from hsisr.config import BenchmarkChoice, Config, Patches, Recipe, Sweep, Training, check_section, merge
from hsisr.errors import HsisrError, did_you_mean
from hsisr.files import file_hash
from hsisr.models import registry, shipped
from hsisr.models.options import RGB_CHANNELS
from hsisr.models.shipped import made_model, shipped_model, shipped_scales
from hsisr.pipeline import paths
from hsisr.pipeline.predictions import name_in_project

NAME = re.compile(
    r"^(?P<whole>(?P<dataset>[a-z][a-z0-9_]*?)_x(?P<scale>\d+)(?:_(?P<protocol>[a-z][a-z-]*?))?)(?:-fold(?P<fold>\d+))?$"
)

_RUN = re.compile(r"runs/(?P<benchmark>[^/]+)/(?P<model>[^/]+)/seed\d+")

#: Compared where the configuration names no models: a floor, a strong classical method, the published network.
DEFAULT_MODELS = ("bicubic", "gsa", "mulsr")

#: The same under a protocol that makes no guide.
SINGLE_IMAGE_MODELS = ("bicubic", "deepshare")

#: The protocol at which networks learn what `full` applies at full resolution (Wald).
REDUCED_RESOLUTION = "wald"
#: In place of a file: the weights that the base's name stands for.
SHIPPED = "shipped"


@dataclass(frozen=True)
class Model:
    """One model of a benchmark: a registered base, its checked options, its seeds and how it is trained.

    weights: file of weights that exist, in place of training; None: it is trained.
    """

    name: str
    base: str
    options: dict[str, Any]
    seeds: tuple[int, ...]
    training: Training
    weights: str | None = None

    @property
    def is_network(self) -> bool:
        """True if it has weights to train."""
        return registry.entry(self.base).kind == "network"

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the file of its weights. Raises HsisrError if it is not there."""
        assert self.weights is not None
        if not Path(self.weights).is_file():
            advice = "name the file in it" if Path(self.weights).is_dir() else "`hsisr weights` lists some"
            raise HsisrError(f"models.{self.name}.weights: {self.weights}: no such file; {advice}")
        return file_hash(self.weights)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark with everything resolved. Made by `resolve`.

    fold: number, from 1, of a fold of a cross-validation, which is a benchmark of its own; whole: name of the benchmark
    that it belongs to, whose pairs it shares; else its own name.
    response: what simulates the guide; None where there is none or a real one is used. guide_response: what is known
    of the guide's sensor, real or simulated.
    """

    name: str
    dataset: str
    scale: int
    protocol: str
    response: str | None
    guide_response: str | None
    choice: BenchmarkChoice
    models: dict[str, Model]
    config: Config
    whole: str
    fold: int | None = None

    @cached_property
    def folds(self) -> list["Benchmark"]:
        """Its folds, where it is a cross-validation; else none."""
        if self.fold is not None or self.choice.folds is None:
            return []
        return [replace(self, name=fold_name(self.name, k), fold=k) for k in range(1, self.choice.folds + 1)]

    @property
    def scored(self) -> list["Benchmark"]:
        """The benchmarks that are trained and scored: its folds, or itself."""
        return self.folds or [self]

    @cached_property
    def parts(self) -> dict[str, list[datasets.Item]]:
        """Part (train, validation, test, unlabelled) -> items: scenes, or regions of a scene."""
        config, choice = self.config, self.choice
        if self.fold is not None:
            assert choice.folds is not None
            dealt = (self.fold, choice.folds, choice.fold_seed)
            chosen = config.scenes.get(self.dataset), config.splits.get(self.dataset)
            return datasets.fold(self.dataset, *dealt, *chosen, extra=config.datasets)
        return datasets.parts(
            self.dataset, config.scenes.get(self.dataset), config.splits.get(self.dataset), extra=config.datasets
        )

    @cached_property
    def rule(self) -> degrade.Protocol:
        """The protocol itself: one of the named ones, or the configuration's own."""
        return _protocol(self.config, self.protocol)

    @property
    def has_guide(self) -> bool:
        """Whether its pairs have a sharp guide, simulated or real."""
        return _makes_guide(self.rule, self.response)

    @property
    def convention(self) -> str | None:
        """Metric convention of the choice, else of the protocol; None where there is no reference."""
        return None if self.rule.convention is None else self.choice.convention or self.rule.convention

    @property
    def peak(self) -> float | None:
        """The peak of scores: 1 for published data sets, whose papers say so; None for one's own, which are checked."""
        own = datasets.entry(self.dataset, self.config.datasets).access == "folder"
        return None if own else 1.0

    @property
    def classifies(self) -> bool:
        """Whether land cover is classified: where scenes have labels and there is a reference, but not by folds."""
        if self.choice.folds is not None:
            return False
        labels = datasets.entry(self.dataset, self.config.datasets).labels
        return self.config.evaluation.classification and labels is not None and self.convention is not None

    @property
    def measures_runtime(self) -> bool:
        """Whether the costs of its models are compared; of several folds, in the first one."""
        first = self.fold == 1 if self.choice.folds is not None else True
        return self.config.evaluation.runtime and first

    @cached_property
    def trained_on(self) -> "Benchmark":
        """Where this benchmark's networks are trained: here, or at reduced resolution where there is no reference."""
        if self.convention is not None:
            return self
        return replace(self._sibling(self.dataset, REDUCED_RESOLUTION), models=self.models)

    @property
    def patches(self) -> Patches:
        """How training patches are cut here."""
        if self.choice.patches is None:
            return self.config.patches
        return self.config.patches.model_copy(update=self.choice.patches.model_dump(exclude_unset=True))

    @property
    def draws_crops(self) -> bool:
        """Whether training patches are cut where the random numbers say and degraded when they are read.

        So it is where the degradation is random, and for photographs, of which there are too many patches to store.
        """
        return self.rule.random_training or datasets.entry(self.dataset, self.config.datasets).auxiliary

    def photographs(self, model: str) -> "Benchmark | None":
        """The benchmark whose training patches a model's RGB task takes: same scale, same protocol; None without."""
        entry = self.model(model)
        task = entry.training.objectives.rgb
        if task is None or entry.weights is not None:
            return None
        return self._sibling(task.dataset, self.protocol)

    def _sibling(self, dataset: str, protocol: str) -> "Benchmark":
        """The benchmark of the same scale on a data set and under a protocol."""
        suffix = "" if datasets.entry(dataset, self.config.datasets).protocol == protocol else f"_{protocol}"
        return resolve(self.config, f"{dataset}_x{self.scale}{suffix}")

    def auxiliary_patches(self, model: str) -> dict[str, tuple["Benchmark", str]]:
        """Objective -> benchmark and part of the patches that it takes beside the labelled ones, of a model's own."""
        found = {}
        photographs = self.photographs(model)
        if photographs is not None:
            found["rgb"] = (photographs, "train")
        entry = self.model(model)
        if entry.training.objectives.unlabelled is not None and entry.weights is None:
            if not self.parts["unlabelled"]:
                raise HsisrError(
                    f"{self.name}: {model} trains on unlabelled scenes, and the split has none; choose another under "
                    f"splits: {self.dataset}, or leave out training.objectives.unlabelled"
                )
            found["unlabelled"] = (self, "unlabelled")
        return found

    def patch_path(self, part: str = "train") -> str:
        """The patch file of the training part, or of the unlabelled one."""
        return self.path(paths.PATCHES if part == "train" else paths.UNLABELLED)

    def check_validation(self, model: str) -> None:
        """Raise HsisrError if a validation part is to choose a network's weights, and the split has none.

        A network that learns from whole scenes holds some of them out itself.
        """
        entry = self.model(model)
        trained = entry.is_network and entry.weights is None and not registry.entry(entry.base).whole_scenes
        if trained and entry.training.select == "validation" and not self.parts["validation"]:
            raise HsisrError(
                f"{self.name}: the split of {self.dataset} has no validation part to choose the weights of {model} by; "
                "set training.select: last, or choose another under splits:"
            )

    @property
    def own_tables(self) -> list[str]:
        """The files of the user's own that decide how its pairs are made: responses and a PSF."""
        used = (self.response or self.rule.response, self.guide_response)
        tables = degrade.own_paths(self.config.protocols.get(self.protocol, {}))
        for response in used:
            tables += degrade.own_paths({"response": response})
        return sorted(set(tables))

    def item(self, name: str) -> datasets.Item:
        """The item of that name. Raises HsisrError listing the known ones."""
        items = {item.name: item for part in self.parts.values() for item in part}
        if name not in items:
            near = did_you_mean(name, items)
            raise HsisrError(f"{self.name}: no scene or region {name!r}; {near}there are {', '.join(sorted(items))}")
        return items[name]

    def model(self, name: str) -> Model:
        """The model of that name. Raises HsisrError listing the known ones."""
        if name not in self.models:
            near = did_you_mean(name, self.models)
            raise HsisrError(
                f"{self.name}: no model {name!r} in this benchmark; {near}there are {', '.join(self.models)}"
            )
        return self.models[name]

    def path(self, pattern: str, **fields: Any) -> str:
        """A path of `hsisr.pipeline.paths` for this benchmark; folds share their pairs, which depend on no split."""
        name = self.whole if pattern == paths.PAIR else self.name
        return pattern.format(benchmark=name, dataset=self.dataset, **fields)

    def scene_path(self, item: datasets.Item) -> str:
        """The scene file that an item is cut from."""
        return self.path(paths.SCENE, scene=item.scene)


def fold_name(whole: str, number: int) -> str:
    """Name of a fold of a benchmark."""
    return f"{whole}-fold{number}"


def resolve(config: Config, name: str) -> Benchmark:
    """Put a benchmark together, or a fold of one, `<benchmark>-fold<number>`.

    Raises HsisrError for a name, scale, protocol, model or option that cannot be.
    """
    match = NAME.match(name)
    if match is None:
        raise HsisrError(f"{name!r} is not a benchmark; expected <dataset>_x<scale>[_<protocol>], such as cave_x8")
    where = f"benchmark {name}"
    dataset, whole = match["dataset"], match["whole"]
    entry = datasets.entry(dataset, config.datasets)
    scale = int(match["scale"])
    if scale < 2:
        raise HsisrError(f"{where}: scale {scale} is not allowed; a scale is a whole number of at least 2")
    protocol = match["protocol"] or entry.protocol
    try:
        rule = _protocol(config, protocol)
        if rule.sampling is not None:
            rule.degradation(scale)  # a PSF that cannot be centred is found here
    except HsisrError as error:
        raise HsisrError(f"{where}: {error}") from None
    choice = config.benchmarks.get(whole, BenchmarkChoice())
    fold = None if match["fold"] is None else int(match["fold"])
    if fold is not None and not 1 <= fold <= (choice.folds or 0):
        raise HsisrError(f"{where}: benchmarks.{whole}.folds is {choice.folds or 'not given'}; there is no fold {fold}")
    if choice.folds is not None and (rule.convention is None or entry.auxiliary):
        raise HsisrError(f"benchmarks.{whole}.folds: {dataset} under {protocol} is not scored against a reference")
    if choice.convention not in (None, *degrade.CONVENTIONS):
        near = did_you_mean(choice.convention, degrade.CONVENTIONS)
        known = ", ".join(degrade.CONVENTIONS)
        raise HsisrError(
            f"benchmarks.{whole}.convention: {choice.convention!r} is not known; {near}choose one of {known}"
        )
    if choice.noise is not None and rule.sampling is None:
        raise HsisrError(f"benchmarks.{whole}.noise: protocol {protocol} simulates no image; leave it out")
    if choice.response is not None and not _makes_guide(rule):
        raise HsisrError(f"benchmarks.{whole}.response: protocol {protocol} makes no guide; leave it out")
    stated = rule.response if "response" in config.protocols.get(protocol, {}) else None
    guide_response = choice.response or stated or entry.response
    for section, named in ((f"benchmarks.{whole}", choice.response), (f"datasets.{dataset}", entry.response)):
        try:
            if named not in (None, "none"):
                degrade.check_response(named)
        except HsisrError as error:
            raise HsisrError(f"{section}.response: {error}") from None
    # a guide that comes with the scenes is used as it is, unless the benchmark names a response
    response = (choice.response if entry.guide and rule.real_guide else guide_response) if rule.needs_guide else None
    has_guide = _makes_guide(rule, response)
    names = choice.models or list(DEFAULT_MODELS if has_guide else SINGLE_IMAGE_MODELS)
    if entry.auxiliary:  # photographs have no guide, and nothing is tested on them
        guide_response, response, names = None, None, []
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise HsisrError(f"benchmarks.{whole}.models: {repeated[0]} is listed twice")
    models = {model: _model(config, model, scale, f"benchmarks.{whole}.models") for model in names}
    blind = [model for model, chosen in models.items() if registry.entry(chosen.base).needs_guide and not has_guide]
    if blind:
        why = "`response: none` leaves it out" if _makes_guide(rule) else f"protocol {protocol} makes none"
        raise HsisrError(f"benchmarks.{whole}.models: {blind[0]} needs a guide, and {why}")
    return Benchmark(name, dataset, scale, protocol, response, guide_response, choice, models, config, whole, fold)


def check(config: Config) -> None:
    """Check all that the configuration names: its benchmarks, its models, its data sets. Raises HsisrError."""
    for section in ("sources", "scenes", "splits"):
        for dataset in getattr(config, section):
            datasets.entry(dataset, config.datasets)
    for name in config.protocols:
        _protocol(config, name)
    for name in config.models:
        _check_code(_model(config, name, None, "models"))
    for name, sweep in config.sweeps.items():
        _check_sweep(config, sweep, f"sweeps.{name}")
    for name, scene in config.predict.items():
        _check_ready(config, scene.model, f"predict.{name}.model")
    for name in config.benchmarks:
        whole = resolve(config, name)
        if whole.fold is not None:
            raise HsisrError(
                f"benchmarks.{name}: a fold has the settings of benchmarks.{whole.whole}, which makes it; leave it out"
            )
        for chosen in whole.scored:
            chosen.parts  # noqa: B018  (a split that cannot be is found here)
            for model in chosen.models:
                _check_code(chosen.model(model))
                chosen.auxiliary_patches(model)
                chosen.trained_on.check_validation(model)
                if chosen.model(model).weights is not None:
                    chosen.model(model).weights_sha256  # noqa: B018  (a file that is not there is found here)


def _check_code(model: Model) -> None:
    """Raise HsisrError if a class of the user's own cannot be trained, or has no such options."""
    registry.check(model.base, model.options, f"models.{model.name}", Recipe.model_fields)


def _check_sweep(config: Config, sweep: Sweep, where: str) -> None:
    for response in sweep.responses:
        if isinstance(response, str) and response.removesuffix(degrade.BY_INDEX) not in degrade.RESPONSES:
            raise HsisrError(
                f"{where}.responses: unknown response {response!r}; {did_you_mean(response, degrade.RESPONSES)}give a "
                f"count of channels or {', '.join(degrade.RESPONSES)}"
            )
    for model in sweep.models:
        _check_ready(config, model, f"{where}.models")


def _check_ready(config: Config, model: str, where: str) -> None:
    """Raise HsisrError for what is neither a method that needs no training nor may be a run folder or model file.

    A run folder of the pipeline must be one that the configuration trains: Snakemake brings it up to date first.
    """
    if model in registry.names():
        if registry.entry(model).kind == "network" and model not in shipped.NAMED:
            raise HsisrError(f"{where}: {model} is a network; give its run folder or its model file")
    elif not {"/", "."} & set(model):
        known = [name for name in registry.names() if registry.entry(name).kind == "classical"]
        raise HsisrError(
            f"{where}: unknown model {model!r}; {did_you_mean(model, known)}give a run folder, a model file "
            f"or {', '.join(known)}"
        )
    run = _RUN.match(name_in_project(model))
    if run is not None and NAME.match(run["benchmark"]):
        try:
            resolve(config, run["benchmark"]).model(run["model"])
        except HsisrError as error:
            raise HsisrError(f"{where}: {model}: {error}; a copy of the run outside runs/ is used as it is") from None


def _protocol(config: Config, name: str) -> degrade.Protocol:
    if name in config.protocols:
        return degrade.CustomProtocol(name, config.protocols[name])
    if name not in degrade.PROTOCOLS:
        known = [*degrade.PROTOCOLS, *config.protocols]
        raise HsisrError(f"unknown protocol {name!r}; {did_you_mean(name, known)}known: {', '.join(known)}")
    return degrade.PROTOCOLS[name]


def _makes_guide(rule: degrade.Protocol, response: str | None = None) -> bool:
    """Whether pairs of a protocol have a guide, simulated or real, with this response."""
    return (rule.needs_guide or rule.real_guide) and response != "none"


def _model(config: Config, name: str, scale: int | None, where: str) -> Model:
    recipe = config.models.get(name)
    if recipe is None:
        if name not in registry.names():
            known = [*config.models, *registry.names()]
            raise HsisrError(f"{where}: unknown model {name!r}; {did_you_mean(name, known)}known: {', '.join(known)}")
        recipe = Recipe(base=name)
    try:
        entry = registry.entry(recipe.base)
    except HsisrError as error:
        raise HsisrError(f"models.{name}.base: {error}") from None
    registry.trust(recipe.base)
    given = (shipped.OPTIONS if recipe.weights == SHIPPED and recipe.base == shipped.SHIPPED else {}) | recipe.options
    options = check_section(entry.options, given, f"models.{name}", Recipe.model_fields).model_dump()
    cleared = {key for key, value in recipe.training.items() if value == {}}
    common = config.training.model_dump(exclude=cleared)
    training = check_section(Training, merge(common, recipe.training), f"models.{name}.training")
    if training.epochs is None and training.max_steps is None:
        raise HsisrError(f"models.{name}.training: epochs or max_steps must say when training ends; both are none")
    if recipe.weights is not None:
        _check_weights(recipe, entry, f"models.{name}")
    elif entry.kind == "network":
        if entry.whole_scenes:
            _check_own_samples(recipe.base, training, f"models.{name}.training")
        _check_objectives(config, entry, options, training, f"models.{name}.training.objectives")
    if scale is not None:
        try:
            entry.check_scale(scale)
        except HsisrError as error:
            raise HsisrError(f"{where}: {name}: {error}") from None
    weights = recipe.weights
    if weights == SHIPPED and scale is not None:
        weights = _shipped_weights(recipe.base, scale, f"models.{name}.weights")
    return Model(name, recipe.base, options, tuple(recipe.seeds), training, weights)


def _shipped_weights(base: str, scale: int, where: str) -> str:
    """The file of the weights that come with the package or were made here. Raises HsisrError if there are none."""
    if base == shipped.MADE and scale in shipped.MADE_SCALES:
        path = made_model(scale)
        if not path.is_file():
            raise HsisrError(
                f"{where}: {SHIPPED}: those of {base} for scale {scale} are not on this machine; `hsisr weights "
                f"{path.stem}` makes them from CAVE; or leave it out and train"
            )
        return str(path)
    found = shipped_model(scale) if base == shipped.SHIPPED else None
    if found is None:
        raise HsisrError(
            f"{where}: {SHIPPED}: hsisr comes with weights of {shipped.SHIPPED} for scale {shipped_scales()}, and can "
            f"make those of {shipped.MADE} for {', '.join(map(str, shipped.MADE_SCALES))}, not of {base} for {scale}; "
            "name a file, or leave it out and train"
        )
    return str(found)


def _check_weights(recipe: Recipe, entry: registry.Entry, where: str) -> None:
    """Raise HsisrError if a recipe cannot take its weights from a file."""
    if entry.kind != "network":
        raise HsisrError(f"{where}.weights: {recipe.base} is no network and has no weights; leave the key out")
    if len(recipe.seeds) > 1:
        raise HsisrError(f"{where}.seeds: weights from a file are one run; leave seeds out, or give a model a file")


def _check_own_samples(base: str, training: Training, where: str) -> None:
    """Raise HsisrError for a key that says nothing to a network that makes its own samples of whole scenes."""
    variation = training.total_variation
    unusable = [
        ("objectives", "{}", training.objectives.mixup is not None, "learns corrections, whose bands mixup cannot mix"),
        ("total_variation", "{}", variation.space or variation.bands, "learns corrections, not images"),
        ("patches_per_epoch", "null", training.patches_per_epoch, "draws its own patches"),
        ("augment", "true", not training.augment, "draws its own patches, each in one of 8 flips and rotations"),
    ]
    for key, default, used, why in unusable:
        if used:
            raise HsisrError(f"{where}.{key}: {base} {why}; leave the key out, or give this model {key}: {default}")


def _check_objectives(
    config: Config, entry: registry.Entry, options: dict[str, Any], training: Training, where: str
) -> None:
    """Raise HsisrError if a network cannot be trained with its objectives, or on those photographs."""
    chosen = training.objectives
    for objective in ("rgb", "unlabelled"):
        if getattr(chosen, objective) is None:
            continue
        if entry.own:  # its training asks the network itself
            continue
        if not entry.rgb_path:
            able = ", ".join(name for name in registry.names() if registry.entry(name).rgb_path)
            raise HsisrError(f"{where}.{objective}: needs a network with an RGB path: {able}")
        if options.get("group", RGB_CHANNELS) != RGB_CHANNELS:
            raise HsisrError(
                f"{where}.{objective}: RGB is mixed into {RGB_CHANNELS} channels, so that group must be "
                f"{RGB_CHANNELS}, not {options['group']}"
            )
    if chosen.rgb is not None and not datasets.entry(chosen.rgb.dataset, config.datasets).auxiliary:
        known = ", ".join(n for n in datasets.names(config.datasets) if datasets.entry(n, config.datasets).auxiliary)
        raise HsisrError(f"{where}.rgb.dataset: {chosen.rgb.dataset} holds no photographs; known sets that do: {known}")
