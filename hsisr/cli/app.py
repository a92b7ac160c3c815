"""The command line's root: the application, its common options, and how a mistake ends."""

import atexit
import errno
import functools
import gc
import inspect
import io
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import hsisr
from hsisr import screen
from hsisr.cli import complete
from hsisr.errors import HsisrError, notice, printable
from hsisr.system import most_memory_mb, wait_passively

#: The groups in which `hsisr --help` shows the commands.
OWN_SCENES, PROJECT, STEPS = "Your own scenes", "A project", "The steps of the pipeline, in order"
FILES, KNOWN, MACHINE = "Files and results", "Data sets and published weights", "This machine and this package"


def in_lines(examples: Sequence[str]) -> str:
    """Lines to type as the end of a --help: one paragraph each, which keeps them from being joined."""
    return "\n\n".join(["Examples:" if len(examples) > 1 else "Example:", *(f"  {line}" for line in examples)])


app = typer.Typer(
    name="hsisr",
    help="Hyperspectral image super-resolution: from raw data sets to trained models, scores and a report.",
    epilog=in_lines(
        [
            "hsisr predict LR.tif --guide GUIDE.tif",
            "hsisr init my-study --dataset cave --source /data/CAVE",
            "hsisr datasets",
            "hsisr train --help",
        ]
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFiles = Annotated[
    list[Path],
    typer.Option("--config", "-c", help="Configuration file; repeat it to merge several: the last one wins."),
]
BenchmarkName = Annotated[
    str,
    typer.Argument(
        help="<dataset>_x<scale>[_<protocol>], such as indian_pines_x4.", autocompletion=complete.benchmarks
    ),
]
DatasetName = Annotated[
    str, typer.Argument(help="Data set, such as cave; `hsisr datasets` lists them.", autocompletion=complete.datasets)
]
DEFAULT_CONFIG = [Path("config.yaml")]
Reading = Annotated[
    list[str] | None,
    typer.Option("--read", help="Option of the reader, such as variable=I_MS, axes=HWB or nodata=0."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist, but never inputs.")]


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only results, warnings and errors.")]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show also where an error arose, and the time and memory of the command."),
]


_Command = Callable[..., None]
#: What a system says where a file cannot grow: the one that stdout goes to, as all others are named.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


#: Options whose value may be left out -> the values they take, the first of which that means.
_OPTIONAL_VALUES: dict[str, tuple[str, ...]] = {"--correct-shift": ("shift", "affine", "field")}


class _Words(TyperCommand):
    """A command that takes the options of `_OPTIONAL_VALUES` with and without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words: list[str] = []
        for number, word in enumerate(args):
            values = _OPTIONAL_VALUES.get(word, ())
            alone = bool(values) and not any(_is_word(following) for following in args[number + 1 : number + 2])
            words.append(f"{word}={values[0]}" if alone else word)
        return super().parse_args(ctx, words)


def _is_word(argument: str) -> bool:
    """Whether an argument is a word, such as a value that may be spelt wrongly, rather than an option or a file."""
    return argument.isalpha() and not Path(argument).exists()


def command(group: str, *examples: str, name: str | None = None) -> Callable[[_Command], _Command]:
    """Register a function as a command of a group of `hsisr --help`, with --quiet and --verbose beside its own options.

    examples: lines to type, which its --help shows. name: of the command; that of the function if left out.
    """

    def register(function: _Command) -> _Command:
        @functools.wraps(function)
        def run(*, quiet: bool, verbose: bool, **arguments: Any) -> None:
            screen.choose(quiet, verbose)
            function(**arguments)

        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
            for name, kind in (("quiet", Quiet), ("verbose", Verbose))
        ]
        own = inspect.signature(function)
        run.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
        run.__annotations__ = function.__annotations__ | {one.name: one.annotation for one in added}
        app.command(name, cls=_Words, rich_help_panel=group, epilog=in_lines(examples))(run)
        return function

    return register


def reader_options(words: list[str] | None) -> dict[str, Any]:
    """Options of a reader out of key=value words; numbers are numbers. Raises HsisrError for other words."""
    options: dict[str, Any] = {}
    for word in words or []:
        key, equals, value = word.partition("=")
        if not equals:
            raise HsisrError(f"--read {word}: expected key=value, such as variable=I_MS")
        try:
            options[key] = float(value) if key == "nodata" else int(value)
        except ValueError:
            options[key] = value
    return options


def main() -> None:
    """Run the command line; the console script."""
    _open_closed_streams()
    wait_passively()
    # at its end, Python would look for circles among all of torch, which takes long
    atexit.register(gc.freeze)
    _end_in_order()
    _keep_quiet_of_logs()
    _warn_in_lines()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: names of files may hold any letter
    started = time.monotonic()
    try:
        _check_surroundings()
        try:
            typer.main.get_command(app)()  # app() would put typer's hook in the place of ours
        finally:
            sys.stdout.flush()
    except HsisrError as error:
        if screen.is_verbose():
            traceback.print_exc()
        print(f"hsisr: error: {error}", file=sys.stderr)
        sys.exit(1)
    except _Stopped as stopped:
        print(f"hsisr: stopped by {stopped}{_resuming()}", file=sys.stderr)
        sys.exit(128 + stopped.number)
    except BrokenPipeError:  # the reader of our output has left
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if error.filename is None and error.errno not in _FULL:  # nothing that a user could mend
            raise
        if error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes what is left when it ends
            print(f"hsisr: error: what is printed cannot be written ({error.strerror})", file=sys.stderr)
            sys.exit(1)
        print(printable(f"hsisr: error: {error.filename}: {error.strerror}; change its permissions, or choose another "
                        "place"), file=sys.stderr)  # fmt: skip
        sys.exit(1)
    finally:
        if screen.is_verbose():
            seconds = time.monotonic() - started
            print(f"hsisr: took {seconds:.1f} s and {most_memory_mb():.0f} MB of memory", file=sys.stderr)


def _open_closed_streams() -> None:
    """Let streams that were closed before the start lead nowhere, as after `2>&-`.

    Else the next file to be opened gets the stream's number, and what libraries print goes into the file.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest free number
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _check_surroundings() -> None:
    """Raise HsisrError for a current folder that was deleted, and for names that are empty, or that GDAL does not take.

    An empty name would mean the current folder.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise HsisrError("the current folder was deleted; change to another one (cd)") from None
    encoding = sys.getfilesystemencoding()
    for before, word in pairwise(sys.argv):
        if not word:
            raise HsisrError(f"the argument after {before} is empty; is a variable of the shell not set?")
        try:
            word.encode()
        except UnicodeEncodeError:
            other = "" if encoding == "utf-8" else ", or choose a locale with UTF-8 (export LC_ALL=C.UTF-8)"
            raise HsisrError(f"{word}: this name is no text in {encoding}; rename the file or folder{other}") from None


#: Signals within so many seconds count as one.
_TOGETHER_S = 1.0


class _Stopped(BaseException):
    """The system asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _end_in_order() -> None:
    """End on SIGTERM, SIGHUP and SIGINT as on an error: temporary files go, and a line says how to go on.

    Python's KeyboardInterrupt typer would catch, and end without a word. A signal that follows ends the process at
    once, except for those that a terminal and a scheduler send together.
    """
    asked: list[float] = []

    def stop(number: int, frame: Any) -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            raise _Stopped(number)
        if asked[-1] - asked[0] > _TOGETHER_S:
            os._exit(128 + number)

    for one in signal.Signals:  # of this system; Windows has no SIGHUP
        usual = signal.getsignal(one) in (signal.SIG_DFL, signal.default_int_handler)  # nohup ignores SIGHUP
        if usual and one.name in ("SIGTERM", "SIGHUP", "SIGINT"):
            signal.signal(one, stop)
            # what comes while Python ends would take the place of the exit status, or end in a traceback
            atexit.register(signal.signal, one, signal.SIG_IGN)


def _warn_in_lines() -> None:
    """Show a warning for the user as a line, without the place in the code that Python puts before it."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category is UserWarning:
            notice(str(message))
        else:
            shown(message, category, *place, **more)

    warnings.showwarning = show


def _keep_quiet_of_logs() -> None:
    """Say nothing where rasterio cannot decode what GDAL says of a damaged file, which it prints in two ways.

    The first has no traceback, which an exception that ends the program has; the second names rasterio's function.
    """
    shown, unraisable = sys.excepthook, sys.unraisablehook

    def show(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not (issubclass(kind, UnicodeDecodeError) and trace is None):
            shown(kind, error, trace)

    def show_unraisable(found: Any) -> None:
        if not (issubclass(found.exc_type, UnicodeDecodeError) and "log_error" in str(found.object)):
            unraisable(found)

    sys.excepthook, sys.unraisablehook = show, show_unraisable


#: Commands that go on where they were stopped.
_RESUMING = ("fetch", "finetune", "predict", "sweep", "train", "weights")


def _resuming() -> str:
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return "; the same command goes on where it was" if name in _RESUMING else ""


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    screen.choose(quiet, verbose)
    if version:
        print(hsisr.__version__)
        raise typer.Exit
