"""What `hsisr finetune` makes of a scene whose truth is known: random pieces, models as they adapt to them, `prior`.

    python studies/adaptation.py --data <folder> [--model hybrid] [--pieces 40] [--steps 300] [--seed 0]

Every piece comes from one of CAVE's training scenes (x2 to x4) or from Jasper Ridge, Samson, Indian Pines or EnMAP
(x2), with a guide of 1 to 8 channels, a Gaussian PSF of 0.25 to 0.6 LR pixels and noise of 20 to 40 dB or none. The
model adapts to the LR image and guide alone; its result and that of `prior` are then compared with the truth, all of
it. Prints a line for each piece, and a table: share of the pieces where the model's image is not that of `prior`, mean,
worst and best gain over `prior`, mean gain over bicubic, in dB.
<folder>: holds `cave`, `samson`, `jasper_ridge`, `enmap_potsdam`.
"""

import argparse
import contextlib
import io
import tempfile
import warnings
from pathlib import Path

import cave
import numpy as np
import other_data
from hybrid import TRAIN

from hsisr import degrade, super_resolve
from hsisr.datasets.writers import export
from hsisr.degrade import Pair
from hsisr.degrade.custom import CustomProtocol
from hsisr.inference import Options, finetune
from hsisr.scene import Scene

#: Side of a piece in HR pixels, channels of guides, scales, levels of noise in dB (0: none), and widths of PSFs.
SIDE_PX, CHANNELS, SCALES, SNR_DB, SIGMAS = 256, (1, 3, 4, 8), (2, 3, 4), (0, 40, 30, 20), (0.25, 0.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="hybrid", help="network, or run to start from")
    parser.add_argument("--pieces", type=int, default=40)
    parser.add_argument("--steps", type=int, default=300, help="of training, for models that take steps")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    scenes = {"CAVE": cave.read(options.data / "cave", TRAIN)}
    scenes |= {"Jasper Ridge": [other_data.jasper_ridge(options.data)], "Samson": [other_data.samson(options.data)]}
    scenes |= {"Indian Pines": [other_data.indian_pines()], "EnMAP": [other_data.enmap(options.data / "enmap_potsdam")]}
    rng, rows = np.random.default_rng(options.seed), []
    for _ in range(options.pieces):
        group = list(scenes)[rng.integers(len(scenes))]
        scene = scenes[group][rng.integers(len(scenes[group]))]
        pair, words = _piece(rng, scene, int(rng.choice(SCALES)) if group == "CAVE" else 2)
        with contextlib.redirect_stderr(io.StringIO()):
            changed, bicubic, prior, adapted = _scored(pair, options)
        rows.append((group, changed, adapted - prior, adapted - bicubic))
        print(f"{words}: bicubic {bicubic:.2f}, prior {prior:.2f}, {options.model} {adapted:.2f}", flush=True)
    print("| pieces of | pieces | not as prior | mean gain over prior | worst | best | over bicubic |")
    print(f"|{' --- |' * 7}")
    for group in [*scenes, "all"]:
        found = np.array([values for name, *values in rows if group in (name, "all")])
        if len(found):
            changed, gain, beyond = found.T
            cells = f"{changed.mean():.0%} | {gain.mean():+.2f} | {gain.min():+.2f} | {gain.max():+.2f}"
            print(f"| {group} | {len(found)} | {cells} | {beyond.mean():+.2f} |")


def _piece(rng: np.random.Generator, scene: Scene, scale: int) -> tuple[Pair, str]:
    """A pair from a random piece of a scene, and what it is in words."""
    sides = [min(SIDE_PX, size) // scale * scale for size in scene.shape[1:]]
    corner = [int(rng.integers(size - side + 1)) for size, side in zip(scene.shape[1:], sides, strict=True)]
    piece = scene.window(*(slice(first, first + side) for first, side in zip(corner, sides, strict=True)))
    channels, sigma, snr = int(rng.choice(CHANNELS)), float(rng.uniform(*SIGMAS)), float(rng.choice(SNR_DB))
    settings = {"psf": {"kind": "gaussian", "sigma_lr": round(sigma, 2)}, "sampling": "centre"}
    if snr:
        settings["noise"] = {"snr_db": snr}
    wavelengths = np.asarray(scene.wavelengths_nm)
    first, last = wavelengths.min(), wavelengths.max()
    centres = np.linspace(first, last, channels + 2)[1:-1, None]
    width = (last - first) / (channels + 1) / rng.uniform(1, 2.5)
    response = np.exp(-0.5 * ((wavelengths - centres) / width) ** 2)
    response = (response / response.sum(axis=1, keepdims=True)).astype(np.float32)
    pair = degrade.pair(piece, CustomProtocol("pieces", settings), scale, response=response)
    noise = f"{snr:g} dB" if snr else "no noise"
    return pair, f"{scene.name} at {corner} x{scale}, {channels} channels, PSF {sigma:.2f}, {noise}"


def _scored(pair: Pair, options: argparse.Namespace) -> tuple[bool, float, float, float]:
    """Whether the adapted model's image is not that of prior; PSNR of bicubic, prior and the adapted model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lr, guide = folder / "lr.tif", folder / "guide.tif"
        export(Scene(pair.lr, "lr", wavelengths_nm=pair.wavelengths_nm), lr)
        export(Scene(pair.guide, "guide"), guide)
        cpu = Options(device="cpu")
        finetune(lr, guide, options.model, folder / "run", steps=options.steps, hold_out=0, options=cpu)
        images = [super_resolve(lr, guide, model=model) for model in ("prior", folder / "run")]
        images.insert(0, super_resolve(lr, model="bicubic", scale=pair.hr.shape[1] // pair.lr.shape[1]))
    peak = float(np.abs(pair.hr).max())
    squares = [np.mean((np.asarray(image, float) - pair.hr) ** 2) for image in images]
    return not np.array_equal(*images[1:]), *(float(20 * np.log10(peak) - 10 * np.log10(square)) for square in squares)


if __name__ == "__main__":
    main()
