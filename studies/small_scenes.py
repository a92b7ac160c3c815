"""Few LR pixels: what methods lose because they must measure the PSF on pieces of scenes (docs/your-own-scene.md).

    python studies/small_scenes.py --data <folder with complete_ms_data> [--scale 8] [--scenes ...] [--snr 30]

Prints a Markdown table of PSNR (dB) / SAM (degrees), mean over the middle piece of each scene, under `wald` with noise.
"told" knows the footprint; the other methods measure it. The last column is what `prior` loses at most against it.
"""

import argparse
import warnings

import cave
import numpy as np

from hsisr import degrade, metrics
from hsisr.degrade import Sensor
from hsisr.inference import predict
from hsisr.models import registry
from hsisr.models.prior import solve
from hsisr.scene import Scene

#: Training scenes, so that settings may be chosen on them.
SCENES = ("balloons", "beads", "cd", "egyptian_statue", "face", "fake_and_real_peppers", "feathers", "flowers", "hairs")
SIDES_LR_PX = (6, 8, 12, 16, 24, 32)
MODELS = ("bicubic", "gsa", "prior")


def main() -> None:
    parser = cave.arguments(__doc__, SCENES)
    parser.add_argument("--snr", type=float, default=30, help="of the LR image, dB")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    scenes = cave.read(options.data, options.scenes)
    print(f"| LR pixels, x{options.scale} | {' | '.join(MODELS)} | prior, told | greatest loss, dB |")
    print("| --- |" + " --- |" * (len(MODELS) + 2))
    for side in SIDES_LR_PX:
        rows = np.array([_scores(_middle(scene, side * options.scale), options) for scene in scenes])
        cells = " | ".join(f"{psnr:.2f} / {sam:.2f}" for psnr, sam in rows.mean(axis=0))
        print(f"| {side} x {side} | {cells} | {(rows[:, -1, 0] - rows[:, -2, 0]).max():.2f} |", flush=True)


def _middle(scene: Scene, side: int) -> Scene:
    rows, columns = (slice((size - side) // 2, (size - side) // 2 + side) for size in scene.shape[1:])
    return scene.window(rows, columns)


def _scores(scene: Scene, options: argparse.Namespace) -> list[tuple[float, float]]:
    pair = degrade.pair(scene, "wald", options.scale, noise={"snr_db": options.snr})
    known = Sensor(footprint=degrade.sensor_of(pair.metadata).footprint)
    channels = len(pair.lr), len(pair.guide)
    methods = [registry.build(model, options.scale, *channels) for model in MODELS]
    estimates = [predict(method, pair.lr, pair.guide) for method in methods]
    estimates.append(solve(pair.lr, pair.guide, options.scale, known).image())
    found = [metrics.score(pair, estimate) for estimate in estimates]
    return [(scores["psnr"], scores["sam"]) for scores in found]


if __name__ == "__main__":
    main()
