"""Scores that papers print, to stand beside ours: theirs, and marked as theirs."""

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml


@dataclass(frozen=True)
class Published:
    """What a paper says of a method. scores: by the names of our own; those that it does not give are absent."""

    method: str
    source: str
    short: str
    degradation: str
    scores: dict[str, float]


def find_published(dataset: str, scale: int, guide: bool) -> list[Published]:
    """Published scores on a data set at a scale, whatever the protocol; empty where none are known.

    guide: of methods that have a sharp image of the same scene, or of those that have none.
    """
    name = f"{dataset}_x{scale}"
    return [
        Published(method, paper["source"], paper["short"], paper["degradation"], scores)
        for paper in _papers()
        if paper["guide"] == guide
        for method, scores in paper["benchmarks"].get(name, {}).items()
    ]


@cache
def _papers() -> list[dict]:
    text = (resources.files("hsisr.report") / "published.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)
