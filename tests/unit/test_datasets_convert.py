"""Conversion: from the published layout to a scene file with the published values."""

import json
import shutil

import numpy as np
import pytest

from hsisr import datasets
from hsisr.config import Config
from hsisr.datasets.archives import unpack
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.pipeline import steps
from hsisr.scene import Scene

from .fakes import EXTRA, FOLDER, make_fakes


def converted(name, scene, tmp_path, extra=EXTRA, source=None) -> Scene:
    datasets.fetch(name, tmp_path / "raw", source or str(FOLDER / name), progress=False, extra=extra)
    datasets.convert(name, scene, tmp_path / "raw", tmp_path / "scene.h5", extra=extra)
    return Scene.open(tmp_path / "scene.h5")


@pytest.mark.parametrize("scene", make_fakes.CAVE_SCENES)
def test_cave(tmp_path, scene):
    stored = make_fakes.cave(scene)
    found = converted("cave", scene, tmp_path)
    assert np.array_equal(found.stored[...], stored)
    assert found.stored.dtype == stored.dtype
    assert np.array_equal(found.cube, (stored / (255.0 if scene == "watercolors" else 65535.0)).astype(np.float32))
    assert found.name == scene
    assert found.wavelengths_nm.tolist() == list(range(400, 701, 10))


@pytest.mark.parametrize("scene", ["img1", "imga1", "img3"])
def test_harvard_is_divided_by_its_maximum_and_keeps_its_mask(tmp_path, scene):
    ref, lbl = make_fakes.harvard(scene)
    found = converted("harvard", scene, tmp_path)
    np.testing.assert_allclose(found.cube, ref / ref.max(), rtol=1e-6)
    assert found.cube.max() == 1.0
    assert np.array_equal(found.mask, lbl != 0)


def test_harvard_as_in_spectral_mixup(tmp_path):
    extra = {"harvard": {**EXTRA["harvard"], "scale": 20}}
    found = converted("harvard", "img1", tmp_path, extra)
    np.testing.assert_allclose(found.cube, make_fakes.harvard("img1")[0] * 20, rtol=1e-6)


@pytest.mark.parametrize("scene", ["ARAD_HS_0001", "ARAD_HS_0451"])
def test_ntire2020(tmp_path, scene):
    assert np.array_equal(converted("ntire2020", scene, tmp_path).stored[...], make_fakes.ntire2020(scene))


def test_chikusei(tmp_path):
    cube = make_fakes.chikusei()
    found = converted("chikusei", "chikusei", tmp_path)
    assert np.array_equal(found.stored[...], cube)
    np.testing.assert_allclose(found.cube, cube / cube.max(), rtol=1e-6)


def test_div2k(tmp_path):
    assert np.array_equal(converted("div2k", "0801", tmp_path).stored[...], make_fakes.div2k("0801"))


def test_roman_colosseum_has_a_real_guide(tmp_path):
    multispectral, panchromatic = make_fakes.roman_colosseum()
    found = converted("roman_colosseum", "roman_colosseum", tmp_path)
    assert np.array_equal(found.stored[...], multispectral)
    assert np.array_equal(found.guide.stored[...], panchromatic)
    assert found.cube.max() <= 1 and found.guide.cube.max() <= 1
    assert found.transform[0] == 2.0 and found.guide.transform[0] == 0.5
    assert "32633" in found.crs
    assert found.guide.name == "roman_colosseum-guide"


def test_indian_pines(tmp_path):
    datasets.fetch("indian_pines", tmp_path / "raw", progress=False)
    datasets.convert("indian_pines", "indian_pines", tmp_path / "raw", tmp_path / "scene.h5")
    found = Scene.open(tmp_path / "scene.h5")
    stored = np.load(tmp_path / "raw" / "Indian_pines_corrected.npy").astype(float).transpose(2, 0, 1)
    assert found.shape == (200, 145, 145) and found.stored.dtype == np.uint16
    np.testing.assert_allclose(found.cube, np.maximum(stored - 1000, 0) / 8604, atol=1e-7)
    assert found.cube.min() == 0 and found.cube.max() == 1
    assert np.array_equal(found.labels, np.load(tmp_path / "raw" / "Indian_pines_gt.npy"))
    assert len(found.label_names) == 17 == found.labels.max() + 1
    assert found.label_names[1] == "alfalfa"
    assert np.bincount(found.labels.ravel())[1] == 46  # alfalfa's published count


def test_rgb_photos(tmp_path):
    skimage_data = pytest.importorskip("skimage.data")
    datasets.fetch("rgb_photos", tmp_path / "raw", progress=False)
    datasets.convert("rgb_photos", "coffee", tmp_path / "raw", tmp_path / "scene.h5")
    expected = np.moveaxis(skimage_data.coffee(), -1, 0)
    assert np.array_equal(Scene.open(tmp_path / "scene.h5").stored[...], expected)


def test_provenance_says_where_a_scene_came_from(tmp_path):
    found = converted("cave", "cd", tmp_path)
    manifest = json.loads((tmp_path / "raw" / "manifest.json").read_text())
    assert found.provenance["dataset"] == "cave"
    assert found.provenance["licence"] == datasets.entry("cave").licence
    assert found.provenance["sha256"] == {
        name.rpartition("/")[2]: facts["sha256"] for name, facts in manifest["files"].items() if "/cd_ms/" in name
    }


def test_conversion_is_reproducible_wherever_and_whenever_the_files_were_fetched(tmp_path):
    converted("cave", "cd", tmp_path)
    first = (tmp_path / "scene.h5").read_bytes()
    manifest = json.loads((tmp_path / "raw" / "manifest.json").read_text())
    manifest |= {"date": "2020-01-01T00:00:00+00:00", "origin": ["/another/folder"]}
    (tmp_path / "raw" / "manifest.json").write_text(json.dumps(manifest))
    datasets.convert("cave", "cd", tmp_path / "raw", tmp_path / "scene.h5", extra=EXTRA)
    assert (tmp_path / "scene.h5").read_bytes() == first


def test_scene_that_a_partial_copy_lacks(tmp_path):
    unpack(FOLDER / "cave" / "complete_ms_data.zip", tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "cd_ms")
    datasets.fetch("cave", tmp_path / "raw", str(tmp_path / "copy"), extra=EXTRA)
    datasets.convert("cave", "balloons", tmp_path / "raw", tmp_path / "a.h5", extra=EXTRA)
    with pytest.raises(HsisrError, match=r"of scene cd; it has those of 3 of 4: balloons, jelly_beans, watercolors"):
        datasets.convert("cave", "cd", tmp_path / "raw", tmp_path / "b.h5", extra=EXTRA)
    assert not (tmp_path / "b.h5").exists()


def test_unknown_scene_and_unfetched_set(tmp_path):
    with pytest.raises(HsisrError, match="cave: no scene 'nobody'; known: balloons"):
        datasets.convert("cave", "nobody", tmp_path, tmp_path / "x.h5")
    with pytest.raises(HsisrError, match="cave is not there yet"):
        datasets.convert("cave", "balloons", tmp_path, tmp_path / "x.h5")


@pytest.mark.parametrize("change", ["flip", "cut", "remove"])
def test_raw_file_that_changed_since_it_was_fetched(tmp_path, change):
    datasets.fetch("cave", tmp_path / "raw", str(FOLDER / "cave"), progress=False, extra=EXTRA)
    band = next((tmp_path / "raw").rglob("cd_ms_05.png"))
    content = bytearray(band.read_bytes())
    content[len(content) // 2] ^= 1
    band.unlink()
    if change != "remove":
        band.write_bytes(content if change == "flip" else content[:-7])
    with pytest.raises(HsisrError, match=r"cd_ms_05\.png: (changed|is gone) since it was fetched"):
        datasets.convert("cave", "cd", tmp_path / "raw", tmp_path / "x.h5", extra=EXTRA)
    assert not (tmp_path / "x.h5").exists()


def test_number_of_bands_is_checked(tmp_path):
    extra = {"div2k": {**EXTRA["div2k"], "bands": 4}}
    with pytest.raises(HsisrError, match=r"0001\.png: 3 bands, expected 4"):
        converted("div2k", "0001", tmp_path, extra)


def own(path, **settings) -> dict:
    return {"mine": {"path": str(path), **settings}}


def test_own_set_with_band_steps_and_black_level(tmp_path):
    stored = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5)
    np.save(tmp_path / "a.npy", stored)
    extra = own(
        tmp_path, scenes=["a"], reader_options={"axes": "BHW"}, black_level=10, scale="1/100", bands=4,
        wavelengths_nm=[400, 500, 600, 700], band_steps=[{"average": 2}],
    )  # fmt: skip
    found = converted("mine", "a", tmp_path, extra, source=str(tmp_path))
    expected = (np.maximum(stored.astype(float), 10) - 10) / 100
    np.testing.assert_allclose(found.cube, expected.reshape(2, 2, 6, 5).mean(axis=1), rtol=1e-6)
    assert found.wavelengths_nm.tolist() == [450.0, 650.0]
    assert found.provenance["bands"] == [{"average": 2}]


def test_own_set_of_band_image_folders(tmp_path):
    unpack(FOLDER / "cave" / "complete_ms_data.zip", tmp_path / "z")
    for scene in ("cd", "balloons"):
        shutil.move(tmp_path / "z" / f"{scene}_ms" / f"{scene}_ms", tmp_path / "own" / scene)
        (tmp_path / "own" / scene / f"{scene}_RGB.bmp").unlink()
    extra = own(tmp_path / "own", scale="type_maximum")
    assert datasets.entry("mine", extra).scenes == ("balloons", "cd")
    found = converted("mine", "cd", tmp_path, extra, source=str(tmp_path / "own"))
    assert np.array_equal(found.stored[...], make_fakes.cave("cd"))


def test_own_set_with_side_files_and_with_two_candidates(tmp_path):
    rome = next((FOLDER / "roman_colosseum").glob("*M2AS*"))
    (tmp_path / "own").mkdir()
    shutil.copy(rome, tmp_path / "own" / "a.tif")
    (tmp_path / "own" / "a.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    (tmp_path / "own" / "a.txt").write_text("notes")
    extra = own(tmp_path / "own")
    found = converted("mine", "a", tmp_path, extra, source=str(tmp_path / "own"))
    assert np.array_equal(found.stored[...], make_fakes.roman_colosseum()[0])
    np.save(tmp_path / "own" / "a.npy", np.zeros((2, 2, 2)))
    with pytest.raises(HsisrError, match=r"2 files match, also a\.tif"):
        converted("mine", "a", tmp_path, extra, source=str(tmp_path / "own"))


def test_guide_from_another_variable_of_the_same_file(tmp_path):
    from scipy.io import savemat

    ms, pan = np.random.default_rng(0).random((2, 8, 6, 4)), np.random.default_rng(1).random((32, 24))
    savemat(tmp_path / "pair.mat", {"I_MS": np.moveaxis(ms[0], 0, -1), "I_PAN": pan})
    extra = own(
        tmp_path, layout="pair.mat", reader="matlab", reader_options={"variable": "I_MS"},
        guide={"layout": "pair.mat", "reader_options": {"variable": "I_PAN"}, "scale": 0.5, "wavelengths_nm": [600]},
    )  # fmt: skip
    found = converted("mine", "mine", tmp_path, extra, source=str(tmp_path))
    np.testing.assert_allclose(found.guide.cube, pan[None] * 0.5, rtol=1e-6)
    assert found.guide.wavelengths_nm.tolist() == [600]


@pytest.mark.parametrize("columns_off", [0, 1])
def test_a_guide_lies_where_its_scene_lies(tmp_path, columns_off):
    cube = np.random.default_rng(0).random((2, 6, 5), np.float32)
    place, finer = (
        (40.0, 0.0, 500000.0, 0.0, -40.0, 5000000.0),
        (10.0, 0.0, 500000.0 + 10 * columns_off, 0.0, -10.0, 5e6),
    )
    export(Scene(cube, "a", crs="EPSG:32633", transform=place), tmp_path / "a.tif")
    export(Scene(cube.repeat(4, 1).repeat(4, 2), "b", crs="EPSG:32633", transform=finer), tmp_path / "a_guide.tif")
    extra = own(tmp_path, layout="{scene}.tif", scenes=["a"], guide={"layout": "{scene}_guide.tif"})
    if columns_off:
        with pytest.raises(HsisrError, match=r"a_guide\.tif: lies at .* it would lie at .*georeference: none"):
            converted("mine", "a", tmp_path, extra, source=str(tmp_path))
    else:
        assert converted("mine", "a", tmp_path, extra, source=str(tmp_path)).guide.shape == (2, 24, 20)


def test_guide_and_labels_in_the_scenes_folder_are_no_bands(tmp_path):
    from PIL import Image

    (tmp_path / "own" / "a").mkdir(parents=True)
    for number, (name, side) in enumerate((("01.png", 4), ("02.png", 4), ("pan_08.png", 8))):
        Image.fromarray(np.full((side, side), number + 1, np.uint8)).save(tmp_path / "own" / "a" / name)
    np.save(tmp_path / "own" / "a" / "a.npy", np.ones((4, 4), np.uint8))
    entry = {
        "path": str(tmp_path / "own"),
        "guide": {"layout": "{scene}/pan_*.png"},
        "labels": {"layout": "{scene}.npy"},
    }
    found = converted("mine", "a", tmp_path, {"mine": entry}, source=str(tmp_path / "own"))
    assert found.shape == (2, 4, 4) and found.cube.max() == 2
    assert found.guide.shape == (1, 8, 8) and found.labels.all()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"scale": "type_maximum"}, "`type_maximum` is for integers"),
        ({"scale": "scene_maximum"}, "its largest value is 0"),
        ({"reader": "tiff"}, "unknown reader 'tiff'; known: scene, numpy"),
        ({"reader_options": {"axis": "BHW"}}, r"has no option 'axis'; did you mean axes\? it knows variable, axes"),
        ({"reader_options": {}}, "order of the axes of 2x3x4 is not known; give `axes`"),
        ({"reader_options": {"axes": "BHH"}}, "must hold each of H"),
        ({"band_steps": [{"drop": "worst"}]}, "expected one of choose"),
        ({"labels": {"layout": "a_labels.npy"}}, "no a_labels.npy of scene a"),
    ],
)
def test_settings_that_do_not_fit_the_file(tmp_path, settings, fault):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4), np.float32))
    extra = own(tmp_path, **{"scenes": ["a"], "reader": "numpy", "reader_options": {"axes": "BHW"}, **settings})
    with pytest.raises(HsisrError, match=fault):
        converted("mine", "a", tmp_path, extra, source=str(tmp_path))
    assert not (tmp_path / "scene.h5").exists()


CAVE_14 = ("balloons", "beads", "cd", "chart_and_stuffed_toy", "egyptian_statue", "face", "fake_and_real_peppers",
           "feathers", "flowers", "hairs", "jelly_beans", "oil_painting", "thread_spools", "watercolors")  # fmt: skip


QUICK = ("balloons", "watercolors")


@pytest.mark.parametrize(
    "scene", [scene if scene in QUICK else pytest.param(scene, marks=pytest.mark.slow) for scene in CAVE_14]
)
def test_real_cave_equals_its_png_files(extra_data, tmp_path, scene):
    from skimage.io import imread

    content = datasets.fetch("cave", tmp_path / "raw", str(extra_data / "data" / "cave"))
    assert {facts["checked"] for facts in content["files"].values()} == {"published"}
    assert tuple(datasets.present("cave", tmp_path / "raw")) == CAVE_14
    datasets.convert("cave", scene, tmp_path / "raw", tmp_path / "scene.h5")
    cube = Scene.open(tmp_path / "scene.h5").cube
    folder = extra_data / "data" / "cave" / "complete_ms_data" / f"{scene}_ms" / f"{scene}_ms"
    for band in range(31):
        image = imread(folder / f"{scene}_ms_{band + 1:02d}.png")
        plane = image[..., 0] / 255.0 if image.ndim == 3 else image / 65535.0
        assert np.array_equal(cube[band], plane.astype(np.float32))


@pytest.mark.parametrize(
    ("folder", "file", "cube", "guide", "shapes"),
    [
        ("worldview2", "imgWV2.mat", "I_MS", "I_PAN", [(8, 320, 320), (1, 1280, 1280)]),
        ("paris_eo1", "paris_data_hs_pan.mat", "HSim", "PCim", [(128, 72, 58), (1, 216, 174)]),
        ("paris_eo1", "paris_data_hs_ms.mat", "HSim", "MSim", [(128, 72, 72), (9, 72, 72)]),
    ],
)
def test_real_pairs(extra_data, tmp_path, folder, file, cube, guide, shapes):
    """WorldView-2 with its panchromatic band, Hyperion with ALI: real guides become scenes of their own."""
    from scipy.io import loadmat

    source = extra_data / "data" / folder
    extra = own(
        source,
        layout=file,
        reader="matlab",
        reader_options={"variable": cube},
        scale="scene_maximum",
        guide={"layout": file, "reader_options": {"variable": guide}, "scale": "scene_maximum"},
    )
    found = converted("mine", "mine", tmp_path, extra, source=str(source))
    assert [found.shape, found.guide.shape] == shapes
    content = loadmat(source / file)
    for scene, name in ((found, cube), (found.guide, guide)):
        published = np.moveaxis(np.atleast_3d(content[name]), -1, 0).astype(float)
        np.testing.assert_allclose(scene.cube, published / published.max(), rtol=1e-6)


def own_set(tmp_path, stored, **facts) -> Scene:
    """A scene of a user's own set, converted. stored: (rows, columns, bands)."""
    np.save(tmp_path / "a.npy", stored)
    entry = {"path": str(tmp_path), "scenes": ["a"], "layout": "{scene}.npy", "reader_options": {"axes": "HWB"}}
    return converted("mine", "a", tmp_path, {"mine": {**entry, **facts}}, str(tmp_path))


@pytest.mark.parametrize("level", [1000, 9.5])
def test_black_level_that_the_stored_type_cannot_hold(tmp_path, level):
    with pytest.raises(HsisrError, match=rf"black_level {level:g}, .* stored as uint8; give a whole number up to 255"):
        own_set(tmp_path, np.full((4, 5, 2), 20, np.uint8), black_level=level)


def test_black_level_of_real_numbers(tmp_path):
    found = own_set(tmp_path, np.full((4, 5, 2), 20, np.float32), black_level=9.5)
    assert (found.cube == 10.5).all()


@pytest.mark.parametrize(("kind", "nodata"), [("int16", -9999), ("uint16", 0), ("float32", -9999), ("float32", np.nan)])
def test_black_level_keeps_what_has_no_data_apart_from_the_dark(tmp_path, kind, nodata):
    """Missing samples had become black, and with nodata 0 black pixels had become missing."""
    stored = np.full((4, 5, 3), 50, kind)
    stored[0, 0, 1], stored[2, 2], stored[3] = nodata, nodata, 7
    given = {"axes": "HWB", "nodata": nodata}
    found = own_set(tmp_path, stored, black_level=10, scale="1/80", reader_options=given)
    expected = np.full((4, 5), 0.5)
    expected[3] = 0
    np.testing.assert_allclose(found.filled_cube, np.broadcast_to(expected, (3, 4, 5)), atol=1e-7)
    assert np.argwhere(~found.valid_pixels()).tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 0.3),
        ({"scale": "type_maximum"}, 4000 / 65535),
        ({"black_level": 1000}, 0.3),
        ({"scale": "1/10000"}, 3e-5),
        ({"black_level": 1000, "scale": "scene_maximum"}, 1),
    ],
)
def test_scale_of_the_file_and_of_the_data_set(tmp_path, capsys, settings, expected):
    stored = np.full((2, 4, 5), 4000, np.uint16)
    Scene(stored, "a", scale=1e-4, offset=-0.1, wavelengths_nm=np.array([400.0, 500])).save(tmp_path / "a.h5")
    extra = own(tmp_path, scenes=["a"], layout="{scene}.h5", **settings)
    found = converted("mine", "a", tmp_path, extra, source=str(tmp_path))
    np.testing.assert_allclose(found.cube, expected, rtol=1e-5)
    twice = "its file states a scale itself, 0.0001; `scale` of the data set, 0.0001, multiplies it"
    assert (twice in capsys.readouterr().err) == (settings == {"scale": "1/10000"})


def test_bad_bands_do_not_scale_a_scene(tmp_path):
    cube = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    cube[1] = 1e6
    Scene(cube, "a", wavelengths_nm=np.array([400.0, 500, 600]), bad_bands=np.array([False, True, False])).save(
        tmp_path / "a.h5"
    )
    extra = own(tmp_path, scenes=["a"], layout="{scene}.h5", scale="scene_maximum", band_steps=[{"drop": "bad"}])
    found = converted("mine", "a", tmp_path, extra, source=str(tmp_path))
    np.testing.assert_allclose(found.cube, cube[::2] / cube[::2].max(), rtol=1e-6)


@pytest.mark.parametrize("wrong", [2.0, 0.5, -1.0])
def test_labels_that_are_no_classes(tmp_path, wrong):
    labels = np.ones((4, 5))
    labels[1, 2] = wrong
    np.save(tmp_path / "a_gt.npy", labels)
    facts = {"labels": {"layout": "{scene}_gt.npy", "names": ["unlabelled", "water"]}}
    with pytest.raises(HsisrError, match=rf"a_gt\.npy: the label {wrong:g} is no class; expected 0 to 1"):
        own_set(tmp_path, np.ones((4, 5, 2), np.float32), **facts)
    np.save(tmp_path / "a_gt.npy", np.ones((4, 5)))
    assert (own_set(tmp_path, np.ones((4, 5, 2), np.float32), **facts).labels[...] == 1).all()


def test_unknown_reader_is_named():
    config = Config.parse({"datasets": {"cave": {"reader": "band_image"}}})
    with pytest.raises(HsisrError, match="datasets.cave: unknown reader 'band_image'; did you mean band_images?"):
        steps.conversion(config, "cave")
