"""One iteration: the active objectives, their order, and the optimiser steps between them."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from torch import Tensor, nn

from hsisr import config
from hsisr.training.batches import Batch
from hsisr.training.feeding import Share
from hsisr.training.objectives.auxiliary import Auxiliary

#: Tolerance for rounding: 6.0 epochs may arrive as 5.999999.
_EPS = 1e-9

#: A loss with the name of its objective.
Loss = tuple[str, Tensor]


class Objective(Protocol):
    """A part of an iteration. setting: its section of the configuration, or None for the labelled objective.

    `first` is the number of losses taken before an interruption. `losses` gets it only if it is not 0: an objective
    with one loss for each batch need not know it. An objective with its own patches is an `Auxiliary`.
    """

    @property
    def name(self) -> str: ...

    @property
    def setting(self) -> config.Objective | None: ...

    def steps_per_batch(self, model: nn.Module, bands: int) -> int: ...

    def losses(self, model: nn.Module, batch: Batch, number: int, *, first: int = 0) -> Iterator[Tensor]: ...


class Iteration:
    """Objectives in order. together: one optimiser step on the sum of all losses, instead of one on each.

    Losses are made one at a time, each after the optimiser step on the loss before it.
    """

    def __init__(self, parts: Sequence[Objective], together: bool = False) -> None:
        self.parts, self.together = list(parts), together

    def steps(
        self, model: nn.Module, batch: Batch, number: int, epoch: float, first: int = 0, shares: int = 1
    ) -> Iterator[Iterable[Loss]]:
        """The optimiser steps of batch `number` of the run, which begins at `epoch`: the weighted losses of each step.

        The caller adds up the gradients of a step's losses before the optimiser step. A loss is computed when it is
        asked for. model: the network. batch: its samples. first: number of this batch's steps that were taken before.
        shares: number of equal parts of the batch; within each step, they come one after the other, each with its own
        losses.
        """
        streams = [self._losses(model, share, number, epoch, first) for share in batch.shares(shares)]
        if self.together:
            yield itertools.chain(*streams)
            return
        for _ in range(first, self.step_count(model, batch.lr.shape[1], epoch)):
            yield map(next, streams)

    def step_count(self, model: nn.Module, bands: int, epoch: float) -> int:
        """Optimiser steps of an iteration that begins at `epoch`."""
        if self.together:
            return 1
        return sum(part.steps_per_batch(model, bands) for part in self.parts if _active(part, epoch))

    def feed_with(self, workers: int, share: Share) -> None:
        """Let objectives with their own patches draw them with workers, and take a share of each batch."""
        for part in self.parts:
            if isinstance(part, Auxiliary):
                part.feed_with(workers, share)

    def samples_per_epoch(self, labelled: int) -> float:
        """Labelled samples in an epoch: all, or fewer if another objective runs out of samples first."""
        others = (len(part.patches) / part.setting.count for part in self.parts if isinstance(part, Auxiliary))
        return min([labelled, *others])

    def _losses(self, model: nn.Module, batch: Batch, number: int, epoch: float, first: int) -> Iterator[Loss]:
        for part in self.parts:
            if not _active(part, epoch):
                continue
            count = part.steps_per_batch(model, batch.lr.shape[1])
            if first >= count:
                first -= count
                continue
            for loss in part.losses(model, batch, number, **({"first": first} if first else {})):
                yield part.name, loss if part.setting is None else part.setting.weight * loss
            first = 0


def _active(part: Objective, epoch: float) -> bool:
    if part.setting is None:
        return True
    stop = math.inf if part.setting.stop_epoch is None else part.setting.stop_epoch
    return part.setting.start_epoch <= epoch + _EPS < stop
