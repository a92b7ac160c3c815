"""Training samples: what they hold, where a training gets them, and their flips and rotations."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

#: LR image, guide and HR image of a sample; None for what is not there.
Images = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]


@dataclass(frozen=True)
class Sample:
    """One training sample, float32: lr (bands, p, p), guide (G, sp, sp) or None, hr (bands, sp, sp) or None.

    Of `TrainingSamples.stack`: several of them, with a first axis N.
    """

    lr: np.ndarray
    guide: np.ndarray | None
    hr: np.ndarray | None


class TrainingSamples(Protocol):
    """What a training takes its samples from; any process can make any of them."""

    @property
    def label(self) -> str:
        """What messages call it."""

    @property
    def bands(self) -> int:
        """Of the LR image."""

    @property
    def guide_channels(self) -> int:
        """0 without a guide."""

    @property
    def size_px(self) -> int:
        """Side of an HR image."""

    @property
    def wavelengths_nm(self) -> np.ndarray | None:
        """(bands,); None where they are not known, or the channels are no bands."""

    @property
    def rule(self) -> Any:
        """The `hsisr.degrade.Protocol` that made LR images of HR images; None where the samples are no such images."""

    def __len__(self) -> int:
        """Samples in one epoch."""

    def stack(self, numbers: Iterable[int]) -> Sample:
        """Samples of those numbers, counted over the whole run from 0, stacked along a new first axis."""

    def scene_of(self, number: int) -> str:
        """Name of the scene or region that sample `number` comes from."""

    def identity(self) -> dict[str, Any]:
        """Plain values that are the same for the same samples: what they are made of, by content, never by a path."""


class HeldOut(Protocol):
    """What a network holds out of its own training, to choose its weights by."""

    def __call__(self, network: Any) -> float:
        """PSNR in dB of a network; the weights that have the greatest are kept."""

    def settle(self, network: Any) -> None:
        """Change the weights that are kept, once, after training."""


def augment(sample: Sample, rng: np.random.Generator) -> Sample:
    """The sample after the published augmentations, the same for its LR image, guide and HR image.

    Each with probability 1/2: horizontal flip, vertical flip, roll by half the height along rows, rotation by +90
    and by -90 degrees. The roll needs an even LR side and is left out otherwise, so that no LR pixel is split.
    """
    return contiguous(augmented_views((sample.lr, sample.guide, sample.hr), rng))


def orient(sample: Sample, orientation: int) -> Sample:
    """The sample in one of its 8 flips and rotations (0: as it is), the same for LR image, guide and HR image."""
    return contiguous(oriented_views((sample.lr, sample.guide, sample.hr), orientation))


def contiguous(images: Images) -> Sample:
    """Images as a sample whose arrays lie in one piece; those that do so already are not copied."""
    return Sample(*_each(images, np.ascontiguousarray))


def augmented_views(images: Images, rng: np.random.Generator) -> Images:
    """The same as `augment`, as views of the images where nothing has to be computed."""
    flip_columns, flip_rows, roll, left, right = rng.random(5) < 0.5
    roll = roll and images[0].shape[1] % 2 == 0

    def change(image: np.ndarray) -> np.ndarray:
        if roll:  # before the flips, which makes no difference, as an image in one piece is rolled sooner
            image = np.roll(image, image.shape[1] // 2, axis=1)
        if flip_columns:
            image = image[:, :, ::-1]
        if flip_rows:
            image = image[:, ::-1]
        if left != right:  # both together undo each other
            image = np.rot90(image, 1 if left else -1, axes=(1, 2))
        return image

    return _each(images, change)


def oriented_views(images: Images, orientation: int) -> Images:
    """The same as `orient`, as views of the images."""

    def change(image: np.ndarray) -> np.ndarray:
        turned = np.rot90(image, orientation % 4, axes=(1, 2))
        return turned[:, :, ::-1] if orientation >= 4 else turned

    return _each(images, change)


def _each(images: Images, change: Callable[[np.ndarray], np.ndarray]) -> Images:
    lr, guide, hr = images
    return change(lr), None if guide is None else change(guide), None if hr is None else change(hr)
