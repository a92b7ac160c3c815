"""Pairs: sizes, guides, masks, what they carry, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.io import loadmat

from hsisr.degrade import CustomProtocol, degrade, pair, response, scene_seed
from hsisr.errors import HsisrError
from hsisr.scene import Scene

WAVELENGTHS_NM = np.arange(400, 701, 10.0)
RNG = np.random.default_rng(0)


@pytest.fixture
def scene() -> Scene:
    cube = RNG.random((31, 35, 42), dtype=np.float32)
    return Scene(cube, "field", wavelengths_nm=WAVELENGTHS_NM, mask=RNG.random((35, 42)) > 0.1)


@pytest.fixture
def sharp() -> Scene:
    """A scene with a real guide four times as sharp."""
    guide = Scene(RNG.random((1, 96, 128), dtype=np.float32), "pan")
    return Scene(RNG.random((8, 24, 32), dtype=np.float32), "real", guide=guide)


def holed(scene: Scene, place: tuple[int, int]) -> Scene:
    """A scene with a pixel without data, by the nodata value, and one sample without."""
    stored = scene.stored.copy()
    stored[:, *place] = stored[0, 0, 0] = -1
    return replace(scene, stored=stored, nodata=-1.0)


@pytest.mark.parametrize("masked", [False, True])
def test_pixels_without_data_do_not_count(scene, masked):
    made = pair(holed(scene if masked else replace(scene, mask=None), (5, 9)), "wald", 4)
    expected = scene.mask[:32, :40].copy() if masked else np.ones((32, 40), bool)
    expected[5, 9] = False
    np.testing.assert_array_equal(made.mask, expected)
    assert pair(replace(scene, mask=None, nodata=-1.0), "wald", 4).mask is None


@pytest.mark.parametrize("by", ["mask", "nodata"])
def test_what_stands_in_pixels_without_data_does_not_get_into_their_neighbours(by):
    """Beside a hole, the LR image had been darker: it saw the zeros that stood for missing pixels."""
    valid = np.ones((32, 32), bool)
    valid[8:16, 8:16] = False
    bright, stored = np.ones((3, 32, 32), np.float32), np.ones((3, 32, 32), np.float32)
    stored[:, ~valid] = -9
    scene = Scene(stored, "s", mask=valid) if by == "mask" else Scene(stored, "s", nodata=-9.0)
    for protocol, response_of in (("wald", np.eye(3)), ("full", None)):
        made, whole = (pair(one, protocol, 4, response=response_of) for one in (scene, Scene(bright, "s")))
        np.testing.assert_array_equal(made.lr, whole.lr)
        assert made.guide is None or (made.guide == 1).all()


@pytest.mark.parametrize("protocol", ["full", "wald"])
def test_pixels_that_the_real_guide_lacks_do_not_count(sharp, protocol):
    made = pair(replace(sharp, guide=holed(sharp.guide, (22, 31))), protocol, 4)
    expected = np.ones((96, 128) if protocol == "full" else (24, 32), bool)
    expected[(22, 31) if protocol == "full" else (5, 7)] = False
    expected[0, 0] = False  # of one band, its one sample is all
    np.testing.assert_array_equal(made.mask, expected)


@pytest.mark.parametrize("protocol", ["mulsr", "mulsr-aligned", "wald"])
def test_simulated_pair(scene, protocol):
    made = pair(scene, protocol, 4, seed=5)
    assert made.lr.shape == (31, 8, 10)
    assert made.guide.shape == (3, 32, 40)
    assert made.hr.shape == (31, 32, 40)
    assert {image.dtype for image in (made.lr, made.guide, made.hr)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(made.hr, scene.filled_cube[:, :32, :40])
    np.testing.assert_array_equal(made.mask, scene.mask[:32, :40])
    np.testing.assert_array_equal(made.lr, degrade(scene.filled_cube, protocol, 4, seed=scene_seed(5, "field")))
    matrix = response("nikon_d700", WAVELENGTHS_NM)
    np.testing.assert_allclose(made.guide, np.tensordot(matrix, made.hr, axes=1), rtol=1e-5)


def test_metadata_says_how(scene):
    metadata = pair(scene, "mulsr", 4, seed=5, part="test").metadata
    np.testing.assert_array_equal(metadata.pop("response_matrix"), response("nikon_d700", WAVELENGTHS_NM))
    assert metadata.pop("kernel").shape == (13, 13)
    assert metadata.pop("noise_sigma") == pytest.approx(3 / 255)
    assert "variances 2 and 10" in metadata.pop("psf")
    assert metadata == {
        "protocol": "mulsr",
        "scale": 4,
        "sampling": "bicubic",
        "phase": 0,
        "response": "nikon_d700",
        "seed": 5,
        "part": "test",
        "crop": (0, 32, 0, 40),
    }


def test_noise_depends_on_scene_and_part(scene):
    first = pair(scene, "mulsr", 4).lr
    np.testing.assert_array_equal(first, pair(scene, "mulsr", 4).lr)
    for other in (pair(replace(scene, name="wood"), "mulsr", 4), pair(scene, "mulsr", 4, part="x")):
        assert np.abs(first - other.lr).max() > 0.01


def test_snr_is_told_as_sigma(scene):
    made = pair(scene, "wald", 4, noise={"snr_db": 30})
    clean = pair(scene, "wald", 4).lr
    expected = np.sqrt(np.mean(clean.astype(float) ** 2) / 1000)
    assert made.metadata["noise_sigma"] == pytest.approx(expected, rel=1e-6)
    assert np.std(made.lr - clean) == pytest.approx(expected, rel=0.1)


def test_mixup_has_no_guide_unless_asked(scene):
    assert pair(scene, "mixup", 4).guide is None
    assert pair(scene, "mixup", 4, response="cie1964").guide.shape == (3, 32, 40)
    assert pair(scene, "mulsr", 4, response="none").guide is None


def test_response_as_a_matrix(scene):
    made = pair(scene, "wald", 4, response=np.full((1, 31), 1 / 31))
    np.testing.assert_allclose(made.guide[0], made.hr.mean(axis=0), rtol=1e-5)
    with pytest.raises(HsisrError, match=r"expected \(channels, 31\)"):
        pair(scene, "wald", 4, response=np.ones((1, 30)))


def test_bad_bands_do_not_reach_the_guide_and_are_told(scene, capsys):
    bad = np.zeros(31, dtype=bool)
    bad[[5, 7, 8]] = True
    made = pair(replace(scene, bad_bands=bad), "wald", 4)
    matrix = made.metadata["response_matrix"]
    assert len(made.hr) == 31 and (matrix[:, bad] == 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert "3 of its 31 bands are bad (5, 7 to 8, from 0), and count in scores" in capsys.readouterr().err


def test_wald_with_a_real_guide_is_reduced_resolution(sharp):
    made = pair(sharp, "wald", 4)
    np.testing.assert_array_equal(made.hr, sharp.cube)
    np.testing.assert_array_equal(made.lr, degrade(sharp.cube, "wald", 4))
    np.testing.assert_array_equal(made.guide, degrade(sharp.guide.cube, "wald", 4))
    assert made.metadata["response"] is None


def test_wald_crops_scene_and_guide_to_the_same_ground(sharp):
    odd = sharp.window(slice(0, 22), slice(0, 31))
    made = pair(odd, "wald", 4)
    assert made.hr.shape == (8, 20, 28)
    np.testing.assert_array_equal(made.guide, degrade(sharp.guide.cube[:, :80, :112], "wald", 4))


def test_wald_with_a_guide_on_the_scenes_own_grid(scene):
    guide = Scene(RNG.random((9, 35, 42), dtype=np.float32), "ms")
    made = pair(replace(scene, guide=guide), "wald", 4)
    np.testing.assert_array_equal(made.guide, guide.cube[:, :32, :40])


def test_a_named_response_goes_before_the_real_guide(scene):
    guide = Scene(RNG.random((9, 35, 42), dtype=np.float32), "ms")
    assert pair(replace(scene, guide=guide), "wald", 4, response="nikon_d700").guide.shape[0] == 3


def test_full_resolution_degrades_nothing(sharp):
    mask = RNG.random((24, 32)) > 0.2
    made = pair(replace(sharp, mask=mask), "full", 4)
    np.testing.assert_array_equal(made.lr[:, mask], sharp.cube[:, mask])
    np.testing.assert_array_equal(made.guide, sharp.guide.cube)
    assert made.hr is None
    np.testing.assert_array_equal(made.mask[1::4, 2::4], mask)
    assert made.mask.shape == (96, 128)


def test_full_resolution_without_a_guide(scene):
    assert pair(scene, "full", 4).guide is None


def test_real_pair_of_worldview2(extra_data):
    stored = loadmat(extra_data / "data" / "worldview2" / "imgWV2.mat")
    multispectral = np.moveaxis(stored["I_MS"], 2, 0)[:, :160, :160]
    pan = Scene(stored["I_PAN"][None, :640, :640], "pan", scale=1 / 2047)
    made = pair(Scene(multispectral, "wv2", scale=1 / 2047, guide=pan), "wald", 4)
    assert made.lr.shape == (8, 40, 40)
    assert made.guide.shape == (1, 160, 160)
    total = made.hr[[1, 2, 3, 4, 5]].mean(axis=0)
    assert np.corrcoef(total.ravel(), made.guide.ravel())[0, 1] > 0.95


def test_custom_protocol_makes_pairs(scene):
    custom = CustomProtocol("mine", {"psf": {"kind": "mean"}, "noise": 0.01, "response": "camera_canon_60d"})
    made = pair(scene, custom, 4)
    assert made.metadata["protocol"] == "mine"
    assert made.metadata["noise_sigma"] == 0.01
    assert made.metadata["response"] == "camera_canon_60d"


def test_what_does_not_fit_is_refused(scene, sharp):
    with pytest.raises(
        HsisrError, match="scene real: its guide is 4 times as sharp, which wald tests at scale 4, not 2"
    ):
        pair(sharp, "wald", 2)
    with pytest.raises(HsisrError, match="scene real: its guide is 4 times as sharp; protocol full needs scale 4"):
        pair(sharp, "full", 2)
    odd = replace(sharp, guide=Scene(RNG.random((1, 97, 128)), "pan"))
    with pytest.raises(HsisrError, match="whole multiple of 24 x 32"):
        pair(odd, "full", 4)
    with pytest.raises(HsisrError, match="needs wavelengths"):
        pair(replace(scene, wavelengths_nm=None), "mulsr", 4)
    with pytest.raises(HsisrError, match=r"scene field: response nikon_d700.*does not overlap"):
        pair(replace(scene, wavelengths_nm=WAVELENGTHS_NM + 1000), "mulsr", 4)
    with pytest.raises(HsisrError, match="unknown response 'eye'; choose one of"):
        pair(scene, "mulsr", 4, response="eye")
    with pytest.raises(HsisrError, match="scene field: scale must be"):
        pair(scene, "mulsr", 0)
    with pytest.raises(HsisrError, match="simulates nothing"):
        pair(scene, "full", 4, response="pan")


def test_values_of_another_unit_are_refused_where_they_would_be_clipped_away(scene, capsys):
    bright = replace(scene, scale=255.0)
    with pytest.raises(HsisrError, match="scene field: the values are .* and protocol mulsr clips"):
        pair(bright, "mulsr", 4)
    with pytest.raises(HsisrError, match="such as 255 or 10000"):
        degrade(bright.cube, "mulsr-aligned", 4)
    clipping = CustomProtocol("camera", {"psf": None, "sampling": "bicubic", "clip": True})
    with pytest.raises(HsisrError, match="protocol camera clips"):
        degrade(bright.cube, clipping, 4)
    assert pair(bright, "wald", 4).lr.max() > 1  # clips nothing
    glint = scene.cube.copy()
    glint[:, 5, 5] = 40.0
    assert pair(replace(scene, stored=glint), "mulsr", 4).lr.max() == 1.0
    assert "outside" not in capsys.readouterr().err
    negative = scene.cube.copy()
    negative[:8] -= 1
    pair(replace(scene, stored=negative), "mulsr", 4)
    said = capsys.readouterr().err
    assert "scene field: 25.8% of its values lie outside [0, 1], to which protocol mulsr clips the LR image" in said


def test_what_is_no_cube_or_scene_is_refused_in_one_line(scene):
    with pytest.raises(HsisrError, match="masked array, whose mask would be lost"):
        degrade(np.ma.masked_array(scene.cube, scene.cube > 0.5), "wald", 4)
    with pytest.raises(HsisrError, match=r"pair: takes a Scene, not a ndarray; hsisr.Scene\(array\) makes one"):
        pair(scene.cube, "wald", 4)
    torch = pytest.importorskip("torch")
    with pytest.raises(HsisrError, match="must be an array .* requires grad"):
        degrade(torch.zeros(3, 8, 8, requires_grad=True), "wald", 4)
