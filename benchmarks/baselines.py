"""Methods without training on CAVE scenes: one table per protocol, each method with measured and with known sensor.

    python benchmarks/baselines.py --data <folder with complete_ms_data> [--scale 8] [--scenes ...] [--models ...]

Prints Markdown tables of PSNR (dB) / SAM (degrees), a column a scene, and the median seconds of a scene. `estimated`:
PSF, shift, response and noise are measured from the pair. `known`: those that the pair was made with are given.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from hsisr import datasets, degrade, metrics
from hsisr.models import registry

SCENES = ("jelly_beans", "oil_painting", "thread_spools", "watercolors")
MODELS = ("nearest", "bicubic", "bicubic-ibp", "sfim-hs", "glp-hs", "gsa", "cnmf", "hysure", "prior")
PROTOCOLS = ("mulsr", "mulsr-aligned", "wald")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="local copy of CAVE, whole or in part")
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--scenes", nargs="+", default=SCENES)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--protocols", nargs="+", default=PROTOCOLS)
    parser.add_argument("--sensor", nargs="+", default=("estimated", "known"), choices=("estimated", "known"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        datasets.fetch("cave", raw, source=str(options.data), progress=False)
        scenes = [datasets.convert("cave", name, raw, f"{folder}/{name}.h5") for name in options.scenes]
    for protocol in options.protocols:
        pairs = [degrade.pair(scene, protocol, options.scale) for scene in scenes]
        print(f"\n`{protocol}` x{options.scale}, PSNR / SAM\n")
        for pair, name in zip(pairs, options.scenes, strict=True):
            shift = degrade.estimate_sensor(pair.lr, pair.guide, options.scale).footprint.shift_px(options.scale)
            true = degrade.sensor_of(pair.metadata).footprint.shift_px(options.scale)
            print(f"{name}: measured shift {shift[0]:.2f}, {shift[1]:.2f} HR px; true {true[0]:.2f}, {true[1]:.2f}  ")
        print(f"\n| method | sensor | {' | '.join(options.scenes)} | mean | seconds |")
        print(f"| --- | --- | {'--- | ' * len(scenes)}--- | --- |")
        for model in options.models:
            for choice in options.sensor if "sensor" in registry.entry(model).options.model_fields else ("-",):
                print(_row(model, choice, pairs, options.scale), flush=True)


def _row(model: str, choice: str, pairs: list[degrade.Pair], scale: int) -> str:
    """A line of the table: scores of each scene, their mean, median time."""
    scores, seconds = [], []
    for pair in pairs:
        told = {} if choice == "-" else {"sensor": choice}
        sensor = degrade.sensor_of(pair.metadata, pair.mask)
        method = registry.build(model, scale, len(pair.lr), len(pair.guide), told, sensor)
        started = time.perf_counter()
        estimate = method.super_resolve(pair.lr, pair.guide)
        seconds.append(time.perf_counter() - started)
        found = metrics.score(pair.hr, estimate, scale, "mulsr", mask=pair.mask)
        scores.append((found["psnr"], found["sam"]))
    cells = [f"{psnr:.2f} / {sam:.2f}" for psnr, sam in [*scores, tuple(np.mean(scores, axis=0))]]
    return f"| {model} | {choice} | {' | '.join(cells)} | {statistics.median(seconds):.1f} |"


if __name__ == "__main__":
    main()
