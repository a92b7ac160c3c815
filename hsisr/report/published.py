"""Scores printed in papers, shown beside our own and marked as published."""

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml


@dataclass(frozen=True)
class Published:
    """A paper's scores of a method. scores: by the names of our own; scores that the paper does not give are absent.

    protocol, split: our names of the paper's settings; None: other settings, or unknown ones.
    """

    method: str
    source: str
    short: str
    degradation: str
    scores: dict[str, float]
    protocol: str | None = None
    split: str | None = None


def find_published(dataset: str, scale: int, guide: bool) -> list[Published]:
    """Published scores on a data set at a scale, for any protocol; empty if none are known.

    guide: True for methods with a sharp image of the same scene, False for methods without.
    """
    name = f"{dataset}_x{scale}"
    return [
        Published(
            method,
            row.get("source", paper["source"]),
            paper["short"],
            paper["degradation"],
            {key: value for key, value in row.items() if key != "source"},
            paper.get("protocol"),
            paper.get("split"),
        )
        for paper in _papers()
        if paper["guide"] == guide
        for method, row in paper["benchmarks"].get(name, {}).items()
    ]


@cache
def _papers() -> list[dict]:
    text = (resources.files("hsisr.report") / "published.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)
