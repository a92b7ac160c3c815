"""Scenes of any size: the loss of quality from a mosaic, and the memory and time for a large scene.

    python studies/any_size.py mosaic --data <folder with complete_ms_data> [--scale 8] [--scenes four names]
    python studies/any_size.py growth --work <folder> [--sides 512 1024 2048 4096 8192] [--model prior]
    python studies/any_size.py left --work <folder> [--model prior]
    python studies/any_size.py agreement --work <folder> [--model prior] [--files LR GUIDE | --sides 4000 --bands 31]

`mosaic` puts four CAVE scenes side by side, degrades them by `mulsr`, and scores `prior` on each scene alone and on its
quarter of the mosaic: PSNR (dB) / SAM (degrees). `growth` super-resolves synthetic files x8 of 8 bands with a guide of
three bands, each in its own process, and prints peak memory and CPU time. `left` super-resolves three such files with a
line after every step. It compares the time left in each line with the true one, in CPU time, which other work does not
disturb. `agreement` super-resolves one pair with other memory, tiles, processes and parts. For each result, it prints
the largest difference from the first, over the first result's range.
"""

import argparse
import re
import resource
import subprocess
import sys
from pathlib import Path

import cave
import numpy as np
import rasterio

from hsisr import degrade, metrics
from hsisr.models.prior import prior
from hsisr.scene import Scene

SCENES = ("jelly_beans", "oil_painting", "thread_spools", "watercolors")
SCALE, BANDS = 8, 8
#: Side, bands and scale of the scenes for `left`.
LEFT = ((512, 31, 8), (1024, 31, 8), (2048, 8, 4))
#: In the last seconds, lines are not compared: they round to whole seconds.
LAST_SECONDS = 1
TELL = """
import sys, time
from types import SimpleNamespace
from hsisr.inference import Options, plan, progress, scenes, super_resolve_file
progress.LINE_EVERY_SECONDS = progress.FIRST_SECONDS = 0
plan.time = progress.time = SimpleNamespace(monotonic=time.process_time, perf_counter=time.process_time)
progress.say = scenes.say = lambda line: print(time.process_time(), line, flush=True)
super_resolve_file(*sys.argv[1:5], Options(device="cpu", tile=int(sys.argv[5])))
print(time.process_time())
"""
#: Settings that must not change a result, in words of `hsisr predict`.
WAYS = {
    "memory 4G": ("--memory", "4G"),
    "memory 768M": ("--memory", "768M"),
    "memory 256M": ("--memory", "256M"),
    "tiles of 64": ("--tile", "64"),
    "tiles of 16": ("--tile", "16"),
    "tiles of 16, two processes": ("--tile", "16", "--device", "cpu,cpu"),
    "tiles of 16, three parts": ("--tile", "16", "--part"),
}
PARTS = ("plan", "1/3", "2/3", "3/3")
RUN = """
import resource, sys
from hsisr.inference import Options, super_resolve_file
from hsisr.system import most_memory_mb
lr, guide, model, out, memory = sys.argv[1:]
super_resolve_file(lr, guide, model, out, Options(device="cpu", memory=memory))
used = resource.getrusage(resource.RUSAGE_SELF)
print(most_memory_mb(), used.ru_utime + used.ru_stime)
"""


def mosaic(data: Path, scale: int, names: list[str]) -> None:
    scenes = cave.read(data, names)
    rows, columns = scenes[0].shape[1:]
    cubes = [scene.cube for scene in scenes]
    whole = np.concatenate([np.concatenate(cubes[:2], axis=2), np.concatenate(cubes[2:], axis=2)], axis=1)
    pair = degrade.pair(Scene(whole, "mosaic", wavelengths_nm=scenes[0].wavelengths_nm), "mulsr", scale)
    result = prior(pair.lr, pair.guide, scale=scale)
    print("| scene | alone | in the mosaic |\n| --- | --- | --- |")
    found = []
    for number, scene in enumerate(scenes):
        top, left = number // 2 * rows, number % 2 * columns
        alone = degrade.pair(scene, "mulsr", scale)
        images = prior(alone.lr, alone.guide, scale=scale), result[:, top : top + rows, left : left + columns]
        scores = [metrics.score(scene.cube, image, scale, "mulsr") for image in images]
        found.append([(score["psnr"], score["sam"]) for score in scores])
        print(f"| {scene.name} | {' | '.join(f'{psnr:.2f} / {sam:.2f}' for psnr, sam in found[-1])} |")
    print(f"| mean | {' | '.join(f'{psnr:.2f} / {sam:.2f}' for psnr, sam in np.mean(found, axis=0))} |")


def growth(work: Path, sides: list[int], model: str, memory: str) -> None:
    print("| output | CPU s | CPU s a megapixel | peak memory |\n| --- | --- | --- | --- |")
    for side in sides:
        lr, guide = write_files(work, side)
        words = [sys.executable, "-c", RUN, lr, guide, model, work / f"result{side}.tif", memory]
        done = subprocess.run(list(map(str, words)), check=True, stdout=subprocess.PIPE, text=True)
        peak, seconds = map(float, done.stdout.split()[-2:])
        print(f"| {side:,} x {side:,} | {seconds:.0f} | {seconds / side**2 * 1e6:.2f} | {peak:.0f} MB |", flush=True)
        for file in (lr, guide, work / f"result{side}.tif"):
            file.unlink()


def left(work: Path, model: str) -> None:
    print("| output | lines | first says / is | least, most after a tenth | CPU s |\n| --- | --- | --- | --- | --- |")
    for side, bands, scale in LEFT:
        lr, guide = write_files(work, side, bands, scale)
        out = work / f"result{side}.tif"
        words = [sys.executable, "-c", TELL, lr, guide, model, out, 32]
        done = subprocess.run(list(map(str, words)), check=True, stdout=subprocess.PIPE, text=True)
        *lines, end = done.stdout.splitlines()
        seconds, said = float(end), []
        for line in lines:
            if found := re.search(r"([\d.]+) (s|min|h)(?: left|, [\d.]+ .?B of disk)", line):
                now = float(line.partition(" ")[0])
                unit = {"s": 1, "min": 60, "h": 3600}[found[2]]
                # a line is rounded to its unit: what is judged is the estimate behind it
                told = np.clip(seconds - now, (float(found[1]) - 0.5) * unit, (float(found[1]) + 0.5) * unit)
                said.append((now, told / max(1.0, seconds - now)))
        later = [ratio for now, ratio in said if seconds / 10 < now < seconds - LAST_SECONDS]
        print(
            f"| {side:,} x {side:,} x {bands}, x{scale} | {len(said)} | {said[0][1]:.2f} at {said[0][0]:.0f} s "
            f"| {min(later):.2f}, {max(later):.2f} | {seconds:.0f} |",
            flush=True,
        )
        for file in (lr, guide, out):
            file.unlink()


def agreement(work: Path, model: str, files: list[Path] | None, side: int, bands: int, scale: int) -> None:
    work.mkdir(parents=True, exist_ok=True)
    lr, guide = files or write_files(work, side, bands, scale)
    print("| run | difference | CPU s |\n| --- | --- | --- |")
    first = work / "first.tif"
    for name, words in WAYS.items():
        out = work / "other.tif" if first.exists() else first
        command = [sys.executable, "-m", "hsisr", "predict", lr, "--guide", guide, "--model", model, "-o", out]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        runs = [(*words, part) for part in PARTS] + [words[:-1]] if words[-1] == "--part" else [words]
        for run in runs:
            subprocess.run(list(map(str, [*command, *run])), check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"| {name} | {largest_difference(first, out):.1e} | {seconds:.0f} |", flush=True)
        if out != first:
            out.unlink()
    first.unlink()


def largest_difference(first: Path, other: Path) -> float:
    """Largest absolute difference of two images, over the range of the first; infinite if their holes differ."""
    found, low, high = 0.0, np.inf, -np.inf
    with rasterio.open(first) as one, rasterio.open(other) as two:
        for _, window in one.block_windows(1):
            a, b = (image.read(window=window, masked=True).astype(np.float64) for image in (one, two))
            if (np.ma.getmaskarray(a) != np.ma.getmaskarray(b)).any():
                return np.inf
            if a.count():
                found, low, high = max(found, np.abs(a - b).max()), min(low, a.min()), max(high, a.max())
    return found / (high - low)


def write_files(work: Path, side: int, bands: int = BANDS, scale: int = SCALE) -> tuple[Path, Path]:
    """LR image and guide of a scene of five materials. They are written by rows, so this process stays small."""
    work.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    spectra, colours = rng.random((bands, 5)), rng.random((3, 5))
    waves = rng.normal(scale=0.02, size=(5, 12, 2))
    phases = rng.uniform(0, 2 * np.pi, (5, 12))
    sampler = degrade.gaussian_footprint(scale)
    facts = {"driver": "GTiff", "dtype": "float32", "crs": "EPSG:32633"}
    lr, guide = work / f"lr{side}.tif", work / f"guide{side}.tif"
    small = {"width": side // scale, "height": side // scale, "count": bands}
    place = {"transform": rasterio.Affine(scale, 0, 0, 0, -scale, 0)}
    finer = {"transform": rasterio.Affine(1, 0, 0, 0, -1, 0)}
    with (
        rasterio.open(lr, "w", **facts, **small, **place) as low,
        rasterio.open(guide, "w", **facts, width=side, height=side, count=3, **finer) as sharp,
    ):
        for top in range(0, side, 256):
            shares = _shares(waves, phases, top - scale, min(side, top + 256) + scale, side)
            inside = shares[:, scale:-scale]
            colour = np.tensordot(colours, inside, 1)
            sharp.write(colour.astype(np.float32), window=((top, top + inside.shape[1]), (0, side)))
            seen = sampler.sampler(scale, shares.shape[1:])(shares)[:, 1:-1]
            seen = np.tensordot(spectra, seen, 1) + 0.002 * rng.standard_normal((bands, *seen.shape[1:]))
            low.write(
                seen.astype(np.float32), window=((top // scale, top // scale + seen.shape[1]), (0, side // scale))
            )
    return lr, guide


def _shares(waves: np.ndarray, phases: np.ndarray, first: int, stop: int, side: int) -> np.ndarray:
    rows, columns = np.arange(first, stop)[:, None], np.arange(side)[None]
    heights = [
        sum(np.cos(2 * np.pi * (v * rows + w * columns) + phase) for (v, w), phase in zip(own, ones, strict=True))
        for own, ones in zip(waves, phases, strict=True)
    ]
    shares = np.exp(np.array(heights))
    return shares / shares.sum(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("mosaic", "growth", "left", "agreement"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--scenes", nargs=4, default=list(SCENES))
    parser.add_argument("--sides", nargs="+", type=int, default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--bands", type=int, default=BANDS)
    parser.add_argument("--files", nargs=2, type=Path)
    parser.add_argument("--model", default="prior")
    parser.add_argument("--memory", default="768M")
    options = parser.parse_args()
    if options.what == "mosaic":
        mosaic(options.data, options.scale, options.scenes)
    elif options.what == "left":
        left(options.work, options.model)
    elif options.what == "agreement":
        agreement(options.work, options.model, options.files, options.sides[0], options.bands, options.scale)
    else:
        growth(options.work, options.sides, options.model, options.memory)


if __name__ == "__main__":
    main()
