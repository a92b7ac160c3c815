"""A sweep in the report: a table with the worst place of the grid, and the map."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsisr.errors import HsisrError
from hsisr.evaluation.table import SWEEP_COLUMNS, score_text, worst_words
from hsisr.report.tables import NOTHING, Cell, Column, Table, ranks_of


def table(result: Mapping[str, Any]) -> Table:
    """For each model, mean, worst and best over the grid, with the leaders marked, and the worst place.

    A model that refused places cannot lead: its numbers are those of other, perhaps easier, places.
    """
    models = result["models"]
    rows: dict[str, list[Cell]] = {name: [] for name in models}
    columns = []
    for key, (heading, decimals, higher) in SWEEP_COLUMNS.items():
        columns.append(Column(heading, "higher" if higher else "lower"))
        known = {name: found[key] for name, found in models.items() if key in found}
        everywhere = {name: score for name, score in known.items() if not models[name]["refused"]}
        marks = ranks_of(everywhere, decimals, higher)
        for name in models:
            cell = Cell(score_text(known[name], decimals), mark=marks.get(name, "")) if name in known else Cell(NOTHING)
            rows[name].append(cell)
    columns.append(Column("Worst at"))
    for name, found in models.items():
        rows[name].append(Cell(worst_words(found)))
    return Table(f"{len(result['grid'])} degradations of {result['scene']}, x{result['scale']}", "Model", columns, rows)


def picture(path: str | os.PathLike) -> str:
    """The map as a data URI. Raises HsisrError if the file is missing."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise HsisrError(f"{path}: cannot be read ({error.strerror}); `hsisr sweep` makes it") from None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
