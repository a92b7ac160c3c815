"""The steps of the pipeline: of each the function that does it, the files and settings it reads, and its code.

This is the one place that says so. Together they are the step's identity: the rules of the workflow rerun a step when
its identity changes, every file is stamped with it, and a training goes on from a state of the same identity only.
What a step reads from files is part of it by content: `inputs` names the files, who uses them hashes them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hsisr import datasets, degrade
from hsisr.config import Config, Sweep
from hsisr.errors import HsisrError, did_you_mean
from hsisr.files import file_hash, settings_hash
from hsisr.models import registry
from hsisr.models.own import sources_of
from hsisr.models.shipped import MADE, MADE_SCALES, SHIPPED, made_model, shipped_models
from hsisr.pipeline import paths
from hsisr.pipeline.benchmark import Benchmark, Model
from hsisr.pipeline.predictions import check_files, name_in_project, read_with
from hsisr.sources import PACKAGE, csrc_folder

#: Keys of the section `training` that change no result beyond rounding.
WITHOUT_EFFECT = {"workers", "devices", "nodes", "save_every_seconds"}

#: Differences that a line names, at most.
_MOST_NAMED = 6

#: What fetching, converting and splitting read of a data set's entry.
_DESCRIPTION = {"name", "title", "licence", "citation"}
_FETCHED = {"access", "files", "hashes", "package", "package_folder", "path", "layout", "guide", "labels", "scenes"}
_CONVERTED = {
    *("reader", "reader_options", "layout", "guide", "labels"),
    *("bands", "wavelengths_nm", "scale", "black_level", "band_steps"),
}
_SPLIT = {"name", "scenes", "splits", "default_split", "auxiliary", "path", "access", "layout", "reader"}

#: Module -> the data files of the package that it reads, whatever it is asked for.
_READ_BY: Mapping[str, Callable[[], Iterable[Path]]] = {
    "hsisr.ops.build": lambda: (csrc_folder() or Path()).glob("*.*"),
    "hsisr.report.page": lambda: (PACKAGE.folder / "report" / "templates").iterdir(),
    "hsisr.report.published": lambda: [PACKAGE.folder / "report" / "published.yaml"],
}


@dataclass(frozen=True)
class Step:
    """A step with its settings.

    name: of the rule. function: "module:function" that does it. settings: what it reads of the configuration and of
    the catalogue, plain values. inputs: label -> files that it reads. modules: of the package, that it loads by their
    names alone. data: files of the package that it reads. own: path -> hash, of files of the user's own that decide
    what it makes: code, tables.
    """

    name: str
    function: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, list[str]] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    data: tuple[Path, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def closure(self) -> tuple[str, ...]:
        """The modules of the package that its function can reach, sorted."""
        return PACKAGE.closure([PACKAGE.provider(*self.function.split(":")), *self.modules])

    @cached_property
    def code(self) -> dict[str, str]:
        """File -> hash, of all sources and data files of the package that it uses, and of the user's own."""
        read = [path for module, files in _READ_BY.items() if module in self.closure for path in files()]
        return PACKAGE.hashes(self.closure, [*self.data, *(path for path in read if path.is_file())]) | dict(self.own)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes this step this one, apart from the content of its inputs; plain values."""
        return {"step": self.name, "settings": self.settings, "code": self.code}

    def contents(self) -> dict[str, dict[str, str]]:
        """Label -> file -> SHA-256 of what it holds, of all inputs. Raises HsisrError if one is missing."""
        return {label: {file: file_hash(file) for file in files} for label, files in self.inputs.items() if files}

    @cached_property
    def digest(self) -> str:
        """The identity in twelve hex digits, as files are stamped with it."""
        return settings_hash(self.identity)


def source_of(config: Config, dataset: str) -> str | None:
    """What replaces the place that a data set comes from: the variable, else the configuration, else None."""
    return datasets.given_source(dataset) or config.sources.get(dataset)


def fetching(config: Config, dataset: str) -> Step:
    """Bring a data set here."""
    entry = datasets.entry(dataset, config.datasets)
    source = source_of(config, dataset)
    settings = {"entry": entry.model_dump(include=_DESCRIPTION | _FETCHED), "source": source}
    data = () if entry.hashes is None else (PACKAGE.folder / "datasets" / "catalogue" / entry.hashes,)
    own = datasets.local_files(dataset, Path(paths.RAW.format(dataset=dataset)).parent, source, config.datasets)
    return Step("fetch", "hsisr.datasets:fetch", settings, data=data, own=own)


def conversion(config: Config, dataset: str) -> Step:
    """Convert a scene of a data set; the same for all of them."""
    entry = datasets.entry(dataset, config.datasets)
    guide_reader = entry.reader if entry.guide is None else entry.guide.reader or entry.reader
    readers = {entry.reader, guide_reader}
    if "auto" in readers or entry.labels is not None:  # which one reads a file is decided by its content
        readers |= set(datasets.READERS)
    modules = {reader: f"hsisr.datasets.readers.{reader}" for reader in sorted(readers - {"auto"})}
    for reader, module in modules.items():
        if PACKAGE.path(module) is None:
            near, known = did_you_mean(reader, datasets.READERS), ", ".join(datasets.READERS)
            raise HsisrError(f"datasets.{dataset}: unknown reader {reader!r}; {near}known: {known}")
    return Step(
        "convert",
        "hsisr.datasets:convert",
        {"entry": entry.model_dump(include=_DESCRIPTION | _CONVERTED)},
        {"raw": [paths.RAW.format(dataset=dataset)]},
        tuple(modules.values()),
    )


def splitting(config: Config, dataset: str) -> Step:
    """Write the split of a data set."""
    entry = datasets.entry(dataset, config.datasets)
    settings = {
        "entry": entry.model_dump(include=_SPLIT),
        "scenes": config.scenes.get(dataset),
        "split": config.splits.get(dataset),
    }
    return Step("split", "hsisr.datasets:split", settings)


def pairing(benchmark: Benchmark, item: str) -> Step:
    """Degrade one scene or region."""
    chosen = benchmark.item(item)
    inputs = {"scene": [benchmark.scene_path(chosen)], "split": [benchmark.path(paths.SPLIT)]}
    function, settings = "hsisr.pipeline.pair_files:make", {**_degradation(benchmark), "item": _place(chosen)}
    data, own = _responses(benchmark), _own_tables(benchmark)
    return Step("pairs", function, settings, inputs, _table_readers(own), data, own)


def cutting(benchmark: Benchmark, part: str = "train") -> Step:
    """Cut the patches of the training part, or of the unlabelled one."""
    items = benchmark.parts[part]
    if benchmark.draws_crops:  # they are drawn and degraded when they are read
        sources = sorted({benchmark.scene_path(item) for item in items})
    else:
        sources = [benchmark.path(paths.PAIR, item=item.name) for item in items]
    own = _own_tables(benchmark)
    return Step(
        "patches" if part == "train" else part,
        "hsisr.pipeline.patch_files:make",
        _patches(benchmark),
        {"sources": sources, "split": [benchmark.path(paths.SPLIT)]},
        _table_readers(own),
        _responses(benchmark),
        own,
    )


def training(benchmark: Benchmark, model: str, seed: int) -> Step:
    """Train a network with one seed, or place the weights that it comes with."""
    chosen = benchmark.model(model)
    function, (modules, own) = "hsisr.training:train_one", _code(benchmark, [chosen])
    if chosen.weights is not None:
        inputs = {"weights": [chosen.weights], "pair": _test_pairs(benchmark)[:1]}
        return Step("train", function, _training(benchmark, model, seed), inputs, modules, own=own)
    inputs = {
        "patches": [benchmark.patch_path()],
        "auxiliary": [of.patch_path(part) for of, part in benchmark.auxiliary_patches(model).values()],
        "validation": [benchmark.path(paths.PAIR, item=item.name) for item in benchmark.parts["validation"]],
    }
    if registry.entry(chosen.base).whole_scenes:
        inputs["scenes"] = sorted({benchmark.scene_path(item) for item in benchmark.parts["train"]})
    return Step(
        "train",
        function,
        _training(benchmark, model, seed),
        inputs,
        modules,
        _responses(benchmark),
        own,
    )


def scoring(benchmark: Benchmark, model: str) -> Step:
    """Score one model, with all its seeds."""
    modules, own = _code(benchmark, [benchmark.model(model)])
    return Step(
        "evaluate",
        "hsisr.evaluation:evaluate_model",
        _scoring(benchmark, model),
        {**_finished_runs(benchmark, [model]), "pairs": _test_pairs(benchmark)},
        modules,
        _responses(benchmark),
        own,
    )


def costing(benchmark: Benchmark) -> Step:
    """Measure what the models cost."""
    inputs = {**_finished_runs(benchmark, benchmark.models), "pair": _test_pairs(benchmark)[:1]}
    modules, own = _code(benchmark, benchmark.models.values())
    function = "hsisr.evaluation:measure_runtime"
    return Step("runtime", function, _every_model(benchmark), inputs, modules, _responses(benchmark), own)


def classifying(benchmark: Benchmark) -> Step:
    """Classify land cover in what the models made."""
    previews = [benchmark.path(paths.PREVIEW, model=name) for name in benchmark.models]
    labels = datasets.entry(benchmark.dataset, benchmark.config.datasets).labels
    return Step(
        "classify",
        "hsisr.evaluation:classify",
        {**_every_model(benchmark), "classes": [] if labels is None else list(labels.names)},
        {"pairs": _test_pairs(benchmark), "previews": previews},
    )


def merging(benchmark: Benchmark) -> Step:
    """Gather the scores of all models of a benchmark, or those of its folds."""
    if benchmark.folds:
        inputs = {"folds": [fold.path(paths.RESULTS) for fold in benchmark.folds]}
        folds = {"folds": benchmark.choice.folds, "fold_seed": benchmark.choice.fold_seed}
        return Step("merge", "hsisr.evaluation:merge", {**_every_model(benchmark), **folds}, inputs)
    measured = [(benchmark.measures_runtime, paths.RUNTIME), (benchmark.classifies, paths.CLASSIFICATION)]
    inputs = {
        "scores": [benchmark.path(paths.SCORES, model=name) for name in benchmark.models],
        "comparisons": [benchmark.path(pattern) for wanted, pattern in measured if wanted],
    }
    settings = {**_every_model(benchmark), "comparisons": [wanted for wanted, _ in measured]}
    return Step("merge", "hsisr.evaluation:merge", settings, inputs)


def reporting(config: Config, benchmarks: Iterable[Benchmark]) -> Step:
    """Write the report."""
    benchmarks = list(benchmarks)
    inputs = {
        "results": [benchmark.path(paths.RESULTS) for benchmark in benchmarks],
        "previews": [
            scored.path(paths.PREVIEW, model=name)
            for benchmark in benchmarks
            for scored in benchmark.scored
            for name in benchmark.models
        ],
        "sweeps": [pattern.format(sweep=name) for name in config.sweeps for pattern in (paths.SWEEP, paths.SWEEP_MAP)],
    }
    settings = {"report": config.report.model_dump(), "benchmarks": [benchmark.name for benchmark in benchmarks]}
    described = {benchmark.dataset: _describe(benchmark) for benchmark in benchmarks}
    data = {path for benchmark in benchmarks for path in _responses(benchmark)}
    own = {file: found for benchmark in benchmarks for file, found in _own_tables(benchmark).items()}
    function = "hsisr.report:build"
    settings |= {"data sets": described}
    return Step("report", function, settings, inputs, _table_readers(own), tuple(sorted(data)), own)


def predicting(config: Config, scene: str) -> Step:
    """Super-resolve a scene of the user's own. Raises HsisrError if the configuration names none of this name."""
    _check_named(config.predict, scene, "predict: no scene")
    chosen = config.predict[scene]
    check_files(config.predict, scene)
    guide = [] if chosen.guide is None else read_with(chosen.guide)
    inputs = {"lr": read_with(chosen.lr), "guide": guide, "model": _own_model(chosen.model)}
    bases = [chosen.model]
    if inputs["model"]:  # what a model file holds shows when it is read
        bases = [*registry.names(), *(recipe.base for recipe in config.models.values())]
    modules, own = _code_of(bases)
    page = () if chosen.report is None else ("hsisr.report.quality",)
    modules = tuple(sorted({*modules, *_readers(), *page}))
    data = _shipped([chosen.model], chosen.scale)
    return Step("predict", "hsisr.inference:super_resolve_file", asdict(chosen), inputs, modules, data, own)


def configured_sweep(config: Config, name: str) -> Sweep:
    """The sweep of this name. Raises HsisrError if the configuration names none."""
    _check_named(config.sweeps, name, "sweeps: no sweep")
    return config.sweeps[name]


def _check_named(section: Mapping[str, Any], name: str, what: str) -> None:
    if name not in section:
        known, near = ", ".join(section) or "none", did_you_mean(name, section)
        raise HsisrError(f"{what} {name!r}; {near}config.yaml names {known}")


def sweeping(sweep: Sweep) -> Step:
    """Run models over a grid of degradations of one scene."""
    inputs = {"scene": read_with(sweep.scene), "models": [file for model in sweep.models for file in _own_model(model)]}
    modules, own = _code_of(registry.names() if inputs["models"] else sweep.models)
    data = tuple(_response_table(name) for name in sorted(set(degrade.RESPONSES).intersection(sweep.responses)))
    data += _shipped(sweep.models, sweep.scale)
    modules = tuple(sorted({*modules, *_readers()}))
    return Step("sweep", "hsisr.evaluation.sweep:run", sweep.model_dump(), inputs, modules, data, own)


def difference(before: Any, now: Any) -> str:
    """What differs between two identities, in words: settings with their values, code by its files, data by name."""
    before, now = plain(before), plain(now)
    if not isinstance(before, dict) or not isinstance(now, dict):
        return "made by an earlier version of hsisr" if before is None else "settings"
    named = [line for section in sorted({*before, *now}) for line in _differences(section, before, now)]
    more = len(named) - _MOST_NAMED
    return "; ".join(named[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _differences(section: str, before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    changes = list(_changes(before.get(section), now.get(section)))
    if section == "code":
        names = sorted({key for key, *_ in changes})
        if names:
            yield f"code: {', '.join(names[:3])}" + (f" and {len(names) - 3} more files" if len(names) > 3 else "")
    elif section == "data":
        yield from sorted({f"data: {key.partition('.')[0]}" for key, *_ in changes})
    else:
        for key, old, new in changes:
            where = key if section == "settings" else f"{section}: {key}"
            yield f"{where.rstrip(': ')}: {old!r}, now {new!r}"


def _changes(before: Any, now: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}, key=str):
            yield from _changes(before.get(key), now.get(key), f"{where}.{key}" if where else str(key))
    elif before != now:
        yield where, before, now


def plain(value: Any) -> Any:
    """The value as it comes back out of a file: dictionaries, lists, numbers, text."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _own_model(name: str) -> list[str]:
    """The model file that a name stands for, which a training may make; none for an untrained method.

    Of weights that were made here, those of all scales: the images may be what says the scale.
    """
    model = Path(name)
    if name == MADE:
        return [str(path) for path in map(made_model, MADE_SCALES) if path.is_file()]
    if str(model) in registry.names():
        return []
    return [name_in_project(model if model.suffix == ".safetensors" else model / "model.safetensors")]


def _shipped(models: Iterable[str], scale: int | None) -> tuple[Path, ...]:
    """The weights of the package that models stand for by their names. scale: None: not known, so of all scales."""
    found = shipped_models() if SHIPPED in models else {}
    return tuple(file for of, file in found.items() if scale in (None, of))


def _degradation(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "dataset": benchmark.dataset,
        "scale": benchmark.scale,
        "protocol": benchmark.config.protocols.get(benchmark.protocol, benchmark.protocol),
        "response": benchmark.response,
        "noise": benchmark.choice.noise,
        "seed": benchmark.choice.seed,
        **({} if benchmark.choice.convention is None else {"convention": benchmark.convention}),
    }


def _patches(benchmark: Benchmark) -> dict[str, Any]:
    return {**_degradation(benchmark), "parts": _parts(benchmark), "patches": benchmark.patches.model_dump()}


def _training(benchmark: Benchmark, model: str, seed: int) -> dict[str, Any]:
    return _patches(benchmark) | _model(benchmark, model, [seed])


def _scoring(benchmark: Benchmark, model: str) -> dict[str, Any]:
    return {
        **_degradation(benchmark),
        "parts": _parts(benchmark),
        **_model(benchmark, model, list(benchmark.model(model).seeds)),
        "guide_response": benchmark.guide_response,
        "preview_scenes": benchmark.config.report.scenes,
    }


def _model(benchmark: Benchmark, name: str, seeds: list[int]) -> dict[str, Any]:
    """What a model is and, of a network, how it is trained."""
    entry = benchmark.model(name)
    settings: dict[str, Any] = {"model": {"base": entry.base, **entry.options}}
    if entry.weights is not None:
        settings["weights"] = entry.weights_sha256
    elif entry.is_network:
        settings["training"] = entry.training.model_dump(exclude=WITHOUT_EFFECT)
        settings["seeds"] = seeds
        photographs = benchmark.photographs(name)
        if photographs is not None:
            settings["photographs"] = _patches(photographs)
    return settings


def _every_model(benchmark: Benchmark) -> dict[str, Any]:
    return {"models": {name: _scoring(benchmark, name) for name in benchmark.models}}


def _parts(benchmark: Benchmark) -> dict[str, list]:
    return {part: [_place(item) for item in items] for part, items in benchmark.parts.items()}


def _place(item: datasets.Item) -> str | list:
    """What ground an item is: its name, and of a region the scene and the place too."""
    return item.name if item.region is None else [item.name, item.scene, *item.region]


def _describe(benchmark: Benchmark) -> dict[str, Any]:
    entry = datasets.entry(benchmark.dataset, benchmark.config.datasets)
    return entry.model_dump(include=_DESCRIPTION | {"homepage"})


def _finished_runs(benchmark: Benchmark, models: Iterable[str]) -> dict[str, list[str]]:
    """The files of finished runs, one run a seed; none for a model that is not trained."""
    runs = [
        {"model": name, "seed": seed}
        for name in models
        if benchmark.model(name).is_network
        for seed in benchmark.model(name).seeds
    ]
    kinds = {"weights": paths.WEIGHTS, "trainings": paths.TRAINING}
    return {kind: [benchmark.trained_on.path(pattern, **run) for run in runs] for kind, pattern in kinds.items()}


def _test_pairs(benchmark: Benchmark) -> list[str]:
    return [benchmark.path(paths.PAIR, item=item.name) for item in benchmark.parts["test"]]


def _code(benchmark: Benchmark, models: Iterable[Model]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The same as `_code_of`, with the files of the user's own that the benchmark's pairs depend on."""
    modules, own = _code_of(model.base for model in models)
    tables = _own_tables(benchmark)
    return tuple(sorted({*modules, *_table_readers(tables)})), own | tables


def _own_tables(benchmark: Benchmark) -> dict[str, str]:
    """File -> hash, of responses and PSF of the user's own."""
    return {file: file_hash(file)[:12] for file in benchmark.own_tables}


def _table_readers(tables: Mapping[str, str]) -> tuple[str, ...]:
    """The modules that read such files: which one it is shows by the content."""
    return _readers() if tables else ()


def _readers() -> tuple[str, ...]:
    return tuple(f"hsisr.datasets.readers.{reader}" for reader in datasets.READERS)


def _code_of(bases: Iterable[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Of models: the modules of the package that hold them, and file -> hash of what is somebody else's."""
    modules: set[str] = set()
    hashes: dict[str, str] = {}
    for base in sorted(set(bases)):
        entry = registry.entry(base)
        if not entry.own:
            named = filter(None, (entry.factory, entry.estimate, entry.errors))
            modules.update(path.partition(":")[0] for path in named)
            continue
        sources, module = sources_of(entry.factory)
        own, ours = sources.reached(module)
        hashes |= own
        modules.update(ours)
    return tuple(sorted(modules)), hashes


def _responses(benchmark: Benchmark) -> tuple[Path, ...]:
    """The tables of spectral responses that a benchmark uses."""
    used = (benchmark.response or benchmark.rule.response, benchmark.guide_response)
    names = set(degrade.RESPONSES).intersection(used)
    if any(model.training.objectives.unlabelled is not None for model in benchmark.models.values()):
        names.add(degrade.MIXUP_RESPONSE)
    return tuple(map(_response_table, sorted(names)))


def _response_table(name: str) -> Path:
    return PACKAGE.folder / "degrade" / "responses" / f"{name}.csv"
