"""Messages of a command on stderr during its work. Results go to stdout. Errors and warnings are always printed.

The choice of messages stands in the environment, so child processes follow it.
"""

import os
import sys

from hsisr.errors import printable

_VARIABLE = "HSISR_VERBOSITY"


def choose(quiet: bool, verbose: bool) -> None:
    """Choose the messages: only warnings and errors (quiet), or also an error's place, time and memory (verbose).

    With neither, an earlier choice stays.
    """
    if quiet or verbose:
        os.environ[_VARIABLE] = "quiet" if quiet else "verbose"


def is_quiet() -> bool:
    """Whether the user wants no bars and no lines about the work."""
    return os.environ.get(_VARIABLE) == "quiet"


def is_verbose() -> bool:
    """Whether the user wants more messages than usual."""
    return os.environ.get(_VARIABLE) == "verbose"


def say(line: str) -> None:
    """Print one line on stderr about the work, unless the command is quiet."""
    if not is_quiet():
        print(printable(line), file=sys.stderr, flush=True)
