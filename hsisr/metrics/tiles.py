"""Square tiles of a pair of images, side by side, for scores of all bands of a block at once."""

from collections.abc import Iterator

import numpy as np

from hsisr.errors import HsisrError
from hsisr.metrics.inputs import Pair, check_window

#: A tile's variance is rounding of the centring if it is below this part of the squared means.
ROUNDING = 1e-28


def centred_tiles(pair: Pair, block: int, what: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Every tile without a masked pixel: x, y (B, block^2) less their means, and the means (B,); float64.

    Tiles start at the top left; the rest at the bottom and right is in no tile. what: name of the score, for errors.
    Raises HsisrError if the images are smaller than a tile or every tile holds a masked pixel.
    """
    check_window(pair, block, what)
    bands, rows, columns = pair.shape
    found = False
    for top in range(0, rows - block + 1, block):
        x, y = pair.read(slice(None), top, top + block)
        for left in range(0, columns - block + 1, block):
            tile = (slice(top, top + block), slice(left, left + block))
            if pair.mask is not None and not pair.mask[tile].all():
                continue
            found = True
            a, b = (image[:, :, tile[1]].reshape(bands, -1) for image in (x, y))
            mean_a, mean_b = a.mean(axis=1), b.mean(axis=1)
            yield a - mean_a[:, None], b - mean_b[:, None], mean_a, mean_b
    if not found:
        raise HsisrError(f"metrics: {what} has no {block} x {block} tile without a masked pixel; use a smaller block")
