"""Withheld and predicted bands of real guides: Hyperion with ALI, and EnMAP with simulated Sentinel-2.

    python studies/withheld.py hyperion --data <folder with paris_eo1> --work WORK
    python studies/withheld.py enmap --data <folder with enmap_potsdam> --work WORK

hyperion: Hyperion's 128 bands over Paris, degraded from 30 m to 90 m (Wald's protocol), with ALI's nine bands of 30 m.
The two sensors have their own noise and their own place. enmap: the mosaic, degraded by 2, with four bands of
Sentinel-2 simulated from it. Prints the table of `hsisr validate`, with and without registration by a field.
"""

import argparse
from pathlib import Path

import own_scene

from hsisr import degrade
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.evaluation.withheld import table, validate
from hsisr.inference import Options
from hsisr.scene import Scene

#: Hyperion and ALI have 30 m pixels. Hyperion is degraded by the factor that ALI's panchromatic band is sharper.
SCALE = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", choices=["hyperion", "enmap"])
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--work", type=Path, required=True, help="folder for the pair's files")
    parser.add_argument("--models", nargs="+", default=["prior", "gsa"])
    arguments = parser.parse_args()
    folder = arguments.work / arguments.pair
    folder.mkdir(parents=True, exist_ok=True)
    make = {"hyperion": _hyperion, "enmap": own_scene.enmap}[arguments.pair]
    lr, guide = make(arguments.data, folder)[:2]
    for model in arguments.models:
        for move in (None, "field"):
            print(f"\n{model}, the guide {'as it lies' if move is None else 'moved by a field'}")
            options = Options(device="cpu", correct_shift=move)
            print(table(validate(lr, guide, model=model, options=options)), flush=True)


def _hyperion(data: Path, folder: Path) -> tuple[Path, Path]:
    path = data / "paris_eo1" / "paris_data_hs_ms.mat"
    sharp, guide = read_scene(path, variable="HSim"), read_scene(path, variable="MSim")
    rows, columns = (size // SCALE * SCALE for size in sharp.shape[1:])
    low = degrade.degrade(sharp.cube[:, :rows, :columns], "wald", SCALE, noise=0)
    export(Scene(low, "hyperion"), folder / "lr.tif")
    export(Scene(guide.cube[:, :rows, :columns], "ali"), folder / "guide.tif")
    return folder / "lr.tif", folder / "guide.tif"


if __name__ == "__main__":
    main()
