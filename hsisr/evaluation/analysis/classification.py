"""Classification of land cover: is a super-resolved image as useful as the reference for a typical application?

A support vector machine and a random forest learn the classes of some pixels and are scored on others. They do so on
the reference, on the LR image interpolated to the reference's grid, and on every model's result, always with the same
pixels. The pixels come from the test part; no super-resolution model was trained on it.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsisr.errors import HsisrError

#: Random divisions into training and test pixels. Scores are means over them.
SPLITS = 10
#: Divisions by single pixels. Their scores are shown for comparison only.
RANDOM_SPLITS = 3
#: A class with fewer pixels is left out.
FEWEST_PIXELS = 10
#: Most labelled pixels of a scene.
MOST_PIXELS = 100_000
#: Most training pixels of a class. The others of its training blocks are not used.
MOST_TRAINING_PIXELS = 50
#: Most test pixels of a division, chosen at random.
MOST_TEST_PIXELS = 20_000
#: Trees of the random forest.
TREES = 30
#: Most random draws in search of a division that has every class on both sides.
_DRAWS = 50


#: Classifier -> kind of division (`blocks` or `random`) -> oa, aa and kappa (see `accuracy`), means over the divisions,
#: and their standard deviations oa_std, aa_std, kappa_std.
Accuracies = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Pixels:
    """Labelled pixels of the test part, in the same order for every image.

    labels: (n,) class numbers, 0 for none. blocks: (n,) number of each pixel's square block in its scene.
    block_px: side of a block in HR pixels.
    """

    labels: np.ndarray
    blocks: np.ndarray
    block_px: int


@dataclass(frozen=True)
class Division:
    """One division of the pixels: indices for training and indices for testing."""

    train: np.ndarray
    test: np.ndarray


def labelled_pixels(labels: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """(n, 2) rows and columns of the valid pixels with a label; only every k-th if there are very many.

    labels, mask: (H, W).
    """
    found = np.asarray(labels) > 0
    places = np.argwhere(found if mask is None else found & mask)
    return places[:: -(-len(places) // MOST_PIXELS) or 1]


def gather(label_maps: Sequence[np.ndarray], places: Sequence[np.ndarray], scale: int) -> Pixels:
    """The labelled pixels of several scenes, block by block.

    label_maps: (H, W) each. places: from `labelled_pixels`. scale: of the benchmark. A block's side is 2 x scale HR
    pixels, because super-resolution mixes pixels up to this distance.
    """
    labels, blocks, block_px, before = [], [], 2 * scale, 0
    for label_map, place in zip(label_maps, places, strict=True):
        rows, columns = np.asarray(place).T
        across = -(-label_map.shape[1] // block_px)
        labels.append(label_map[rows, columns].astype(int))
        blocks.append(before + rows // block_px * across + columns // block_px)
        before += -(-label_map.shape[0] // block_px) * across
    return Pixels(np.concatenate(labels), np.concatenate(blocks), block_px)


def choose_classes(pixels: Pixels) -> tuple[list[int], dict[int, str]]:
    """The classes to score, and the classes left out with the reason.

    A class is left out with fewer than FEWEST_PIXELS pixels, or if all of them lie in one block.
    """
    kept, dropped = [], {}
    for label in np.unique(pixels.labels).tolist():
        here = pixels.labels == label
        if here.sum() < FEWEST_PIXELS:
            dropped[label] = f"{here.sum()} pixels, fewer than {FEWEST_PIXELS}"
        elif len(np.unique(pixels.blocks[here])) < 2:
            dropped[label] = f"in one block of {pixels.block_px} x {pixels.block_px} pixels only"
        else:
            kept.append(label)
    return kept, dropped


def block_division(pixels: Pixels, classes: Sequence[int], seed: int) -> Division:
    """Divide the blocks at random into two halves; one trains, the other tests.

    Of several draws, the first with every class on both sides is taken; or else the draw with most such classes.
    """
    rng = np.random.default_rng([seed, 0])
    blocks = np.unique(pixels.blocks)
    usable = np.isin(pixels.labels, classes)
    best, most = np.zeros(len(usable), bool), -1
    for _ in range(_DRAWS):
        training = np.isin(pixels.blocks, rng.permutation(blocks)[: len(blocks) // 2])
        both = [len(np.unique(training[pixels.labels == label])) == 2 for label in classes]
        if sum(both) > most:
            best, most = training, sum(both)
        if all(both):
            break
    return _cap(pixels, usable & best, usable & ~best, rng)


def random_division(pixels: Pixels, classes: Sequence[int], seed: int) -> Division:
    """Divide single pixels at random into halves, as many papers do. This is optimistic, as neighbours are alike."""
    rng = np.random.default_rng([seed, 1])
    usable = np.isin(pixels.labels, classes)
    training = np.zeros(len(usable), bool)
    for label in classes:
        members = rng.permutation(np.flatnonzero(pixels.labels == label))
        training[members[: len(members) // 2]] = True
    return _cap(pixels, usable & training, usable & ~training, rng)


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Overall accuracy `oa`, mean of the classes' accuracies `aa`, Cohen's `kappa`, 0 to 1, for labels (n,)."""
    classes, true_index = np.unique(truth, return_inverse=True)
    hits = predicted == truth
    oa = float(hits.mean())
    aa = float(np.mean([hits[true_index == index].mean() for index in range(len(classes))]))
    shares = (np.mean(truth == label) * np.mean(predicted == label) for label in classes)
    by_chance = float(sum(shares))
    return {"oa": oa, "aa": aa, "kappa": (oa - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0}


def classify(spectra: Mapping[str, np.ndarray], pixels: Pixels, threads: int = 1) -> dict[str, Accuracies]:
    """Image -> accuracies of each classifier.

    spectra: image -> (n, B) spectra of `pixels`. threads: for the classifiers. An image equal to the reference has
    exactly its scores, for any number of threads. Raises HsisrError if fewer than two classes remain (see
    `choose_classes`).
    """
    classes, dropped = choose_classes(pixels)
    if len(classes) < 2:
        raise HsisrError(
            f"classification: {len(classes)} classes remain in the test part, at least 2 are needed; left out: "
            f"{', '.join(f'{label} ({reason})' for label, reason in dropped.items()) or 'none'}"
        )
    kinds: dict[str, Callable] = {"blocks": block_division, "random": random_division}
    counts = {"blocks": SPLITS, "random": RANDOM_SPLITS}
    divisions = {kind: [divide(pixels, classes, k) for k in range(counts[kind])] for kind, divide in kinds.items()}
    tasks = [
        (image, name, kind, k)
        for image in spectra
        for name in CLASSIFIERS
        for kind in kinds
        for k in range(counts[kind])
    ]

    def score(task: tuple[str, str, str, int]) -> dict[str, float]:
        image, name, kind, k = task
        return _score(name, spectra[image], pixels, divisions[kind][k], k)

    with ThreadPoolExecutor(threads) as pool:
        scores = dict(zip(tasks, pool.map(score, tasks), strict=True))
    return {
        image: {
            name: {
                kind: _mean_and_spread([scores[image, name, kind, k] for k in range(counts[kind])]) for kind in kinds
            }
            for name in CLASSIFIERS
        }
        for image in spectra
    }


def _support_vector_machine(seed: int) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return make_pipeline(StandardScaler(), SVC(C=100, gamma="scale"))


def _random_forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=TREES, random_state=seed)


#: Name in results files -> function that makes the classifier from a seed.
CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    "svm": _support_vector_machine,
    "forest": _random_forest,
}


def _score(name: str, spectra: np.ndarray, pixels: Pixels, division: Division, seed: int) -> dict[str, float]:
    classifier = CLASSIFIERS[name](seed)
    classifier.fit(spectra[division.train], pixels.labels[division.train])
    return accuracy(pixels.labels[division.test], classifier.predict(spectra[division.test]))


def _mean_and_spread(scores: list[dict[str, float]]) -> dict[str, float]:
    keys = scores[0]
    means = {key: float(np.mean([entry[key] for entry in scores])) for key in keys}
    freedom = min(1, len(scores) - 1)  # a single division has a spread of 0
    return means | {f"{key}_std": float(np.std([entry[key] for entry in scores], ddof=freedom)) for key in keys}


def _cap(pixels: Pixels, train: np.ndarray, test: np.ndarray, rng: np.random.Generator) -> Division:
    """A division with at most MOST_TRAINING_PIXELS and MOST_TEST_PIXELS. Every test class is also a training class."""
    known = np.unique(pixels.labels[train])
    chosen = [
        rng.permutation(np.flatnonzero(train & (pixels.labels == label)))[:MOST_TRAINING_PIXELS] for label in known
    ]
    tested = rng.permutation(np.flatnonzero(test & np.isin(pixels.labels, known)))[:MOST_TEST_PIXELS]
    return Division(np.sort(np.concatenate(chosen)), np.sort(tested))
