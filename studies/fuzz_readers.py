"""Fuzz the readers: mutated files must give a Scene or one HsisrError; never another exception, a crash or a hang.

    python studies/fuzz_readers.py --inputs 2000 --real FOLDER

FOLDER holds real scenes (CAVE, EnMAP, .mat files, photographs) to mutate, and products of sensors in products/<reader>;
without it, and for formats that it lacks, small valid files are made. Products are not made: without any, their readers
are left out. Every input is reproducible from its number. Exit status 1 if anything escapes.
"""

import argparse
import faulthandler
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from hsisr.datasets.readers import PRODUCTS, READERS, describe, read_scene
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.scene import Scene

#: An input that takes longer counts as a hang; generous, as a busy machine may stall a process for half a minute.
SECONDS_PER_INPUT = 120
#: Address space of a worker: a file that claims terabytes must not bring the machine down.
WORKER_BYTES = 8 * 2**30

#: Reader -> options under which it reads its seeds.
OPTIONS = {"numpy": {"axes": "BHW"}, "hdf5": {"axes": "BHW"}}


def main() -> None:
    """Fuzz the chosen readers and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000, help="inputs for each reader")
    parser.add_argument("--readers", nargs="+", default=list(READERS), choices=READERS)
    parser.add_argument("--real", type=Path, help="folder of real scenes")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    escaped = 0
    for reader in arguments.readers:
        start = time.perf_counter()
        if reader in PRODUCTS and (arguments.real is None or not _products(reader, arguments.real)):
            print(f"{reader:12s} left out: no file in products/{reader} of --real", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            outcomes, samples = fuzz(reader, arguments.inputs, arguments.seed, Path(folder), arguments.real)
        bad = {key: count for key, count in outcomes.items() if key not in ("scene", "HsisrError")}
        escaped += sum(bad.values())
        print(f"{reader:12s} {dict(outcomes)} in {time.perf_counter() - start:.0f} s", flush=True)
        for sample in samples:
            print(f"  {sample}")
    sys.exit(1 if escaped else 0)


def fuzz(reader: str, inputs: int, seed: int, folder: Path, real: Path | None) -> tuple[Counter, list[str]]:
    """Outcomes of `inputs` mutations of a reader's seeds, and a line for each kind that should not be."""
    seeds = seed_files(reader, folder / "seeds", real)
    outcomes: Counter = Counter()
    samples: list[str] = []
    number = 0
    while number < inputs:
        number = _run_worker(reader, seeds, seed, number, inputs, folder / "work", outcomes, samples)
    return outcomes, samples


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four random changes: bits, bytes, runs of zeros, cuts, repeats, insertions; headers are hit more often."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        near = rng.random() < 0.5
        at = int(rng.integers(0, min(len(data), 1024) if near else len(data)))
        length = int(rng.integers(1, 65))
        match int(rng.integers(0, 8)):
            case 0:
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                data[at : at + length] = rng.bytes(min(length, len(data) - at))
            case 2:
                data[at : at + length] = bytes(min(length, len(data) - at))
            case 3:
                data[at : at + 4] = bytes([255] * min(4, len(data) - at))
            case 4:
                del data[int(rng.integers(0, len(data))) :]
            case 5:
                del data[at : at + length]
            case 6:
                data[at:at] = data[at : at + length]
            case 7:
                data[at : at + 8] = int(rng.integers(0, 2**63)).to_bytes(8, "little")[: len(data) - at]
    return bytes(data)


def seed_files(reader: str, folder: Path, real: Path | None) -> list[tuple[Path, Path]]:
    """(what to read, which file to mutate) pairs of valid input for a reader: real ones where there are any."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [*([] if real is None else _real_seeds(reader, folder, real)), *_made_seeds(reader, folder)]
    return [pair for pair in found if _reads(reader, pair[0])]


def _reads(reader: str, path: Path) -> bool:
    try:
        read_scene(path, reader, **OPTIONS.get(reader, {})).load()
    except HsisrError:
        return False  # one that needs options of its own, such as a choice among its variables
    return True


def _real_seeds(reader: str, folder: Path, real: Path) -> list[tuple[Path, Path]]:
    globs = {
        "raster": ["enmap_potsdam/*.tif", "rgb/*.tif"],
        "matlab": ["*/*.mat"],
        "rgb": ["rgb/*.png", "cave/*/*/*/balloons_RGB.bmp"],
    }
    seeds = [(Path(shutil.copy(path, folder)), folder / path.name) for path in _products(reader, real)]
    for path in sorted(path for glob in globs.get(reader, []) for path in real.glob(glob)):
        if path.stat().st_size < 4 * 2**20:
            seeds.append((Path(shutil.copy(path, folder)), folder / path.name))
    if reader == "band_images":
        for scene in sorted(real.glob("cave/*/*_ms/*_ms"))[:3]:
            images = Path(shutil.copytree(scene, folder / scene.name))
            seeds.append((images, sorted(images.glob("*.png"))[7]))
    return seeds


def _products(reader: str, real: Path) -> list[Path]:
    return sorted(path for path in real.glob(f"products/{reader}/*") if path.is_file())


def _made_seeds(reader: str, folder: Path) -> list[tuple[Path, Path]]:
    rng = np.random.default_rng(1)
    stored = rng.integers(0, 4096, (6, 24, 20)).astype(np.uint16)
    scene = Scene(
        stored, "seed", scale=1 / 4095, wavelengths_nm=np.linspace(450, 700, 6), nodata=0.0, crs="EPSG:32633",
        transform=(30.0, 0.0, 366015.0, 0.0, -30.0, 5809965.0),
    )  # fmt: skip
    if reader in PRODUCTS:
        return []
    if reader == "band_images":
        return [_made_band_images(stored, folder / "bands")]
    if reader == "hdf5":
        return [(path, path) for path in (_made_hdf5(stored, folder / "plain.h5"),)]
    formats = {
        "scene": [("scene.h5", None)],
        "numpy": [("cube.npy", None)],
        "matlab": [("five.mat", None), ("seven.mat", "matlab7.3")],
        "rgb": [],
        "raster": [("plain.tif", None), ("cog.tif", "cog"), ("envi.img", None)],
    }
    seeds = []
    for name, kind in formats[reader]:
        path = export(scene, folder / name, kind)
        seeds.append((path, path))
        if name == "envi.img":
            seeds.append((path, path.with_suffix(".hdr")))
    if reader == "numpy":
        np.savez_compressed(folder / "cube.npz", cube=stored, extra=np.arange(6))
        seeds.append((folder / "cube.npz", folder / "cube.npz"))
    if reader == "rgb":
        seeds += [(path, path) for path in _made_photographs(folder)]
    return seeds


def _made_band_images(stored: np.ndarray, folder: Path) -> tuple[Path, Path]:
    folder.mkdir()
    for index, plane in enumerate(stored, 1):
        _write_image(folder / f"band_{index:02d}.png", plane[None], "PNG")
    return folder, folder / "band_03.png"


def _made_photographs(folder: Path) -> list[Path]:
    pixels = np.random.default_rng(2).integers(0, 256, (3, 24, 20)).astype(np.uint8)
    for name, driver in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.bmp", "BMP")):
        _write_image(folder / name, pixels, driver)
    return [folder / name for name in ("a.png", "a.jpg", "a.bmp")]


def _write_image(path: Path, pixels: np.ndarray, driver: str) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    profile = {"count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver=driver, **profile) as image:
            image.write(pixels)


def _made_hdf5(stored: np.ndarray, path: Path) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("science/cube", data=stored, chunks=(2, 8, 8), compression="gzip")
        file["science/centres"] = np.linspace(450, 700, 6)
    return path


def _run_worker(
    reader: str, seeds: list, seed: int, first: int, last: int, folder: Path, outcomes: Counter, samples: list[str]
) -> int:
    """Read inputs in a process of their own until the last, a crash or a hang; returns the next input's number."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    worker = multiprocessing.Process(target=_work, args=(reader, seeds, seed, first, last, folder, theirs), daemon=True)
    worker.start()
    theirs.close()
    number = first
    while number < last:
        try:
            if not ours.poll(SECONDS_PER_INPUT):
                outcome, text = "hang", _where(worker, folder.with_name("stack"))
                worker.kill()
            else:
                outcome, text = ours.recv()
        except EOFError:
            worker.join()
            outcome, text = "crash", f"exit code {worker.exitcode}"
        outcomes[outcome] += 1
        if outcome not in ("scene", "HsisrError") and len(samples) < 10:
            samples.append(f"input {number} of {seeds[number % len(seeds)][1].name}: {outcome} {text}")
        number += 1
        if outcome in ("hang", "crash"):
            break
    worker.join(1)
    return number


def _where(worker: multiprocessing.Process, stack: Path) -> str:
    """The innermost lines of a worker's stack."""
    os.kill(worker.pid, signal.SIGUSR1)
    time.sleep(1)
    return " <- ".join(line.strip() for line in stack.read_text().splitlines()[1:5])


def _work(reader: str, seeds: list, seed: int, first: int, last: int, folder: Path, pipe) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (WORKER_BYTES, WORKER_BYTES))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with open(folder.with_name("stack"), "w") as stack:
        faulthandler.register(signal.SIGUSR1, file=stack)
        _read_all(reader, seeds, seed, first, last, folder, pipe)


def _read_all(reader: str, seeds: list, seed: int, first: int, last: int, folder: Path, pipe) -> None:
    for number in range(first, last):
        rng = np.random.default_rng((seed, number))
        to_read, to_mutate = seeds[number % len(seeds)]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        copy = _copied(to_read, folder)
        target = copy / to_mutate.name if to_read.is_dir() else folder / to_mutate.name
        target.unlink(missing_ok=True)
        target.write_bytes(mutate(to_mutate.read_bytes(), rng))
        try:
            if number % 4 == 0:
                describe(copy)
            scene = read_scene(copy, reader, **OPTIONS.get(reader, {}))
            cube = scene.cube
            pipe.send(("scene", "") if np.isfinite(cube).all() else ("NaN", "a scene with values that are not finite"))
        except HsisrError as error:
            one_line = "\n" not in str(error)
            pipe.send(("HsisrError" if one_line else "two lines", str(error)))
        except BaseException as error:
            pipe.send((type(error).__name__, str(error)[:200]))


def _copied(path: Path, folder: Path) -> Path:
    if path.is_dir():
        target = folder / path.name
        target.mkdir()
        for file in path.iterdir():
            os.symlink(file, target / file.name)
        # the mutated file is written over its link
        return target
    for sibling in path.parent.glob(f"{path.stem}.*"):
        shutil.copy(sibling, folder)
    return folder / path.name


if __name__ == "__main__":
    main()
