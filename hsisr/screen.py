"""What a command says on stderr while it works. Results go to stdout; errors and warnings always appear.

The choice stands in the environment, so that processes which a command starts keep to it.
"""

import os
import sys

from hsisr.errors import printable

_VARIABLE = "HSISR_VERBOSITY"


def choose(quiet: bool, verbose: bool) -> None:
    """Say nothing but warnings and errors (quiet), or also where an error arose and what a command took (verbose).

    Neither: as it was chosen before.
    """
    if quiet or verbose:
        os.environ[_VARIABLE] = "quiet" if quiet else "verbose"


def is_quiet() -> bool:
    """Whether bars, and lines about what is being done, are not wanted."""
    return os.environ.get(_VARIABLE) == "quiet"


def is_verbose() -> bool:
    """Whether more is wanted than a user usually needs."""
    return os.environ.get(_VARIABLE) == "verbose"


def say(line: str) -> None:
    """Print one line on stderr about what is being done, unless the command is to be quiet."""
    if not is_quiet():
        print(printable(line), file=sys.stderr, flush=True)
