"""Learning a scene: some methods look at all of it once. Then tiles of any size give the same result."""

from dataclasses import replace
from pathlib import Path

from hsisr.degrade.sensor import gaussian_footprint
from hsisr.errors import HsisrError
from hsisr.inference import kept
from hsisr.inference.feed import FedImages, Feed
from hsisr.inference.progress import Learning
from hsisr.screen import say

#: File in a run's folder with the learnt facts.
LEARNT = "learnt.npz"


def learn_scene(feed: Feed, folder: Path | None = None, identity: str = "") -> Feed:
    """The feed with the facts that its method has learnt of the scene, if the method learns scenes.

    folder: of the run, to keep the facts: a stopped run resumes with the same ones. None: in memory only.
    identity: of the run. Raises HsisrError that names the LR image if the method can learn nothing from it.
    """
    if not feed.method.learns_scenes:
        return feed
    path = None if folder is None else folder / LEARNT
    package = type(feed.method.model).__module__.partition(".")[0]
    learnt = None if path is None else kept.read(path, identity, package)
    if learnt is None:
        footprint = feed.footprint or gaussian_footprint(feed.method.scale)
        told = None if path is None or not feed.effort.learning else _expect(feed)
        try:
            learnt = feed.method.estimate(FedImages(feed, told), footprint)
        except HsisrError as error:
            raise HsisrError(f"{feed.lr.label}: {error}") from error
        for line in feed.method.remarks(learnt, () if feed.guide is None else feed.guide.source.numbers):
            say(f"{feed.lr.label if feed.guide is None else feed.guide.source.label}: {line}")
        if path is not None:
            kept.write(path, learnt, identity)
    return replace(feed, learnt=learnt)


def _expect(feed: Feed) -> Learning:
    return Learning(feed.method.name, feed.effort.making + feed.writing_effort)
