"""Learning a scene: what a method must know of all of it, once, so that tiles of any size give the same result."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hsisr.degrade.sensor import gaussian_footprint, sensor_in
from hsisr.errors import HsisrError
from hsisr.inference import kept
from hsisr.inference.feed import Feed
from hsisr.inference.progress import Learning
from hsisr.models.windows import Images, Window

#: File of a run's folder that holds what was learnt.
LEARNT = "learnt.npz"


def with_learnt(feed: Feed, folder: Path | None = None, identity: str = "") -> Feed:
    """The feed with what its method has learnt of the scene, if it is one that learns scenes.

    folder: of the run, where it is kept: a run that was stopped goes on with the same; None: in memory alone.
    identity: of the run. Raises HsisrError, with the name of the LR image, for one that nothing can be learnt from.
    """
    if not feed.method.learns_scenes:
        return feed
    path = None if folder is None else folder / LEARNT
    package = type(feed.method.model).__module__.partition(".")[0]
    learnt = None if path is None else kept.read(path, identity, package)
    if learnt is None:
        footprint = feed.footprint or gaussian_footprint(feed.method.scale)
        told = None if path is None or not feed.effort.learning else _told(feed)
        try:
            learnt = feed.method.estimate(_Shown(feed, told), footprint)
        except HsisrError as error:
            raise HsisrError(f"{feed.lr.label}: {error}") from error
        if path is not None:
            kept.write(path, learnt, identity)
    return replace(feed, learnt=learnt)


def images_of(feed: Feed) -> Images:
    """The images of a feed, as a method that learns scenes reads them."""
    return _Shown(feed)


@dataclass(frozen=True, eq=False)
class _Shown:
    """The images of a feed, as `hsisr.models.windows.Images`."""

    feed: Feed
    told: Callable[[float], None] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the LR image."""
        return self.feed.lr.shape[1], self.feed.lr.shape[2]

    def window(self, rows: tuple[int, int], columns: tuple[int, int]) -> Window:
        """The part of LR rows and columns [start, stop)."""
        low, sharp, valid, changed = self.feed.shown(rows, columns)
        assert sharp is not None
        if changed is not None:
            valid = valid & (changed == 0)
        whole = rows == (0, self.size[0]) and columns == (0, self.size[1])
        # a scene without a single whole LR pixel is learnt from what its holes were filled with
        mask = sensor_in(None, valid, self.feed.method.scale).mask if whole else valid
        return Window(low, sharp, mask)

    def tell(self, share: float) -> None:
        """Told what share of the scene is learnt."""
        if self.told is not None:
            self.told(share)


def _told(feed: Feed) -> Learning:
    learning, making = feed.effort
    return Learning(feed.method.name, (making + feed.writing_effort) / learning)
