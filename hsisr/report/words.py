"""The comparison in words: the facts at the head of a benchmark's section."""

from collections.abc import Sequence

from hsisr import datasets
from hsisr.degrade.response import load_response
from hsisr.evaluation.results import Results
from hsisr.evaluation.table import columns_of, leading_key, leading_models, meaning
from hsisr.metrics import find_convention
from hsisr.pipeline.benchmark import Benchmark
from hsisr.report import tables

#: Most names in a list. A longer list is cut.
_MOST_NAMES = 24

#: Most models that are named after the leading one.
_MOST_FOLLOWERS = 3


def facts(benchmark: Benchmark, results: Results) -> list[tuple[str, str]]:
    """(heading, text) of all facts that define the benchmark."""
    scale = results.scale
    found = [
        ("Scale", f"{scale}: one pixel of the input covers {scale} x {scale} of the result"),
        ("Protocol", f"{results.protocol}: {benchmark.rule.description}"),
        ("Guide", guide(benchmark)),
        ("Scores", convention(results.convention)),
    ]
    headings = {"train": "Training", "validation": "Validation", "test": "Test", "unlabelled": "Unlabelled"}
    imported = [f"{name}: {model.weights['file']}" for name, model in results.models.items() if model.weights]
    if imported:
        found.append(("Imported weights", f"{', '.join(imported)}; trained elsewhere, on data that its authors name"))
    parts = benchmark.parts
    if benchmark.folds:
        found.append(("Folds", folds(benchmark)))
        tested = [item for fold in benchmark.folds for item in fold.parts["test"]]
        parts = {"test": tested, "unlabelled": parts["unlabelled"]}
    found += [(headings[part], listing(items)) for part, items in parts.items() if items]
    return found


def folds(benchmark: Benchmark) -> str:
    """The test scenes of each fold of a cross-validation."""
    count, seed = len(benchmark.folds), benchmark.choice.fold_seed
    tested = [", ".join(item.name for item in fold.parts["test"]) for fold in benchmark.folds]
    said = "; ".join(f"{number}: {names}" for number, names in enumerate(tested, start=1))
    return f"{count}, dealt with seed {seed}; each tests the scenes on which the others train and validate. {said}"


def finding(results: Results) -> str:
    """Which models lead and follow, and what this means."""
    key = tables.leading_key(results)
    heading, _, higher = columns_of(results)[key]
    values = {name: tables.value(model.mean, key) for name, model in results.models.items()}
    known = {name: value for name, value in values.items() if value is not None}
    order = sorted(known, key=lambda name: known[name], reverse=higher)
    said = [f"{name} {tables.text(results.models[name].mean, key)}{' dB' if key == 'psnr' else ''}" for name in order]
    leaders = len(leading_models(results)) if key == leading_key(results) else 1
    followers = ", ".join(said[leaders : leaders + _MOST_FOLLOWERS])
    if key == leading_key(results):  # its leaders stand in the sentence
        return f"{meaning(results)} Next: {followers}." if followers else meaning(results)
    return f"Best {heading}: {said[0]}{', then ' if followers else ''}{followers}. {meaning(results)}"


def guide(benchmark: Benchmark) -> str:
    """The origin of the sharp image beside the LR image."""
    rule = benchmark.rule
    has_own = datasets.entry(benchmark.dataset, benchmark.config.datasets).guide is not None
    if rule.real_guide and benchmark.response is None and has_own:
        return "the sharp image that comes with each scene"
    name = benchmark.response or rule.response
    if not rule.needs_guide or name in (None, "none"):
        return "none: super-resolution of a single image"
    return f"simulated by the spectral response {name} ({', '.join(load_response(name).channels)})"


def convention(name: str | None) -> str:
    """The metric convention and its rules."""
    if name is None:
        return "no reference: the result is compared with its inputs, at their resolutions"
    return f"convention {name}: {find_convention(name).description}"


def listing(items: Sequence[datasets.Item]) -> str:
    """The scenes or regions of one part."""
    names = [_item(item) for item in items[:_MOST_NAMES]]
    more = f" and {len(items) - _MOST_NAMES} more" if len(items) > _MOST_NAMES else ""
    count = f"{len(items)} scenes: " if len(items) > 1 else ""
    return f"{count}{', '.join(names)}{more}"


def _item(item: datasets.Item) -> str:
    if item.region is None:
        return item.name
    r0, r1, c0, c1 = item.region
    return f"{item.name} (rows {r0} to {r1 - 1}, columns {c0} to {c1 - 1} of {item.scene})"
