"""Methods on data other than CAVE, at reduced resolution (protocol `wald`), with measured sensors.

    python studies/other_data.py --data <folder with worldview2, paris_eo1, enmap_potsdam> [--models ...]
    python studies/other_data.py --data <folder> --pan [--models ...]
    python studies/other_data.py --data <folder> --train hybrid mulsr-xs [--minutes 2] [--threads 1]

With --train, these networks are trained on the upper two thirds of every scene for the given minutes, preparation
included. All methods are then scored on the lower third. If a network cannot do a scale, its cell is empty.
Prints a Markdown table of PSNR (dB) / SAM (degrees). Real guides: WorldView-2 with its PAN, Hyperion with ALI and ALI
PAN. Simulated guides: EnMAP with Sentinel-2, and Indian Pines (embedded in tensorly) with WorldView-2. With --pan, all
simulated guides have one panchromatic channel, and scenes whose real guide has more channels are left out.
"""

import argparse
import math
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from scipy.io import loadmat

from hsisr import datasets, degrade, metrics
from hsisr.config import Training
from hsisr.degrade import Pair
from hsisr.errors import HsisrError
from hsisr.inference import predict
from hsisr.models import registry
from hsisr.pipeline import patch_files
from hsisr.scene import Scene
from hsisr.training import fit

#: Side of a network's training patch in LR pixels.
PATCH_PX = 6
MODELS = ("bicubic", "gsa", "glp-hs", "cnmf", "hysure", "prior")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--train", nargs="+", default=(), help="networks")
    parser.add_argument("--minutes", type=float, default=2.0, help="of training, for each network and scene")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scenes", nargs="+", help="only these")
    parser.add_argument("--pan", action="store_true", help="guides of one panchromatic channel")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    columns = " | ".join([*options.models, *options.train])
    print(f"| data | scale, bands, guide channels | {columns} |")
    print(f"| --- | --- |{' --- |' * (len(options.models) + len(options.train))}")
    for scene, scale, response in _scenes(options.data):
        if options.scenes and scene.name not in options.scenes:
            continue
        if options.pan:
            if scene.guide is not None and scene.guide.shape[0] > 1:
                continue
            response = response and "pan"
        test = _pair(scene, scale, response, slice(2, 3)) if options.train else _pair(scene, scale, response)
        bands, channels = len(test.lr), len(test.guide)
        methods = [registry.build(name, scale, bands, channels) for name in options.models]
        if options.train:
            train = _pair(scene, scale, response, slice(0, 2))
            methods += [_train(name, train, scale, options) for name in options.train]
        cells = [_cell(method, test, scale) for method in methods]
        print(f"| {scene.name} | x{scale}, {bands}, {channels} | {' | '.join(cells)} |", flush=True)


def _pair(scene: Scene, scale: int, response: str | None, thirds: slice = slice(0, 3)) -> Pair:
    """The pair of some thirds of a scene's rows. They are cut before they are degraded."""
    units = scene.shape[1] // scale
    rows = slice(units * thirds.start // 3 * scale, units * thirds.stop // 3 * scale)
    part = scene.window(rows, slice(None))
    return degrade.pair(part, "wald", scale, response=response)


def _train(name: str, pair: Pair, scale: int, options: argparse.Namespace) -> Any:
    """A network after its training minutes, or None if it cannot do the scale."""
    started = time.perf_counter()
    torch.manual_seed(0)
    try:
        network = registry.build(name, scale, len(pair.lr), len(pair.guide))
    except HsisrError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        samples = network.prepare_training([("scene", pair)])
        if samples is None:
            height, width = (size - PATCH_PX + 1 for size in pair.lr.shape[1:])
            places = [(row, column) for row in range(height) for column in range(width)]
            images = {"lr": pair.lr, "guide": pair.guide, "hr": pair.hr}
            patch_files.cut(Path(folder) / "patches.h5", "scene", images, places, PATCH_PX, scale)
            samples = patch_files.PatchFile(Path(folder) / "patches.h5", 0, "dihedral")
        settings = Training(
            epochs=None,
            max_steps=100_000,  # the minutes end the training
            max_minutes=options.minutes - (time.perf_counter() - started) / 60,
            batch_size=8,
            bands_per_step=2,
            visit="random",
            learning_rate=4e-3,
            schedule={"kind": "cosine"},
            augment="dihedral",
            clip_gradient=1.0,
            select="last",
            threads=options.threads,
            device="cpu",
        )
        fit(network, samples, folder, settings)
    return network


def _cell(method: Any, pair: Pair, scale: int) -> str:
    if method is None:
        return ""
    found = metrics.score(pair.hr, predict(method, pair.lr, pair.guide), scale, "mulsr")
    return f"{found['psnr']:.2f} / {found['sam']:.2f}"


def _scenes(data: Path) -> Iterator[tuple[Scene, int, str | None]]:
    """Scene, scale, and response of a simulated guide or None."""
    stored = loadmat(data / "worldview2/imgWV2.mat")
    guide = Scene(_unit(stored["I_PAN"][..., None], 2047), "pan")
    yield Scene(_unit(stored["I_MS"], 2047), "worldview2", guide=guide), 4, None
    for file, key, scale in (("paris_data_hs_ms", "MSim", 4), ("paris_data_hs_pan", "PCim", 3)):
        stored = loadmat(data / f"paris_eo1/{file}.mat")
        sharp = np.atleast_3d(stored[key])
        guide = Scene(_unit(sharp, sharp.max()), "guide")
        yield Scene(_unit(stored["HSim"], stored["HSim"].max()), file, guide=guide), scale, None
    yield enmap(data / "enmap_potsdam"), 4, "sentinel2"
    pines = indian_pines()
    for scale in (4, 8):
        yield pines, scale, "worldview2"


def _unit(image: np.ndarray, peak: float) -> np.ndarray:
    """Stored (H, W, bands) as (bands, H, W) in [0, 1], float32."""
    return np.clip(image.transpose(2, 0, 1).astype(np.float32) / np.float32(peak), 0, 1)


def indian_pines() -> Scene:
    """The whole scene, in memory."""
    with tempfile.TemporaryDirectory() as folder:
        datasets.fetch("indian_pines", Path(folder) / "raw", progress=False)
        return datasets.convert("indian_pines", "indian_pines", Path(folder) / "raw", f"{folder}/scene.h5").load()


def jasper_ridge(data: Path) -> Scene:
    """The whole scene (AVIRIS), with the sensor's nominal wavelengths and a peak of 1. data: holds `jasper_ridge`."""
    stored = loadmat(data / "jasper_ridge/jasperRidge2_R198.mat")
    bands = stored["SlectBands"].ravel().astype(int) - 1
    return _square("jasper_ridge", stored["Y"], np.linspace(380, 2500, 224)[bands])


def samson(data: Path) -> Scene:
    """The whole scene, with the sensor's nominal wavelengths and a peak of 1. data: holds `samson`."""
    return _square("samson", loadmat(data / "samson/samson_1.mat")["V"], np.linspace(401, 889, 156))


def _square(name: str, spectra: np.ndarray, wavelengths_nm: np.ndarray) -> Scene:
    """A square scene of spectra (B, n), column by column as MATLAB has them."""
    side = math.isqrt(spectra.shape[1])
    cube = spectra.reshape(len(spectra), side, side).transpose(0, 2, 1)
    return Scene((cube / cube.max()).astype(np.float32), name, wavelengths_nm=wavelengths_nm)


def enmap(folder: Path) -> Scene:
    """Four neighbouring tiles of 32 x 32 pixels side by side, without bands that hold no data."""
    rows = []
    for row in (96, 128):
        tiles = [rasterio.open(folder / f"enmap_potsdam_tile_{row}_{column}.tif") for column in (96, 128)]
        rows.append(np.concatenate([tile.read() for tile in tiles], axis=2))
        centres = np.array([float(text.split("(")[1].split()[0]) for text in tiles[0].descriptions])
    image = np.concatenate(rows, axis=1)
    good = (image > -1000).all(axis=(1, 2))
    reflectance = np.clip(image[good] / np.float32(10000), 0, 1)
    return Scene(reflectance, "enmap_potsdam", wavelengths_nm=centres[good])


if __name__ == "__main__":
    main()
