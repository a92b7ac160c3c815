"""Broken input: each fault is one line that names the file, and no scene file is left.

Every case goes the way that a user's data go: fetch, then convert.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from scipy.io import savemat

from hsisr import datasets
from hsisr.errors import HsisrError
from hsisr.scene import Scene

from .fakes import EXTRA, FOLDER, make_fakes

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

CUBE = np.random.default_rng(0).random((6, 40, 36)).astype(np.float32)
HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n" * 20


def matlab5(**variables) -> bytes:
    content = io.BytesIO()
    savemat(content, variables or {"cube": np.moveaxis(CUBE, 0, -1)}, do_compression=True)
    return content.getvalue()


def matlab73() -> bytes:
    return make_fakes.matlab73({"cube": CUBE})


def hdf5(**variables) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, value in (variables or {"cube": CUBE}).items():
            file[name] = value
    return content.getvalue()


def npy(cube=CUBE) -> bytes:
    content = io.BytesIO()
    np.save(content, cube)
    return content.getvalue()


def npz(**arrays) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **(arrays or {"cube": CUBE}))
    return content.getvalue()


def tiff(cube=CUBE, driver="GTiff", tags=None, **profile) -> bytes:
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver=driver, count=len(cube), height=cube.shape[1], width=cube.shape[2], dtype=cube.dtype.name, **profile
        ) as image:
            image.write(cube)
            for index, value in enumerate(tags or [], 1):
                image.update_tags(index, **value)
        return memory.read()


def scene_file() -> bytes:
    path = Path("scene-for-tests.h5")
    Scene(CUBE).save(path)
    content = path.read_bytes()
    path.unlink()
    return content


def png(cube=CUBE[:1]) -> bytes:
    return tiff((cube * 65535).astype(np.uint16), "PNG")


def bands(change=None) -> dict[str, bytes]:
    files = {f"a/band_{number:02d}.png": png(CUBE[number - 1 : number]) for number in range(1, 7)}
    return files | (change or {})


def without(files: dict, *names: str) -> dict:
    return {name: content for name, content in files.items() if name not in names}


def cut(content: bytes, keep: float) -> bytes:
    return content[: int(len(content) * keep)]


def flipped(content: bytes, at: float) -> bytes:
    data = bytearray(content)
    data[int(len(data) * at)] ^= 0x40
    return bytes(data)


def with_nan(value=np.nan, dtype=CUBE.dtype) -> np.ndarray:
    cube = CUBE.astype(dtype)
    cube[2, 3, 4] = value
    return cube


def tagged(key: str, values) -> list[dict]:
    return [{} if value is None else {key: value} for value in values]


BHW = {"reader_options": {"axes": "BHW"}}
BANDS = {"reader_options": {"bands": 6}, "reader": "band_images"}

#: name -> (files, settings of the set, what the line must say). Content may be a function, made when it is needed.
CASES = {
    # whole formats
    "empty file": ({"a.mat": b""}, {}, r"a\.mat: empty file \(0 bytes\)"),
    "empty image": ({"a/b_1.png": b"", "a/b_2.png": png}, {}, r"b_1\.png: empty file"),
    "HTML page as .mat": ({"a.mat": HTML}, {}, r"a\.mat: an HTML page, not data"),
    "HTML page as .mat, reader given": ({"a.mat": HTML}, {"reader": "matlab"}, r"a\.mat: damaged or cut MATLAB file"),
    "HTML page as .npy": ({"a.npy": HTML}, BHW | {"reader": "numpy"}, r"a\.npy: damaged or cut NumPy file"),
    "HTML page as .h5": ({"a.h5": HTML}, BHW | {"reader": "hdf5"}, r"a\.h5: damaged or cut HDF5 file"),
    "HTML page as .tif": ({"a.tif": HTML}, {"reader": "raster"}, r"a\.tif: neither TIFF nor ENVI"),
    "HTML page as .png": ({"a/b_1.png": HTML, "a/b_2.png": png}, {}, r"b_1\.png: not an image"),
    "text": ({"a.npy": b"1 2 3"}, {}, r"a\.npy: content not recognised"),
    "zip archive as .mat": ({"a.mat": lambda: archive({"x": b"y"})}, {}, r"a\.mat: a zip archive; unpack it first"),
    "gzip archive as .mat": ({"a.mat": b"\x1f\x8b\x08\x00"}, {}, r"a\.mat: a gzip archive"),
    # band images
    "band missing": (lambda: without(bands(), "a/band_04.png"), BANDS, "5 band images, expected 6: band 4 is missing"),
    "last band missing": (lambda: without(bands(), "a/band_06.png"), BANDS, "band 6 is missing"),
    "gap without a stated number": (lambda: without(bands(), "a/band_04.png"), {}, "band 4 is missing"),
    "band twice": (lambda: bands({"a/again_02.png": png()}), {}, "a number stands twice"),
    "images of two sizes": (
        lambda: bands({"a/band_05.png": png(CUBE[:1, :20])}),
        BANDS,
        r"band_05\.png: 20 x 36 uint16, but band_01\.png",
    ),
    "images of two types": (
        lambda: bands({"a/band_05.png": tiff((CUBE[:1] * 255).astype(np.uint8), "PNG")}),
        BANDS,
        r"band_05\.png: 40 x 36 uint8",
    ),
    "coloured band": (
        lambda: bands({"a/band_05.png": tiff((CUBE[:3] * 255).astype(np.uint8), "PNG")}),
        BANDS,
        r"band_05\.png: has 3 channels that differ",
    ),
    "no such channel": (
        lambda: bands({"a/band_05.png": tiff((CUBE[:3] * 255).astype(np.uint8), "PNG")}),
        {"reader": "band_images", "reader_options": {"channel": 7}},
        r"band_05\.png: has 3 channels, no channel 7",
    ),
    "cut image": (lambda: bands({"a/band_03.png": cut(png(), 0.5)}), BANDS, r"band_03\.png: damaged or cut PNG"),
    "flipped byte in image": (
        lambda: bands({"a/band_03.png": flipped(png(), 0.5)}),
        BANDS,
        r"band_03\.png: damaged or cut PNG",
    ),
    # MATLAB 5
    "cut .mat": ({"a.mat": lambda: cut(matlab5(), 0.5)}, {}, r"a\.mat: damaged or cut MATLAB file"),
    "flipped byte in .mat": ({"a.mat": lambda: flipped(matlab5(), 0.5)}, {}, r"a\.mat: damaged or cut MATLAB file"),
    "two cubes": (
        {"a.mat": lambda: matlab5(x=np.ones((3, 4, 5)), y=np.ones((3, 4, 6)))},
        {},
        r"a\.mat: 2 variables with three axes; it holds x 3x4x5, y 3x4x6; name the cube with `variable`",
    ),
    "no cube": ({"a.mat": lambda: matlab5(x=np.ones((3, 4)))}, {}, r"a\.mat: no variable with three axes"),
    "nothing numeric": ({"a.mat": lambda: matlab5(x="text")}, {}, "it holds nothing numeric"),
    "variable absent": (
        {"a.mat": lambda: matlab5()},
        {"reader_options": {"variable": "ref"}},
        r"a\.mat: has no variable 'ref'",
    ),
    "four axes": (
        {"a.mat": lambda: matlab5(x=np.ones((3, 4, 5, 2)))},
        {"reader_options": {"variable": "x"}},
        "expected three axes",
    ),
    "complex numbers": ({"a.mat": lambda: matlab5(x=np.ones((3, 4, 5)) * 1j)}, {}, "type complex128"),
    "mask of another size": (
        {"a.mat": lambda: matlab5(x=np.ones((3, 4, 5)), m=np.ones((3, 3)))},
        {"reader_options": {"mask": "m"}},
        "the mask m",
    ),
    "matrix that does not fit": (
        {"a.mat": lambda: matlab5(x=np.ones((6, 100)))},
        {"reader_options": {"variable": "x", "axes": "BP", "rows": 9, "columns": 11}},
        "x is 6x100, not 9 x 11 pixels",
    ),
    "matrix without its size": (
        {"a.mat": lambda: matlab5(x=np.ones((6, 99)))},
        {"reader_options": {"variable": "x", "axes": "BP"}},
        "needs `rows`",
    ),
    "matrix of no size": (
        {"a.mat": lambda: matlab5(V=np.ones((6, 99)), nRow=np.nan, nCol=11)},
        {},
        r"rows must be a whole number of 1 or more, not \[nan\]",
    ),
    "NaN in .mat": (
        {"a.mat": lambda: matlab5(x=with_nan())},
        {},
        "1 values are not finite, the first in band 5 at row 2",
    ),
    "wrong number of wavelengths": (
        {"a.mat": lambda: matlab5(x=np.ones((3, 4, 5)), w=np.arange(4))},
        {"reader_options": {"wavelengths_nm": "w"}},
        "4 wavelengths for 5 bands",
    ),
    # MATLAB 7.3 and HDF5
    "v7.3 cut in half": ({"a.mat": lambda: cut(matlab73(), 0.5)}, {}, r"a\.mat: damaged or cut"),
    "v7.3 cut at its end": ({"a.mat": lambda: cut(matlab73(), 0.99)}, {}, r"a\.mat: damaged or cut"),
    "v7.3 header alone": ({"a.mat": lambda: matlab73()[:512]}, {}, r"a\.mat: damaged or cut MATLAB file"),
    "v7.3 with damaged chunks": ({"a.mat": lambda: damaged_chunks(matlab73())}, {}, r"a\.mat: damaged or cut"),
    "HDF5 cut in half": ({"a.h5": lambda: cut(hdf5(), 0.5)}, BHW, r"a\.h5: damaged or cut HDF5 file"),
    "HDF5 without axes": ({"a.h5": hdf5}, {}, "order of the axes of 6x40x36 is not known"),
    "HDF5 with two cubes": (
        {"a.h5": lambda: hdf5(a=CUBE, b=CUBE)},
        BHW,
        "2 variables with three axes; it holds a 6x40x36, b",
    ),
    "HDF5 with a cube of nothing": ({"a.h5": lambda: hdf5(a=np.ones((0, 4, 4)))}, BHW, "the cube is empty"),
    "HDF5 wavelengths absent": (
        {"a.h5": hdf5},
        {"reader_options": {"axes": "BHW", "wavelengths_nm": "w"}},
        "has no dataset 'w' for the wavelengths",
    ),
    "scene file cut in half": ({"a.h5": lambda: cut(scene_file(), 0.5)}, {}, r"a\.h5: "),
    # NumPy
    "cut .npy": ({"a.npy": lambda: cut(npy(), 0.5)}, BHW, r"a\.npy: damaged or cut NumPy file"),
    "pickled .npy": ({"a.npy": lambda: npy(np.array([{}]))}, BHW, r"a\.npy: damaged or cut NumPy file"),
    ".npy without axes": ({"a.npy": npy}, {}, "order of the axes of 6x40x36 is not known; give `axes`"),
    ".npy of two axes": ({"a.npy": lambda: npy(CUBE[0])}, BHW, "no variable with three axes; it holds array 40x36"),
    ".npy of text": ({"a.npy": lambda: npy(np.array([[["x"]]]))}, BHW, "no variable with three axes; it holds nothing"),
    ".npy with infinity": (
        {"a.npy": lambda: npy(with_nan(np.inf))},
        BHW,
        "1 values are not finite, the first in band 3",
    ),
    ".npy that claims terabytes": ({"a.npy": lambda: npy().replace(b"(6, 40, 36)", b"(6, 9e8,36)")}, BHW, r"a\.npy: "),
    "cut .npz": ({"a.npz": lambda: cut(npz(), 0.5)}, BHW, r"a\.npz: "),
    "flipped byte in .npz": ({"a.npz": lambda: flipped(npz(), 0.5)}, BHW, r"a\.npz: damaged or cut NumPy file"),
    "two cubes in .npz": ({"a.npz": lambda: npz(a=CUBE, b=CUBE)}, BHW, "2 variables with three axes"),
    # rasters
    "cut TIFF": ({"a.tif": lambda: cut(tiff(), 0.6)}, {}, r"a\.tif: damaged or cut raster file"),
    "TIFF header alone": ({"a.tif": lambda: tiff()[:8]}, {}, r"a\.tif: damaged or cut raster file"),
    "flipped byte in TIFF": (
        {"a.tif": lambda: flipped(tiff(compress="deflate"), 0.5)},
        {},
        r"a\.tif: damaged or cut raster file",
    ),
    "TIFF with NaN": (
        {"a.tif": lambda: tiff(with_nan())},
        {},
        "1 values are not finite, the first in band 3 at row 3, column 4",
    ),
    "TIFF with a value beyond 32-bit floats": (
        {"a.tif": lambda: tiff(with_nan(np.finfo(np.float64).min, np.float64))},
        {},
        r"beyond 3.4e38.* the first in band 3 at row 3, column 4; .* --read nodata=-1.7976931348623157e\+308 ",
    ),
    "TIFF with NaN for nodata, and a value beyond 32-bit floats": (
        {"a.tif": lambda: tiff(np.where(CUBE[0, 0, 0] == CUBE, np.nan, with_nan(1e300, np.float64)), nodata=np.nan)},
        {},
        r"beyond 3.4e38.* the first in band 3 at row 3, column 4",
    ),
    "TIFF without any data": ({"a.tif": lambda: tiff(CUBE * 0 - 1, nodata=-1)}, {}, "holds no data: every sample"),
    "TIFF with wavelengths of some bands": (
        {"a.tif": lambda: tiff(tags=tagged("wavelength", ["400", "500", None, None, None, None]))},
        {},
        "gives the wavelength of 2 of 6 bands only",
    ),
    "TIFF with words as wavelengths": (
        {"a.tif": lambda: tiff(tags=tagged("wavelength", ["red"] * 6))},
        {},
        "wavelength values must be numbers",
    ),
    "TIFF of complex numbers": ({"a.tif": lambda: tiff((CUBE * 1j).astype(np.complex64))}, {}, "type complex64"),
    "ENVI header without data": (
        {"a.hdr": b"ENVI\nsamples = 4\n"},
        {},
        r"a\.hdr: an ENVI header without its data file",
    ),
    "ENVI data cut": (lambda: envi(keep=0.5), {}, r"a\.(img|hdr): damaged or cut raster file"),
    "ENVI header with too few wavelengths": (
        lambda: envi(more="wavelength = {1, 2}\n"),
        {},
        "2 wavelength values for 6 bands",
    ),
    "ENVI header that is cut": (lambda: envi(header=0.3), {}, r"a\.hdr: its ENVI header lacks `data type`"),
    # photographs
    "photograph of two channels": (
        {"a.png": lambda: tiff((CUBE[:2] * 255).astype(np.uint8), "PNG")},
        {"reader": "rgb"},
        "2 channels; a photograph has",
    ),
    "cut JPEG": ({"a.jpg": lambda: cut(tiff((CUBE[:3] * 255).astype(np.uint8), "JPEG"), 0.4)}, {}, r"a\.jpg: damaged"),
}


def archive(members: dict) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


def damaged_chunks(content: bytes) -> bytes:
    """Zeros over the compressed pixels."""
    with h5py.File(io.BytesIO(content)) as file:
        chunk = file["cube"].id.get_chunk_info(0)
        at, size = chunk.byte_offset, chunk.size  # counted from the start of the file, user block included
    return content[:at] + bytes(size) + content[at + size :]


def envi(keep: float = 1.0, header: float = 1.0, more: str = "") -> dict[str, bytes]:
    text = (
        "ENVI\nsamples = 36\nlines = 40\nbands = 6\nheader offset = 0\nfile type = ENVI Standard\ndata type = 4\n"
        f"interleave = bsq\nbyte order = 0\n{more}"
    )
    return {"a.img": cut(CUBE.tobytes(), keep), "a.hdr": cut(text.encode(), header)}


@pytest.mark.parametrize("name", CASES)
def test_broken_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files, settings, fault = CASES[name]
    for file, content in (files() if callable(files) else files).items():
        path = tmp_path / "own" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content() if callable(content) else content)
    extra = {"mine": {"path": str(tmp_path / "own"), "scenes": ["a"], **settings}}
    with pytest.raises(HsisrError, match=fault) as caught:
        datasets.fetch("mine", tmp_path / "raw", extra=extra)
        datasets.convert("mine", "a", tmp_path / "raw", tmp_path / "scenes" / "a.h5", extra=extra)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "own") in str(caught.value)
    assert not list(tmp_path.rglob("scenes/*"))


def test_there_are_many_cases():
    assert len(CASES) >= 40


#: name -> (archive of the fake CAVE made wrong, what the line must say)
ARCHIVES = {
    "cut": (lambda content: cut(content, 0.7), "damaged or cut archive"),
    "flipped byte": (lambda content: flipped(content, 0.4), "damaged or cut archive"),
    "empty": (lambda content: b"", "damaged or cut archive|holds no scene"),
    "HTML page": (lambda content: HTML, "holds no scene|damaged or cut archive"),
    "path outside": (lambda content: archive({"../../x": b"x"}), "outside the folder"),
    "other content": (lambda content: archive({"readme.txt": b"x"}), "lacks the scenes"),
    "tar with a link": (lambda content: tar_with_link(), "holds a link"),
}


def tar_with_link() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as file:
        link = tarfile.TarInfo("balloons_ms/x")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    return content.getvalue()


@pytest.mark.parametrize("name", ARCHIVES)
def test_broken_archive(name, tmp_path):
    change, fault = ARCHIVES[name]
    source = tmp_path / "source" / "complete_ms_data.zip"
    source.parent.mkdir()
    source.write_bytes(change((FOLDER / "cave" / "complete_ms_data.zip").read_bytes()))
    with pytest.raises(HsisrError, match=fault) as caught:
        datasets.fetch("cave", tmp_path / "raw", str(source), extra=EXTRA)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "raw" / "manifest.json").exists()
    assert not (tmp_path.parent / "x").exists()


def test_damaged_cave_band_inside_a_whole_archive(tmp_path):
    """The published hash finds what no format check can: another image, perfectly decodable."""
    source = tmp_path / "copy"
    shutil.copytree(FOLDER / "roman_colosseum", source)  # any folder
    (source / "balloons_ms_01.png").write_bytes(png())
    with pytest.raises(HsisrError, match=r"balloons_ms_01\.png: is not the published file"):
        datasets.fetch("cave", tmp_path / "raw", str(source))


def test_hdf5_index_that_points_to_itself(tmp_path):
    """The library's own visit of such a file never ends, so it runs in a process that can be stopped."""
    content = bytearray(hdf5(**{"group/cube": CUBE}))
    tree = content.index(b"TREE")
    content[tree + 16 : tree + 24] = tree.to_bytes(8, "little")  # the right neighbour of the root's index
    (tmp_path / "a.h5").write_bytes(content)
    code = f"from hsisr import read_scene; print(read_scene({str(tmp_path / 'a.h5')!r}, axes='BHW').shape)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "(6, 40, 36)\n" or "HsisrError" in done.stderr
