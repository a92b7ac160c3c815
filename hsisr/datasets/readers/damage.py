"""Turns the errors of libraries and of the system about a damaged file into one line that names the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsisr.errors import HsisrError


@contextmanager
def damage(path: Path, kind: str) -> Iterator[None]:
    """Around calls into a library that parses `path`, a `kind` of file: turn every exception into an HsisrError.

    Every exception, because damaged bytes make parsers raise anything: zlib.error, tokenize.TokenError, SystemError,
    MemoryError and twenty others were seen. So only calls of the library belong inside.
    """
    try:
        yield
    except HsisrError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise HsisrError(f"{path}: damaged or cut {kind} ({reason}); get it again") from error


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file, which show its format. Raises HsisrError if the file cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError as error:
        raise HsisrError(f"{path}: cannot be read ({error.strerror})") from error
