"""Memory of this process."""

import ctypes
from contextlib import suppress


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where glibc would keep the fragments for later."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
