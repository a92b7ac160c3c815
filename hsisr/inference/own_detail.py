"""Ground where the guide is not to be trusted: there, a stand-in made from the LR image replaces it."""

from dataclasses import dataclass

import numpy as np

from hsisr.degrade.change import Change
from hsisr.degrade.sampling import interpolate
from hsisr.degrade.sensor import Footprint, gaussian_footprint
from hsisr.inference.images import Source
from hsisr.missing import fill_invalid

#: LR pixels around a window that interpolation reads.
_MARGIN = 3
#: Between a changed sample and an unchanged neighbour, fading takes 1 / _SHARPNESS of the distance.
_SHARPNESS = 4.0
#: Number of back-projections. More of them make noise.
_BACK_PROJECTIONS = 2
#: `own_image` reads this many LR pixels around one: two for each interpolation, three for each use of the footprint.
OWN_REACH_LR_PX = 2 * (1 + _BACK_PROJECTIONS) + 3 * _BACK_PROJECTIONS


def own_image(low: np.ndarray, scale: int, footprint: Footprint | None) -> np.ndarray:
    """An LR image (B, h, w) super-resolved without a guide: bicubic, then back-projected to agree with the LR image.

    footprint: of an LR pixel; None: a Gaussian with a full width at half maximum of one. Returns (B, h s, w s) float32.
    """
    sampler = (footprint or gaussian_footprint(scale)).sampler(scale, (low.shape[1] * scale, low.shape[2] * scale))
    sharp = interpolate(low, scale).astype(np.float32)
    for _ in range(_BACK_PROJECTIONS):
        sharp += interpolate(low - sampler(sharp), scale).astype(np.float32)
    return sharp


def places_of(rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """Rows and columns (2, n, m) of the pixels [start, stop)."""
    return np.stack(np.meshgrid(np.arange(*rows), np.arange(*columns), indexing="ij"))


@dataclass(frozen=True, eq=False)
class OwnDetail:
    """A guide with only the LR image's detail: the LR bands, turned into guide bands by the response, and interpolated.

    It replaces the guide where the guide has changed or lacks data. At the edge, the two fade into each other.
    """

    lr: Source
    change: Change
    scale: int

    def put_into(
        self,
        values: np.ndarray,
        valid: np.ndarray,
        share: np.ndarray,
        rows: tuple[int, int],
        columns: tuple[int, int],
    ) -> tuple[np.ndarray, np.ndarray]:
        """The guide's values (G, n, m) and valid pixels in a window, in HR pixels from the LR image's first corner.

        share: (n, m), the stand-in's share of each value, 0 to 1.
        """
        if not share.any():
            return values, valid
        stand_in, known = self._window(rows, columns)
        share = np.where(known, share, 0).astype(np.float32)
        mixed = values + share * (stand_in - values)
        return mixed, valid | known

    def evened(self, values: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The guide's values (G, n, m), all as of the usual exposure. places: as for `share_at`."""
        for exposure in self.change.exposures:
            share = self._degree_at(exposure.degree, places)
            if share.any():
                values = exposure.evened(values, share)
        return values

    def share_at(self, places: np.ndarray) -> np.ndarray:
        """Share (n, m) of changed ground, 0 to 1, at places (2, n, m), HR rows and columns of any value."""
        degree = self._degree_at(self.change.degree, places)
        return np.asarray(np.clip((degree - 0.5) * _SHARPNESS + 0.5, 0, 1))

    def _degree_at(self, degree: np.ndarray, places: np.ndarray) -> np.ndarray:
        from scipy.ndimage import map_coordinates

        side = self.change.cell * self.scale / self.change.samples
        found: np.ndarray = map_coordinates(degree, (places + 0.5) / side - 0.5, order=1, mode="nearest")
        return found

    def _window(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The stand-in (G, n, m), and where it is known."""
        first = [span[0] // self.scale - _MARGIN for span in (rows, columns)]
        last = [-(-span[1] // self.scale) + _MARGIN for span in (rows, columns)]
        low, low_valid = self.lr.window((first[0], last[0]), (first[1], last[1]))
        guide = np.tensordot(self.change.response, fill_invalid(low, low_valid), axes=1)
        guide += self.change.offset[:, None, None]
        sharp = interpolate(guide, self.scale).astype(np.float32)
        known = low_valid.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        cut = tuple(
            slice(span[0] - start * self.scale, span[1] - start * self.scale)
            for span, start in zip((rows, columns), first, strict=True)
        )
        return sharp[:, *cut], known[cut]
