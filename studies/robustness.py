"""Robustness of methods to deviations from the protocol: a shifted or noisy guide, more noise, a wrong SRF or PSF,
other exposure.

    python studies/robustness.py --data <folder with complete_ms_data> [--scenes ...] [--models ...] [--run RUN ...]

Prints a Markdown table of PSNR (dB) / SAM (degrees), mean over the scenes, under `wald` with noise of 40 dB. Methods
measure PSF, shift, response and noise themselves, except in the rows "told": there, they get a wrong one and use it.
--run: run folders of trained networks to add to the table. They are told nothing.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cave
import numpy as np
from scipy.ndimage import shift as shifted

from hsisr import degrade, metrics
from hsisr.degrade import Pair, Sensor
from hsisr.inference import load_model, predict
from hsisr.models import registry
from hsisr.pipeline import pair_files
from hsisr.scene import Scene

#: Training scenes, so that settings may be chosen on them.
SCENES = ("feathers", "flowers")
MODELS = ("bicubic", "gsa", "cnmf", "prior")
OTHER_CAMERA = "camera_canon_60d"


@dataclass(frozen=True)
class Case:
    """A row: the pair, and the facts on its sensor that the methods get (None: nothing)."""

    name: str
    pair: Pair
    told: Sensor | None = None


def main() -> None:
    parser = cave.arguments(__doc__, SCENES)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--run", nargs="+", type=Path, default=[])
    parser.add_argument("--size", type=int, help="side of the middle of a scene that is used; default: all of it")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    scenes = [_middle(scene, options.size) for scene in cave.read(options.data, options.scenes)]
    networks = {run.name: load_model(run) for run in options.run}
    names = [*options.models, *networks]
    print(f"| x{options.scale} | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
    for rows in zip(*(_cases(scene, options.scale) for scene in scenes), strict=True):
        cells = []
        for name in names:
            scores = [_score(name, networks.get(name), case, options.scale) for case in rows]
            psnr, sam = np.mean(scores, axis=0)
            cells.append(f"{psnr:.2f} / {sam:.2f}")
        print(f"| {rows[0].name} | {' | '.join(cells)} |", flush=True)


def _middle(scene: Scene, size: int | None) -> Scene:
    if size is None:
        return scene
    row, column = ((length - size) // 2 for length in scene.shape[1:])
    return pair_files.cut(scene, (row, row + size, column, column + size))


def _cases(scene, scale: int) -> Iterator[Case]:
    """Every row for a scene, in the same order."""
    plain = degrade.pair(scene, "wald", scale, noise={"snr_db": 40})
    yield Case("as it should be", plain)
    for pixels in (0.5, 1, 2, 4):
        moved = shifted(plain.guide, (0, pixels, pixels), order=3, mode="nearest").astype(np.float32)
        yield Case(f"guide shifted by {pixels:g}, {pixels:g} HR px", replace(plain, guide=moved))
    for snr in (30, 20):
        yield Case(f"noise {snr} dB", degrade.pair(scene, "wald", scale, noise={"snr_db": snr}))
    for share in (0.003, 0.01, 0.03, 0.1):
        deviation = share * float(np.sqrt((plain.guide**2).mean()))
        noise = deviation * np.random.default_rng(0).standard_normal(plain.guide.shape, np.float32)
        yield Case(f"guide with noise, {share:.1%} of its RMS", replace(plain, guide=plain.guide + noise))
    for share in (0.03, 0.1):
        yield Case(f"guide of an 8-bit camera, noise {share:.1%}", replace(plain, guide=_camera(plain.guide, share)))
    for share in (0.01, 0.1):
        guide = _saturated(plain.guide, share)
        yield Case(f"guide with {share:.0%} of its pixels saturated", replace(plain, guide=guide))
    true = degrade.sensor_of(plain.metadata)
    other = degrade.scene_response(scene, OTHER_CAMERA)
    yield Case("told another camera's SRF", plain, replace(true, response=other))
    wide = tuple(1.5 * sigma for sigma in true.footprint.sigma_px())
    yield Case(
        "told a PSF 1.5 times as wide", plain, replace(true, footprint=degrade.gaussian_footprint(scale, (0, 0), wide))
    )
    off = degrade.gaussian_footprint(scale, (2, 2), true.footprint.sigma_px())
    yield Case("told a shift of 2, 2 HR px", plain, replace(true, footprint=off))
    yield Case("guide exposed at 0.6", replace(plain, guide=0.6 * plain.guide))
    yield Case("guide after a gamma of 2.2", replace(plain, guide=np.clip(plain.guide, 0, 1) ** np.float32(1 / 2.2)))


def _camera(guide: np.ndarray, share: float) -> np.ndarray:
    """A guide with noise whose variance grows with the light, of that share of its RMS, in 8 bits from 0 to 1."""
    light = np.maximum(guide, 0)
    variance = share**2 * (guide**2).mean() * light / light.mean()
    noise = np.sqrt(variance) * np.random.default_rng(0).standard_normal(guide.shape)
    return (np.round(255 * np.clip(guide + noise, 0, 1)) / 255).astype(np.float32)


def _saturated(guide: np.ndarray, share: float) -> np.ndarray:
    """A guide exposed so long that this share of each channel's pixels has the greatest value."""
    return np.minimum(guide, np.quantile(guide, 1 - share, axis=(1, 2), keepdims=True))


def _score(name: str, network, case: Case, scale: int) -> tuple[float, float]:
    model = network
    if model is None:
        takes = "sensor" in registry.entry(name).options.model_fields
        told = {"sensor": "known"} if takes and case.told is not None else {}
        model = registry.build(name, scale, len(case.pair.lr), len(case.pair.guide), told, case.told)
    found = metrics.score(case.pair.hr, predict(model, case.pair.lr, case.pair.guide), scale, "mulsr")
    return found["psnr"], found["sam"]


if __name__ == "__main__":
    main()
