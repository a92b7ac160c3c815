"""How fast patches reach the trainer, compared with the published way and with the speed of MulSR.

    python studies/patches.py                # two minutes on two cores

Random access: the patch file against one .mat file for each patch, read with scipy.io, as in the papers' programs. The
.mat files are uncompressed (scipy's default, the faster one) or compressed (MATLAB's default). There are two tasks. One
is to get a patch: a view of the mapped file, or the result of loadmat. The other is to get a stacked batch of 32, which
copies every byte at the memory's speed. The reads take turns in one process, with all files in the system's cache.

Feeding: two workers degrade 12 x 12 -> 96 x 96 x 31 pairs at random by protocol `mulsr`. Beside it stands the rate at
which MulSR trains on them, to judge the case of a GPU.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from hsisr.files import stamp
from hsisr.models import MulSR
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training.feeding import Feed

BANDS, SIZE, SCALE = 31, 12, 8
CPU = torch.device("cpu")


def main() -> None:
    """Parse the command line and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=200, help="patches in the files that are read at random")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batches", type=int, default=8, help="batches of 32 that are fed")
    parser.add_argument("--scene", type=int, default=512, help="side of the scenes that crops are drawn from")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print_access(Path(folder), options.patches, options.repeats)
        print_feeding(Path(folder), options.batches, options.scene)


def print_access(folder: Path, count: int, repeats: int) -> None:
    """Patches per second in random order."""
    path = folder / "fixed.h5"
    make_patch_file(path, count, BANDS, SIZE, SCALE)
    file = PatchFile(path, augment=False)
    for kind, compressed in (("mat", False), ("mat-compressed", True)):
        (folder / kind).mkdir()
        for k in range(count):
            sample = file[k]
            content = {"lr": sample.lr, "guide": sample.guide, "hr": sample.hr}
            scipy.io.savemat(folder / kind / f"{k}.mat", content, do_compression=compressed)

    def load(kind: str, k: int) -> dict[str, np.ndarray]:
        return scipy.io.loadmat(folder / kind / f"{k}.mat")

    def stack(kind: str, numbers: np.ndarray) -> list[np.ndarray]:
        contents = [load(kind, k) for k in numbers]
        return [np.stack([content[key] for content in contents]) for key in ("lr", "guide", "hr")]

    def one_by_one(kind: str | None, order: np.ndarray) -> None:
        for k in order:
            file[k] if kind is None else load(kind, k)

    def in_batches(kind: str | None, order: np.ndarray) -> None:
        for part in np.array_split(order, count // 32):
            file.stack(part) if kind is None else stack(kind, part)

    rows = (("patch file", None), (".mat file per patch", "mat"), (".mat, compressed", "mat-compressed"))
    tasks = {"one by one": one_by_one, "batches of 32": in_batches}
    seconds: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats + 1):
        order = np.random.default_rng(repeat).permutation(count)
        for task, run in tasks.items():
            for name, kind in rows:
                start = time.perf_counter()
                run(kind, order)
                if repeat:
                    seconds.setdefault((task, name), []).append((time.perf_counter() - start) / count)
    print(f"random access, {SIZE} x {SIZE} -> {SIZE * SCALE} x {SIZE * SCALE} x {BANDS} float32, median of {repeats}")
    for (task, name), values in seconds.items():
        value = statistics.median(values)
        ours = statistics.median(seconds[task, "patch file"])
        print(f"{task:14} {name:20} {1 / value:8.0f} patches/s  {1e6 * value:8.0f} us  {value / ours:6.1f} times ours")


def print_feeding(folder: Path, batches: int, side: int) -> None:
    """Patches per second: crops degraded at random by workers, and MulSR's training step."""
    path = folder / "random.h5"
    make_scene_file(path, 4, BANDS, side)
    print(f"\nrandom crops of {side} x {side} scenes under protocol mulsr, batches of 32")
    for workers in (0, 1, 2):
        feed = Feed(PatchFile(path), 32, workers)
        feed.batch(0, CPU)
        start, busy = time.perf_counter(), time.process_time()
        for number in range(1, batches + 1):
            feed.batch(number, CPU)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        feed.close()
        alone = f", {32 * batches / busy:8.1f} a second of a core" if workers == 0 else ""
        print(f"{workers} workers: {32 * batches / seconds:8.1f} patches/s{alone}")
    samples, seconds = 2, step_seconds(2)
    bands = samples / seconds
    print(f"MulSR x{SCALE}, width 64, 4 blocks, 1 thread: {bands:.2f} patch bands/s, {bands / BANDS:.3f} patches/s")
    print("a GPU that trains on P patches a second (31 steps each) is fed by P / (rate of 1 worker) workers")


def step_seconds(samples: int) -> float:
    """Seconds of an optimiser step on one band of `samples` patches."""
    model = MulSR(SCALE)
    adam = torch.optim.Adam(model.parameters(), fused=True)
    lr, guide = torch.rand(samples, BANDS, SIZE, SIZE), torch.rand(samples, 3, SIZE * SCALE, SIZE * SCALE)
    spent = []
    for band in range(3):
        start = time.perf_counter()
        adam.zero_grad()
        model.super_resolve_bands(lr, guide, torch.tensor([band])).abs().mean().backward()
        adam.step()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def make_patch_file(path: Path, count: int, bands: int, size: int, scale: int) -> None:
    """A patch file of a fixed protocol, with random values."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs.update(stamp("patches"))
        file.attrs.update(scale=scale, protocol="wald", names=["random"], labelled=True)
        file.attrs.update(per_epoch=count, size_lr_px=size, bands=bands, guide_channels=3)
        file["lr"] = rng.random((count, bands, size, size), np.float32)
        file["guide"] = rng.random((count, 3, size * scale, size * scale), np.float32)
        file["hr"] = rng.random((count, bands, size * scale, size * scale), np.float32)
        file["scene"] = np.zeros(count, np.int32)


def make_scene_file(path: Path, count: int, bands: int, side: int) -> None:
    """A patch file of a random protocol: scenes with random 16-bit values, and a response of three channels."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs.update(stamp("patches"))
        file.attrs.update(scale=SCALE, protocol="mulsr", names=[f"scene{k}" for k in range(count)], labelled=True)
        file.attrs.update(per_epoch=1000 * count, size_lr_px=SIZE, bands=bands, guide_channels=3)
        for k in range(count):
            group = file.create_group(f"scenes/{k}")
            group["cube"] = rng.integers(0, 2**16, (bands, side, side), dtype=np.uint16)
            group.attrs.update(scale=1 / 65535, offset=0.0)
            group["response"] = np.full((3, bands), 1 / bands)


if __name__ == "__main__":
    main()
