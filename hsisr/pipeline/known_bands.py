"""The bands that a network learns: scenes of a benchmark that have others are refused, or named to the user."""

from dataclasses import dataclass

import numpy as np

from hsisr.errors import HsisrError, notice

#: Largest distance between the centres of bands that count as the same, nm.
TOLERANCE_NM = 15.0


@dataclass(frozen=True, eq=False)
class KnownBands:
    """The bands of the training.

    of: what has them, in words. count: how many. wavelengths_nm: (count,) their centres, or None if they are not known.
    """

    of: str
    count: int
    wavelengths_nm: np.ndarray | None

    def check(self, name: str, count: int, wavelengths_nm: np.ndarray | None) -> None:
        """Compare the bands of another scene with these, and warn if their centres lie elsewhere.

        name: what messages call the scene. count, wavelengths_nm: as for the training. Raises HsisrError for another
        number of bands.
        """
        if count != self.count:
            raise HsisrError(
                f"{name}: has {count} bands, and {self.of} {self.count}; a network learns one set of bands: make them "
                "equal by `band_steps` of the data set, or leave the scene out by `scenes` or `splits`"
            )
        if wavelengths_nm is None or self.wavelengths_nm is None:
            return
        apart = float(np.abs(wavelengths_nm - self.wavelengths_nm).max())
        if apart > TOLERANCE_NM:
            notice(
                f"{name}: its band centres lie up to {apart:.0f} nm from those of {self.of}; a network treats each "
                "band as the one it learns"
            )
