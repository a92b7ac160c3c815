"""Methods without training on CAVE scenes: one table per protocol, each method with measured and with known sensor.

    python studies/baselines.py --data <folder with complete_ms_data> [--scale 8] [--scenes ...] [--models ...]

Prints Markdown tables of PSNR (dB) / SAM (degrees), a column a scene, and the median seconds of a scene. `estimated`:
PSF, shift, response and noise are measured from the pair. `known`: those that the pair was made with are given.
"""

import statistics
import time

import cave
import numpy as np

from hsisr import degrade, metrics
from hsisr.models import registry

MODELS = ("nearest", "bicubic", "bicubic-ibp", "sfim-hs", "glp-hs", "gsa", "cnmf", "hysure", "prior")
PROTOCOLS = ("mulsr", "mulsr-aligned", "wald")


def main() -> None:
    parser = cave.arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--protocols", nargs="+", default=PROTOCOLS)
    parser.add_argument("--sensor", nargs="+", default=("estimated", "known"), choices=("estimated", "known"))
    options = parser.parse_args()
    scenes = cave.read(options.data, options.scenes)
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
