"""`prior` scene by scene under any protocol: scores by the protocol's convention, and CPU time (docs/model-hybrid.md).

    python studies/prior_scenes.py --data <folder with complete_ms_data> [--scale 8] [--protocol uestc] [--scenes ...]

Prints a Markdown table of PSNR (dB) / SAM (degrees) and CPU seconds. The method knows nothing of the sensor.
"""

import time

import cave
import numpy as np

from hsisr import degrade, metrics
from hsisr.models.prior import solve


def main() -> None:
    parser = cave.arguments(__doc__)
    parser.add_argument("--protocol", default="uestc", choices=degrade.PROTOCOLS)
    options = parser.parse_args()
    print(f"| `{options.protocol}` x{options.scale} | PSNR / SAM | CPU s |\n| --- | --- | --- |")
    rows = []
    for name in options.scenes:
        pair = degrade.pair(cave.read(options.data, [name])[0], options.protocol, options.scale)
        started = time.process_time()
        image = solve(pair.lr, pair.guide, options.scale).image()
        seconds = time.process_time() - started
        found = metrics.score(pair, image)
        rows.append((found["psnr"], found["sam"], seconds))
        _print(name, rows[-1])
    _print("mean", tuple(np.mean(rows, axis=0)))


def _print(name: str, row: tuple[float, float, float]) -> None:
    print("| {} | {:.2f} / {:.2f} | {:.2f} |".format(name, *row), flush=True)


if __name__ == "__main__":
    main()
