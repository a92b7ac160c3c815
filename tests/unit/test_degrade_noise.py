"""Noise levels and seeds."""

import numpy as np
import pytest

from hsisr.degrade import Noise, degrade, scene_seed
from hsisr.degrade.noise import parse_noise
from hsisr.errors import HsisrError

CUBE = np.random.default_rng(0).random((8, 64, 64)) * 0.2 + 0.4


def test_sigma_is_met():
    clean = degrade(CUBE, "wald", 2, noise=0)
    noisy = degrade(CUBE, "wald", 2, noise=0.01)
    assert np.std(noisy - clean) == pytest.approx(0.01, rel=0.03)
    assert abs(np.mean(noisy - clean)) < 5e-4


def test_snr_is_met():
    clean = degrade(CUBE, "wald", 2, noise=0)
    for noise in (Noise(snr_db=30), {"snr_db": 30}):
        error = degrade(CUBE, "wald", 2, noise=noise) - clean
        assert 10 * np.log10(np.mean(clean**2) / np.mean(error**2)) == pytest.approx(30, abs=0.2)


def test_seed_decides():
    first = degrade(CUBE, "mulsr", 4, seed=3)
    np.testing.assert_array_equal(first, degrade(CUBE, "mulsr", 4, seed=3))
    assert np.abs(first - degrade(CUBE, "mulsr", 4, seed=4)).max() > 0.01


def test_scene_seeds_are_stable_and_differ():
    assert scene_seed(7, "balloons", "test") == [7, 633160833]
    seeds = {tuple(scene_seed(*key)) for key in [(0, "a"), (1, "a"), (0, "b"), (0, "a", "test"), (0, "a", "train")]}
    assert len(seeds) == 5


def test_numbers_may_be_numpys():
    for kind in ("sigma", "snr_db"):
        found = degrade(CUBE, "wald", 4, noise={kind: np.float32(2)})
        np.testing.assert_array_equal(found, degrade(CUBE, "wald", 4, noise={kind: 2.0}))


@pytest.mark.parametrize("noise", [-0.1, np.nan, np.inf, True, "0.1", {"sigma": 1, "snr_db": 2}, {"level": 1}, {}])
def test_impossible_noise_is_refused(noise):
    with pytest.raises(HsisrError, match="noise"):
        parse_noise(noise)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(HsisrError, match="seed"):
        scene_seed(seed, "a")


def test_degrade_refuses_an_impossible_seed():
    with pytest.raises(HsisrError, match="seed"):
        degrade(CUBE, "mulsr", 4, seed=-1)
