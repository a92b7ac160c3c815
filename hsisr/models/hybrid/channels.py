"""Whether a guide's channels come in the order of the training: filters cannot tell, and would be wrong in silence."""

from collections.abc import Sequence

import numpy as np

from hsisr.models.hybrid.pieces import Piece, lr_views

#: Share of what a channel leaves unexplained that another channel in its place may leave at most, to be named. Chosen
#: on training scenes of CAVE (no command prints this): wrong orders leave more than the right one does, and with blue
#: and red exchanged, the right order leaves about a quarter at most.
_CLEARLY = 0.5


def channel_order(pieces: Sequence[Piece], scale: int, response: np.ndarray) -> tuple[int, ...]:
    """The numbers of a guide's channels, from 0, in the order in which the camera of training would have taken them.

    response: (G, B + 1), of that camera, the last column an offset. What it would see of the LR image is compared with
    every channel, seen through the sensor, up to its exposure and an offset. Channels stay where they are unless all
    that would move explain the camera's far better elsewhere.
    """
    from scipy.optimize import linear_sum_assignment

    channels = len(response)
    as_it_is = tuple(range(channels))
    if channels == 1 or not response.any():
        return as_it_is
    expected, seen = [], []
    for piece, sampler, valid in lr_views(pieces, scale):
        expected.append(response[:, :-1] @ piece.lr[:, valid])
        seen.append(sampler(piece.guide.astype(np.float64))[:, valid])
    both = np.concatenate([np.concatenate(parts, axis=1) for parts in (expected, seen)])
    away = both - both.mean(axis=1, keepdims=True)
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), np.finfo(float).tiny)
    alike = away[:channels] @ away[channels:].T
    left = np.maximum(1 - np.maximum(alike, 0) ** 2, np.finfo(float).eps)
    order = linear_sum_assignment(np.log(left))[1]
    moved = order != np.arange(channels)
    here, there = np.diag(left)[moved], left[np.flatnonzero(moved), order[moved]]
    return tuple(order.tolist()) if moved.any() and (there <= _CLEARLY * here).all() else as_it_is


def remarks_on(order: Sequence[int], guide_bands: Sequence[int]) -> list[str]:
    """Lines for the user on an order of channels; none if it is the right one. guide_bands: their numbers for users."""
    if list(order) == sorted(order):
        return []
    numbers = ",".join(str(guide_bands[channel]) for channel in order)
    return [
        f"its channels seem to come in another order than those that the weights learnt from; if so, give "
        f"--guide-bands {numbers} (in Python guide_bands={numbers!r})"
    ]
