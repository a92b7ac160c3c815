"""Gram-Schmidt adaptive (GSA), the component substitution of pansharpening, for a guide of one or more channels.

Source: Aiazzi, Baronti, Selva, "Improving component substitution pansharpening through multivariate regression of
MS+Pan data", IEEE TGRS 45(10), 2007. With one guide channel this is the paper's method.
"""

import numpy as np

from hsisr.degrade.psf import BlockMeanPsf, GaussianPsf
from hsisr.degrade.sampling import build_sampler
from hsisr.errors import HsisrError
from hsisr.models.classical.bicubic import bicubic


def gsa(lr: np.ndarray, guide: np.ndarray, *, scale: int, sigma_lr: float | None = None) -> np.ndarray:
    """Inject into each band the detail of the guide that its LR image says belongs to it.

    lr: (bands, h, w), float. guide: (G, scale h, scale w), float. sigma_lr: standard deviation in LR pixels of the
    sensor's Gaussian PSF, by which the guide is brought to the LR grid; None: block mean.
    Returns (bands, scale h, scale w) in the type of lr.

    1. The component of guide channel c is the regression of its LR image on all bands (eq. 7 of the paper).
    2. Gains: each band's regression on the components; for one channel cov(band, component) / var(component).
    3. band + gains . (guide - component), band and components interpolated to the HR grid.

    Raises HsisrError if the guide is not `scale` times the LR image in size, or an image is empty or holds NaN.
    """
    if lr.ndim != 3 or guide.ndim != 3 or guide.shape[1:] != (scale * lr.shape[1], scale * lr.shape[2]):
        raise HsisrError(
            f"gsa: lr {np.shape(lr)} and guide {np.shape(guide)} do not fit; expected (bands, h, w) and "
            f"(channels, {scale} h, {scale} w)"
        )
    if not np.isfinite(guide).all():
        raise HsisrError("gsa: the guide holds NaN or infinite values; replace them first")
    upsampled = bicubic(lr.astype(np.float64), scale=scale)
    bands = lr.reshape(len(lr), -1).astype(np.float64)
    components = _fitted(_to_lr_grid(guide, scale, sigma_lr), bands)
    gains = _coefficients(bands, components)
    detail = guide - bicubic(components.reshape(len(guide), *lr.shape[1:]), scale=scale)
    return (upsampled + np.tensordot(gains, detail, axes=1)).astype(lr.dtype)


def _to_lr_grid(guide: np.ndarray, scale: int, sigma_lr: float | None) -> np.ndarray:
    """(G, H, W) -> (G, h w), as the sensor of the LR image sees it."""
    psf = BlockMeanPsf() if sigma_lr is None else GaussianPsf(sigma_lr=sigma_lr)
    sampler = build_sampler(psf.kernel(scale, even=scale % 2 == 0), "centre", scale, guide.shape[1:])
    return sampler(guide).reshape(len(guide), -1)


def _fitted(targets: np.ndarray, regressors: np.ndarray) -> np.ndarray:
    """Least-squares approximation of each target (T, pixels) by the regressors (R, pixels) and a constant."""
    centre = targets.mean(axis=1, keepdims=True)
    return centre + _coefficients(targets, regressors) @ (regressors - regressors.mean(axis=1, keepdims=True))


def _coefficients(targets: np.ndarray, regressors: np.ndarray) -> np.ndarray:
    """(T, R): least squares with an intercept; of several solutions the shortest."""
    targets, regressors = (a - a.mean(axis=1, keepdims=True) for a in (targets, regressors))
    return np.linalg.lstsq(regressors.T, targets.T, rcond=None)[0].T
