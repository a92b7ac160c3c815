"""Kept of a model's first seed, beside scores: previews, spectra of labelled pixels, recommended bands."""

import numpy as np

from hsisr.evaluation import preview
from hsisr.evaluation.analysis import bands, classification
from hsisr.evaluation.results import BandChoice
from hsisr.metrics.conventions import DEFAULT, find_convention
from hsisr.pipeline.benchmark import Benchmark
from hsisr.pipeline.pair_files import PairFile


class FirstSeed:
    """Takes the estimates of the test scenes, one after the other, and keeps a small part of each.

    scenes: number of scenes to come. previews: of the scenes that the report shows. labelled: scene -> (n, B) spectra
    of labelled pixels, if scenes have labels.
    """

    def __init__(self, benchmark: Benchmark, scenes: int) -> None:
        self._benchmark, self._scenes = benchmark, scenes
        self._wavelengths_nm: np.ndarray | None = None
        self._sampled: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])  # of estimates, of references
        self.previews: dict[str, preview.Preview] = {}
        self.labelled: dict[str, np.ndarray] = {}

    def add(self, pair: PairFile, reference: np.ndarray, estimate: np.ndarray) -> None:
        """Take the estimate (B, H, W) of a pair. reference: the pair's `hr`."""
        if len(self.previews) < self._benchmark.config.report.scenes:
            clip = find_convention(self._benchmark.convention or DEFAULT).clip
            self.previews[pair.name] = preview.make(
                pair.lr, estimate, reference, pair.wavelengths_nm, pair.guide, pair.mask, clip
            )
        if pair.labels is not None:
            rows, columns = classification.labelled_pixels(pair.labels, pair.mask).T
            self.labelled[pair.name] = estimate[:, rows, columns].T
        for kept, cube in zip(self._sampled, (estimate, reference), strict=True):
            kept.append(bands.sample(cube, self._scenes, pair.mask))
        self._wavelengths_nm = pair.wavelengths_nm

    def bands(self) -> tuple[dict[str, BandChoice], dict[str, list[int]]]:
        """Method -> recommended bands of the estimates, and of the references; empty without references."""
        if not self._sampled[0]:
            return {}, {}
        chosen, reference = (bands.recommend(np.concatenate(kept, axis=1)) for kept in self._sampled)
        found = {
            method: BandChoice(
                bands=chosen[method],
                overlap=bands.overlap(chosen[method], reference[method]),
                distance=bands.spectral_distance(chosen[method], reference[method], self._wavelengths_nm),
            )
            for method in bands.METHODS
        }
        return found, reference
