"""Validation: the mean PSNR of a network over pair files, by the convention of their benchmark."""

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hsisr.degrade import Sensor
from hsisr.errors import HsisrError
from hsisr.files import file_hash
from hsisr.pipeline import pair_files


class Validation:
    """Scores a network on pair files: call it with the network.

    files: at least one. scale: of the pairs. convention: of `hsisr.metrics`. The files are read once, when the first
    network is scored. Raises HsisrError without files.
    """

    def __init__(self, files: Sequence[str | os.PathLike], scale: int, convention: str) -> None:
        self.files, self.scale, self.convention = list(files), scale, convention
        if not self.files:
            raise HsisrError(
                "validation: there are no pair files to score a network on; give at least one, or train without "
                "validation, which keeps the last weights"
            )

    def __call__(self, network: Any) -> float:
        """PSNR in dB, the mean over the pairs. Raises HsisrError for files that are absent or damaged."""
        from hsisr.metrics import score
        from hsisr.models.apply import predict

        scores = []
        for pair in self._pairs:
            estimate = predict(network, pair.lr, pair.guide, sensor=Sensor(mask=pair.mask))
            estimate = pair.cut_back(estimate)
            scores.append(score(pair.hr, estimate, self.scale, self.convention, mask=pair.mask))
        return sum(entry["psnr"] for entry in scores) / len(scores)

    def identity(self) -> dict[str, Any]:
        """What it scores on and how, plain values: files by their content."""
        return {
            "files": [file_hash(file) for file in self.files],
            "scale": self.scale,
            "convention": self.convention,
        }

    @cached_property
    def _pairs(self) -> list[pair_files.PairFile]:
        return [pair_files.read(file) for file in self.files]
