"""Two results files side by side. The comparison is refused unless their numbers mean the same."""

import math
import os
from collections.abc import Iterator

from rich.table import Table

from hsisr.errors import HsisrError
from hsisr.evaluation import results
from hsisr.evaluation.table import FLOOR, columns_of, console_for, score_text, scoring_words

#: Facts that must be equal: key in the file -> the user's word.
_EQUAL = {
    "dataset": "data set",
    "scale": "scale",
    "protocol": "protocol",
    "convention": "convention",
    "response": "response of the guide",
}


def compare(first: str | os.PathLike, second: str | os.PathLike) -> Table:
    """A table of the models of two results files, with the change from first to second for models in both.

    If bicubic interpolation does not score alike in both, the table's caption says so.
    Raises HsisrError, with every difference, if data set, scale, protocol, convention, guide response or test scenes
    differ, and for other files.
    """
    a, b = (results.read(path, results.Results) for path in (first, second))
    differences = list(_differences(a, b))
    if differences:
        raise HsisrError(f"{first} and {second} cannot be compared: {'; '.join(differences)}")
    return _table(a, b)


def print_comparison(first: str | os.PathLike, second: str | os.PathLike) -> None:
    """Print the table of `compare`. first, second: the files."""
    table = compare(first, second)
    console_for(table).print(table)


def _differences(a: results.Results, b: results.Results) -> Iterator[str]:
    for key, name in _EQUAL.items():
        values = getattr(a, key), getattr(b, key)
        if values[0] != values[1]:
            yield f"{name} is {values[0] or 'none'} in the first and {values[1] or 'none'} in the second"
    tested = set(a.parts["test"]), set(b.parts["test"])
    if tested[0] != tested[1]:
        odd = sorted(tested[0] ^ tested[1])
        yield f"they test on different scenes ({', '.join(odd[:5])}{', ...' if len(odd) > 5 else ''} in one only)"
    if a.folds != b.folds and tested[0] == tested[1]:
        yield "they deal the scenes into other folds"


def _table(a: results.Results, b: results.Results) -> Table:
    table = Table(title=f"{a.dataset} x{a.scale}   protocol {a.protocol}, {scoring_words(a)}", title_justify="left")
    columns, _ = columns_of(a), columns_of(b)  # the same ones, after a check that the scores are there
    for heading in ("model", "file", *(heading for heading, _, _ in columns.values())):
        table.add_column(heading, justify="left" if heading in ("model", "file") else "right")
    for name in dict.fromkeys([*a.models, *b.models]):
        means = {
            label: found.models[name].mean for label, found in (("first", a), ("second", b)) if name in found.models
        }
        for label, mean in means.items():
            table.add_row(name, label, *(score_text(mean[key], columns[key][1], key) for key in columns))
        if len(means) == 2:
            changes = (_change(means["first"][key], means["second"][key], columns[key][1]) for key in columns)
            table.add_row("", "change", *changes)
        table.add_section()
    if _other_images(a, b):
        table.caption = (
            f"{FLOOR} learns nothing, and scores differently in the two: they test on different images (another "
            "region, another protocol of this name, other data), or another version of hsisr made one of them"
        )
    return table


def _other_images(a: results.Results, b: results.Results) -> bool:
    """Whether bicubic interpolation is in both and scores differently, by more than machines round differently."""
    if FLOOR not in a.models or FLOOR not in b.models:
        return False
    first, second = (found.models[FLOOR].mean for found in (a, b))
    return any(not math.isclose(first[key] or 0, second[key] or 0, rel_tol=1e-4, abs_tol=1e-6) for key in first)


def _change(before: float | None, after: float | None, decimals: int) -> str:
    return "-" if before is None or after is None else f"{after - before:+.{decimals}f}"
