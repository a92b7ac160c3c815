"""Means and standard deviations of scores; None if one of the values is None."""

from collections.abc import Callable, Iterable

import numpy as np

from hsisr.evaluation.results import Scores


def mean(scores: Iterable[Scores]) -> Scores:
    """The mean of each score."""
    return _over(np.mean, list(scores))


def std(scores: Iterable[Scores]) -> Scores:
    """The standard deviation of each score, of a sample: n - 1 in the denominator; 0 for a single value."""
    scores = list(scores)
    return _over(lambda values: np.std(values, ddof=min(1, len(scores) - 1)), scores)


def _over(statistic: Callable, scores: list[Scores]) -> Scores:
    columns = {key: [entry[key] for entry in scores] for key in (scores[0] if scores else ())}
    return {key: None if None in values else float(statistic(values)) for key, values in columns.items()}
