"""Classification: who may learn from which pixel, and what an image earns by it."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from hsisr.errors import HsisrError
from hsisr.evaluation.analysis import classification
from hsisr.evaluation.analysis.classification import Pixels


def fields(size: int = 48, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (size, size) in patches of 6 x 6 pixels, 0 in places, and a cube (5, size, size) that shows them."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, classes + 1, (size // 6, size // 6))
    labels = np.kron(patches, np.ones((6, 6), int))
    spectra = rng.random((classes + 1, 5))
    return labels, spectra[labels].transpose(2, 0, 1) + 0.05 * rng.standard_normal((5, size, size))


@pytest.fixture(scope="module")
def scene() -> tuple[Pixels, np.ndarray]:
    labels, cube = fields()
    places = classification.labelled_pixels(labels)
    return classification.gather([labels], [places], scale=4), cube[:, places[:, 0], places[:, 1]].T


def test_blocks_are_squares_of_twice_the_scale():
    labels = np.ones((20, 30), int)
    places = classification.labelled_pixels(labels)
    pixels = classification.gather([labels, labels], [places, places], scale=4)
    assert pixels.block_px == 8 and len(pixels.labels) == 2 * 600
    first, second = pixels.blocks[:600].reshape(20, 30), pixels.blocks[600:].reshape(20, 30)
    assert len(np.unique(first)) == 12 and first.max() < second.min()
    assert (first[:8, :8] == first[0, 0]).all() and first[8, 0] != first[0, 0] != first[0, 8]


def test_no_block_trains_and_tests(scene):
    pixels, _ = scene
    classes, _ = classification.choose_classes(pixels)
    seen = set()
    for seed in range(5):
        division = classification.block_division(pixels, classes, seed)
        assert not set(pixels.blocks[division.train]) & set(pixels.blocks[division.test])
        assert set(pixels.labels[division.train]) == set(pixels.labels[division.test]) == set(classes)
        seen.add(division.train.tobytes())
    assert len(seen) == 5
    again = classification.block_division(pixels, classes, 4)
    assert again.train.tobytes() in seen


def test_random_division_is_disjoint_too(scene):
    pixels, _ = scene
    division = classification.random_division(pixels, [1, 2], 0)
    assert not set(division.train) & set(division.test)
    assert set(pixels.labels[division.train]) == {1, 2}
    assert len(division.train) <= 2 * classification.MOST_TRAINING_PIXELS


def test_small_and_concentrated_classes_are_left_out():
    labels = np.zeros((32, 32), int)
    labels[:, :16], labels[:, 16:24] = 1, 2
    labels[0, 31] = labels[31, 31] = 3
    labels[9:15, 25:31] = 4
    pixels = classification.gather([labels], [classification.labelled_pixels(labels)], scale=4)
    kept, dropped = classification.choose_classes(pixels)
    assert kept == [1, 2]
    assert dropped == {3: "2 pixels, fewer than 10", 4: "in one block of 8 x 8 pixels only"}


def test_masked_pixels_have_no_say():
    labels, mask = np.ones((4, 4), int), np.ones((4, 4), bool)
    mask[0] = False
    assert len(classification.labelled_pixels(labels, mask)) == 12


def test_very_many_pixels_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr(classification, "MOST_PIXELS", 100)
    places = classification.labelled_pixels(np.ones((30, 30), int))
    assert len(places) == 100 and places[-1][0] > 25


def test_accuracies_agree_with_scikit_learn():
    rng = np.random.default_rng(2)
    truth = rng.integers(1, 5, 300)
    predicted = np.where(rng.random(300) < 0.6, truth, rng.integers(1, 6, 300))
    found = classification.accuracy(truth, predicted)
    assert found["oa"] == pytest.approx(oracle.accuracy_score(truth, predicted))
    recalls = oracle.recall_score(truth, predicted, labels=[1, 2, 3, 4], average="macro")
    assert found["aa"] == pytest.approx(recalls)
    assert found["kappa"] == pytest.approx(oracle.cohen_kappa_score(truth, predicted))
    assert classification.accuracy(truth, truth) == {"oa": 1.0, "aa": 1.0, "kappa": 1.0}
    assert classification.accuracy(np.ones(4, int), np.ones(4, int))["kappa"] == 1.0


def test_reference_equals_itself_and_noise_costs_accuracy(scene, monkeypatch):
    monkeypatch.setattr(classification, "SPLITS", 2)
    monkeypatch.setattr(classification, "RANDOM_SPLITS", 2)
    pixels, spectra = scene
    noisy = spectra + np.random.default_rng(1).standard_normal(spectra.shape)
    found = classification.classify({"reference": spectra, "copy": spectra.copy(), "noisy": noisy}, pixels, threads=2)
    assert found["copy"] == found["reference"]
    assert found == classification.classify({"reference": spectra, "copy": spectra, "noisy": noisy}, pixels, threads=1)
    for classifier in ("svm", "forest"):
        for kind in ("blocks", "random"):
            clean, spoiled = (found[name][classifier][kind] for name in ("reference", "noisy"))
            assert clean["oa"] > 0.9 > 0.8 > spoiled["oa"] and clean["oa_std"] < 0.1


def test_one_class_cannot_be_classified():
    labels = np.ones((32, 32), int)
    pixels = classification.gather([labels], [classification.labelled_pixels(labels)], scale=4)
    with pytest.raises(HsisrError, match="1 classes remain"):
        classification.classify({"reference": np.ones((1024, 3))}, pixels)
