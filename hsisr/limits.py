"""Limits on the claims of a file: on its size, against files made to exhaust memory, time or a library; on wavelengths.

Each limit on size is far above the needs of honest data. An environment variable raises it, and the message names the
variable.
"""

import os
import re
from dataclasses import dataclass

from hsisr.errors import HsisrError

#: Band centres of an imaging sensor, in nm. What lies outside has another unit.
LEAST_PLAUSIBLE_NM, MOST_PLAUSIBLE_NM = 100.0, 1e5
#: So many bytes are always allowed: a small file can hold a blank image of this size.
ALWAYS_ALLOWED_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Limit:
    """One limit. variable: the environment variable that replaces `default`."""

    variable: str
    default: int

    @property
    def most(self) -> int:
        """The present limit. Raises HsisrError if the variable does not hold a whole number above 0."""
        given = os.environ.get(self.variable)
        if given is None:
            return self.default
        if not re.fullmatch("[1-9][0-9]{0,17}", given):
            raise HsisrError(f"{self.variable}={given}: expected a whole number above 0")
        return int(given)


#: Bytes of values per byte of a file. Real images compress to a tenth, blank ones to a thousandth.
EXPANSION = Limit("HSISR_MOST_EXPANSION", 200)
BANDS = Limit("HSISR_MOST_BANDS", 10_000)
#: Groups and data sets of an HDF5 file, variables of a MATLAB or NumPy file.
OBJECTS = Limit("HSISR_MOST_OBJECTS", 10_000)
#: Values of a configuration.
VALUES = Limit("HSISR_MOST_VALUES", 100_000)
#: Bytes of a text file that is parsed as a whole: JSON, YAML, a header.
TEXT_BYTES = Limit("HSISR_MOST_TEXT_BYTES", 64 * 2**20)


def check_expansion(path: object, claimed_bytes: int, stored_bytes: int) -> None:
    """Raise HsisrError for a file that claims far more bytes than its own size."""
    if claimed_bytes > max(ALWAYS_ALLOWED_BYTES, stored_bytes * EXPANSION.most):
        raise HsisrError(
            f"{path}: says that it holds {claimed_bytes:,} bytes of values in {stored_bytes:,}, more than "
            f"{EXPANSION.most} times as many, as files do that are made to exhaust memory; if it is meant, set "
            f"{EXPANSION.variable}={-(-claimed_bytes // max(stored_bytes, 1))}"
        )


def check(path: object, limit: Limit, found: int, what: str) -> None:
    """Raise HsisrError if a file has more things than the limit. what: name of the things, in the user's words."""
    if found > limit.most:
        raise HsisrError(
            f"{path}: has more than {limit.most:,} {what}; if that is meant, set {limit.variable} to a larger number"
        )
