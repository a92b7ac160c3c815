"""Preview: a part of LR image, result and guide side by side, as PNG or JPEG."""

import os
from dataclasses import replace

import numpy as np

from hsisr.colours import spread_bands
from hsisr.datasets import picture
from hsisr.datasets.quicklook import default_bands, stretch
from hsisr.errors import HsisrError
from hsisr.inference.feed import Feed
from hsisr.inference.images import middle_piece
from hsisr.missing import missing_pixels
from hsisr.models.windows import hr_spans
from hsisr.scene import Scene

#: Side of the shown part in LR pixels.
_SHOWN_LR_PX = 96


def write_preview(out: str | os.PathLike, feed: Feed, result: Scene) -> None:
    """Write LR image (enlarged without interpolation), result and guide (if there is one), of the scene's middle.

    Labels state the image, the scale and the bands. LR image and result share their stretch. Bands are chosen as in
    `quicklook`; if this fails, the first, middle and last good bands.
    """
    scale = feed.method.scale
    rows, columns = (middle_piece(size, _SHOWN_LR_PX) for size in feed.lr.shape[1:])
    low, low_valid = feed.lr.window(rows, columns)
    place = hr_spans(rows, columns, scale)
    sharp = replace(result, stored=result.stored[:, *(slice(*span) for span in place)], mask=None)
    missing = sharp.without_data(sharp.stored[feed.lr.good])
    valid = np.ones(sharp.shape[1:], bool) if missing is None else ~missing_pixels(missing)
    bands, natural = _bands(feed)
    both = [low[bands], sharp.cube[feed.lr.good][bands]]
    masks = (low_valid, valid)
    reference = np.concatenate([image[:, mask].T for image, mask in zip(both, masks, strict=True)]).T
    coarse, fine = (_picture(image, mask, reference, natural) for image, mask in zip(both, masks, strict=True))
    enlarged = coarse.repeat(scale, axis=0).repeat(scale, axis=1)
    pictures = [(f"{feed.lr.label}, {feed.lr.in_words(bands)}", enlarged), (f"{feed.method.name} x{scale}", fine)]
    guide = feed.shown_guide
    if guide is not None:
        values, seen = guide.window(*place)
        channels = _spread(len(values))
        values = values[channels]
        image = _picture(values, seen, values[:, seen], natural=False)
        pictures.append((f"guide {guide.source.label}, {guide.source.in_words(channels)}", image))
    picture.write(out, picture.side_by_side(pictures))


def _bands(feed: Feed) -> tuple[list[int], bool]:
    """Numbers, among the good bands, of the bands for red, green and blue, or for grey; whether colours are natural."""
    try:
        chosen = default_bands(feed.lr.scene)
    except HsisrError:
        return _spread(feed.lr.shape[0]), False
    places = {int(band): place for place, band in enumerate(feed.lr.good)}
    if not set(chosen) <= set(places):
        return _spread(feed.lr.shape[0]), False
    return [places[band] for band in chosen], feed.lr.scene.wavelengths_nm is not None


def _picture(image: np.ndarray, valid: np.ndarray, reference: np.ndarray, natural: bool) -> np.ndarray:
    """RGB picture. Natural colours are stretched together, other channels each by itself."""
    if natural:
        return stretch(image, valid, reference)
    channels = [stretch(image[k : k + 1], valid, reference[k])[..., 0] for k in range(len(image))]
    return np.stack(channels * (3 // len(channels)), axis=-1)


def _spread(count: int) -> list[int]:
    return spread_bands(count) if count >= 3 else [0]
