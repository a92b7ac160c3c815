"""Speed of reading and conversion: MB/s of each reader, compared with the raw library on the same file, in one process.

        python studies/convert.py --real FOLDER          files of 16 to 134 MB, and real ones if FOLDER has them
    python studies/convert.py --chikusei             peak memory of converting a v7.3 file of Chikusei's shape (3 GB)

Conversion is read + write of the compressed scene file. It should cost at most twice the raw read plus this write. The
last column is its time divided by this bound (1.00 is the bound). Times are medians of interleaved repeats.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from hsisr import datasets
from hsisr.datasets.readers import read_scene
from hsisr.scene import Scene

#: Bands, rows, columns of the synthetic files: 134 MB as float32.
SHAPE = (128, 512, 512)
CHIKUSEI_SHAPE = (128, 2517, 2335)
MB = 1e6
_HEADINGS = ("raw MB/s", "read MB/s", "write MB/s", "convert MB/s")


@dataclass(frozen=True)
class Case:
    """A file, and the functions of hsisr and of the raw library that read it."""

    name: str
    path: Path
    options: dict
    raw: Callable[[Path], np.ndarray]


def main() -> None:
    """Print the table, or the peak memory of the large conversion."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, help="folder of real scenes")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--chikusei", action="store_true", help="convert a synthetic file of Chikusei's shape")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.chikusei:
            convert_chikusei(Path(folder))
        else:
            compare(made_cases(Path(folder)) + real_cases(arguments.real), arguments.repeats, Path(folder))


def compare(cases: list[Case], repeats: int, folder: Path) -> None:
    """Print a row for each case."""
    print("{:28s} {:>6s} {:>9s} {:>9s} {:>10s} {:>12s}  of bound".format("file", "MB", *_HEADINGS))
    for case in cases:
        times: dict[str, list[float]] = {"raw": [], "read": [], "write": [], "convert": []}
        for _ in range(repeats):
            raw, seconds = time_call(case.raw, case.path)
            times["raw"].append(seconds)
            scene, seconds = time_call(lambda case=case: read_scene(case.path, **case.options).load())
            times["read"].append(seconds)
            times["write"].append(time_call(scene.save, folder / "out.h5")[1])
            times["convert"].append(time_call(convert, case, folder / "out.h5")[1])
        size = raw.nbytes / MB
        median = {key: statistics.median(values) for key, values in times.items()}
        bound = 2 * median["raw"] + median["write"]
        speeds = [size / median[key] for key in ("raw", "read", "write", "convert")]
        print("{:28s} {:6.1f} {:9.0f} {:9.0f} {:10.0f} {:12.0f}".format(case.name, size, *speeds), end="")
        print(f"  {median['convert'] / bound:8.2f}", flush=True)


def convert(case: Case, out: Path) -> None:
    """The work of `hsisr convert` on the file, without its hash check."""
    read_scene(case.path, **case.options).save(out)


def time_call(function: Callable, *arguments):
    """Result and seconds of a call."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def made_cases(folder: Path) -> list[Case]:
    """One file for each format, with smooth 12-bit pixels."""
    import rasterio
    from scipy.io import loadmat, savemat

    bands, height, width = SHAPE
    rows = np.sin(np.linspace(0, 20, height))[:, None] * np.cos(np.linspace(0, 9, width))
    noise = np.random.default_rng(0).normal(0, 8, (height, width))
    cube = np.stack([1500 + 1000 * rows * np.cos(band / 40) + noise for band in range(bands)]).astype(np.float32)

    np.save(folder / "cube.npy", cube)
    savemat(folder / "five.mat", {"cube": np.moveaxis(cube, 0, -1)}, do_compression=True)
    with h5py.File(folder / "seven.mat", "w", userblock_size=512) as file:
        file.create_dataset("cube", data=cube.transpose(0, 2, 1), chunks=(1, 256, 256), compression=3)
        file["cube"].attrs["MATLAB_class"] = np.bytes_("single")
    with open(folder / "seven.mat", "rb+") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    with h5py.File(folder / "plain.h5", "w") as file:
        file.create_dataset("cube", data=cube, chunks=(bands, 64, 64), compression=1)
    profile = {"count": bands, "height": height, "width": width, "dtype": "float32"}
    for name, driver, options in (("cube.tif", "GTiff", {"compress": "deflate"}), ("cube.img", "ENVI", {})):
        with rasterio.open(folder / name, "w", driver=driver, **profile, **options) as image:
            image.write(cube)

    def hdf5(path: Path) -> np.ndarray:
        with h5py.File(path) as file:
            return file["cube"][...]

    def raster(path: Path) -> np.ndarray:
        with rasterio.open(path) as image:
            return image.read()

    return [
        Case("numpy (.npy)", folder / "cube.npy", {"axes": "BHW"}, np.load),
        Case("matlab 5, compressed", folder / "five.mat", {}, lambda path: loadmat(path)["cube"]),
        Case("matlab 7.3, compressed", folder / "seven.mat", {}, hdf5),
        Case("hdf5, compressed", folder / "plain.h5", {"axes": "BHW"}, hdf5),
        Case("GeoTIFF, deflate", folder / "cube.tif", {}, raster),
        Case("ENVI", folder / "cube.img", {}, raster),
    ]


def real_cases(real: Path | None) -> list[Case]:
    """Real files, if there are any."""
    if real is None:
        return []
    import rasterio
    from PIL import Image
    from scipy.io import loadmat

    def images(folder: Path) -> np.ndarray:
        return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])

    def raster(path: Path) -> np.ndarray:
        with rasterio.open(path) as image:
            return image.read()

    found = [
        Case("CAVE balloons (31 PNG)", real / "cave/complete_ms_data/balloons_ms/balloons_ms", {}, images),
        Case("WorldView-2 (.mat)", real / "worldview2/imgWV2.mat", {}, lambda path: loadmat(path)["I_MS"]),
        Case("Samson (.mat)", real / "samson/samson_1.mat", {}, lambda path: loadmat(path)["V"]),
        Case("EnMAP tile (GeoTIFF)", real / "enmap_potsdam/enmap_potsdam_tile_96_96.tif", {}, raster),
        Case("Kodak photograph (PNG)", real / "rgb/kodim15.png", {}, raster),
    ]
    return [case for case in found if case.path.exists()]


def convert_chikusei(folder: Path) -> None:
    """Fetch and convert a file of Chikusei's shape. Print seconds and peak memory; status 1 for 1 GB or more."""
    path = folder / "HyperspecVNIR_Chikusei_20140729.mat"
    write_chikusei(path)
    raw_seconds = time_call(read_by_bands, path)[1]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    datasets.fetch("chikusei", folder / "raw", source=str(folder))
    seconds = time_call(datasets.convert, "chikusei", "chikusei", folder / "raw", folder / "chikusei.h5")[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    opened = Scene.open(folder / "chikusei.h5")
    with h5py.File(path) as file:
        same = np.array_equal(opened.stored[:, 1000:1010, 7:9], file["chikusei"][:, 7:9, 1000:1010].transpose(0, 2, 1))
    size = np.prod(CHIKUSEI_SHAPE) * 4 / 1e9
    print(f"raw read of {size:.1f} GB: {raw_seconds:.0f} s, conversion: {seconds:.0f} s")
    print(f"peak memory {peak:.2f} GB ({before:.2f} GB before); same pixels: {same}")
    sys.exit(0 if peak < 1.0 and same else 1)


def read_by_bands(path: Path) -> None:
    """The raw library's read, band by band."""
    with h5py.File(path) as file:
        for band in file["chikusei"]:
            band.max()


def write_chikusei(path: Path) -> None:
    """A version 7.3 file with a variable of Chikusei's name, shape and type, written band by band."""
    bands, height, width = CHIKUSEI_SHAPE
    rng = np.random.default_rng(0)
    texture = (rng.integers(0, 12, (width, height)) * 100).astype(np.float32)
    with h5py.File(path, "w", userblock_size=512) as file:
        cube = file.create_dataset("chikusei", (bands, width, height), np.float32, chunks=(1, 292, 315), compression=1)
        cube.attrs["MATLAB_class"] = np.bytes_("single")
        for band in range(bands):
            cube[band] = texture + band
    with open(path, "rb+") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


if __name__ == "__main__":
    main()
