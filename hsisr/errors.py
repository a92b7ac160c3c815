"""The one exception that a user's mistake raises, whose text is the line that the user sees; and lines of warning."""

import sys


class HsisrError(Exception):
    """Wrong input, told in one line: what is wrong, where, what was expected, what to do.

    The command line prints the text without a traceback and exits with status 1; programs catch it.
    """


def option(name: str, value: object = "...") -> str:
    """How a message names an option of a user's own scene, for the command line and for Python: option("align", True).

    name: as in `hsisr.inference.Options`. value: what Python is to give it.
    """
    return f"--{name.replace('_', '-')} (in Python {name}={value})"


def notice(line: str) -> None:
    """Tell the user, on stderr, of something in an input that is left out or taken otherwise than it says."""
    print(f"hsisr: warning: {line}", file=sys.stderr, flush=True)
