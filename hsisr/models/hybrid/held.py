"""Scenes that the network of `hybrid` does not learn from: they say when to stop, and how much of it to believe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from hsisr.models.fusion import pad

#: Shares of what a network adds that are tried.
_SHARES = np.linspace(0, 1, 21)


class Solved(NamedTuple):
    """A scene after prior and filters.

    maps: (G + 3 K, H, W), the network's input. missing: (K, H, W), what it should add, 0 where `valid` (H, W) is
    False; None: all pixels count. outside: mean square of what the image lacks beside that, which no network can add.
    """

    maps: np.ndarray
    missing: np.ndarray
    valid: np.ndarray | None = None
    outside: float = 0.0


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Scores networks on scenes that they have not seen, as `hsisr.samples.HeldOut`.

    scenes: at least one, filtered with filters that have not seen them either. bands: of the images.
    """

    scenes: Sequence[Solved]
    bands: int

    def __call__(self, network: Any) -> float:
        """PSNR in dB, the mean over the scenes, if it adds the share of its output that does best there."""
        return float(self._psnr(network).max())

    def settle(self, network: Any) -> None:
        """Have it add that share from now on: none where no share does any good, and the filters alone are left."""
        share = float(_SHARES[self._psnr(network).argmax()])
        with torch.no_grad():
            for parameter in network.last.parameters():
                parameter *= share

    def _psnr(self, network: Any) -> np.ndarray:
        """For each of the shares."""
        device = network.last.weight.device
        scores = []
        for maps, missing, valid, outside in self.scenes:
            height, width = missing.shape[1:]
            with torch.inference_mode():
                seen = pad(torch.from_numpy(maps)[None].to(device), network.period_px)
                added = network(seen[:, :1], seen)[0, :, :height, :width].double().cpu().numpy()
            if valid is not None:
                added *= valid
            pixels = height * width if valid is None else max(1, int(valid.sum()))
            left = (missing.astype(np.float64) ** 2).sum() + _SHARES**2 * (added**2).sum()
            left -= 2 * _SHARES * (added * missing).sum()
            square = left / (self.bands * pixels) + outside
            scores.append(-10 * np.log10(np.maximum(square, np.finfo(float).tiny)))
        return np.mean(scores, axis=0)
