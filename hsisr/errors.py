"""The one exception for a user's mistakes, with a text that the user sees as one line; and lines of warning."""

import re
import sys
from collections.abc import Iterable

#: Characters that move a cursor, break a line, change the writing direction, or cannot be encoded.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class HsisrError(Exception):
    """Wrong input, in one line: what is wrong, where, what was expected, what to do.

    The command line prints the text without a traceback and exits with status 1; programs can catch the exception.
    Names from files may hold control characters: they are escaped, so a terminal does not obey them.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """A text in one line. Line breaks and control characters become escapes such as \\x1b."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def option(name: str, value: object = "...") -> str:
    """How a message names an option of a user's own scene, for the command line and for Python: option("align", True).

    name: as in `hsisr.inference.Options`. value: the value to give in Python.
    """
    return f"--{name.replace('_', '-')} (in Python {name}={value})"


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """ "did you mean cave? ", for a message before the known names, if one of them is like `name`; else "".

    Capital letters do not count. If exactly one known name contains `name`, it comes before names with a similar
    spelling. If several contain it, nothing is suggested.
    """
    import difflib  # needed only after an error

    word, names = str(name).lower(), {str(one).lower(): str(one) for one in known}
    within = [one for one in names if len(word) > 2 and word in one]
    close = within or difflib.get_close_matches(word, names, 1)
    return f"did you mean {names[close[0]]}? " if len(close) == 1 else ""


def notice(line: str) -> None:
    """Tell the user, on stderr, that hsisr leaves out a part of an input, or reads it in another way."""
    print(f"hsisr: warning: {printable(line)}", file=sys.stderr, flush=True)


def percent(part: float) -> str:
    """A share, 0 to 1, for messages: one that is not 0 does not look like it."""
    return f"{part:.1%}" if part >= 0.001 else "under 0.1%"
