"""Feed damaged files to the commands and readers: each must end well or in one line, soon, and leave nothing behind.

    python -m tests.hostile.fuzz --inputs 500 --seed 1 [KIND ...]

Every input follows from seed, kind and number. Prints the outcomes of every kind, and a line for each input that did
anything else: a traceback, a crash, more than 20 s, more than 1 GB, a file where a refused command leaves none, or a
file beside the folder it was given. Exit status 1 if there is one.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import seeds
from .mutations import damaged

MOST_SECONDS = 20
MOST_BYTES = 2**30
_TEXTS = frozenset((".csv", ".hdr", ".json", ".txt", ".vrt", ".xml", ".yaml"))
#: What an input may do.
_GOOD = ("done", "refused")


def hsisr(*words: Any) -> Callable[[Path], None]:
    """Run a command; FILE stands for the damaged file, OUT for the folder of outputs, SEEDS for whole files."""

    def run(file: Path) -> None:
        from hsisr.cli.app import app

        top = next(folder.parent for folder in file.parents if folder.name == "in")
        places = {"FILE": str(file), "OUT": str(top / "out"), "SEEDS": str(top / "seeds")}
        told = [str(word) for word in words]
        for name, place in places.items():
            told = [word.replace(name, place) for word in told]
        if file.name in ("x.npy", "x.npz", "plain.h5") and told[0] in ("show", "export", "degrade", "predict"):
            told += ["--read-guide" if "--guide" in told else "--read", "axes=BHW"]
        app(told, standalone_mode=False)

    run.__name__ = str(words[0])
    return run


def read_plane(file: Path) -> None:
    """Read a layer of labels."""
    from hsisr.datasets import readers

    readers.read_plane(file)


def unpack(file: Path) -> None:
    """Unpack an archive."""
    from hsisr.datasets.archives import unpack

    unpack(file, file.parents[1] / "out")


def resume(file: Path) -> None:
    """Read a training state."""
    from hsisr.training import state

    folder = file.parent / "state"
    folder.mkdir()
    shutil.copy(file, folder / "last.pt")
    state.load(file.parent, {"settings": {}})


def read_preview(file: Path) -> None:
    """Read what the report draws."""
    from hsisr.evaluation import preview

    preview.read(file)
    preview.read_labelled(file)


def read_history(file: Path) -> None:
    """Read a training history."""
    from hsisr.report.content import read_history

    read_history(file)


def read_sweep(file: Path) -> None:
    """Read what the report shows of a sweep."""
    from hsisr.evaluation import sweep
    from hsisr.evaluation.table import refusals
    from hsisr.report import sweeps

    result = sweep.read(file)
    sweeps.table(result)
    refusals(result)


def convert(file: Path) -> None:
    """Convert a scene of the raw folder that a manifest describes."""
    from hsisr import datasets

    datasets.convert("indian_pines", "indian_pines", file.parent, file.parents[1] / "out" / "scene.h5")


def fetch(file: Path) -> None:
    """Fetch a data set into the folder that a manifest describes."""
    from hsisr import datasets

    datasets.fetch("indian_pines", file.parent, progress=False)


PREDICT = hsisr("predict", "FILE", "--model", "bicubic", "--scale", 2, "-o", "OUT/r.tif")
GUIDED = hsisr("predict", "SEEDS/x.tif", "--guide", "FILE", "--model", "gsa", "-o", "OUT/r.tif")
SCENES = [
    hsisr("info", "FILE"),
    hsisr("show", "FILE", "-b", 0, "-o", "OUT/s.png"),
    hsisr("export", "FILE", "OUT/e.tif"),
    hsisr("export", "FILE", "OUT/e.h5"),
    hsisr("degrade", "FILE", "--protocol", "wald", "--scale", 2, "-o", "OUT/p.h5"),
    hsisr("score", "FILE", "FILE", "--scale", 2),
    PREDICT,
    GUIDED,
]
#: Kind -> seeds, and what is done with them. A seed in a folder comes with its folder, of which any file is damaged.
KINDS: dict[str, tuple[list[str], list[Callable[[Path], None]]]] = {
    "tif": (["x.tif", "cog.tif"], [*SCENES, read_plane]),
    "envi": (["envi/x.img", "envi/x.hdr"], SCENES),
    "vrt": (["vrt/x.vrt"], SCENES),
    "product": (
        ["prisma.he5", "aviris.nc", "neon.h5", "tanager.h5", "basic.h5", "emit/a_RFL_.nc", "desis.zip"],
        SCENES,
    ),
    "product-folder": (
        ["enmap/", "desis/", "sentinel2/", "landsat/", "hyperion/", "planet/a_AnalyticMS_SR_8b.tif", "stac/item.json"],
        SCENES,
    ),
    "matlab": (["v5.mat", "x73.mat"], [*SCENES, read_plane]),
    "numpy": (["x.npy", "x.npz"], [*SCENES, read_plane]),
    "hdf5": (["plain.h5"], SCENES),
    "scene": (["scene.h5"], SCENES),
    "photograph": (["rgb.png", "rgb.jpg", "rgb.bmp"], SCENES),
    "pair": (["pair.h5"], [*SCENES[:2], hsisr("registration", "FILE")]),
    "model": (
        ["model.safetensors"],
        [hsisr("predict", "SEEDS/x.tif", "--guide", "SEEDS/guide.tif", "--model", "FILE", "-o", "OUT/r.tif")],
    ),
    "checkpoint": (
        ["checkpoint.pth", "old.pth"],
        [hsisr("import-weights", "FILE", "--model", "mulsr-xs", "--scale", 2, "--bands", 6, "-o", "OUT/m.safetensors")],
    ),
    "state": (["last.pt"], [resume]),
    "archive": (["archive.zip", "archive.tar.gz"], [unpack]),
    "results": (["results.json"], [hsisr("compare", "FILE", "FILE")]),
    "config": (["config.yaml"], [hsisr("split", "indian_pines", "-c", "FILE"), hsisr("datasets", "-c", "FILE")]),
    "manifest": (["manifest.json"], [convert, fetch]),
    "preview": (["preview.h5"], [read_preview]),
    "sweep": (["sweep.json"], [read_sweep]),
    "history": (["history.csv"], [read_history]),
}


@dataclass(frozen=True)
class Outcome:
    """What became of an input. word: `done` and `refused` are good. text: what there is to tell."""

    number: int
    word: str
    text: str = ""


def fuzz(kind: str, inputs: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """The outcome of every input. folder: for seeds, inputs and outputs; made as needed."""
    if not (folder / "seeds" / "config.yaml").exists():
        seeds.write(folder / "seeds")
    number = 0
    while number < inputs:
        for outcome in _from_a_worker(kind, range(number, inputs), seed, folder):
            number = outcome.number + 1
            yield outcome


def _from_a_worker(kind: str, numbers: range, seed: int, folder: Path) -> Iterator[Outcome]:
    """Outcomes of inputs in a process of their own, until the last, or one that ends it."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    worker = multiprocessing.get_context("fork").Process(target=_work, args=(kind, numbers, seed, folder, theirs))
    worker.start()
    theirs.close()
    for number in numbers:
        word, text = _awaited(ours, worker.pid or 0)
        if not word:
            try:
                yield ours.recv()
                continue
            except EOFError:
                word, text = "crash", "the process has ended"
        worker.kill()
        yield Outcome(number, word, text)
        break
    worker.join()


def _awaited(pipe: Any, process: int) -> tuple[str, str]:
    """Why the worker is to be ended; empty when it has told an outcome, or has ended."""
    end = time.monotonic() + MOST_SECONDS
    while not pipe.poll(0.02):
        if time.monotonic() > end:
            return "hang", f"more than {MOST_SECONDS} s"
        if _memory(process) > MOST_BYTES:
            return "memory", f"more than {MOST_BYTES >> 20} MB"
    return "", ""


def _memory(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def _work(kind: str, numbers: range, seed: int, folder: Path, pipe: Any) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    for number in numbers:
        pipe.send(_tried(kind, number, seed, folder))


def _tried(kind: str, number: int, seed: int, folder: Path) -> Outcome:
    from click.exceptions import ClickException, Exit

    from hsisr.errors import HsisrError

    names, uses = KINDS[kind]
    rng = np.random.default_rng((seed, zlib.crc32(kind.encode()), number))
    name, use = names[rng.integers(len(names))], uses[rng.integers(len(uses))]
    for place in ("in", "out"):
        shutil.rmtree(folder / place, ignore_errors=True)
        (folder / place).mkdir()
    file = hurt = folder / "in" / name
    if "/" in name:
        whole = folder / "in" / name.split("/")[0]
        shutil.copytree(folder / "seeds" / whole.name, whole)
        inside = sorted(path for path in whole.rglob("*") if path.is_file())
        hurt = inside[rng.integers(len(inside))]
    content = (folder / "seeds" / hurt.relative_to(folder / "in")).read_bytes()
    hurt.write_bytes(damaged(content, rng, hurt.suffix.lower() in _TEXTS))
    before = _listed(folder)
    word, told = "done", ""
    try:
        use(file)
    except HsisrError as error:
        word = "refused" if len(str(error).splitlines()) == 1 else "several lines"
        told = "" if word == "refused" else str(error)
    except (ClickException, Exit):
        word = "refused"
    except BaseException as error:
        word, told = "traceback", f"{type(error).__name__}: {str(error)[:200]}"
    new = _listed(folder) - before
    beside = [path for path in new if path.split("/")[0] not in ("in", "out")]
    if beside:
        return Outcome(number, "wrote elsewhere", f"{use.__name__} {name}: {beside[:3]}")
    if word == "refused" and any(path.startswith("out/") for path in new):
        return Outcome(number, "left behind", f"{use.__name__} {name}: {sorted(new)[:3]}")
    return Outcome(number, word, f"{use.__name__} {name}: {told}" if told else "")


def _listed(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def main() -> None:
    """Fuzz the chosen kinds and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all if left out")
    parser.add_argument("--inputs", type=int, default=500, help="for each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    bad = 0
    for kind in arguments.kinds or KINDS:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = list(fuzz(kind, arguments.inputs, arguments.seed, Path(folder)))
        counts = dict(Counter(outcome.word for outcome in found))
        print(f"{kind:12s} {counts} in {time.perf_counter() - start:.0f} s", flush=True)
        for outcome in found:
            if outcome.word not in _GOOD:
                bad += 1
                print(f"  input {outcome.number}: {outcome.word}: {outcome.text}", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
