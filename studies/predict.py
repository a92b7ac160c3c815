"""Memory and time of `hsisr predict` on scenes of two sizes. Neither memory, nor time per pixel and band, may grow.

    python studies/predict.py --work /tmp/predict                  6000 x 6000 x 8 against 2000 x 2000 x 8
    python studies/predict.py --work /tmp/predict --sides 800 1600 a quick look

Every scene is synthetic and made by strips: 8 bands of uint16 and a guide of 3 channels, scale 4, GeoTIFF in and out.
The network is mulsr-xs with fresh weights. Each run is a process of its own with one thread. Printed are its peak
resident memory, its CPU time per megapixel and band, and the part of this time outside the network.
Gates: 1.5 GB, memory within 10 %, time within 20 %, 15 % outside the network.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SCALE, BANDS, CHANNELS = 4, 8, 3
#: Rows of the LR image in one strip.
STRIP = 64
#: Limits: peak in bytes, ratios between the two sizes (memory, time), and the part outside the network.
MOST_BYTES, MOST_GROWTH, MOST_SLOWER, MOST_OUTSIDE = 1.5e9, 1.10, 1.20, 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for scenes and results")
    parser.add_argument("--sides", type=int, nargs=2, default=[2000, 6000], help="side of the output in pixels")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(measure(arguments.run)))
        return
    found = []
    for side in arguments.sides:
        folder = arguments.work / str(side)
        folder.mkdir(parents=True, exist_ok=True)
        write_scene(folder, side)
        words = [sys.executable, __file__, "--work", str(arguments.work), "--run", str(folder)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        found[-1]["per_megapixel_band"] = found[-1]["cpu"] / (side**2 * BANDS / 1e6)
        print(
            f"{side} x {side} x {BANDS}: peak {found[-1]['peak'] / 1e9:.3f} GB, {found[-1]['cpu']:.1f} s CPU, "
            f"{found[-1]['per_megapixel_band']:.3f} s a megapixel-band, {found[-1]['outside']:.1%} outside the network"
        )
    small, large = found
    gates = {
        "peak memory": (large["peak"], MOST_BYTES),
        "growth of memory": (large["peak"] / small["peak"], MOST_GROWTH),
        "growth of time": (large["per_megapixel_band"] / small["per_megapixel_band"], MOST_SLOWER),
        "time outside the network": (max(small["outside"], large["outside"]), MOST_OUTSIDE),
    }
    for name, (value, most) in gates.items():
        print(f"{name}: {value:.4g}, at most {most:g}: {'holds' if value <= most else 'FAILS'}")
    sys.exit(any(value > most for value, most in gates.values()))


def write_scene(folder: Path, side: int) -> None:
    """Write LR image, guide and model file into a folder, unless they are there."""
    import rasterio
    import torch
    from rasterio.windows import Window

    from hsisr.inference import save_model
    from hsisr.models import registry

    if (folder / "model.safetensors").exists():
        return
    low = side // SCALE
    profile = {"driver": "GTiff", "dtype": "uint16", "crs": "EPSG:32633", "tiled": True, "compress": "deflate"}
    profile |= {"blockxsize": 256, "blockysize": 256}
    transform = rasterio.Affine(30, 0, 5e5, 0, -30, 5e6)
    rng = np.random.default_rng(0)
    mix = rng.dirichlet(np.ones(CHANNELS), BANDS)
    with (
        rasterio.open(folder / "lr.tif", "w", count=BANDS, height=low, width=low, transform=transform, **profile) as lr,
        rasterio.open(
            folder / "guide.tif", "w", count=CHANNELS, height=side, width=side,
            transform=rasterio.Affine(30 / SCALE, 0, 5e5, 0, -30 / SCALE, 5e6), **profile,
        ) as guide,
    ):  # fmt: skip
        for image in (lr, guide):
            image.scales, image.offsets = (1e-4,) * image.count, (0.0,) * image.count
        for first in range(0, low, STRIP):
            rows = min(STRIP, low - first)
            blocks = rng.random((CHANNELS, rows, low)).repeat(SCALE, axis=1).repeat(SCALE, axis=2)
            sharp = 0.7 * blocks + 0.3 * rng.random(blocks.shape)
            coarse = np.tensordot(mix, sharp.reshape(CHANNELS, rows, SCALE, low, SCALE).mean(axis=(2, 4)), axes=1)
            lr.write((coarse * 1e4).astype(np.uint16), window=Window(0, first, low, rows))
            guide.write((sharp * 1e4).astype(np.uint16), window=Window(0, first * SCALE, side, rows * SCALE))
    torch.manual_seed(0)
    network = registry.build("mulsr-xs", SCALE, BANDS, CHANNELS, {"skip": False})
    metadata = {"base": "mulsr-xs", "options": {"skip": False}, "scale": SCALE, "bands": BANDS}
    save_model(folder / "model.safetensors", network, {**metadata, "guide_channels": CHANNELS, "wavelengths_nm": None})


def measure(folder: Path) -> dict[str, float]:
    """Super-resolve a folder's scene in this process: peak bytes, CPU seconds, and their part outside the network."""
    import torch

    from hsisr.inference import Options, super_resolve_file
    from hsisr.models.apply import Method
    from hsisr.system import most_memory_mb

    torch.set_num_threads(1)
    network, plain = 0.0, Method.__call__

    def timed(*arguments, **options):
        nonlocal network
        started = time.process_time()
        try:
            return plain(*arguments, **options)
        finally:
            network += time.process_time() - started

    Method.__call__ = timed
    started = time.process_time()
    super_resolve_file(
        folder / "lr.tif", folder / "guide.tif", folder / "model.safetensors", folder / "sr.tif", Options(device="cpu")
    )
    cpu = time.process_time() - started
    peak = most_memory_mb() * 2**20
    return {"peak": peak, "cpu": cpu, "outside": 1 - network / cpu}


if __name__ == "__main__":
    main()
