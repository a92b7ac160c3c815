"""D_lambda, D_s, QNR and consistency."""

import numpy as np
import pytest

from hsisr import metrics
from hsisr.errors import HsisrError

BLOCK = 8


@pytest.fixture
def scene():
    """estimate (3, 32, 24), guide (1, 32, 24), lr (3, 16, 16), guide_lr (1, 16, 16)."""
    rng = np.random.default_rng(9)

    def image(bands, rows, columns):
        return np.clip(0.5 + 0.05 * rng.normal(size=(bands, rows, columns)).cumsum(axis=2), 0.05, 1)

    return {
        "estimate": image(3, 32, 24),
        "guide": image(1, 32, 24),
        "lr": image(3, 16, 16),
        "guide_lr": image(1, 16, 16),
    }


def q(x, y):
    return metrics.uiqi(x[None], y[None], block=BLOCK, stride=BLOCK)


def test_d_lambda_after_khan(scene):
    degraded = scene["lr"] * 0.9 + 0.02
    assert metrics.d_lambda(scene["lr"], degraded, block=BLOCK) == pytest.approx(
        1 - metrics.q2n(scene["lr"], degraded, block=BLOCK)
    )
    assert 0 <= metrics.d_lambda(scene["lr"], scene["lr"], block=BLOCK) < 1e-12


@pytest.mark.parametrize("p", [1, 2])
def test_d_lambda_after_alparone(scene, p):
    sharp, coarse = scene["estimate"], scene["lr"]
    differences = [
        abs(q(sharp[i], sharp[j]) - q(coarse[i], coarse[j])) ** p for i in range(3) for j in range(3) if i != j
    ]
    found = metrics.d_lambda_alparone(sharp, coarse, p=p, block=BLOCK)
    assert found == pytest.approx(np.mean(differences) ** (1 / p), rel=1e-9)
    assert metrics.d_lambda_alparone(coarse, coarse, block=BLOCK) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("power", [1, 2])
def test_d_s(scene, power):
    differences = [
        abs(q(sharp, scene["guide"][0]) - q(coarse, scene["guide_lr"][0])) ** power
        for sharp, coarse in zip(scene["estimate"], scene["lr"], strict=True)
    ]
    found = metrics.d_s(**scene, q=power, block=BLOCK)
    assert found == pytest.approx(np.mean(differences) ** (1 / power), rel=1e-9)


def test_d_s_wants_one_channel(scene):
    scene["guide"] = np.repeat(scene["guide"], 3, axis=0)
    with pytest.raises(HsisrError, match="use consistency_guide"):
        metrics.d_s(**scene, block=BLOCK)


def test_qnr():
    assert metrics.qnr(0, 0) == 1
    assert metrics.qnr(0.2, 0.5) == pytest.approx(0.4)
    assert metrics.qnr(0.2, 0.5, alpha=2, beta=0.5) == pytest.approx(0.64 * 0.5**0.5)
    np.testing.assert_allclose(metrics.qnr(np.array([0.0, 0.5]), 0.5), [0.5, 0.25])
    assert metrics.qnr(0.2, 1.3) == 0
    for wrong in (-0.1, np.nan):
        with pytest.raises(HsisrError, match=r"d_s is .* 0 or more"):
            metrics.qnr(0, wrong)


def test_consistency_is_rmse_over_valid_pixels(scene):
    mask = np.ones((16, 16), bool)
    mask[:4] = False
    degraded = scene["lr"] + 0.1
    degraded[:, :4] = 9
    assert metrics.consistency_lr(degraded, scene["lr"], mask=mask) == pytest.approx(0.1)
    assert metrics.consistency_lr(degraded, scene["lr"], border=4) == pytest.approx(0.1)
    assert metrics.consistency_guide(scene["guide"] - 0.2, scene["guide"]) == pytest.approx(0.2)


def test_masked_tiles_do_not_count(scene):
    mask, lr_mask = np.ones((32, 24), bool), np.ones((16, 16), bool)
    mask[:8], lr_mask[8:] = False, False
    sharp, coarse = scene["estimate"][:, 8:], scene["lr"][:, :8]
    masks = {"mask": mask, "lr_mask": lr_mask, "block": BLOCK}
    assert metrics.d_lambda_alparone(scene["estimate"], scene["lr"], **masks) == pytest.approx(
        metrics.d_lambda_alparone(sharp, coarse, block=BLOCK)
    )
    cropped = metrics.d_s(sharp, scene["guide"][:, 8:], coarse, scene["guide_lr"][:, :8], block=BLOCK)
    assert metrics.d_s(**scene, **masks) == pytest.approx(cropped)


def test_batches(scene):
    batch = {key: np.stack([image, image[:, ::-1]]) for key, image in scene.items()}
    flipped = {key: image[:, ::-1] for key, image in scene.items()}
    assert metrics.d_s(**batch, block=BLOCK) == pytest.approx(
        [metrics.d_s(**scene, block=BLOCK), metrics.d_s(**flipped, block=BLOCK)]
    )
    first = {key: scene[key] for key in ("estimate", "lr")}
    second = {key: flipped[key] for key in ("estimate", "lr")}
    both = {key: batch[key] for key in ("estimate", "lr")}
    assert metrics.d_lambda_alparone(**both, block=BLOCK) == pytest.approx(
        [metrics.d_lambda_alparone(**images, block=BLOCK) for images in (first, second)]
    )


def test_bands_must_agree(scene):
    with pytest.raises(HsisrError, match="estimate has 3 bands, the LR image 2"):
        metrics.d_lambda_alparone(scene["estimate"], scene["lr"][:2], block=BLOCK)
    with pytest.raises(HsisrError, match="one band"):
        metrics.d_lambda_alparone(scene["estimate"][:1], scene["lr"][:1], block=BLOCK)
    scene["lr"] = scene["lr"][:2]
    with pytest.raises(HsisrError, match="estimate has 3 bands, the LR image 2"):
        metrics.d_s(**scene, block=BLOCK)
    scene["guide"] = scene["guide"][:, 1:]
    with pytest.raises(HsisrError, match="rows and columns must agree"):
        metrics.d_s(**scene, block=BLOCK)


def test_images_smaller_than_a_tile(scene):
    with pytest.raises(HsisrError, match="at least 32 x 32 pixels, these are 16 x 16"):
        metrics.d_lambda(scene["lr"], scene["lr"])
