"""`prior` scene by scene: scores and CPU time, under `mulsr`, `wald` or as `uestc` degrades (docs/model-hybrid.md).

    python studies/prior_scenes.py --data <folder with complete_ms_data> [--scale 8] [--protocol uestc] [--scenes ...]

Prints a Markdown table of PSNR (dB) / SAM (degrees) and CPU seconds. PSNR is the mean over bands of the image clipped
to [0, 1], and SAM leaves out pixels that are black, as the league's tables have it, but under `mulsr`: there both are
those of its convention.
"""

import time

import cave
import numpy as np

from hsisr import degrade, metrics
from hsisr.degrade.custom import CustomProtocol
from hsisr.degrade.protocols import Protocol
from hsisr.models.prior import solve


def main() -> None:
    parser = cave.arguments(__doc__)
    parser.add_argument("--protocol", default="uestc", choices=("uestc", "mulsr", "wald"))
    options = parser.parse_args()
    protocol = _uestc(options.scale) if options.protocol == "uestc" else options.protocol
    print(f"| `{options.protocol}` x{options.scale} | PSNR / SAM | CPU s |\n| --- | --- | --- |")
    rows = []
    for name in options.scenes:
        pair = degrade.pair(cave.read(options.data, [name])[0], protocol, options.scale)
        started = time.process_time()
        image = solve(pair.lr, pair.guide, options.scale).image()
        seconds = time.process_time() - started
        rows.append((*_score(pair.hr, image, options.scale, options.protocol), seconds))
        _print(name, rows[-1])
    _print("mean", tuple(np.mean(rows, axis=0)))


def _uestc(scale: int) -> Protocol:
    """3 x 3 Gaussian of sigma 0.5, read at the pixel scale / 2, without noise."""
    taps = np.exp(-2 * np.arange(-1, 2) ** 2.0)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    settings = {"psf": {"kind": "array", "weights": kernel.tolist()}, "sampling": "strided", "phase": scale // 2}
    return CustomProtocol("as-uestc", settings)


def _score(hr: np.ndarray, image: np.ndarray, scale: int, protocol: str) -> tuple[float, float]:
    if protocol == "mulsr":
        found = metrics.score(hr, image, scale, "mulsr")
        return found["psnr"], found["sam"]
    image = np.clip(image, 0, 1)
    seen = hr.any(axis=0) & image.any(axis=0)
    true, mine = (part[:, seen].astype(np.float64) for part in (hr, image))
    cosine = (true * mine).sum(axis=0) / np.sqrt((true**2).sum(axis=0) * (mine**2).sum(axis=0))
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()
    return float(metrics.psnr_per_band(hr, image).mean()), float(angle)


def _print(name: str, row: tuple[float, float, float]) -> None:
    print("| {} | {:.2f} / {:.2f} | {:.2f} |".format(name, *row), flush=True)


if __name__ == "__main__":
    main()
