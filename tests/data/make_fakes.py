"""Makes the tiny fakes beside it: each data set in its published layout, a few kilobytes, with made-up pixels.

    python tests/data/make_fakes.py

Tests compare what hsisr reads with `pixels`, the function that made them.
"""

import gzip
import io
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from scipy.io import savemat

HERE = Path(__file__).parent
#: Rows and columns of most fakes: unequal, so that a transposed image shows.
HEIGHT, WIDTH = 12, 10
ROME_RATIO = 4

CAVE_SCENES = ("balloons", "cd", "jelly_beans", "watercolors")
HARVARD_SCENES = {"CZ_hsdb": ("img1", "imga1"), "CZ_hsdbi": ("img3",)}
NTIRE_SCENES = {"NTIRE2020_Train_Spectral": ("ARAD_HS_0001",), "NTIRE2020_Validation_Spectral": ("ARAD_HS_0451",)}
DIV2K_SCENES = {"DIV2K_train_HR": ("0001", "0002"), "DIV2K_valid_HR": ("0801",)}

warnings.simplefilter("ignore", NotGeoreferencedWarning)


def pixels(name: str, shape: tuple[int, ...], dtype: str, top: float) -> np.ndarray:
    """Made-up values from 0 to `top` of a type, the same for the same name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if np.dtype(dtype).kind == "f":
        return (rng.random(shape) * top).astype(dtype)
    return rng.integers(0, int(top) + 1, shape).astype(dtype)


def cave(scene: str) -> np.ndarray:
    """(31, H, W) uint16; uint8 for watercolors."""
    if scene == "watercolors":
        return pixels("cave/watercolors", (31, HEIGHT, WIDTH), "uint8", 255)
    return pixels(f"cave/{scene}", (31, HEIGHT, WIDTH), "uint16", 65535)


def harvard(scene: str) -> tuple[np.ndarray, np.ndarray]:
    """`ref` (31, H, W) of small values, `lbl` (H, W) that is 0 where something moved."""
    ref = pixels(f"harvard/{scene}", (31, HEIGHT, WIDTH), "float64", 0.05)
    lbl = np.ones((HEIGHT, WIDTH), np.uint8)
    lbl[2:5, 7:] = 0
    return ref, lbl


def ntire2020(scene: str) -> np.ndarray:
    """(31, H, W) float64 in [0, 1]."""
    return pixels(f"ntire2020/{scene}", (31, HEIGHT, WIDTH), "float64", 1.0)


def chikusei() -> np.ndarray:
    """(128, H, W) float32, black at its border."""
    cube = pixels("chikusei", (128, HEIGHT, WIDTH), "float32", 9000.0)
    cube[:, :, 0] = 0
    return cube


def div2k(scene: str) -> np.ndarray:
    """(3, H, W) uint8."""
    return pixels(f"div2k/{scene}", (3, HEIGHT, WIDTH), "uint8", 255)


def roman_colosseum() -> tuple[np.ndarray, np.ndarray]:
    """(8, H, W) and (1, 4 H, 4 W) uint16 of 11 bits."""
    multispectral = pixels("rome/ms", (8, HEIGHT, WIDTH), "uint16", 2047)
    return multispectral, pixels("rome/pan", (1, HEIGHT * ROME_RATIO, WIDTH * ROME_RATIO), "uint16", 2047)


def main() -> None:
    """Write every fake."""
    _write_cave()
    _write_harvard()
    _write_ntire2020()
    _write_chikusei()
    _write_div2k()
    _write_roman_colosseum()


def _write_cave() -> None:
    members = {}
    for scene in CAVE_SCENES:
        folder = f"{scene}_ms/{scene}_ms"
        for band, plane in enumerate(cave(scene), 1):
            opaque = np.full_like(plane, 255)
            channels = np.stack([plane, plane, plane, opaque]) if scene == "watercolors" else plane[None]
            members[f"{folder}/{scene}_ms_{band:02d}.png"] = _image(channels, "PNG")
        members[f"{folder}/{scene}_RGB.bmp"] = _image(pixels(f"bmp/{scene}", (3, HEIGHT, WIDTH), "uint8", 255), "BMP")
    members["balloons_ms/balloons_ms/Thumbs.db"] = b"litter"
    members["__MACOSX/balloons_ms/._balloons_RGB.bmp"] = b"litter"
    _zip("cave/complete_ms_data.zip", members)


def _write_harvard() -> None:
    for archive, scenes in HARVARD_SCENES.items():
        members = {f"{archive}/README.txt": b"made up", f"{archive}/calib.txt": b"1.0"}
        for scene in scenes:
            ref, lbl = harvard(scene)
            content = io.BytesIO()
            savemat(content, {"ref": np.moveaxis(ref, 0, -1), "lbl": lbl}, do_compression=True)
            members[f"{archive}/{scene}.mat"] = content.getvalue()
        _tgz(f"harvard/{archive}.tgz", members)


def _write_ntire2020() -> None:
    for archive, scenes in NTIRE_SCENES.items():
        members = {}
        for scene in scenes:
            variables = {"cube": ntire2020(scene), "bands": np.arange(400.0, 701.0, 10.0), "norm_factor": np.ones(1)}
            members[f"{archive}/{scene}.mat"] = matlab73(variables)
        _zip(f"ntire2020/{archive}.zip", members)


def _write_chikusei() -> None:
    name = "HyperspecVNIR_Chikusei_20140729"
    members = {
        f"Chikusei_MATLAB/{name}.mat": matlab73({"chikusei": chikusei()}),
        f"Chikusei_MATLAB/{name}_Ground_Truth.mat": b"not read",
    }
    _zip("chikusei/Hyperspec_Chikusei_MATLAB.zip", members)


def _write_div2k() -> None:
    for archive, scenes in DIV2K_SCENES.items():
        _zip(f"div2k/{archive}.zip", {f"{archive}/{scene}.png": _image(div2k(scene), "PNG") for scene in scenes})


def _write_roman_colosseum() -> None:
    folder = HERE / "roman_colosseum"
    folder.mkdir(exist_ok=True)
    for name, image, size_m in zip(("M2AS", "P2AS"), roman_colosseum(), (2.0, 0.5), strict=True):
        transform = rasterio.Affine(size_m, 0, 291000, 0, -size_m, 4641000)
        content = _image(image, "GTiff", crs="EPSG:32633", transform=transform)
        (folder / f"10DEC10-{name}-052800000000_01_P001.TIF").write_bytes(content)


def matlab73(variables: dict[str, np.ndarray]) -> bytes:
    """A version 7.3 file as MATLAB writes it: band-first cubes become rows, columns, bands, in reverse on the disk."""
    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=512) as file:
        for name, value in variables.items():
            stored = value.transpose(0, 2, 1) if value.ndim == 3 else value.reshape(-1, 1)
            dataset = file.create_dataset(name, data=stored, chunks=True, compression=3)
            dataset.attrs["MATLAB_class"] = np.bytes_("single" if value.dtype == np.float32 else "double")
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Thu Jan  1 00:00:00 2015 HDF5 schema 1.00 ."
    return header.ljust(116) + bytes(8) + b"\x00\x02IM" + content.getvalue()[128:]


def _image(channels: np.ndarray, driver: str, **georeference) -> bytes:
    count, height, width = channels.shape
    with MemoryFile() as memory:
        profile = {"driver": driver, "count": count, "height": height, "width": width, "dtype": channels.dtype.name}
        with memory.open(**profile, **georeference) as image:
            image.write(channels)
        return memory.read()


def _zip(name: str, members: dict[str, bytes]) -> None:
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member, (2010, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def _tgz(name: str, members: dict[str, bytes]) -> None:
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for member, data in members.items():
            facts = tarfile.TarInfo(member)
            facts.size = len(data)
            archive.addfile(facts, io.BytesIO(data))
    path.write_bytes(gzip.compress(content.getvalue(), mtime=0))


if __name__ == "__main__":
    main()
