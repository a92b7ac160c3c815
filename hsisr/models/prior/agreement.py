"""Agreement: move the image so that the camera's response to it gives the guide."""

import numpy as np

#: From so many components a channel on, what the response leaves of the guide is small.
_MANY_COMPONENTS = 4
#: Pixels that are counted at a time.
_CHUNK = 1 << 14


class Moments:
    """Sums over HR pixels for `guide_gain`, so that the pixels need not be in memory together.

    components, channels: number K of the coefficients' components, number G of the guide's channels.
    """

    def __init__(self, components: int, channels: int) -> None:
        self._components = components
        self._products = np.zeros((components + channels + 1,) * 2)

    def add(self, coefficients: np.ndarray, guide: np.ndarray) -> None:
        """Add the pixels of coefficients (K, n, m) and guide (G, n, m) to the sums."""
        pixels = [image.reshape(len(image), -1) for image in (coefficients, guide)]
        every = np.ones((len(self._products), _CHUNK))
        for first in range(0, pixels[0].shape[1], _CHUNK):
            here = every[:, : pixels[0].shape[1] - first]
            for rows, image in zip((here[: self._components], here[self._components : -1]), pixels, strict=True):
                rows[...] = image[:, first : first + _CHUNK]
            self._products += here @ here.T

    def spread(self) -> np.ndarray:
        """Variance (K,) of the coefficients."""
        means = self._products[: self._components, -1] / self._products[-1, -1]
        squares = np.diag(self._products)[: self._components] / self._products[-1, -1]
        spread: np.ndarray = np.maximum(squares - means**2, 0)
        return spread

    def beyond(self, response: np.ndarray, offset: np.ndarray) -> float:
        """Mean square of the guide less response (G, K) @ coefficients + offset (G, 1)."""
        difference = np.concatenate([-response, np.eye(len(response)), -offset.reshape(-1, 1)], axis=1)
        squares = np.einsum("gi,ij,gj->g", difference, self._products, difference)
        return max(0.0, float(squares.mean() / self._products[-1, -1]))


def left_by_response(left: np.ndarray, components: int, variance: float) -> np.ndarray:
    """Covariance (G, G) of what a response to so many components leaves of the guide.

    left: (G, n), what it leaves at LR pixels. variance: of the same, in the mean of the channels.

    Few components cannot make all channels. Then what they leave is large, and alike in many channels. Taken for
    independent, it would move the coefficients. The estimate is drawn to equal variances, as if G more pixels had
    these. With many components, what they leave is small, and one variance serves.
    """
    channels, pixels = left.shape
    equal = variance * np.eye(channels)
    if components >= _MANY_COMPONENTS * channels:
        return equal
    covariance: np.ndarray = (left @ left.T + channels * equal) / (pixels + channels)
    return covariance


def guide_gain(spread: np.ndarray, beyond: float, response: np.ndarray, mismatch: np.ndarray) -> np.ndarray:
    """Gain (K, G): agreement adds gain @ (guide less the response to the coefficients) to the coefficients.

    This is the best linear estimate for errors of the same variance in all components, limited to the component's own
    variance. What is observed beyond `mismatch` gives this variance.

    spread: (K,), variance of the coefficients. beyond: mean square of the guide less the response (G, K) to the
    coefficients. mismatch: (G, G), covariance of what the response itself leaves.
    """
    power = float((response**2).sum()) / len(response)
    excess = max(0.0, beyond - float(np.diag(mismatch).mean())) / max(power, 1e-30)
    weighed = response * np.minimum(excess, spread)
    if not weighed.any():
        return np.zeros_like(response.T)
    gain: np.ndarray = weighed.T @ np.linalg.pinv(weighed @ response.T + mismatch)
    return gain


def move(
    coefficients: np.ndarray, guide: np.ndarray, response: np.ndarray, offset: np.ndarray, gain: np.ndarray
) -> None:
    """Add gain (K, G) @ (guide (G, H, W) less the response to the coefficients) to coefficients (K, H, W), in place."""
    if gain.any():
        kind, flat = coefficients.dtype, coefficients.reshape(len(coefficients), -1)
        made = response.astype(kind) @ flat
        missing = guide.reshape(len(guide), -1) - offset.astype(kind) - made
        flat += (gain.astype(kind) @ missing).astype(kind)
