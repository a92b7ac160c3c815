"""The rule graph: the steps behind a result, how often each ran, and which step reads another's files."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from html import escape

from hsisr.config import Config
from hsisr.pipeline import paths, steps
from hsisr.pipeline.benchmark import Benchmark, resolve
from hsisr.pipeline.steps import Step

#: Sizes in the drawing, in pixels.
_BOX_WIDTH, _BOX_HEIGHT, _GAP_WIDTH, _GAP_HEIGHT, _TIP = 104, 24, 14, 20, 4

#: Pattern of a data set's file -> the step that makes it, from the configuration and the data set.
_OF_DATA_SET: Mapping[str, Callable[[Config, str], Step]] = {
    paths.RAW: steps.fetching,
    paths.SCENE: steps.conversion,
    paths.SPLIT: steps.splitting,
}
#: Pattern of a benchmark's file -> the step that makes it, from the benchmark and the other parts of the file name.
_OF_BENCHMARK: Mapping[str, Callable[..., Step]] = {
    paths.PAIR: steps.pairing,
    paths.PATCHES: steps.cutting,
    paths.UNLABELLED: lambda benchmark: steps.cutting(benchmark, "unlabelled"),
    paths.WEIGHTS: lambda benchmark, model, seed: steps.training(benchmark, model, int(seed)),
    paths.TRAINING: lambda benchmark, model, seed: steps.training(benchmark, model, int(seed)),
    paths.SCORES: steps.scoring,
    paths.PREVIEW: steps.scoring,
    paths.CLASSIFICATION: steps.classifying,
    paths.RUNTIME: steps.costing,
    paths.RESULTS: steps.merging,
}
#: Wildcard -> its allowed texts, where its pattern could match other files.
_WILDCARDS = {"model": "[a-z0-9-]+"}


def rules_of(benchmark: Benchmark) -> tuple[dict[str, int], set[tuple[str, str]]]:
    """Rule -> how often it runs for a benchmark's results; and pairs (rule, other rule that reads its files)."""
    found: dict[tuple[str, ...], Step] = {}
    links: set[tuple[str, str]] = set()
    waiting = [(benchmark.path(paths.RESULTS), "")]
    while waiting:
        file, reader = waiting.pop()
        made = _maker(benchmark, file)
        if made is None:  # the user's own file
            continue
        job, step = made
        if reader and reader != step.name:  # results of folds make other results
            links.add((step.name, reader))
        if job not in found:
            found[job] = step
            waiting += [(file, step.name) for files in step.inputs.values() for file in files]
    return dict(Counter(step.name for step in found.values())), links


def direct(links: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The links without those that a longer way replaces, sorted."""
    links = set(links)
    return sorted((a, b) for a, b in links if not any(first == a and b in reachable(c, links) for first, c in links))


def reachable(start: str, links: Iterable[tuple[str, str]]) -> set[str]:
    """Everything that a chain of links reaches from a start."""
    found = {b for a, b in links if a == start}
    return found.union(*(reachable(b, links) for b in found))


def places(names: Iterable[str], links: Iterable[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Name -> row (number of steps before it) and column (that of the first step it reads from, or the next free)."""
    depth = dict.fromkeys(names, 0)
    for _ in depth:
        for a, b in links:
            depth[b] = max(depth[b], depth[a] + 1)
    found: dict[str, tuple[int, int]] = {}
    for name, row in sorted(depth.items(), key=lambda entry: entry[1]):
        column = min((found[a][1] for a, b in links if b == name), default=0)
        while (row, column) in found.values():
            column += 1
        found[name] = (row, column)
    return found


def draw(jobs: Mapping[str, int], links: Iterable[tuple[str, str]], title: str) -> str:
    """The graph of `rules_of` as an SVG element in the page's colours. title: for a screen reader."""
    shown = direct(links)
    corner = {
        name: (1 + column * (_BOX_WIDTH + _GAP_WIDTH), 1 + row * (_BOX_HEIGHT + _GAP_HEIGHT))
        for name, (row, column) in places(jobs, shown).items()
    }
    width = max(x for x, _ in corner.values()) + _BOX_WIDTH + 1
    height = max(y for _, y in corner.values()) + _BOX_HEIGHT + 1
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
    ]
    for a, b in shown:
        x0, y0 = corner[a][0] + _BOX_WIDTH // 2, corner[a][1] + _BOX_HEIGHT
        x1, y1 = corner[b][0] + _BOX_WIDTH // 2, corner[b][1] - _TIP
        down = corner[b][1] - _GAP_HEIGHT  # straight down beside other boxes, then across in the last gap
        middle = (down + y1) / 2
        line = f"M{x0} {y0}V{down}C{x0} {middle:g} {x1} {middle:g} {x1} {y1}"
        parts.append(f'<path d="{line}" fill="none" stroke="var(--muted)"/>')
        parts.append(f'<path d="M{x1 - _TIP} {y1}h{2 * _TIP}l-{_TIP} {_TIP}z" fill="var(--muted)"/>')
    for name, (x, y) in corner.items():
        box = f'x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="4"'
        parts.append(f'<rect {box} fill="none" stroke="var(--muted)"/>')
        words = f'x="{x + _BOX_WIDTH // 2}" y="{y + 16}" font-size="11" text-anchor="middle" fill="var(--muted)"'
        parts.append(f"<text {words}>{name} ({jobs[name]})</text>")
    return "".join([*parts, "</svg>"])


def _maker(benchmark: Benchmark, file: str) -> tuple[tuple[str, ...], Step] | None:
    """The job that makes a file, by its rule and the parts of its name, and its step; None if no step makes it."""
    scored = (*benchmark.scored, benchmark)
    known = {one.name: one for one in (*(each.trained_on for each in scored), *scored)}
    for pattern, of_data_set in _OF_DATA_SET.items():
        if parts := _match(pattern, file):
            step = of_data_set(benchmark.config, parts["dataset"])
            return (step.name, *parts.values()), step
    for pattern, of_benchmark in _OF_BENCHMARK.items():
        if parts := _match(pattern, file):
            name, *others = parts.values()
            step = of_benchmark(known.get(name) or resolve(benchmark.config, name), *others)
            return (step.name, *parts.values()), step
    return None


def _match(pattern: str, file: str) -> dict[str, str] | None:
    """Wildcard -> its text in a file's name, in their order; None if the pattern does not match."""
    escaped = re.escape(pattern).replace(r"\{", "{").replace(r"\}", "}")
    expression = re.sub(r"{(\w+)}", lambda part: f"(?P<{part[1]}>{_WILDCARDS.get(part[1], '[^/]+')})", escaped)
    match = re.fullmatch(expression, file)
    return match.groupdict() if match else None
