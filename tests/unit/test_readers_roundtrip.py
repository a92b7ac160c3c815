"""Readers, by property: whatever is written is read back as it was, or refused in one line."""

import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import rasterio
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.scene import Scene, holds

FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
ENVI_TYPES = {"uint8": 1, "int16": 2, "int32": 3, "float32": 4, "float64": 5, "uint16": 12, "uint32": 13}
UNITS = {"nm": 1.0, "Nanometers": 1.0, "Micrometers": 1e-3, "um": 1e-3, "Angstroms": 10.0, "": 1.0, "Unknown": 1e-3}
NAMES = st.sampled_from(["a", "scan.v2", "B02_10m", "x 1", "F\u00f6rder", "1.2.3", "cube-7"])


@st.composite
def scenes(draw, types=TYPES):
    """Scenes of a few pixels of any type, with whatever a scene may know of itself."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)))
    dtype = np.dtype(draw(st.sampled_from(types)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stored = rng.integers(1, 120, shape).astype(dtype)
    nodata = draw(st.sampled_from([None, 0.0, 7.0, -9999.0, float("nan")]))
    nodata = nodata if nodata is None or holds(dtype, nodata) else None
    if nodata is not None:
        stored[:, rng.random(shape[1:]) < 0.2] = np.asarray(nodata).astype(dtype)
    known, bands = draw(st.booleans()), shape[0]
    return Scene(
        stored,
        scale=draw(st.sampled_from([1.0, 1e-4, 0.5])),
        offset=draw(st.sampled_from([0.0, -0.1])),
        nodata=nodata,
        wavelengths_nm=np.sort(rng.uniform(400, 2500, bands).round(3)) if known else None,
        fwhm_nm=rng.uniform(2, 20, bands).round(3) if known else None,
        bad_bands=draw(st.sampled_from([None, np.arange(bands) == 0])) if bands > 1 else None,
        crs=draw(st.sampled_from([None, "EPSG:32633"])),
        transform=draw(st.sampled_from([None, (30.0, 0.0, 366015.0, 0.0, -30.0, 5809965.0)])),
    )


def all_missing(scene):
    missing = scene.without_data(scene.stored)
    return missing is not None and missing.all()


def check_same(found, scene):
    """The scene that was read equals the one that was written."""
    assert np.array_equal(found.stored[...], scene.stored, equal_nan=scene.stored.dtype.kind == "f")
    assert found.stored.dtype == scene.stored.dtype
    assert (found.scale, found.offset) == (scene.scale, scene.offset)
    assert found.nodata == scene.nodata or (np.isnan(found.nodata) and np.isnan(scene.nodata))
    assert found.transform == scene.transform and (found.crs is None) == (scene.crs is None)
    for key in ("wavelengths_nm", "fwhm_nm", "bad_bands"):
        one, other = getattr(found, key), getattr(scene, key)
        if key == "bad_bands" and scene.nodata is not None:
            continue  # a band of a few pixels may hold no data by chance
        assert (one is None) == (other is None) and (one is None or np.allclose(one, other)), key


@FEW
@given(scenes(), NAMES, st.sampled_from([(".tif", None), (".tif", "cog"), (".img", None), (".hdr", None)]))
def test_rasters(scene, name, kind):
    ending, format = kind
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"{name}{ending}"
        try:
            path = export(scene, out, format)
            found = read_scene(path if ending != ".hdr" else out)
        except HsisrError as error:
            assert "\n" not in str(error) and all_missing(scene)
            return
        if scene.stored.dtype == np.int8 and ending != ".tif":  # ENVI has no such type
            scene = replace(scene, stored=scene.stored.astype(np.int16))
        check_same(found, scene)


@FEW
@given(
    scenes(list(ENVI_TYPES)), NAMES, st.sampled_from(["bsq", "bil", "bip", "BIL"]), st.sampled_from("<>"),
    st.sampled_from([".img", ".raw", ".dat", "", ".pix", ".RAW", ".float"]), st.sampled_from(sorted(UNITS)),
    st.integers(0, 64), st.booleans(),
)  # fmt: skip
def test_envi_as_others_write_it(scene, name, interleave, order, ending, units, offset, appended):
    axes = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[interleave.lower()]
    bands, rows, columns = scene.shape
    lines = ["ENVI", f"samples = {columns}", f"lines = {rows}", f"bands = {bands}", f"header offset = {offset}"]
    lines += [f"data type = {ENVI_TYPES[scene.stored.dtype.name]}", f"interleave = {interleave}"]
    lines += [f"byte order = {int(order == '>')}"]
    if scene.nodata is not None:
        lines += [f"data ignore value = {scene.nodata:g}"]
    if scene.wavelengths_nm is not None:
        numbers = ", ".join(str(value * UNITS[units]) for value in scene.wavelengths_nm)
        lines += [f"wavelength = {{{numbers}}}", f"wavelength units = {units}"]
    assume(scene.stored.nbytes + offset > 1)  # GDAL reads no file of a single byte
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / f"{name}{ending}"
        turned = np.ascontiguousarray(scene.stored.transpose(axes)).astype(scene.stored.dtype.newbyteorder(order))
        data.write_bytes(bytes(offset) + turned.tobytes())
        header = Path(folder) / f"{data.name if appended else name}.hdr"
        header.write_text("\n".join(lines) + "\n")
        for given_name in (data, header):
            try:
                found = read_scene(given_name)
            except HsisrError as error:
                assert "\n" not in str(error) and all_missing(scene)
                return
            assert np.array_equal(found.stored[...], scene.stored, equal_nan=scene.stored.dtype.kind == "f")
            if scene.wavelengths_nm is not None:
                np.testing.assert_allclose(found.wavelengths_nm, scene.wavelengths_nm)


@FEW
@given(scenes(), st.permutations("BHW"), st.booleans())
def test_arrays(scene, axes, with_mask):
    """.npy, .mat of both versions (through our writers, as values), scene files and HDF5 with CF attributes."""
    order = ["BHW".index(letter) for letter in axes]
    mask = np.ones(scene.shape[1:], bool)
    mask[0, 0] = False
    scene = replace(scene, mask=mask) if with_mask and mask.any() else scene
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        np.save(root / "a.npy", scene.stored.transpose(order))
        with h5py.File(root / "b.h5", "w") as file:
            file["cube"] = scene.stored.transpose(order)
            file["cube"].attrs.update({"scale_factor": scene.scale, "add_offset": scene.offset})
            if scene.nodata is not None:
                file["cube"].attrs["_FillValue"] = scene.nodata
        scene.save(root / "c.h5")
        try:
            read = {
                "a.npy": read_scene(root / "a.npy", axes="".join(axes), nodata=scene.nodata),
                "b.h5": read_scene(root / "b.h5", axes="".join(axes)),
                "c.h5": read_scene(root / "c.h5"),
            }
        except HsisrError as error:
            assert "\n" not in str(error) and all_missing(scene)
            return
        for name, found in read.items():
            assert np.array_equal(found.stored[...], scene.stored, equal_nan=scene.stored.dtype.kind == "f"), name
        assert (read["b.h5"].scale, read["b.h5"].offset) == (scene.scale, scene.offset)
        for format in ("matlab5", "matlab7.3"):
            export(scene, root / "d.mat", format)
            found = read_scene(root / "d.mat")
            assert np.array_equal(found.cube, scene.cube)
            assert scene.nodata is not None or (found.mask is None) == (scene.mask is None)


@FEW
@given(st.binary(min_size=1, max_size=400), st.sampled_from(["a.tif", "a.npy", "a.mat", "a.h5", "a.hdr", "a.png"]))
def test_anything_else_is_refused_in_one_line(content, name):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        head = {"a.tif": b"II*\0", "a.npy": b"\x93NUMPY", "a.h5": b"\x89HDF\r\n\x1a\n", "a.hdr": b"ENVI\n"}.get(
            name, b""
        )
        path.write_bytes(head + content)
        try:
            read_scene(path)
        except HsisrError as error:
            assert "\n" not in str(error) and str(path) in str(error)


def test_four_bytes_a_pixel_are_four_bands(tmp_path):
    """GDAL takes the fourth of four 8-bit bands for opacity unless it is told otherwise."""
    stored = np.random.default_rng(0).integers(0, 2, (4, 9, 9)).astype(np.uint8) * 255
    for format in ("geotiff", "cog"):
        export(Scene(stored), tmp_path / "a.tif", format)
        with rasterio.open(tmp_path / "a.tif") as image:
            assert "alpha" not in [kind.name for kind in image.colorinterp]
        assert np.array_equal(read_scene(tmp_path / "a.tif").stored, stored)
