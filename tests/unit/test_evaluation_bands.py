"""Recommended bands, on images whose right choice is known."""

import numpy as np
import pytest

from hsisr.errors import HsisrError
from hsisr.evaluation.analysis import bands


def blocks(sizes: list[int], pixels: int = 4000, noise: float = 0.02) -> np.ndarray:
    """Groups of bands that are alike within and unrelated between: (B, pixels) in about [0, 1]."""
    rng = np.random.default_rng(3)
    return np.concatenate([rng.random(pixels) + noise * rng.standard_normal((size, pixels)) for size in sizes])


def test_groups_find_where_the_spectrum_changes():
    pixels = blocks([6, 14, 9, 7])
    assert bands._groups(bands._distances(pixels), 4) == [0, 6, 20, 29, 36]
    chosen = bands.neighbourhood_grouping(pixels, 4)
    assert [int(np.searchsorted([6, 20, 29, 36], band, side="right")) for band in chosen] == [0, 1, 2, 3]


def test_group_gives_its_densest_band_of_highest_entropy():
    rng = np.random.default_rng(5)
    base = rng.random(5000)
    pixels = base + np.array([0.3, 0.01, 0.01, 0.01, 0.3])[:, None] * rng.standard_normal((5, 5000))
    pixels[2] *= 1.02  # among equals, the one that holds most
    assert bands.neighbourhood_grouping(pixels, 1)[0] in (1, 2, 3)
    flat = np.stack([np.full(500, 0.2), rng.random(500)])  # as small as its neighbourhood: entropy alone
    assert bands.neighbourhood_grouping(flat, 1) == [1]


def test_baseline_takes_unlike_bands():
    pixels = blocks([10, 10, 10], noise=0.001)
    assert [band // 10 for band in bands.entropy_and_correlation(pixels, 3)] == [0, 1, 2]


def test_entropy_of_known_histograms():
    pixels = np.stack([np.zeros(4096), np.repeat([0.0, 1.0], 2048), np.repeat(np.arange(16) / 15, 256)])
    np.testing.assert_allclose(bands.entropy(pixels), [0, 1, 4])


def test_reference_against_itself_overlaps_fully():
    pixels = blocks([5, 8, 7, 11])
    for name, chosen in bands.recommend(pixels).items():
        assert chosen == sorted(set(chosen)) and len(chosen) == bands.count_for(31) == 12, name
        assert bands.overlap(chosen, chosen) == 1
        assert bands.spectral_distance(chosen, chosen, np.linspace(400, 700, 31)) == 0


def test_overlap_and_distance_of_different_choices():
    assert bands.overlap([0, 1, 5], [1, 2, 5]) == pytest.approx(2 / 3)
    assert bands.spectral_distance([0, 1, 5], [1, 2, 5], None) == pytest.approx(2 / 3)
    falling = np.array([700.0, 600, 500, 400])
    assert bands.spectral_distance([0, 3], [1, 3], falling) == pytest.approx(50)


def test_sample_is_a_grid_that_scenes_share():
    cube = np.zeros((2, 600, 500), np.float32)
    assert bands.sample(cube).shape[1] <= bands.MOST_PIXELS
    assert bands.sample(cube, scenes=4).shape[1] <= bands.MOST_PIXELS / 4 * 1.05
    small = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(bands.sample(small), small.reshape(2, 12))
    mask = np.arange(12).reshape(3, 4) % 5 > 0
    np.testing.assert_array_equal(bands.sample(small, mask=mask), small[:, mask])


@pytest.mark.parametrize("count", [0, 4])
def test_impossible_count(count):
    with pytest.raises(HsisrError, match=f"cannot recommend {count} bands"):
        bands.neighbourhood_grouping(np.random.default_rng(0).random((3, 50)), count)


def test_constant_and_broken_images():
    constant = np.full((6, 100), 0.5)
    assert all(len(chosen) == 3 for chosen in bands.recommend(constant).values())
    with pytest.raises(HsisrError, match="NaN"):
        bands.recommend(np.full((6, 100), np.nan))
