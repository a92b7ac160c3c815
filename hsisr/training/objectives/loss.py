"""The loss of every objective: L1 distance, and the total variation of the output if the user asks for it."""

from typing import Any

from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from hsisr.config import TotalVariation
from hsisr.errors import HsisrError


def distance(estimate: Tensor, target: Tensor, variation: TotalVariation) -> Tensor:
    """h(y, t) = mean|y - t| + space * TV_space(y) + bands * TV_band(y), the published loss with 1e-3 and 2e-3.

    estimate, target: (N, C, H, W). TV_space is the mean squared difference between neighbours in a column, plus that
    between neighbours in a row. TV_band is the mean squared difference between neighbouring bands. Means are also over
    N. variation: the two weights. One row, column or band has no neighbours, and so no variation. Raises HsisrError as
    `mean_distance`.
    """
    loss = mean_distance(estimate, target)
    for weight, axes in ((variation.space, (2, 3)), (variation.bands, (1,))):
        if weight:
            loss = loss + weight * sum(_variation(estimate, axis) for axis in axes)
    return loss


def mean_distance(estimate: Any, target: Tensor) -> Tensor:
    """mean|y - t|. Raises HsisrError unless the estimate is a tensor of the target's shape: torch would stretch it."""
    found = tuple(estimate.shape) if isinstance(estimate, Tensor) else type(estimate).__name__
    if found != tuple(target.shape):
        raise HsisrError(
            f"training: the network makes {found}; expected {tuple(target.shape)}: samples, bands, rows, columns"
        )
    return l1_loss(estimate, target)


def _variation(images: Tensor, axis: int) -> Tensor | float:
    count = images.shape[axis] - 1
    return mse_loss(images.narrow(axis, 1, count), images.narrow(axis, 0, count)) if count else 0.0
