"""How blurred an image is, measured on the image alone: blur makes its power spectrum fall faster.

Natural images have the power spectrum f^-a (Burton and Moorhead, Applied Optics 1987). A Gaussian PSF multiplies it by
exp(-4 pi^2 sigma^2 f^2). Sampling folds back the frequencies beyond the Nyquist frequency. The exponent a and sigma are
fitted together; the exponent has a prior.
"""

import numpy as np

#: Side of the blocks over which the spectrum is averaged (Welch), in pixels, and the smallest side that is useful.
_BLOCK_PX, _LEAST_PX = 16, 8
#: Exponents and sigmas (pixels) that are tried; mean and spread of the exponent's prior, and the prior's weight.
_EXPONENTS, _SIGMAS_PX = np.linspace(1.5, 4.5, 31), np.linspace(0, 1, 51)
_EXPECTED, _SPREAD, _PRIOR = 3.0, 0.5, 0.1
#: Fits count as about equally good if their squared misfits of log power differ by less than this.
_MISFIT = 0.1
#: Blur, in pixels, that is assumed of an image that does not show it, and equally strong blocks, beside one, that do
#: show it; chosen on small pieces of ten training scenes of CAVE.
EXPECTED_PX, _ENOUGH_BLOCKS = 0.5, 8


def blur_px(images: np.ndarray, valid: np.ndarray | None = None, cautious: bool = False) -> float | None:
    """Standard deviation, in pixels, of the Gaussian that seems to blur images (N, h, w) of one sensor.

    valid: pixels (h, w) that count. The blur of lenses and of a pixel's area counts too: an image reduced with a
    Gaussian of 0.3, 0.5 or 0.7 pixels has 0.42, 0.60 or 0.76. cautious: where a few blocks hold most of the detail,
    one edge can decide; so the result is then closer to `EXPECTED_PX`. Returns None for images that are too small, or
    flat.
    """
    blocks = _blocks(images, valid)
    if blocks is None:
        return None
    frequencies, power, count = _spectrum(blocks)
    if not (power > 0).all():
        return None
    exponent, sigma = _EXPONENTS[:, None, None], _SIGMAS_PX[:, None]
    seen = [f**-exponent * np.exp(-4 * (np.pi * sigma * f) ** 2) for f in (frequencies, 1 - frequencies)]
    misfit = np.log(power) - np.log(seen[0] + 2 * seen[1])  # frequencies of two axes are folded back
    misfit = ((misfit - misfit.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    misfit += _PRIOR * ((exponent[..., 0] - _EXPECTED) / _SPREAD) ** 2
    weights = np.exp(-(misfit - misfit.min()) / _MISFIT)
    found = float((weights * _SIGMAS_PX).sum() / weights.sum())
    shown = min(1.0, (count - 1) / _ENOUGH_BLOCKS) if cautious else 1.0
    return EXPECTED_PX + shown * (found - EXPECTED_PX)


def _blocks(images: np.ndarray, valid: np.ndarray | None) -> np.ndarray | None:
    """Blocks (n, side, side) of the images that overlap by half and have valid pixels only; None if there is none."""
    side = min(_BLOCK_PX, *images.shape[1:]) // 2 * 2
    if side < _LEAST_PX:
        return None
    step = slice(None, None, side // 2)
    windows = np.lib.stride_tricks.sliding_window_view(images, (side, side), axis=(1, 2))[:, step, step]
    if valid is not None:
        whole = np.lib.stride_tricks.sliding_window_view(valid, (side, side))[step, step].all(axis=(2, 3))
        windows = windows[:, whole]
    blocks: np.ndarray = windows.reshape(-1, side, side)
    return blocks if len(blocks) else None


def _spectrum(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean frequency (cycles per pixel) and power of rings, without the lowest ring, which the window blurs.

    And how many equally strong blocks would vary as little in their mean as these of different strengths.
    """
    side = blocks.shape[-1]
    line = np.hanning(side + 1)[:-1]
    window = np.outer(line, line)
    centred = blocks - np.tensordot(blocks, window / window.sum(), 2)[:, None, None]
    power = np.abs(np.fft.fft2(centred * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    rings = np.rint(frequency * side).astype(int)
    kept = range(2, side // 2 + 1)
    means = [[values[rings == ring].mean() for ring in kept] for values in (frequency, power.mean(axis=0))]
    strengths = power[:, np.isin(rings, list(kept))].sum(axis=1)
    count = strengths.sum() ** 2 / max((strengths**2).sum(), np.finfo(float).tiny)
    return np.array(means[0]), np.array(means[1]), float(count)
