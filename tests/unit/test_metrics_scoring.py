"""Conventions, `score`, `Score`, and the vectors from the papers' own programs."""

import json
import math

import numpy as np
import pytest
import torch

from hsisr import metrics
from hsisr.errors import HsisrError

KEYS = ["psnr", "ssim", "sam", "ergas", "rmse", "cc"]
CONVENTIONS = pytest.mark.parametrize("convention", ["mulsr", "mixup"])


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
    else:
        psnr = metrics.psnr_per_band(reference, estimate, **options).mean()
        ssim = metrics.ssim(reference, estimate, window=metrics.UNIFORM_7, **options)
        sam = metrics.sam(reference, estimate, **options)
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


@pytest.mark.parametrize("scale", [0, -8, math.nan, None])
def test_impossible_scale(pair, scale):
    with pytest.raises(HsisrError, match="scale is"):
        metrics.score(*pair, scale)


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
    assert list(metrics.CONVENTIONS) == ["mulsr", "mixup", "uestc", "dhif", "mogdcn", "dian", "ual"]
    for name, convention in metrics.CONVENTIONS.items():
        assert metrics.find_convention(name) is convention
        assert convention.name == name and convention.description


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
