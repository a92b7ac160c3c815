"""The gain from each part of the prior: CAVE training scenes, with one part at a time left out.

    python studies/prior.py --data <folder with complete_ms_data> [--scale 8] [--protocols mulsr wald] [--scenes ...]

Prints a Markdown table of PSNR (dB) / SAM (degrees), mean over the scenes.
"""

from contextlib import ExitStack
from unittest.mock import patch

import cave
import numpy as np

from hsisr import degrade, metrics
from hsisr.degrade import Pair, Sensor, gaussian_footprint, sensor_of
from hsisr.models.prior import solve
from hsisr.models.prior.features import KERNELS
from hsisr.models.prior.kriging import Field

SCENES = ("beads", "egyptian_statue", "face", "fake_and_real_peppers")


def _flat(field: Field, block: int, rows: slice) -> np.float32:
    """Replaces kriging, and adds nothing back."""
    return np.float32(0)


#: Row -> replacements of the part that is left out.
WITHOUT = {
    "as it is": {},
    "no bumps": {"hsisr.models.prior.bump_count": lambda waves, lr_px: 1},
    "128 bumps in place of 512": {"hsisr.models.prior.bump_count": lambda waves, lr_px: 128},
    "no slopes": {"hsisr.models.prior.features._SLOPE_PX": 0.0},
    "one kernel for all scenes": {"hsisr.models.prior.features.KERNELS": KERNELS[:1]},
    "weights of any size": {"hsisr.models.prior._LEAST_RATIO": 0.0},
    "bumps as strong as what is linear": {"hsisr.models.prior.features._PLAIN": 1.0},
    "clipping not corrected": {"hsisr.models.prior.is_clipped": lambda bands: False},
    "no generalised least squares": {"hsisr.models.prior._REFITS": 0},
    "no kriging": {"hsisr.models.prior.kriging.Field.at": _flat},
    "no agreement with the guide": {
        "hsisr.models.prior.guide_gain": lambda spread, beyond, response, mismatch: np.zeros_like(response.T)
    },
}


def main() -> None:
    parser = cave.arguments(__doc__, SCENES)
    parser.add_argument("--protocols", nargs="+", default=("mulsr", "wald"))
    options = parser.parse_args()
    scenes = cave.read(options.data, options.scenes)
    pairs = {protocol: [degrade.pair(s, protocol, options.scale) for s in scenes] for protocol in options.protocols}
    columns = " | ".join(f"`{protocol}` x{options.scale}" for protocol in pairs)
    print(f"| {', '.join(options.scenes)} | {columns} |\n| --- |{' --- |' * len(pairs)}")
    for name, parts in WITHOUT.items():
        with ExitStack() as stack:
            for target, replacement in parts.items():
                stack.enter_context(patch(target, replacement))
            _row(name, [[_score(pair, None) for pair in group] for group in pairs.values()])
    centred = Sensor(footprint=gaussian_footprint(options.scale))
    _row("PSF taken for granted", [[_score(pair, centred) for pair in group] for group in pairs.values()])
    told = [[_score(pair, sensor_of(pair.metadata)) for pair in group] for group in pairs.values()]
    _row("PSF, response and noise known", told)


def _score(pair: Pair, sensor: Sensor | None) -> tuple[float, float]:
    scale = pair.metadata["scale"]
    found = metrics.score(pair.hr, solve(pair.lr, pair.guide, scale, sensor).image(), scale, "mulsr")
    return found["psnr"], found["sam"]


def _row(name: str, scores: list[list[tuple[float, float]]]) -> None:
    cells = [f"{psnr:.2f} / {sam:.2f}" for psnr, sam in (np.mean(group, axis=0) for group in scores)]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
