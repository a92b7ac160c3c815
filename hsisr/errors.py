"""The one exception that a user's mistake raises; its text is the line that the user sees."""


class HsisrError(Exception):
    """Wrong input, told in one line: what is wrong, where, what was expected, what to do.

    The command line prints the text without a traceback and exits with status 1; programs catch it.
    """
