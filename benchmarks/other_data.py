"""Methods without training on data other than CAVE, at reduced resolution (protocol `wald`), sensor measured.

    python benchmarks/other_data.py --data <folder with worldview2, paris_eo1, enmap_potsdam> [--models ...]

Prints a Markdown table of PSNR (dB) / SAM (degrees). WorldView-2 with its PAN, Hyperion with ALI and ALI PAN: real
guides; EnMAP with a Sentinel-2 guide and Indian Pines (embedded in tensorly) with a WorldView-2 guide: simulated ones.
"""

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from scipy.io import loadmat

from hsisr import datasets, degrade, metrics
from hsisr.inference import predict
from hsisr.models import registry
from hsisr.scene import Scene

MODELS = ("bicubic", "gsa", "glp-hs", "cnmf", "hysure", "prior")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=MODELS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"| data | scale, bands, guide channels | {' | '.join(options.models)} |")
    print(f"| --- | --- |{' --- |' * len(options.models)}")
    for scene, scale, response in _scenes(options.data):
        pair = degrade.pair(scene, "wald", scale, response=response)
        cells = []
        for name in options.models:
            method = registry.build(name, scale, len(pair.lr), len(pair.guide))
            found = metrics.score(pair.hr, predict(method, pair.lr, pair.guide), scale, "mulsr")
            cells.append(f"{found['psnr']:.2f} / {found['sam']:.2f}")
        print(f"| {scene.name} | x{scale}, {len(pair.lr)}, {len(pair.guide)} | {' | '.join(cells)} |", flush=True)


def _scenes(data: Path) -> Iterator[tuple[Scene, int, str | None]]:
    """Scene, scale, response of a simulated guide or None."""
    stored = loadmat(data / "worldview2/imgWV2.mat")
    guide = Scene(_unit(stored["I_PAN"][..., None], 2047), "pan")
    yield Scene(_unit(stored["I_MS"], 2047), "worldview2", guide=guide), 4, None
    for file, key, scale in (("paris_data_hs_ms", "MSim", 4), ("paris_data_hs_pan", "PCim", 3)):
        stored = loadmat(data / f"paris_eo1/{file}.mat")
        sharp = np.atleast_3d(stored[key])
        guide = Scene(_unit(sharp, sharp.max()), "guide")
        yield Scene(_unit(stored["HSim"], stored["HSim"].max()), file, guide=guide), scale, None
    yield _enmap(data / "enmap_potsdam"), 4, "sentinel2"
    with tempfile.TemporaryDirectory() as folder:
        datasets.fetch("indian_pines", Path(folder) / "raw", progress=False)
        pines = datasets.convert("indian_pines", "indian_pines", Path(folder) / "raw", f"{folder}/scene.h5").load()
    for scale in (4, 8):
        yield pines, scale, "worldview2"


def _unit(image: np.ndarray, peak: float) -> np.ndarray:
    """(H, W, bands), as stored, to (bands, H, W) in [0, 1], float32."""
    return np.clip(image.transpose(2, 0, 1).astype(np.float32) / np.float32(peak), 0, 1)


def _enmap(folder: Path) -> Scene:
    """Four neighbouring tiles of 32 x 32 pixels side by side; bands without data left out."""
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
