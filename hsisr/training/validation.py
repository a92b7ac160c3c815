"""Validation: the mean PSNR of a network over pair files, by the convention of their benchmark."""

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from hsisr.degrade import Sensor
from hsisr.errors import HsisrError
from hsisr.files import file_hash
from hsisr.pipeline import pair_files
from hsisr.pipeline.known_bands import KnownBands


class Validation:
    """Scores a network on pair files: call it with the network.

    files: at least one, or the path of one. scale: of the pairs. convention, peak: as for `hsisr.metrics.score`. The
    files are read once, when the first network is scored. Raises HsisrError without files.
    """

    def __init__(
        self,
        files: str | os.PathLike | Sequence[str | os.PathLike],
        scale: int,
        convention: str,
        peak: float | None = None,
    ) -> None:
        files = [files] if isinstance(files, (str, os.PathLike)) else list(files)
        self.files, self.scale, self.convention, self.peak = files, scale, convention, peak
        if not self.files:
            raise HsisrError(
                "validation: there are no pair files to score a network on; give at least one, or train without "
                "validation, which keeps the last weights"
            )

    def __call__(self, network: Any) -> float:
        """PSNR in dB, the mean over the pairs. Raises HsisrError for files that are absent or damaged."""
        from hsisr.models.apply import predict

        scores = []
        for pair in self._pairs:
            estimate = predict(network, pair.lr, pair.guide, sensor=Sensor(mask=pair.mask))
            scores.append(self._score(pair, estimate))
        return sum(scores) / len(scores)

    def check(self, known: KnownBands) -> None:
        """Raise HsisrError if a reference cannot be scored, so that nobody trains for hours before that shows.

        known: the bands of the training patches. Raises HsisrError for another number, and warns of other centres.
        """
        for file in self.files:
            pair = pair_files.read(file, ("hr", "mask"))
            assert pair.hr is not None  # a protocol without reference has no validation
            known.check(f"validation, {pair.name}", len(pair.hr), pair.wavelengths_nm)
            self._score(pair, pair.hr)

    def identity(self) -> dict[str, Any]:
        """What it scores on and how, plain values: files by their content."""
        return {
            "files": [file_hash(file) for file in self.files],
            "scale": self.scale,
            "convention": self.convention,
        }

    def _score(self, pair: pair_files.PairFile, estimate: Any) -> float:
        from hsisr.metrics import score

        if not np.isfinite(estimate).all():
            raise HsisrError(
                f"validation, {pair.name}: the network gives NaN or infinity, so training diverged; lower "
                "training.learning_rate or check the data"
            )
        try:
            return score(pair, estimate, self.scale, self.convention, peak=self.peak)["psnr"]
        except HsisrError as error:
            raise HsisrError(f"validation, {pair.name}: {error}") from error

    @cached_property
    def _pairs(self) -> list[pair_files.PairFile]:
        return [pair_files.read(file) for file in self.files]
