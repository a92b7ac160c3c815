"""Adapt a network to real scenes for a few minutes, super-resolve them, and score parts that training never saw.

    python studies/own_scene.py enmap --data DATA --work WORK
    python studies/own_scene.py worldview2 --data DATA --work WORK
    python studies/own_scene.py paris --data DATA --work WORK

enmap: EnMAP tiles over Potsdam, as one GeoTIFF mosaic with holes, degraded by 2 (Wald's protocol). Its guide is four
Sentinel-2 bands simulated from it. worldview2: multispectral and panchromatic image, ratio 4. paris: Hyperion and ALI's
panchromatic band, ratio 3. MulSR cannot do ratio 3, so the guide is resampled (--align) to ratio 4.
Prints the table of `hsisr finetune` (docs/learning-from-a-scene.md explains it), rasterio's facts on the result, and
for enmap the scores against the undegraded mosaic over the held-out rows.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.merge import merge

from hsisr import degrade, metrics
from hsisr.affine import finer
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.finetuning.adaptation import table
from hsisr.inference import Options, finetune, super_resolve_file
from hsisr.missing import fill_invalid
from hsisr.scene import Scene

#: Part of the rows that training never sees.
HOLD_OUT = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", choices=["enmap", "worldview2", "paris"])
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--work", type=Path, required=True, help="folder for inputs and results")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--model", default="mulsr-xs", help="network, or run to start from")
    arguments = parser.parse_args()
    folder = arguments.work / arguments.scene
    folder.mkdir(parents=True, exist_ok=True)
    lr, guide, options = {"enmap": enmap, "worldview2": worldview2, "paris": paris}[arguments.scene](
        arguments.data, folder
    )
    summary = finetune(lr, guide, arguments.model, folder / "run", arguments.minutes, None, HOLD_OUT, 0, options)
    print(table(summary))
    out = super_resolve_file(lr, guide, folder / "run", folder / "sr.tif", options, folder / "sr.png")
    with rasterio.open(out) as image:
        print(f"{out.name}: {image.count} x {image.height} x {image.width} {image.dtypes[0]}, {image.crs}")
        print(f"  transform {tuple(image.transform)[:6]}, nodata {image.nodata}, scale {image.scales[0]}")
    if arguments.scene == "enmap":
        _against_truth(folder, lr, guide, options)


def enmap(data: Path, folder: Path) -> tuple[Path, Path, Options]:
    """Write mosaic, LR image and guide. Returns the paths of the last two."""
    tiles = sorted((data / "enmap_potsdam").glob("*.tif"))
    pixels, transform = merge(tiles)
    facts = read_scene(tiles[0])
    mosaic = replace(facts, stored=pixels, name="enmap", transform=tuple(transform)[:6], mask=None)
    export(mosaic, folder / "mosaic.tif")
    scene = read_scene(folder / "mosaic.tif")
    cube = fill_invalid(scene.cube, scene.mask)
    low_valid = scene.mask.reshape(scene.shape[1] // 2, 2, -1, 2).all(axis=(1, 3))
    low = _stored(degrade.degrade(cube, "wald", 2, noise=0), low_valid)
    low[scene.bad_bands] = _NODATA
    georeference = {"nodata": float(_NODATA), "mask": None, "scale": _STEP, "offset": 0.0}
    export(replace(scene, stored=low, transform=finer(scene.transform, 0.5), **georeference), folder / "lr.tif")
    sharp = degrade.apply_response(degrade.scene_response(scene, "sentinel2"), cube)
    facts = {"crs": scene.crs, "transform": scene.transform, "wavelengths_nm": _GUIDE_NM, **georeference}
    export(Scene(_stored(sharp, scene.mask), "guide", **facts), folder / "guide.tif")
    return folder / "lr.tif", folder / "guide.tif", Options(device="cpu")


def worldview2(data: Path, folder: Path) -> tuple[Path, Path, Options]:
    """Read both images from one MATLAB file."""
    path = data / "worldview2" / "imgWV2.mat"
    return path, path, Options(device="cpu", read={"variable": "I_MS"}, read_guide={"variable": "I_PAN"})


def paris(data: Path, folder: Path) -> tuple[Path, Path, Options]:
    """Read both images from one MATLAB file."""
    path = data / "paris_eo1" / "paris_data_hs_pan.mat"
    read, read_guide = {"variable": "HSim"}, {"variable": "PCim"}
    return path, path, Options(device="cpu", scale=4, align=True, read=read, read_guide=read_guide)


_STEP, _NODATA = 1e-4, -32768
#: Nominal centres of Sentinel-2's 10 m bands.
_GUIDE_NM = np.array([490.0, 560.0, 665.0, 842.0])


def _stored(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Reflectance in the stored form of EnMAP's products."""
    stored = np.rint(values / _STEP).astype(np.int16)
    stored[:, ~valid] = _NODATA
    return stored


def _against_truth(folder: Path, lr: Path, guide: Path, options: Options) -> None:
    truth = read_scene(folder / "mosaic.tif")
    good = ~truth.bad_bands
    rows = slice(truth.shape[1] - int(HOLD_OUT * truth.shape[1]), truth.shape[1])
    reference, mask = truth.cube[good][:, rows], truth.mask[rows]
    print("held-out rows against the undegraded mosaic")
    for model in (folder / "run", "bicubic", "gsa", "prior"):
        out = super_resolve_file(lr, guide, model, folder / f"{Path(model).name}.tif", replace(options, scale=2))
        result = read_scene(out)
        seen = mask if result.mask is None else mask & result.mask[rows]
        scores = metrics.score(reference, result.cube[good][:, rows], 2, "plain", mask=seen)
        print(f"  {Path(model).name:10}" + "".join(f"  {key} {scores[key]:.4f}" for key in ("psnr", "sam", "ergas")))


if __name__ == "__main__":
    main()
