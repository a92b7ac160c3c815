"""Scene: values, windows, nodata, and its file."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from hsisr import scene as scenes
from hsisr.errors import HsisrError
from hsisr.lazy_array import LazyArray
from hsisr.scene import Scene


@pytest.fixture
def scene() -> Scene:
    rng = np.random.default_rng(0)
    guide = Scene(rng.integers(0, 256, (3, 140, 180)).astype(np.uint8), "s-guide", scale=1 / 255)
    return Scene(
        rng.integers(0, 5000, (5, 70, 90)).astype(np.uint16),
        "s",
        scale=1 / 5000,
        offset=0.25,
        wavelengths_nm=np.linspace(400, 700, 5),
        fwhm_nm=np.full(5, 8.0),
        bad_bands=np.array([0, 1, 0, 0, 0], bool),
        mask=rng.random((70, 90)) > 0.2,
        labels=rng.integers(0, 4, (70, 90)),
        label_names=("none", "a", "b", "c"),
        crs="EPSG:32633",
        transform=(30.0, 0.0, 1000.0, 0.0, -30.0, 2000.0),
        guide=guide,
        provenance={"origin": ["here"], "bands": [{"drop": [3]}]},
    )


def assert_same(a: Scene, b: Scene) -> None:
    for key in ("name", "scale", "offset", "crs", "transform", "nodata", "label_names", "provenance"):
        assert getattr(a, key) == getattr(b, key), key
    for key in ("wavelengths_nm", "fwhm_nm", "bad_bands", "mask", "labels"):
        assert (getattr(a, key) is None) == (getattr(b, key) is None), key
        assert getattr(a, key) is None or np.array_equal(getattr(a, key), getattr(b, key)), key
    assert a.stored.dtype == b.stored.dtype
    assert np.array_equal(a.stored[...], b.stored[...])
    assert (a.guide is None) == (b.guide is None)
    if a.guide is not None:
        assert_same(a.guide, b.guide)


def test_file_keeps_everything(scene, tmp_path):
    scene.save(tmp_path / "s.h5", settings={"x": 1})
    opened = Scene.open(tmp_path / "s.h5")
    assert isinstance(opened.stored, h5py.Dataset)
    assert_same(opened, scene)
    assert_same(opened.load(), scene)
    assert isinstance(opened.load().guide.stored, np.ndarray)


def test_cube_is_stored_times_scale_plus_offset_rounded_once(scene):
    expected = (scene.stored.astype(np.float64) * scene.scale + scene.offset).astype(np.float32)
    assert scene.cube.dtype == np.float32
    assert np.array_equal(scene.cube, expected)


def test_cube_never_aliases_what_is_stored():
    stored = np.ones((1, 2, 2), np.float32)
    Scene(stored, nodata=1.0).cube[:] = 7
    assert (stored == 1).all()


@pytest.mark.parametrize(
    ("nodata", "dtype"),
    [
        (-32768.0, np.float32),
        (-32768.0, np.int16),
        (7.0, np.uint8),
        (np.nan, np.float32),
        (-1e30, np.float32),
        (-1e308, np.float64),
    ],
)
def test_samples_without_data_are_zero(nodata, dtype):
    stored = np.array([[[1, nodata], [3, 4]]], dtype=dtype)
    cube = Scene(stored, scale=0.5, offset=1.0, nodata=nodata).cube
    assert cube.tolist() == [[[1.5, 0.0], [2.5, 3.0]]]


def test_nodata_outside_the_stored_type_matches_nothing():
    assert Scene(np.array([[[0, 255]]], np.uint8), nodata=-9999.0).cube.tolist() == [[[0, 255]]]


def test_strips_cover_every_row_once_within_the_limit(scene, monkeypatch):
    monkeypatch.setattr(scenes, "CHUNK", 16)
    monkeypatch.setattr(scenes, "STRIP_BYTES", 5 * 90 * 2 * 33)  # 33 rows, rounded down to 32
    rows, blocks = zip(*scene.strips(), strict=True)
    assert [(part.start, part.stop) for part in rows] == [(0, 32), (32, 64), (64, 70)]
    assert np.array_equal(np.concatenate(blocks, axis=1), scene.stored)


def test_save_by_strips_equals_save_at_once(scene, tmp_path, monkeypatch):
    scene.save(tmp_path / "a.h5")
    monkeypatch.setattr(scenes, "STRIP_BYTES", 1)
    scene.save(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_window_of_a_lazy_scene_moves_transform_and_cuts_guide(scene, tmp_path):
    scene.save(tmp_path / "s.h5")
    window = Scene.open(tmp_path / "s.h5").window(slice(10, 30), slice(40, 90))
    assert np.array_equal(window.stored, scene.stored[:, 10:30, 40:90])
    assert np.array_equal(window.mask, scene.mask[10:30, 40:90])
    assert np.array_equal(window.labels, scene.labels[10:30, 40:90])
    assert window.transform == (30.0, 0.0, 1000.0 + 40 * 30, 0.0, -30.0, 2000.0 - 10 * 30)
    assert np.array_equal(window.guide.stored, scene.guide.stored[:, 20:60, 80:180])


def test_empty_window_is_refused(scene):
    with pytest.raises(HsisrError, match=r"window 70:70, 0:90 is empty; the scene is 70 x 90"):
        scene.window(slice(80, 90), slice(None))


def test_bands_pick_everything_that_belongs_to_a_band(scene):
    picked = scene.bands([4, 1])
    assert np.array_equal(picked.stored, scene.stored[[4, 1]])
    assert picked.wavelengths_nm.tolist() == [700.0, 475.0]
    assert picked.bad_bands.tolist() == [False, True]
    for of_all in ([-1, 1, 1], np.arange(scene.shape[0]) > 2):
        assert np.array_equal(scene.bands(of_all).stored, scene.stored[np.asarray(of_all)])
    with pytest.raises(IndexError):
        scene.bands([scene.shape[0]])


@pytest.mark.parametrize("chosen", [[], np.zeros(0, int), 1])
def test_bands_must_be_a_list_of_some(scene, chosen):
    with pytest.raises(HsisrError, match="bands: expected a list of one or more band numbers"):
        scene.bands(chosen)


def test_bands_read_no_others(scene):
    class Seen(LazyArray):
        shape, dtype = scene.shape, scene.stored.dtype

        def block(self, bands, rows, columns):
            read.append(range(bands.start, bands.stop))
            return scene.stored[bands, rows, columns]

    read = []
    picked = replace(scene, stored=Seen()).bands([4, 2])
    assert np.array_equal(picked.stored, scene.stored[[4, 2]]) and read == [range(2, 5)]


def test_nearest_band_skips_bad_ones(scene):
    assert scene.nearest_band(476) == 2
    assert scene.nearest_band(0) == 0
    with pytest.raises(HsisrError, match="wavelengths are not known"):
        Scene(np.ones((2, 2, 2))).nearest_band(500)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"stored": np.ones((4, 4))}, "cube must be"),
        ({"stored": np.ones((4, 0, 4))}, "none of them 0"),
        ({"wavelengths_nm": np.ones(3)}, "wavelengths_nm has shape"),
        ({"mask": np.ones((2, 2), bool)}, "mask has shape"),
    ],
)
def test_shapes_must_agree(change, fault):
    with pytest.raises(HsisrError, match=fault):
        Scene(**{"stored": np.ones((4, 5, 6)), **change})


def test_what_is_not_a_scene_file_is_refused_in_one_line(scene, tmp_path):
    scene.save(tmp_path / "s.h5")
    whole = (tmp_path / "s.h5").read_bytes()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with h5py.File(tmp_path / "newer.h5", "w") as file:
        file.attrs["schema"] = "hsisr/scene/99"  # h5py's own strings are understood too
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("text")
    for name in ("absent", "other", "newer", "half", "text"):
        with pytest.raises(HsisrError, match=f"{name}.h5") as caught:
            Scene.open(tmp_path / f"{name}.h5")
        assert "\n" not in str(caught.value)


def test_file_has_no_heap_of_strings(scene, tmp_path):
    """A damaged global heap sends the HDF5 library into an endless loop, so a scene file must not have one."""
    scene.save(tmp_path / "s.h5")
    assert b"GCOL" not in (tmp_path / "s.h5").read_bytes()


def test_texts_beyond_ascii_and_beyond_64_kb(tmp_path):
    provenance = {"origin": "Universit\u00e4t \u6771\u4eac", "sha256": {f"{i:04d}.png": "0" * 64 for i in range(2000)}}
    Scene(np.ones((1, 2, 2)), "s", provenance=provenance, label_names=("Stra\u00dfe",)).save(tmp_path / "s.h5")
    opened = Scene.open(tmp_path / "s.h5")
    assert opened.provenance == provenance
    assert opened.label_names == ("Stra\u00dfe",)


@pytest.mark.parametrize("change", [{"scale": 0.0}, {"scale": np.nan}, {"offset": np.inf}])
def test_scale_and_offset_are_numbers(change):
    with pytest.raises(HsisrError, match="must be finite, not 0"):
        Scene(np.ones((1, 2, 2)), **change)


def test_damaged_pixels_are_one_line(scene, tmp_path):
    scene.save(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        offset = file["cube"].id.get_chunk_info(0).byte_offset
    with open(tmp_path / "s.h5", "rb+") as file:
        file.seek(offset)
        file.write(bytes(64))
    with pytest.raises(HsisrError, match=r"s\.h5: damaged scene file \(.*\); delete it and convert again"):
        _ = Scene.open(tmp_path / "s.h5").cube


def test_failed_save_leaves_no_file(scene, tmp_path):
    class Broken:
        shape, dtype = (2, 4, 4), np.dtype(np.float32)

        def __getitem__(self, key):
            raise OSError("disk gone")

    with pytest.raises(HsisrError, match="disk gone"):
        Scene(Broken()).save(tmp_path / "s.h5")
    assert list(tmp_path.iterdir()) == []


_CUBE = np.zeros((3, 4, 5), np.float32)


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"stored": _CUBE.tolist()}, "its pixels are a builtins.list; expected a numpy array"),
        ({"stored": _CUBE.astype(bool)}, "its pixels are bool, expected real numbers"),
        ({"stored": _CUBE.astype(complex)}, "its pixels are complex128, expected real numbers"),
        ({"stored": np.ma.masked_array(_CUBE, _CUBE == 0)}, "a masked array, whose mask would be lost"),
        ({"mask": np.ones((4, 5), np.uint8)}, "mask holds uint8, expected booleans"),
        ({"bad_bands": [0, 1, 0]}, "bad_bands holds int64, expected booleans"),
        ({"bad_bands": [1]}, r"bad_bands has shape \(1,\), expected \(3,\)"),
        ({"labels": np.ones((4, 5))}, "labels holds float64, expected integers"),
        ({"wavelengths_nm": ["500", "600", "700"]}, "wavelengths_nm holds <U3, expected real numbers"),
        ({"wavelengths_nm": [0.5, 0.6, 0.7]}, "only reach 0.7, as micrometres or numbers of bands do"),
        ({"name": 5}, "name is 5; expected a text"),
        ({"scale": "1/255"}, "scale is '1/255'; expected a number"),
        ({"nodata": "nan"}, "nodata is 'nan'; expected a number or None"),
        ({"crs": 32633}, "crs is 32633; expected a text such as 'EPSG:32633'"),
        ({"transform": (1.0, 0.0, 0.0)}, r"transform \(1.0, 0.0, 0.0\); expected six finite numbers"),
        ({"transform": (1.0, 0.0, 0.0, 0.0, np.nan, 0.0)}, "expected six finite numbers"),
        ({"transform": "EPSG:32633"}, "expected six finite numbers"),
        ({"label_names": "water"}, "label_names is 'water'; expected a tuple"),
        ({"guide": _CUBE}, "guide is array.*; expected a Scene or None"),
        ({"provenance": "a camera"}, "provenance is 'a camera'; expected a dict"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_at_once(facts, fault):
    with pytest.raises(HsisrError, match=fault):
        Scene(**{"stored": _CUBE, **facts})


def test_a_tensor_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(HsisrError, match="its pixels are a torch.Tensor; expected a numpy array"):
        Scene(torch.zeros(3, 4, 5))


def test_lists_and_transforms_of_rasterio_are_taken(tmp_path):
    affine = pytest.importorskip("affine")
    listed = Scene(
        _CUBE,
        wavelengths_nm=[500, 600, 700],
        bad_bands=[False, True, False],
        mask=[[True] * 5] * 4,
        labels=[[1] * 5] * 4,
        label_names=["none", "field"],
        transform=affine.Affine(30.0, 0.0, 1000.0, 0.0, -30.0, 2000.0),
        nodata=-1,
        scale=2,
    )
    assert listed.transform == (30.0, 0.0, 1000.0, 0.0, -30.0, 2000.0)
    assert listed.window(slice(1, 3), slice(2, 5)).transform == (30.0, 0.0, 1060.0, 0.0, -30.0, 1970.0)
    listed.save(tmp_path / "s.h5")
    assert_same(Scene.open(tmp_path / "s.h5"), listed)


def test_windows_in_steps_are_refused():
    with pytest.raises(HsisrError, match="steps of 1"):
        Scene(_CUBE).window(slice(0, 4, 2), slice(0, 4, 2))
