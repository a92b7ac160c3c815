"""Validation: the mean PSNR of a network over pair files, by the convention of their benchmark."""

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hsisr.degrade import Sensor
from hsisr.pipeline import pair_files


class Validation:
    """Scores a network on pair files: call it with the network.

    scale: of the pairs. convention: of `hsisr.metrics`. The files are read once, when the first network is scored.
    """

    def __init__(self, files: Sequence[str | os.PathLike], scale: int, convention: str) -> None:
        self.files, self.scale, self.convention = list(files), scale, convention

    def __call__(self, network: Any) -> float:
        """PSNR in dB, the mean over the pairs. Raises HsisrError for files that are absent or damaged."""
        from hsisr.inference import predict
        from hsisr.metrics import score

        scores = []
        for pair in self._pairs:
            estimate = predict(network, pair.lr, pair.guide, sensor=Sensor(mask=pair.mask))
            estimate = pair.cut_back(estimate)
            scores.append(score(pair.hr, estimate, self.scale, self.convention, mask=pair.mask))
        return sum(entry["psnr"] for entry in scores) / len(scores)

    @cached_property
    def _pairs(self) -> list[pair_files.PairFile]:
        return [pair_files.read(file) for file in self.files]
