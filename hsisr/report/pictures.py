"""Pictures: composites and maps as data URIs, in the best encoding that the size of the page allows."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from PIL import Image

#: Percent of each channel's values that the stretch turns black, and percent that it saturates.
CLIPPED_PERCENT = 0.5

#: Values are linear in light, but screens are not. So mid-tones are lifted, less than in a photograph.
GAMMA = 1.5


@dataclass(frozen=True)
class Stretch:
    """A map from values to 8 bits, for each channel: low (3,) becomes 0, high (3,) becomes 255, with GAMMA between."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, composite: np.ndarray, valid: np.ndarray) -> "Stretch":
        """The stretch of the valid pixels (H, W) of a composite (H, W, 3); of all pixels, if none is valid.

        It lies between their percentiles CLIPPED_PERCENT and 100 - CLIPPED_PERCENT.
        """
        pixels = composite[valid] if valid.any() else composite.reshape(-1, 3)
        low, high = np.percentile(pixels, [CLIPPED_PERCENT, 100 - CLIPPED_PERCENT], axis=0)
        return cls(low, np.where(high > low, high, np.nextafter(low, np.inf)))

    def __call__(self, composite: np.ndarray) -> np.ndarray:
        """(H, W, 3) values -> (H, W, 3) uint8."""
        with np.errstate(over="ignore"):  # of one value, the range is the smallest that there is
            linear = np.clip((composite - self.low) / (self.high - self.low), 0, 1)
        return np.rint(255 * linear ** (1 / GAMMA)).astype(np.uint8)


@dataclass(frozen=True)
class ColorScale:
    """Colours of a map: 0 is the first colour of a matplotlib colour map; `top` and larger values are the last."""

    name: str
    top: float

    @classmethod
    def over(cls, name: str, maps: Sequence[np.ndarray], valid: np.ndarray) -> "ColorScale":
        """One scale for several maps (H, W), up to the 99.5th percentile of all their values, rounded up to two digits.

        valid: (H, W), the pixels that count.
        """
        top = max(float(np.percentile([values[valid] for values in maps], 99.5)) if valid.any() else 0.0, 1e-9)
        digit = 10.0 ** (np.floor(np.log10(top)) - 1)
        return cls(name, float(np.ceil(top / digit - 1e-9) * digit))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(H, W) values -> (H, W, 3) uint8."""
        return colormaps[self.name](np.clip(values / self.top, 0, 1), bytes=True)[..., :3]

    @property
    def css_gradient(self) -> str:
        """The colour bar as a CSS background, left to right."""
        stops = ", ".join("#{:02x}{:02x}{:02x}".format(*color[:3]) for color in self._stops())
        return f"linear-gradient(to right, {stops})"

    def _stops(self) -> np.ndarray:
        return colormaps[self.name](np.linspace(0, 1, 17), bytes=True)


def blacken(picture: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8, black where it has no data. valid: (H, W)."""
    return np.where(valid[..., None], picture, np.uint8(0))


@dataclass(frozen=True)
class Encoding:
    """Storage of pictures: WebP of this quality (None: lossless), reduced to at most `side_px` a side."""

    quality: int | None
    side_px: int

    @property
    def words(self) -> str:
        """The encoding in words, for the page."""
        form = "without loss" if self.quality is None else f"at WebP quality {self.quality}"
        return f"Pictures are stored {form}; those of more than {self.side_px} pixels a side are reduced."

    def data_uri(self, picture: np.ndarray) -> str:
        """A picture (H, W, 3) uint8 as a `data:` address."""
        data = self._encode(picture, self._factor(picture))
        return f"data:image/webp;base64,{base64.b64encode(data).decode()}"

    def size_bytes(self, picture: np.ndarray) -> float:
        """Approximate size of an encoded picture, estimated from its middle part."""
        factor = self._factor(picture)
        top, left = (max(0, (side - factor * _SAMPLE_PX) // 2) for side in picture.shape[:2])
        sample = picture[top : top + factor * _SAMPLE_PX, left : left + factor * _SAMPLE_PX]
        share = sample[..., 0].size / picture[..., 0].size
        return len(self._encode(sample, factor)) / share

    def _factor(self, picture: np.ndarray) -> int:
        return math.ceil(max(picture.shape[:2]) / self.side_px)

    def _encode(self, picture: np.ndarray, factor: int) -> bytes:
        image = Image.fromarray(np.ascontiguousarray(picture))
        if factor > 1:
            image = image.reduce(factor)
        stream = io.BytesIO()
        if self.quality is None:
            image.save(stream, "WEBP", lossless=True, method=2)
        else:
            image.save(stream, "WEBP", quality=self.quality, method=2, use_sharp_yuv=True)
        return stream.getvalue()


#: From the most faithful to the smallest. The first that fits is used.
ENCODINGS = (
    Encoding(None, 1024),
    Encoding(95, 1024),
    Encoding(90, 512),
    Encoding(80, 512),
    Encoding(80, 256),
    Encoding(80, 128),
)

#: Side of the middle part that serves to estimate the size of a picture.
_SAMPLE_PX = 96


def choose_encoding(pictures: Sequence[np.ndarray], most_bytes: float) -> Encoding:
    """The most faithful encoding in which the pictures (H, W, 3) uint8 take at most about `most_bytes`."""
    for encoding in ENCODINGS:
        if sum(map(encoding.size_bytes, pictures)) <= most_bytes:
            return encoding
    return ENCODINGS[-1]
