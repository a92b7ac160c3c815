"""Learning a scene: some methods look at all of it once. Then tiles of any size give the same result."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hsisr.degrade.sensor import gaussian_footprint, sensor_in
from hsisr.errors import HsisrError
from hsisr.inference import kept
from hsisr.inference.feed import Feed
from hsisr.inference.progress import Learning
from hsisr.models.windows import Images, Window
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
            learnt = feed.method.estimate(_Shown(feed, told), footprint)
        except HsisrError as error:
            raise HsisrError(f"{feed.lr.label}: {error}") from error
        for line in feed.method.remarks(learnt):
            say(f"{feed.lr.label if feed.guide is None else feed.guide.source.label}: {line}")
        if path is not None:
            kept.write(path, learnt, identity)
    return replace(feed, learnt=learnt)


def images_of(feed: Feed) -> Images:
    """The images of a feed, in the form that a method uses to learn a scene."""
    return _Shown(feed)


@dataclass(frozen=True, eq=False)
class _Shown:
    """The images of a feed, as `hsisr.models.windows.Images`."""

    feed: Feed
    told: Callable[[float, float], None] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the LR image."""
        return self.feed.lr.shape[1], self.feed.lr.shape[2]

    def window(self, rows: tuple[int, int], columns: tuple[int, int]) -> Window:
        """The window of [start, stop) LR rows and columns."""
        shown = self.feed.show(rows, columns)
        low, _, valid, changed = shown
        if changed is not None:
            valid = valid & (changed == 0)
        whole = rows == (0, self.size[0]) and columns == (0, self.size[1])
        # if the scene has no complete LR pixel, it is learnt from its filled pixels
        mask = sensor_in(None, valid, self.feed.method.scale).mask if whole else valid
        return Window(low, shown.guide, mask)

    def tell(self, done: float, total: float) -> None:
        """Report the work that is done, of all the work of learning the scene."""
        if self.told is not None:
            self.told(done, total)


def _expect(feed: Feed) -> Learning:
    return Learning(feed.method.name, feed.effort.making + feed.writing_effort)
