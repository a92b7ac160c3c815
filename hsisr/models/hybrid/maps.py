"""What the network behind the prior sees and what it should say, as maps at HR; numpy only."""

from dataclasses import dataclass

import numpy as np

from hsisr.models.hybrid.filters import Details, Learnt, Light, believed, believed_share, strength
from hsisr.models.hybrid.pieces import Piece
from hsisr.models.prior import Solution

#: Typical sizes, by which the maps are divided so that the network sees numbers near one.
_RESIDUAL, _FILTERED = 0.05, 0.02


@dataclass(frozen=True, eq=False)
class Stack:
    """A solved pair. image: (B, H, W), the prior's after the filters. maps: (G + 3 K, H, W) float32, the input.

    strength: (B,), of what the filters would add.
    """

    solution: Solution
    image: np.ndarray
    maps: np.ndarray
    strength: np.ndarray


def cosines(count: int, bands: int) -> np.ndarray:
    """The `count` slowest cosines over the bands, orthonormal (count, bands), float32: coordinates of smooth spectra.

    The same for every scene, unlike a scene's own subspace, so that a network can learn in them (DCT-II).
    """
    phase = np.pi * (np.arange(bands) + 0.5) / bands
    rows = np.cos(np.arange(count)[:, None] * phase)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def stack(
    piece: Piece,
    scale: int,
    basis: np.ndarray,
    learnt: Learnt,
    light: Light | None = None,
    share: np.ndarray | None = None,
) -> Stack:
    """Filter what the prior found for a piece, and lay out what the network needs.

    basis: (K, B). light, share: of the scene that this is a part of, the share (B,)
    being that of what the filters add; None: as they follow from this.
    Maps: the guide as by the camera of training; coefficients in the basis of the filtered image, the higher ones
    enlarged as they are smaller; of what the filters added; and of the LR image's remainder after the prior,
    interpolated at the right phase.
    """
    solution = piece.solution
    details = Details(piece, scale, learnt.response, light)
    added = details.filtered(learnt.filters)
    found = strength(added, details.image, solution.sensor.mask)
    if share is None:
        share = believed_share(found, learnt.strength)
    added = believed(added, share)
    correction = in_basis(basis / _FILTERED, added)
    added += details.image
    higher = np.arange(1, len(basis) + 1, dtype=np.float32)[:, None] / np.float32(np.sqrt(len(added)))
    level = in_basis(basis * higher, added)
    remainder = details.ground.enlarged(in_basis(basis / _RESIDUAL, details.ground.remainder))
    maps = np.concatenate([details.guide, level, correction, remainder], dtype=np.float32)
    return Stack(solution, added, maps, found)


def in_basis(basis: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Coefficients (K, H, W) of an image (B, H, W)."""
    return (basis @ image.reshape(len(image), -1)).reshape(len(basis), *image.shape[1:])
