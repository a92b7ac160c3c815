"""Noise of the low-resolution image: Gaussian, white, reproducible from a seed."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np

from hsisr.errors import HsisrError


@dataclass(frozen=True)
class Noise:
    """Level of additive Gaussian noise; give either sigma or snr_db.

    sigma: standard deviation, in the cube's units, >= 0. snr_db: 10 log10(mean square of the cube / variance of the
    noise), one level for the whole cube.

    Example:

        >>> round(float(degrade.Noise(snr_db=20).sigma_for(np.ones((3, 4, 4)))), 3)
        0.1
    """

    sigma: float | None = None
    snr_db: float | None = None

    def __post_init__(self) -> None:
        if (self.sigma is None) == (self.snr_db is None):
            raise HsisrError("noise: give either sigma or snr_db")
        value = self.sigma if self.snr_db is None else self.snr_db
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise HsisrError(f"noise: {value!r} is not a finite number")
        if self.sigma is not None and self.sigma < 0:
            raise HsisrError(f"noise: sigma must be >= 0, not {self.sigma}")

    def sigma_for(self, cube: np.ndarray) -> float:
        """Standard deviation for this cube."""
        if self.snr_db is None:
            assert self.sigma is not None  # one of the two is given
            return float(self.sigma)
        power = np.mean([np.square(plane, dtype=np.float64).mean() for plane in cube])
        return math.sqrt(float(power) / 10 ** (float(self.snr_db) / 10))


NO_NOISE = Noise(sigma=0.0)


def parse_noise(value: "float | Mapping[str, float] | Noise | None") -> Noise | None:
    """Noise from what a user writes: a sigma, `{sigma: ..}`, `{snr_db: ..}`, a Noise, or None (left as None)."""
    if value is None or isinstance(value, Noise):
        return value
    if not isinstance(value, Mapping):
        return Noise(sigma=value)
    unknown = set(value) - {"sigma", "snr_db"}
    if unknown:
        raise HsisrError(f"noise: unknown {', '.join(sorted(map(str, unknown)))}; allowed: sigma, snr_db")
    return Noise(**value)


def scene_seed(seed: int, name: str, part: str = "") -> list[int]:
    """Seed of one scene's noise: the same on all machines and versions, different for each scene and part.

    seed: the experiment's seed, >= 0. name: the scene's name. part: train, test ..., if a scene is cut into parts.
    Raises HsisrError if the seed is not a whole number >= 0.

    Example:

        >>> degrade.scene_seed(0, "balloons", "train")
        [0, 3482507524]
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise HsisrError(f"seed: expected a whole number >= 0, not {seed!r}")
    return [int(seed), zlib.crc32(f"{name}/{part}".encode())]
