"""Bicubic interpolation under every protocol and convention: how much the numbers of one method differ.

    python studies/protocols.py --data <folder with complete_ms_data> [--scale 8] [--scenes ...]

Prints a Markdown table of mean scores over CAVE scenes. Rows differ only in the names of the first two columns.
Protocols of published leagues are scored only by their own convention.
"""

import cave
import numpy as np

from hsisr import degrade, metrics
from hsisr.models import bicubic


def main() -> None:
    parser = cave.arguments(__doc__)
    options = parser.parse_args()
    scenes = cave.read(options.data, options.scenes)
    print(f"bicubic, x{options.scale}, mean over {', '.join(options.scenes)}\n")
    print("| protocol | convention | shift (rows, columns) HR px | PSNR dB | SSIM | SAM deg | ERGAS |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in degrade.PROTOCOLS:
        if name == "full":  # there is no reference
            continue
        pairs = [degrade.pair(scene, name, options.scale, response="none") for scene in scenes]
        estimates = [bicubic(pair.lr, None, scale=options.scale) for pair in pairs]
        rows, columns = degrade.shift_of(name, options.scale)
        own = degrade.PROTOCOLS[name].convention
        for convention in ("mulsr", "mixup") if own in ("mulsr", "mixup") else (own,):
            scores = [
                metrics.score(pair.hr, estimate, options.scale, convention)
                for pair, estimate in zip(pairs, estimates, strict=True)
            ]
            mean = {key: np.mean([entry[key] for entry in scores]) for key in scores[0]}
            print(
                f"| `{name}` | `{convention}` | {abs(rows):.2f}, {abs(columns):.2f} | {mean['psnr']:.2f} "
                f"| {mean['ssim']:.4f} | {mean['sam']:.2f} | {mean['ergas']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
