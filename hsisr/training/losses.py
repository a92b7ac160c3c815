"""The losses of a run: read from the device from time to time, averaged for the history, refused if not finite."""

import math
import time

import torch

#: Seconds between two reads of losses on a GPU. Each read waits for the GPU.
LOOK_EVERY_SECONDS = 0.1


class NotFinite(ArithmeticError):
    """A loss became NaN or infinite. name: of its objective; step, batch: where it happened."""

    def __init__(self, value: float, name: str, step: int, batch: int) -> None:
        super().__init__(f"the loss became {value} at step {step}")
        self.value, self.name, self.step, self.batch = value, name, step, batch


class Losses:
    """Losses since the last row of the history. row: losses on labelled patches, which make runs comparable."""

    def __init__(self) -> None:
        self.row: list[float] = []
        self._pending: list[tuple[str, torch.Tensor, int, int]] = []
        self._looked = 0.0

    def add(self, losses: list[tuple[str, torch.Tensor]], step: int, batch: int) -> None:
        """Add the losses of a step: (objective, scalar on any device). Raises NotFinite, also for an earlier step."""
        self._pending += [(name, loss, step, batch) for name, loss in losses]
        on_cpu = losses[0][1].device.type == "cpu"
        if on_cpu or time.monotonic() - self._looked > LOOK_EVERY_SECONDS:
            self.read()

    def read(self) -> None:
        """Wait for the added losses, and check them. Raises NotFinite."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        values = torch.stack([loss for _, loss, _, _ in pending]).tolist()
        self._looked = time.monotonic()
        for value, (name, _, step, batch) in zip(values, pending, strict=True):
            if not math.isfinite(value):
                raise NotFinite(value, name, step, batch)
            if name == "labelled":
                self.row.append(value)

    def mean(self) -> float:
        """Mean of the row. The caller keeps the means of earlier rows."""
        return sum(self.row) / max(1, len(self.row))
