"""Scores that papers print, for a place beside ours; the report says that they are theirs."""

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml


@dataclass(frozen=True)
class Published:
    """What a paper says of a method. scores: by the names of our own; those that it does not give are absent.

    protocol, split: those of ours under which it was measured; None: another one, or not known.
    """

    method: str
    source: str
    short: str
    degradation: str
    scores: dict[str, float]
    protocol: str | None = None
    split: str | None = None


def find_published(dataset: str, scale: int, guide: bool) -> list[Published]:
    """Published scores on a data set at a scale, whatever the protocol; empty where none are known.

    guide: of methods that have a sharp image of the same scene, or of those that have none.
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
