"""Learning rate as a function of progress. It has no state, so a resumed run cannot have a wrong rate."""

import math

from hsisr.config import Schedule

#: Tolerance for rounding: 30.0 epochs may arrive as 29.999999.
_EPS = 1e-9


def learning_rate(
    base: float,
    schedule: Schedule,
    step: int,
    epoch: float,
    total_steps: int,
    total_epochs: float = math.inf,
    time_used: float = 0.0,
) -> float:
    """Learning rate of optimiser step `step` (from 0), which begins at `epoch` (a fraction is allowed).

    training: its section of the configuration. base: the rate before any decay. total_steps, total_epochs: length of
    the run. The cosine ends with it, and Spectral Mixup's schedule treats its last epoch differently. time_used: part
    of the run's time that has passed; the cosine ends with steps or time, whichever ends first.
    """
    if step < schedule.warmup_steps:
        return base * (step + 1) / schedule.warmup_steps
    if schedule.kind == "halving":
        return base * 0.5 ** math.floor(epoch / schedule.every_epochs + _EPS)
    if schedule.kind == "cosine":
        progress = (step - schedule.warmup_steps) / max(1, total_steps - schedule.warmup_steps)
        return base * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, max(progress, time_used)))))
    if schedule.kind == "mixup":
        number = math.floor(epoch + _EPS) + 1
        last = number >= total_epochs - _EPS
        return base * 0.3 ** (math.floor(number / schedule.every_epochs) + last)
    return base
