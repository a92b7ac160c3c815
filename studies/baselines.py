"""Methods without training on CAVE scenes: one table for each protocol, with measured and with known sensor.

    python studies/baselines.py --data <folder with complete_ms_data> [--scale 8] [--scenes ...] [--models ...]

Prints Markdown tables of PSNR (dB) / SAM (degrees), one column for each scene, and the median CPU seconds for a scene.
`estimated`: PSF, shift, response and noise are measured from the pair. `known`: the method gets the pair's own.
"""

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
        rows = [
            (model, choice)
            for model in options.models
            for choice in (options.sensor if "sensor" in registry.entry(model).options.model_fields else ("-",))
        ]
        # scene by scene, so that all methods meet the same conditions of the machine
        found = np.array([[_measure(*row, pair, options.scale) for row in rows] for pair in pairs])
        print(f"\n| method | sensor | {' | '.join(options.scenes)} | mean | CPU s |")
        print(f"| --- | --- | {'--- | ' * len(scenes)}--- | --- |")
        for row, scores in zip(rows, found.swapaxes(0, 1), strict=True):
            cells = [f"{psnr:.2f} / {sam:.2f}" for psnr, sam in [*scores[:, :2], scores[:, :2].mean(axis=0)]]
            print(f"| {' | '.join([*row, *cells])} | {np.median(scores[:, 2]):.1f} |", flush=True)


def _measure(model: str, choice: str, pair: degrade.Pair, scale: int) -> tuple[float, float, float]:
    """PSNR, SAM and CPU seconds of a method on a pair."""
    told = {} if choice == "-" else {"sensor": choice}
    sensor = degrade.sensor_of(pair.metadata, pair.mask)
    method = registry.build(model, scale, len(pair.lr), len(pair.guide), told, sensor)
    started = time.process_time()
    estimate = method.super_resolve(pair.lr, pair.guide)
    seconds = time.process_time() - started
    scores = metrics.score(pair.hr, estimate, scale, "mulsr", mask=pair.mask)
    return scores["psnr"], scores["sam"], seconds


if __name__ == "__main__":
    main()
