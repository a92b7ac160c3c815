"""Speed and memory of a convention's scores, against scikit-image and sewar one by one.

    python studies/metrics.py
    python studies/metrics.py --size 256 --bands 128 --dtype float64

Prints medians of interleaved repeats in this process, the ratio, and the peak memory in cubes (of the given dtype).
With float32 cubes, scikit-image computes in float32 and hsisr in float64; --dtype float64 makes them equal. hsisr uses
the threads of OMP_NUM_THREADS, or all cores; the others always use one thread.
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable
from statistics import median

import numpy as np

from hsisr.metrics import CONVENTIONS, score
from hsisr.system import available_threads


def main() -> None:
    """Parse the options and print one table for each convention."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="rows and columns (default %(default)s)")
    parser.add_argument("--bands", type=int, default=31, help="bands (default %(default)s)")
    parser.add_argument("--scale", type=int, default=8, help="scale, for ERGAS (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="interleaved repeats (default %(default)s)")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="of the cubes")
    options = parser.parse_args()
    reference, estimate = cubes(options.bands, options.size, options.dtype)
    size = f"{options.bands} x {options.size} x {options.size} {options.dtype}"
    print(f"{size}, {options.repeats} repeats, hsisr with {available_threads()} threads")
    for convention in CONVENTIONS:
        rivals = rivals_one_by_one(convention, reference, estimate, options.scale)
        programs = {"hsisr": lambda name=convention: score(reference, estimate, options.scale, name), **rivals}
        report(convention, interleaved_seconds(programs, options.repeats))
        print(f"  peak memory   {peak_cubes(programs['hsisr'], reference):8.2f} cubes, reference and estimate included")


def cubes(bands: int, size: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """A smooth reference (bands, size, size) in [0, 1] and a noisy estimate of it."""
    rng = np.random.default_rng(0)
    rows, columns = np.meshgrid(np.linspace(0, 9, size), np.linspace(0, 7, size), indexing="ij")
    phases = np.linspace(0, 3, bands)[:, None, None]
    reference = 0.5 + 0.4 * np.sin(rows + phases) * np.cos(columns - phases)
    estimate = np.clip(reference + 0.02 * rng.normal(size=reference.shape), 0, 1)
    return reference.astype(dtype), estimate.astype(dtype)


def rivals_one_by_one(
    convention: str, reference: np.ndarray, estimate: np.ndarray, scale: int
) -> dict[str, Callable[[], object]]:
    """The same six scores, each by a library that has it. If a convention is a library's own, its settings are used."""
    from sewar import full_ref
    from skimage.measure import pearson_corr_coeff
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    ssim_options = {"mulsr": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}, "mixup": {}}
    x, y = (np.ascontiguousarray(cube.transpose(1, 2, 0)) for cube in (reference, estimate))  # sewar: bands last

    def psnr() -> object:
        if convention == "mulsr":
            return peak_signal_noise_ratio(reference, estimate, data_range=1)
        return [peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(reference, estimate, strict=True)]

    def ssim() -> object:
        return structural_similarity(
            reference, estimate, channel_axis=0, data_range=1, **ssim_options.get(convention, {})
        )

    return {
        "psnr scikit-image": psnr,
        "ssim scikit-image": ssim,
        "sam sewar": lambda: full_ref.sam(x, y),
        "ergas sewar": lambda: full_ref.ergas(x, y, r=1 / scale),
        "rmse sewar": lambda: full_ref.rmse(x, y),
        "cc scikit-image": lambda: [pearson_corr_coeff(a, b)[0] for a, b in zip(reference, estimate, strict=True)],
    }


def interleaved_seconds(programs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every repeat of every program, after one run each to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for repeat in range(repeats + 1):
        for name, program in programs.items():
            started = time.perf_counter()
            program()
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def report(convention: str, seconds: dict[str, list[float]]) -> None:
    """Print medians and the ratio of the rivals' sum to hsisr."""
    ours = seconds.pop("hsisr")
    rivals = [sum(times) for times in zip(*seconds.values(), strict=True)]
    print(f"convention {convention}")
    for name, times in seconds.items():
        print(f"  {name:20s} {1e3 * median(times):8.1f} ms")
    print(f"  {'one by one':20s} {1e3 * median(rivals):8.1f} ms")
    print(f"  {'hsisr':20s} {1e3 * median(ours):8.1f} ms, with MAE")
    print(f"  {'ratio':20s} {median(rivals) / median(ours):8.2f}")


def peak_cubes(program: Callable[[], object], cube: np.ndarray) -> float:
    """Largest memory of numpy and Python during the program, with its two input cubes, in sizes of a cube."""
    tracemalloc.start()
    program()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return 2 + peak / cube.nbytes


if __name__ == "__main__":
    main()
