"""The history of a run, one row for each validation: history.csv, training.png, and TensorBoard if installed."""

import csv
import importlib.util
import io
import time
from pathlib import Path
from typing import Any

from hsisr.files import write_text
from hsisr.training import figure

HISTORY_COLUMNS = (
    "step",
    "epoch",
    "loss",
    "validation_psnr",
    "learning_rate",
    "seconds",
    "patches_per_second",
    "memory_mb",
)

#: Seconds between drawings of training.png.
DRAW_EVERY_SECONDS = 5.0


class History:
    """Rows in the order of HISTORY_COLUMNS; validation_psnr is None without validation.

    folder: of the run. rows: earlier ones of a resumed run.
    """

    def __init__(self, folder: Path, rows: list[list[Any]]) -> None:
        self.folder, self.rows = folder, rows
        self._drawn = time.monotonic()
        self._board: Any = None

    def add(self, row: list[Any], last: bool) -> None:
        """Append a row and show it. last: whether it is the run's last. Raises HsisrError if it cannot be written."""
        self.rows.append(row)
        write_text(self.folder / "history.csv", self.csv())
        self._show_on_board(row)
        if last or time.monotonic() - self._drawn > DRAW_EVERY_SECONDS:
            figure.draw(self.folder / "training.png", self.rows, str(self.folder))
            self._drawn = time.monotonic()

    def csv(self) -> str:
        """The text of history.csv."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HISTORY_COLUMNS)
        writer.writerows(self.rows)
        return text.getvalue()

    def _show_on_board(self, row: list[Any]) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            return
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            # hide rows that a killed run wrote after the state from which this run resumes
            self._board = SummaryWriter(self.folder / "tensorboard", purge_step=row[0])
        for name, value in zip(HISTORY_COLUMNS[1:], row[1:], strict=True):
            if value is not None:
                self._board.add_scalar(name, value, row[0])
        self._board.flush()
