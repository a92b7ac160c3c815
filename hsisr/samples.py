"""Training samples: their content, their source, and their flips and rotations."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

#: LR image, guide and HR image of a sample; None for a missing one.
Images = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]


@dataclass(frozen=True)
class Sample:
    """One training sample, float32: lr (bands, p, p), guide (G, sp, sp) or None, hr (bands, sp, sp) or None.

    From `TrainingSamples.stack`: several samples, with a first axis N.
    """

    lr: np.ndarray
    guide: np.ndarray | None
    hr: np.ndarray | None


class TrainingSamples(Protocol):
    """The source of samples for a training. Any process can make any sample."""

    @property
    def label(self) -> str:
        """The name in messages."""

    @property
    def bands(self) -> int:
        """Number of bands of the LR image."""

    @property
    def guide_channels(self) -> int:
        """Number of channels of the guide, 0 without a guide."""

    @property
    def size_px(self) -> int:
        """Side of an HR image."""

    @property
    def wavelengths_nm(self) -> np.ndarray | None:
        """(bands,); None if they are unknown, or if the channels are not bands."""

    @property
    def rule(self) -> Any:
        """The `hsisr.degrade.Protocol` that made LR images from HR images; None if no protocol did."""

    def __len__(self) -> int:
        """Samples in one epoch."""

    def stack(self, numbers: Iterable[int]) -> Sample:
        """Samples with these numbers, counted over the whole run from 0, stacked along a new first axis."""

    def scene_of(self, number: int) -> str:
        """Name of the scene or region of sample `number`."""

    def identity(self) -> dict[str, Any]:
        """Plain values that are equal for equal samples: their sources by content, never by path."""


class HeldOut(Protocol):
    """A part that a network keeps out of its own training, to choose its weights."""

    def __call__(self, network: Any) -> float:
        """PSNR in dB of a network. The weights with the largest PSNR are kept."""

    def settle(self, network: Any) -> None:
        """Change the kept weights, once, after training."""


def augment(sample: Sample, rng: np.random.Generator) -> Sample:
    """The sample after the published augmentations, equal for LR image, guide and HR image.

    Each has probability 1/2: horizontal flip, vertical flip, roll by half the height along rows, rotation by +90 and by
    -90 degrees. The roll needs an even LR side, so that it splits no LR pixel; else it is left out.
    """
    return contiguous(augmented_views((sample.lr, sample.guide, sample.hr), rng))


def orient(sample: Sample, orientation: int) -> Sample:
    """The sample in one of its 8 flips and rotations (0: unchanged), equal for LR image, guide and HR image."""
    return contiguous(oriented_views((sample.lr, sample.guide, sample.hr), orientation))


def contiguous(images: Images) -> Sample:
    """Images as a sample with contiguous arrays. Arrays that are contiguous already are not copied."""
    return Sample(*_each(images, np.ascontiguousarray))


def augmented_views(images: Images, rng: np.random.Generator) -> Images:
    """As `augment`, but as views of the images where nothing has to be computed."""
    flip_columns, flip_rows, roll, left, right = rng.random(5) < 0.5
    roll = roll and images[0].shape[1] % 2 == 0

    def change(image: np.ndarray) -> np.ndarray:
        if roll:  # rolled before the flips, with the same result, because a contiguous image rolls faster
            image = np.roll(image, image.shape[1] // 2, axis=1)
        if flip_columns:
            image = image[:, :, ::-1]
        if flip_rows:
            image = image[:, ::-1]
        if left != right:  # both together cancel out
            image = np.rot90(image, 1 if left else -1, axes=(1, 2))
        return image

    return _each(images, change)


def oriented_views(images: Images, orientation: int) -> Images:
    """As `orient`, but as views of the images."""

    def change(image: np.ndarray) -> np.ndarray:
        turned = np.rot90(image, orientation % 4, axes=(1, 2))
        return turned[:, :, ::-1] if orientation >= 4 else turned

    return _each(images, change)


def _each(images: Images, change: Callable[[np.ndarray], np.ndarray]) -> Images:
    lr, guide, hr = images
    return change(lr), None if guide is None else change(guide), None if hr is None else change(hr)
