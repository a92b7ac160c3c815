"""Scores without a reference as in the PRISMA benchmark, for scale 6 and a panchromatic guide.

Source: Ciotola et al., "Hyperspectral pansharpening: critical review, tools and future perspectives", arXiv 2407.01355,
and its public toolbox. The estimate is filtered by a Gaussian MTF with gain 0.3 at the LR image's Nyquist frequency,
cut to 41 x 41 taps by a Kaiser window of beta 0.5, and decimated from index 3. D_lambda is 1 - Q2n of this and the LR
image. D_s is 1 - R^2 of the least-squares combination of the bands, without a constant, that gives the panchromatic
image. Q2n is that of `hsisr.metrics`, without the toolbox's rounding to integers.
"""

import numpy as np

#: The benchmark's scale, and index of the first row and column that decimation keeps.
SCALE, FIRST = 6, 3
_GAIN, _TAPS, _BETA = 0.3, 41, 0.5
#: An eigenvalue below this part of the largest one counts as zero.
_RANK_TOLERANCE = 1e-12


def mtf_kernel() -> np.ndarray:
    """The filter (41, 41), made by sampling the MTF in frequency."""
    steps = np.arange(_TAPS) - _TAPS // 2
    width = (_TAPS - 1) / (2 * SCALE) / np.sqrt(-2 * np.log(_GAIN))
    axis = np.exp(-(steps**2) / (2 * width**2))
    kernel = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(np.outer(axis, axis)))).real
    radius = np.hypot(*np.meshgrid(steps, steps)) / (_TAPS // 2)
    profile = np.interp(radius, np.linspace(-1, 1, _TAPS), np.kaiser(_TAPS, _BETA))
    return np.asarray(np.where(radius > 1, 0.0, kernel * profile))


def reach_px() -> int:
    """Pixels of the estimate that the filter reads on each side."""
    return _TAPS // 2


def decimate(estimate: np.ndarray) -> np.ndarray:
    """Filter and decimate (B, 6 h + 40, 6 w + 40), with the filter's reach on each side, to (B, h, w)."""
    from scipy.signal import oaconvolve

    filtered = oaconvolve(estimate, mtf_kernel()[None].astype(estimate.dtype), mode="valid", axes=(1, 2))
    return np.asarray(filtered[:, FIRST::SCALE, FIRST::SCALE])


class PanRegression:
    """R^2 of the panchromatic image as a combination of the bands, over pixels added piece by piece."""

    def __init__(self, bands: int) -> None:
        self._products = np.zeros((bands + 2, bands + 2))

    def add(self, bands: np.ndarray, pan: np.ndarray) -> None:
        """Add pixels. bands: (B, n), pan: (n,), values of the same pixels."""
        rows = np.concatenate([bands, pan[None], np.ones((1, len(pan)))]).astype(float)
        self._products += rows @ rows.T

    @property
    def d_s(self) -> float:
        """1 - R^2, 0 or more; 1 for a constant panchromatic image."""
        bands = slice(0, -2)
        weights = np.linalg.pinv(self._products[bands, bands], _RANK_TOLERANCE, hermitian=True)
        weights = weights @ self._products[bands, -2]
        error = np.concatenate([-weights, [1.0, 0.0]])  # pan minus the combination
        count = self._products[-1, -1]
        variances = [
            vector @ self._products @ vector / count - (vector @ self._products[:, -1] / count) ** 2
            for vector in (error, np.eye(len(error))[-2])
        ]
        return float(max(variances[0] / variances[1], 0.0)) if variances[1] > 0 else 1.0
