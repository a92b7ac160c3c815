"""What every method that takes a guide asks of its images."""

import numpy as np

from hsisr.errors import HsisrError


def check_pair(method: str, lr: np.ndarray, guide: np.ndarray | None, scale: int) -> None:
    """Raise HsisrError unless lr (B, h, w) and guide (G, scale h, scale w) are finite floats that fit together."""
    if guide is None:
        raise HsisrError(f"{method}: needs a guide, a sharp image of the same scene, and there is none")
    if lr.ndim != 3 or guide.ndim != 3 or guide.shape[1:] != (scale * lr.shape[1], scale * lr.shape[2]):
        raise HsisrError(
            f"{method}: lr {np.shape(lr)} and guide {np.shape(guide)} do not fit; expected (bands, h, w) and "
            f"(channels, {scale} h, {scale} w)"
        )
    for name, image in (("LR image", lr), ("guide", guide)):
        if 0 in image.shape or not np.issubdtype(image.dtype, np.floating):
            raise HsisrError(f"{method}: expected a {name} of floats, not {image.dtype} {image.shape}")
        if not np.isfinite(image).all():
            raise HsisrError(f"{method}: the {name} holds NaN or infinite values; replace them first")
