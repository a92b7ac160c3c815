"""Conventions, `score`, `Score`, and the vectors from the papers' own programs."""

import json
import math

import numpy as np
import pytest
import torch

from hsisr import degrade, metrics
from hsisr.degrade import CONVENTIONS as CONVENTIONS_OF_PROTOCOLS
from hsisr.errors import HsisrError
from hsisr.pipeline import pair_files
from hsisr.scene import Scene

OWN = degrade.CustomProtocol("mine", {"psf": {"kind": "mean"}, "response": "none", "convention": "plain"})
KEYS = ["psnr", "ssim", "sam", "ergas", "rmse", "cc"]
CONVENTIONS = pytest.mark.parametrize("convention", ["mulsr", "mixup", "plain"])


@pytest.fixture
def pair():
    rng = np.random.default_rng(10)
    reference = np.clip(0.5 + 0.1 * rng.normal(size=(4, 50, 40)).cumsum(axis=2), 0, 1)
    reference[:, :6, :6] = 0
    return reference, reference + 0.1 * rng.normal(size=reference.shape)  # leaves [0, 1]


@pytest.fixture(scope="session")
def vectors(extra_data):
    with np.load(extra_data / "reference" / "metrics.npz") as file:
        return dict(file)


@pytest.mark.parametrize(
    ("key", "name", "tolerance"),
    [
        ("psnr", "mulsr_PSNR", 1e-9),
        ("ssim", "mulsr_SSIM", 1e-6),
        ("sam", "mulsr_SAM", 1e-6),
        ("ergas", "mulsr_ERGAS_x8", 1e-9),
        ("rmse", "mulsr_RMSE", 1e-6),  # a float32 norm
    ],
)
def test_published_mulsr_values(vectors, key, name, tolerance):
    found = metrics.score(vectors["gt"], vectors["sr"], 8, "mulsr")
    assert found[key] == pytest.approx(vectors[name], rel=tolerance, abs=0)


@pytest.mark.parametrize(
    ("key", "name", "tolerance"),
    [
        ("psnr", "hsisr_MPSNR_x4", 1e-9),
        ("ssim", "hsisr_MSSIM_x4", 1e-9),
        ("sam", "hsisr_SAM_x4", 3e-6),  # float32 cosines near 1: 1 to 2e-6 off their own definition
        ("ergas", "hsisr_ERGAS_x4", 1e-6),  # float32
        ("rmse", "hsisr_RMSE_x4", 1e-6),  # a float32 norm
        ("cc", "hsisr_CrossCorrelation_x4", 1e-6),  # float32
    ],
)
def test_published_mixup_values(vectors, key, name, tolerance):
    found = metrics.score(vectors["gt"], vectors["sr"], 4, "mixup")
    assert found[key] == pytest.approx(vectors[name], rel=tolerance, abs=0)


def test_published_uiqi(vectors):
    assert metrics.uiqi(vectors["gt"], vectors["sr"]) == pytest.approx(vectors["hsisr_QAVE"], rel=1e-9)


@CONVENTIONS
def test_score_gathers_what_the_functions_give(pair, convention):
    reference, estimate = pair
    found = metrics.score(reference, estimate, 4, convention, border=1)
    assert list(found)[:6] == KEYS
    assert all(type(value) is float and math.isfinite(value) for value in found.values())
    options = {"border": 1}
    if convention == "mulsr":
        estimate = np.clip(estimate, 0, 1)
        psnr = metrics.psnr(reference, estimate, **options)
        ssim = metrics.ssim(reference, estimate, **options)
        sam = metrics.sam(reference, estimate, epsilon=2.2204e-16, **options)
    elif convention == "mixup":
        psnr = metrics.psnr_per_band(reference, estimate, **options).mean()
        ssim = metrics.ssim(reference, estimate, window=metrics.UNIFORM_7, **options)
        sam = metrics.sam(reference, estimate, **options)
    else:
        psnr, ssim, sam = (f(reference, estimate, **options) for f in (metrics.psnr, metrics.ssim, metrics.sam))
    expected = {
        "psnr": psnr,
        "ssim": ssim,
        "sam": sam,
        "ergas": metrics.ergas(reference, estimate, 4, **options),
        "rmse": metrics.rmse(reference, estimate, **options),
        "cc": metrics.cc(reference, estimate, **options),
        "mae": metrics.mae(reference, estimate, **options),
    }
    assert found == pytest.approx(expected, rel=1e-12)


def test_only_mulsr_clips(pair):
    reference, estimate = pair
    clipped = np.clip(estimate, 0, 1)
    assert metrics.score(reference, estimate, 4, "mulsr") == metrics.score(reference, clipped, 4, "mulsr")
    assert (
        metrics.score(reference, estimate, 4, "mixup")["rmse"] > metrics.score(reference, clipped, 4, "mixup")["rmse"]
    )


@CONVENTIONS
def test_mask_takes_the_same_part_as_a_crop(pair, convention):
    mask = np.zeros((50, 40), bool)
    mask[10:45, 3:38] = True
    spoilt = np.where(mask, pair[1], np.nan)
    expected = metrics.score(pair[0][:, 10:45, 3:38], pair[1][:, 10:45, 3:38], 4, convention)
    assert metrics.score(pair[0], spoilt, 4, convention, mask=mask) == pytest.approx(expected, rel=1e-12)


@CONVENTIONS
def test_identical_images(pair, convention):
    reference = np.maximum(pair[0], 0.01)
    found = metrics.score(reference, reference, 4, convention)
    assert found["psnr"] == math.inf
    assert found["sam"] == pytest.approx(0, abs=1e-5)
    assert (found["ssim"], found["ergas"], found["rmse"], found["mae"]) == (1, 0, 0, 0)
    assert found["cc"] == pytest.approx(1, abs=1e-15)
    assert json.loads(json.dumps(metrics.json_ready(found), allow_nan=False))["psnr"] is None
    assert metrics.json_ready({"rmse": 0.5}) == {"rmse": 0.5}


@CONVENTIONS
def test_tensors_score_like_arrays(pair, convention):
    tensors = [torch.from_numpy(image) for image in pair]
    assert metrics.score(*tensors, 4, convention) == metrics.score(*pair, 4, convention)


@CONVENTIONS
def test_streaming_is_the_mean(pair, convention):
    images = [pair, [image[:, 5:, 7:] for image in pair], [image[:, :, ::-1] for image in pair]]
    single = [metrics.score(x, y, 8, convention, border=2) for x, y in images]
    scores = metrics.Score(8, convention, border=2)
    for x, y in images:
        scores.update(x, y)
    assert scores.images == 3
    expected = {key: np.mean([entry[key] for entry in single]) for key in single[0]}
    assert scores.compute() == pytest.approx(expected, rel=1e-12)


def test_streaming_takes_batches_and_masks(pair):
    mask = np.ones((50, 40), bool)
    mask[:3] = False
    batched, looped = metrics.Score(4), metrics.Score(4)
    batched.update(*(np.stack([image, image[:, ::-1]]) for image in pair), mask)
    looped.update(*pair, mask)
    looped.update(*(image[:, ::-1] for image in pair), mask)
    assert batched.images == 2
    assert batched.compute() == looped.compute()


def test_streaming_without_images():
    with pytest.raises(HsisrError, match="no image yet"):
        metrics.Score(4).compute()
    with pytest.raises(HsisrError, match="unknown convention"):
        metrics.Score(4, "cave")
    with pytest.raises(HsisrError, match="scale"):
        metrics.Score(0)


def test_unknown_convention_names_the_known(pair):
    with pytest.raises(HsisrError, match="unknown convention 'matlab'; known: mulsr, mixup"):
        metrics.score(*pair, 4, "matlab")


@pytest.mark.parametrize("scale", [0, -8, 0.25, math.nan, None])
def test_impossible_scale(pair, scale):
    with pytest.raises(HsisrError, match="scale is"):
        metrics.score(*pair, scale)
    with pytest.raises(HsisrError, match="scale is"):
        metrics.ergas(*pair, scale)


def test_integers_and_batches_are_refused(pair):
    with pytest.raises(HsisrError, match=r"the reference holds uint8; scores take values in \[0, 1\]"):
        metrics.score(np.zeros((3, 16, 16), np.uint8), np.zeros((3, 16, 16)), 4)
    with pytest.raises(HsisrError, match=r"expected \(bands, rows, columns\)"):
        metrics.score(pair[0][None], pair[1][None], 4)


@CONVENTIONS
def test_image_smaller_than_the_ssim_window(pair, convention):
    with pytest.raises(HsisrError, match=r"SSIM needs images of at least .* these are 6 x 6"):
        metrics.score(*(image[:, :6, :6] for image in pair), 4, convention)


@CONVENTIONS
def test_nothing_to_score_is_an_error_not_a_nan(convention):
    black = np.zeros((2, 16, 16))
    noise = np.random.default_rng(11).random(black.shape)
    with pytest.raises(HsisrError, match=r"every (pixel|band)"):
        metrics.score(black, noise, 4, convention)
    with pytest.raises(HsisrError, match="every band of the reference is constant"):
        metrics.score(black + 0.5, noise, 4, convention)


def test_conventions_describe_themselves():
    assert list(metrics.CONVENTIONS) == ["mulsr", "mixup", "plain", "uestc", "dhif", "mogdcn", "dian", "ual"]
    for name, convention in metrics.CONVENTIONS.items():
        assert metrics.find_convention(name) is convention
        assert convention.name == name and convention.description


def test_protocols_name_conventions_that_there_are():
    assert list(CONVENTIONS_OF_PROTOCOLS) == list(metrics.CONVENTIONS)


def test_plain_is_the_default_and_finds_any_image_equal_to_itself(pair):
    """What `mulsr` does to both is documented, and is why it is not the default."""
    bright, dark = pair[0] * 1.4, pair[0] - 0.1
    dark[:, :25] = 0
    for image in (bright, dark):
        found = metrics.score(image, image, 4)
        assert (found["psnr"], found["ssim"], found["rmse"]) == (math.inf, 1, 0)
        assert found["sam"] == pytest.approx(0, abs=1e-5)
    black = dark.copy()
    black[:, :, :10] = 0
    assert metrics.score(dark, black, 4)["sam"] == pytest.approx(90 * 10 / 40, abs=1e-5)  # where the image is not
    assert metrics.score(*pair, 4) == metrics.score(*pair, 4, "plain")
    assert metrics.Score(4)._convention == "plain"


@pytest.mark.parametrize(("factor", "shift"), [(1.2, 0), (1, -0.1), (255, 0), (10_000, 0)])
def test_mulsr_refuses_a_reference_that_it_would_not_clip_alike(pair, factor, shift):
    reference = np.clip(pair[0], 0.2, 1) * factor + shift - (0.15 if shift else 0)
    with pytest.raises(HsisrError, match=r"convention mulsr clips the estimate to \[0, 1\].*choose convention plain"):
        metrics.score(reference, reference, 4, "mulsr")
    advised = metrics.score(reference, reference, 4, "plain", peak=factor)
    assert advised["psnr"] == math.inf
    if not shift:
        assert metrics.score(reference, reference, 4, "mulsr", peak=factor)["psnr"] == math.inf


def test_a_masked_pixel_or_rounding_does_not_leave_the_range(pair):
    reference, estimate = pair[0].astype(np.float32), pair[1]
    reference[0, 20, 20], mask = 7, np.ones((50, 40), bool)
    with pytest.raises(HsisrError, match="the reference goes from 0 to 7"):
        metrics.score(reference, estimate, 4, "mulsr")
    mask[20, 20] = False
    assert metrics.score(reference, estimate, 4, "mulsr", mask=mask)["psnr"] > 10
    reference[0, 20, 20] = np.nextafter(np.float32(1), np.float32(2))
    assert metrics.score(reference, estimate, 4, "mulsr")["psnr"] > 10


@CONVENTIONS
@pytest.mark.parametrize("peak", [255, 10_000])
def test_values_of_another_unit_need_a_peak(pair, convention, peak):
    large = [image * peak for image in pair]
    with pytest.raises(HsisrError, match="peak"):
        metrics.score(*large, 4, convention)
    with pytest.raises(HsisrError, match="peak"):
        metrics.Score(4, convention).update(*large)
    expected = metrics.score(*pair, 4, convention)
    expected |= {key: expected[key] * peak for key in ("rmse", "mae")}
    assert metrics.score(*large, 4, convention, peak=peak) == pytest.approx(expected, rel=1e-9)
    scores = metrics.Score(4, convention, peak=peak)
    scores.update(*large)
    assert scores.compute() == pytest.approx(expected, rel=1e-9)
    for measure in (metrics.psnr, metrics.ssim, metrics.psnr_per_band, metrics.ssim_per_band):
        with pytest.raises(HsisrError, match="the reference reaches .* as peak"):
            measure(*large)
        np.testing.assert_allclose(measure(*large, peak=peak), measure(*pair), rtol=1e-9)


def test_integers_with_a_peak(pair):
    reference, estimate = (np.round(np.clip(image, 0, 1) * 255).astype(np.uint8) for image in pair)
    expected = metrics.score(reference / 255, estimate / 255, 4)
    assert metrics.score(reference, estimate, 4, peak=255)["psnr"] == pytest.approx(expected["psnr"], rel=1e-12)
    with pytest.raises(HsisrError, match="peak is -1"):
        metrics.score(reference, estimate, 4, peak=-1)


def test_masked_arrays_are_refused_in_every_metric_and_the_advice_works(pair):
    reference, estimate = pair
    x = np.ma.masked_array(reference, reference > 0.9)
    for measure in (metrics.psnr, metrics.sam, metrics.cc, metrics.ssim, metrics.q2n, metrics.uiqi, metrics.sid):
        with pytest.raises(HsisrError, match="the reference is a masked array"):
            measure(x, estimate)
    with pytest.raises(HsisrError, match="the reference is a masked array"):
        metrics.score(x, estimate, 4)
    with pytest.raises(HsisrError, match="the estimate is a masked array"):
        metrics.score(reference, x, 4)
    mask = ~np.ma.getmaskarray(x).any(axis=0)
    advised = metrics.rmse(np.ma.getdata(x), estimate, mask=mask)
    assert advised == metrics.rmse(reference, estimate, mask=mask)
    nothing_masked = np.ma.masked_array(reference, np.zeros(reference.shape, bool))
    assert metrics.rmse(nothing_masked, estimate) == metrics.rmse(reference, estimate)


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize(("protocol", "convention"), [("wald", "mulsr"), ("mixup", "mixup"), (OWN, "plain")])
def test_a_pair_says_scale_mask_and_convention(tmp_path, protocol, convention, kind):
    rng = np.random.default_rng(3)
    wavelengths = np.linspace(450, 850, 5)
    mask = rng.random((42, 42)) > 0.005
    scene = Scene(rng.random((5, 42, 42), dtype=np.float32), "field", wavelengths_nm=wavelengths, mask=mask)
    pair = degrade.pair(scene, protocol, 4)
    if kind == "file":
        pair_files.write(tmp_path / "pair.h5", "field", pair, scene)
        pair = pair_files.read(tmp_path / "pair.h5")
    rows = 4 * pair.lr.shape[1]  # more than the reference has, under mixup
    estimate = rng.random((5, rows, rows))
    size = pair.hr.shape[1]
    arrays = pair.hr, estimate[:, :size, :size], 4
    assert metrics.score(pair, estimate) == metrics.score(*arrays, convention, mask[:size, :size])
    other = metrics.score(pair, estimate, scale=2, convention="plain", mask=np.ones((size, size), bool))
    assert other == metrics.score(*arrays[:2], 2, "plain")
    with pytest.raises(HsisrError, match="must have one shape"):
        metrics.score(pair, estimate[:, :20])
    with pytest.raises(HsisrError, match="must have one shape"):
        metrics.score(pair, np.pad(estimate, ((0, 0), (0, 4), (0, 0))))  # not the upper left corner of it


def test_a_pair_without_a_reference():
    lr = np.random.default_rng(3).random((5, 16, 16), dtype=np.float32)
    with pytest.raises(HsisrError, match="no reference to score against"):
        metrics.score(degrade.pair(Scene(lr, "field"), "full", 4), np.ones((5, 64, 64)))


@pytest.mark.parametrize("convention", metrics.CONVENTIONS)
def test_threads_change_no_digit(monkeypatch, convention):
    rng = np.random.default_rng(6)
    reference = rng.random((8, 400, 330), dtype=np.float32)  # large enough for threads
    estimate = reference + 0.1 * rng.standard_normal(reference.shape, dtype=np.float32)
    mask = rng.random(reference.shape[1:]) > 1e-3
    found = {}
    for threads in ("1", "2", "3", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found[threads] = metrics.score(reference, estimate, 4, convention, mask=mask)
    assert found["2"] == found["3"] == found[""] == found["1"]
    estimate[5, 300, 200], mask[300, 200] = np.nan, True
    with pytest.raises(HsisrError, match="estimate holds NaN or infinity in band 5"):
        metrics.score(reference, estimate, 4, convention, mask=mask)
