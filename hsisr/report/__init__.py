"""The report: the results of all benchmarks on one page. The page opens from disk and needs no network."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hsisr.config import Report, Sweep
from hsisr.errors import HsisrError
from hsisr.evaluation import sweep
from hsisr.files import write_text
from hsisr.pipeline import paths
from hsisr.pipeline.benchmark import Benchmark
from hsisr.report import content, export, page, tables
from hsisr.report import sweeps as sweep_tables


def build(
    benchmarks: Sequence[Benchmark],
    out: str | os.PathLike,
    settings: Report,
    figures: str | os.PathLike | None = None,
    sweeps: Mapping[str, Sweep] | None = None,
) -> None:
    """Write the report of evaluated benchmarks: `out` (HTML), and beside it `index.md`, `scores.csv` and `scores.tex`.

    benchmarks: those to show. sweeps: name -> sweep to show, below the benchmarks.
    figures: folder for plots and pictures as files of their own, one folder for each benchmark; it is emptied first.

    Reads results/<benchmark>.json, results/<benchmark>/<model>.h5 and runs/<benchmark>/<model>/seed<k>/history.csv
    below the current folder. The page holds everything it shows. To stay below about 25 MB, it chooses a form for its
    pictures, and a number of pixels whose spectra it holds; it states both. Raises HsisrError for results that are
    missing, damaged or made with other settings.
    """
    if not benchmarks and not sweeps:
        raise HsisrError("nothing to report: the configuration names no benchmarks; add one under benchmarks:")
    out = Path(out)
    sections, found, wavelengths_nm = [], {}, {}
    if figures is not None:
        export.start(figures)
    for benchmark in benchmarks:  # one at a time: only one benchmark's pictures are in memory
        read = content.read(benchmark, settings.scenes)
        section = page.section(read, share=1 / len(benchmarks))
        sections.append(section)
        if figures is not None:
            export.write(Path(figures) / benchmark.name, section.plots, section.galleries)
        found[benchmark.name] = read.results
        wavelengths_nm[benchmark.name] = read.scenes[0].wavelengths_nm if read.scenes else None
    swept = {}
    for name, wanted in (sweeps or {}).items():
        path = paths.SWEEP.format(sweep=name)
        swept[name] = sweep.read(path)
        sweep.check_current(path, swept[name], wanted)
    shown = {
        name: page.sweep(name, result, sweep_tables.picture(paths.SWEEP_MAP.format(sweep=name)))
        for name, result in swept.items()
    }
    write_text(out, page.render(settings.title, sections, found, shown))
    tabled = {name: sweep_tables.table(result) for name, result in swept.items()}
    write_text(out.with_suffix(".md"), tables.markdown(settings.title, found, wavelengths_nm, tabled))
    write_text(out.with_name("scores.csv"), tables.scores_csv(found))
    write_text(out.with_name("scores.tex"), tables.latex(found))
