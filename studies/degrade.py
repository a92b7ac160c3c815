"""Speed of the mulsr test degradation, compared with a direct correlation of every band with the same result.

The two are timed in turns in one process. The medians and their ratio are printed.
Run: python studies/degrade.py --size 512 --bands 31 --scale 8
For an --angle other than pi / 2, the kernel is not separable.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from hsisr.degrade import PROTOCOLS, anisotropic_gaussian, degrade, interpolate
from hsisr.degrade.psf import BlockShiftedPsf


def main() -> None:
    """Parse the options, time both ways, and print one line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512, help="rows and columns of the cube, in pixels")
    parser.add_argument("--bands", type=int, default=31, help="bands of the cube")
    parser.add_argument("--scale", type=int, default=8, help="HR pixels per LR pixel")
    parser.add_argument("--angle", type=float, default=math.pi / 2, help="of the kernel, in radians; published: pi / 2")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each way")
    options = parser.parse_args()
    protocol = replace(PROTOCOLS["mulsr"], psf=BlockShiftedPsf(l1=2.0, l2=10.0, theta=options.angle, taps=13))
    cube = np.random.default_rng(0).random((options.bands, options.size, options.size))

    def ours() -> np.ndarray:
        return degrade(cube, protocol, options.scale, noise=0)

    def theirs() -> np.ndarray:
        return direct(cube, options.scale, options.angle)

    difference = np.abs(ours() - theirs()).max() / np.abs(theirs()).max()
    times = {"direct": [], "hsisr": []}
    for _ in range(options.repeats):
        times["direct"].append(seconds(theirs))
        times["hsisr"].append(seconds(ours))
    medians = {way: statistics.median(values) for way, values in times.items()}
    print(f"cube {cube.shape} float64, scale {options.scale}, angle {options.angle:g}")
    for way, median in medians.items():
        print(f"{way:7} {median:8.4f} s  (median of {options.repeats})")
    print(f"ratio   {medians['direct'] / medians['hsisr']:8.1f}    largest relative difference {difference:.1e}")


def direct(cube: np.ndarray, scale: int, angle: float) -> np.ndarray:
    """The definition, step by step: correlate every band at every pixel, then interpolate by 1/scale, then clip."""
    kernel = anisotropic_gaussian(13, scale, 2.0, 10.0, angle)
    blurred = np.stack([ndimage.correlate(band, kernel, mode="reflect") for band in cube])
    return np.clip(interpolate(blurred, 1 / scale), 0, 1)


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
