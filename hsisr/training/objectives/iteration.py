"""One iteration: which objectives are active, in which order, and where the optimiser steps."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from torch import Tensor, nn

from hsisr import config
from hsisr.training.objectives.batch import Batch

#: Forgives rounding: 6.0 epochs may come as 5.999999.
_EPS = 1e-9

#: A loss with the name of its objective.
Loss = tuple[str, Tensor]


class Objective(Protocol):
    """What an iteration is made of; setting: its section of the configuration, or None for the labelled one."""

    name: str
    setting: config.Objective | None

    def steps_per_batch(self, model: nn.Module, bands: int) -> int: ...

    def losses(self, model: nn.Module, batch: Batch, number: int) -> Iterator[Tensor]: ...


class Iteration:
    """Objectives in order. together: one optimiser step on the sum of all losses, instead of one on each.

    Losses are made one at a time, each after the optimiser's step on the one before it.
    """

    def __init__(self, parts: Sequence[Objective], together: bool = False) -> None:
        self.parts, self.together = list(parts), together

    def steps(self, model: nn.Module, batch: Batch, number: int, epoch: float) -> Iterator[Iterable[Loss]]:
        """The optimiser steps of batch `number` of the run, which begins at `epoch`: the weighted losses of each.

        The gradients of a step's losses are to be added up before the optimiser moves.
        """
        losses = self._losses(model, batch, number, epoch)
        if self.together:
            yield losses
        else:
            for loss in losses:
                yield (loss,)

    def step_count(self, model: nn.Module, bands: int, epoch: float) -> int:
        """Optimiser steps of an iteration that begins at `epoch`."""
        if self.together:
            return 1
        return sum(part.steps_per_batch(model, bands) for part in self.parts if _active(part, epoch))

    def samples_per_epoch(self, labelled: int) -> float:
        """Labelled samples in an epoch: all of them, or fewer where another objective runs out of samples first."""
        others = [part for part in self.parts if hasattr(part, "patches")]
        return min([labelled, *(len(part.patches) / part.setting.count for part in others)])

    def _losses(self, model: nn.Module, batch: Batch, number: int, epoch: float) -> Iterator[Loss]:
        for part in self.parts:
            if _active(part, epoch):
                for loss in part.losses(model, batch, number):
                    yield part.name, loss if part.setting is None else part.setting.weight * loss


def _active(part: Objective, epoch: float) -> bool:
    if part.setting is None:
        return True
    stop = math.inf if part.setting.stop_epoch is None else part.setting.stop_epoch
    return part.setting.start_epoch <= epoch + _EPS < stop
