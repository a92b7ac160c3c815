"""Few LR pixels: what `prior` loses because it must measure the PSF there (docs/model-hybrid.md).

    python studies/small_scenes.py --data <folder with complete_ms_data> [--scale 8] [--scenes ...] [--snr 35]

Prints a Markdown table of PSNR (dB), mean over the middle piece of each scene, for four PSFs and noise: of `bicubic`,
`gsa` and `prior`, which measure the PSF, and of `prior` that is told it. "Loss" is what measuring costs `prior`: mean,
and greatest.
"""

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
SIDES_LR_PX = (6, 8, 12, 16, 24)
MODELS = ("bicubic", "gsa", "prior")
#: Widths and shifts of Gaussians in LR pixels; None: the mean of the block.
PSFS = {
    "FWHM 1": (1.0, (0.0, 0.0)),
    "FWHM 0.7": (0.7, (0.0, 0.0)),
    "FWHM 0.8, shift 0.4 and -0.3": (0.8, (0.4, -0.3)),
    "mean of the block": None,
}


def main() -> None:
    parser = cave.arguments(__doc__, SCENES)
    parser.add_argument("--snr", type=float, default=35, help="of the LR image, dB")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    scenes = cave.read(options.data, options.scenes)
    print(f"| PSF | LR pixels, x{options.scale} | {' | '.join(MODELS)} | prior, told | loss |")
    print("| --- | --- |" + " --- |" * (len(MODELS) + 2))
    for name, gaussian in PSFS.items():
        psf = {"kind": "mean"}
        if gaussian is not None:
            shift_px = [options.scale * shift for shift in gaussian[1]]
            psf = {"kind": "family", "family": "gaussian", "fwhm_lr": gaussian[0], "shift_px": shift_px}
        protocol = degrade.CustomProtocol("small", {"psf": psf, "noise": {"snr_db": options.snr}})
        for side in SIDES_LR_PX:
            pieces = [_middle(scene, side * options.scale) for scene in scenes]
            rows = np.array([_scores(piece, protocol, options.scale) for piece in pieces])
            loss = rows[:, -1] - rows[:, -2]
            cells = " | ".join(f"{psnr:.2f}" for psnr in rows.mean(axis=0))
            print(f"| {name} | {side} x {side} | {cells} | {loss.mean():.2f}, {loss.max():.2f} |", flush=True)


def _middle(scene: Scene, side: int) -> Scene:
    rows, columns = (slice((size - side) // 2, (size - side) // 2 + side) for size in scene.shape[1:])
    return scene.window(rows, columns)


def _scores(scene: Scene, protocol: degrade.Protocol, scale: int) -> list[float]:
    """PSNR of each method, and of `prior` that is told the footprint."""
    pair = degrade.pair(scene, protocol, scale)
    channels = len(pair.lr), len(pair.guide)
    methods = [registry.build(model, scale, *channels) for model in MODELS]
    estimates = [predict(method, pair.lr, pair.guide) for method in methods]
    known = Sensor(footprint=degrade.sensor_of(pair.metadata).footprint)
    estimates.append(solve(pair.lr, pair.guide, scale, known).image())
    return [metrics.score(pair, estimate)["psnr"] for estimate in estimates]


if __name__ == "__main__":
    main()
