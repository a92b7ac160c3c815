"""The one exception that a user's mistake raises, whose text is the line that the user sees; and lines of warning."""

import re
import sys
from collections.abc import Iterable

#: What moves a cursor, breaks a line, turns text around, or cannot be encoded.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class HsisrError(Exception):
    """Wrong input. Its text is one line: what is wrong, where, what hsisr expects, what to do.

    The command line prints the text without a traceback and exits with status 1; programs catch it. Control
    characters in names that come from files are escaped, so that a terminal does not obey them.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """A text in one line, with line breaks and whatever a terminal would obey written as escapes such as \\x1b."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def option(name: str, value: object = "...") -> str:
    """How a message names an option of a user's own scene, for the command line and for Python: option("align", True).

    name: as in `hsisr.inference.Options`. value: what Python is to give it.
    """
    return f"--{name.replace('_', '-')} (in Python {name}={value})"


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """ "did you mean cave? ", to stand in a message before the known names, where one of them is like `name`; else "".

    Capital letters do not count. The only name of which `name` is a part is meant before one that is spelt alike, and
    nothing is guessed where several have it as a part.
    """
    import difflib  # only where something is wrong

    word, names = str(name).lower(), {str(one).lower(): str(one) for one in known}
    within = [one for one in names if len(word) > 2 and word in one]
    close = within or difflib.get_close_matches(word, names, 1)
    return f"did you mean {names[close[0]]}? " if len(close) == 1 else ""


def notice(line: str) -> None:
    """Tell the user, on stderr, of something in an input that is left out or taken otherwise than it says."""
    print(f"hsisr: warning: {printable(line)}", file=sys.stderr, flush=True)
