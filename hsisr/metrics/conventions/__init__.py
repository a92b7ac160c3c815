"""The named conventions. To add one: a file beside this one that makes a `Convention`, and its line in CONVENTIONS."""

from hsisr.errors import HsisrError, did_you_mean
from hsisr.metrics.conventions.base import Convention
from hsisr.metrics.conventions.dhif import DHIF
from hsisr.metrics.conventions.dian import DIAN
from hsisr.metrics.conventions.mixup import MIXUP
from hsisr.metrics.conventions.mogdcn import MOGDCN
from hsisr.metrics.conventions.mulsr import MULSR
from hsisr.metrics.conventions.plain import PLAIN
from hsisr.metrics.conventions.ual import UAL
from hsisr.metrics.conventions.uestc import UESTC

#: Name -> convention.
CONVENTIONS: dict[str, Convention] = {
    "mulsr": MULSR,
    "mixup": MIXUP,
    "plain": PLAIN,
    "uestc": UESTC,
    "dhif": DHIF,
    "mogdcn": MOGDCN,
    "dian": DIAN,
    "ual": UAL,
}
#: The convention for images that belong to no published table.
DEFAULT = PLAIN.name


def find_convention(name: str) -> Convention:
    """The convention of this name. Raises HsisrError for an unknown name.

    Example:

        >>> metrics.find_convention("mulsr").name
        'mulsr'
    """
    if name not in CONVENTIONS:
        raise HsisrError(
            f"metrics: unknown convention {name!r}; {did_you_mean(name, CONVENTIONS)}known: {', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[name]
