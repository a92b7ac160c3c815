"""The command line's root: the application, its common options, and how a mistake ends."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import hsisr
from hsisr.errors import HsisrError, printable
from hsisr.system import wait_passively

app = typer.Typer(
    name="hsisr",
    help="Hyperspectral image super-resolution: from raw data sets to trained models, scores and a report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFiles = Annotated[
    list[Path], typer.Option("--config", "-c", help="Configuration file; several are merged, the last one wins.")
]
BenchmarkName = Annotated[str, typer.Argument(help="<dataset>_x<scale>[_<protocol>], such as indian_pines_x4.")]
DatasetName = Annotated[str, typer.Argument(help="Data set, such as cave; `hsisr datasets` lists them.")]
DEFAULT_CONFIG = [Path("config.yaml")]
Reading = Annotated[
    list[str] | None,
    typer.Option("--read", help="Option of the reader, such as variable=I_MS, axes=HWB or nodata=0."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace outputs that exist; inputs are never overwritten.")
]


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
    wait_passively()
    _end_in_order()
    try:
        app()
    except HsisrError as error:
        print(f"hsisr: error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"hsisr: stopped{_resuming()}", file=sys.stderr)
        sys.exit(130)
    except _Stopped as stopped:
        print(f"hsisr: stopped by {stopped}{_resuming()}", file=sys.stderr)
        sys.exit(128 + stopped.number)
    except BrokenPipeError:  # the reader of our output has left
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if error.filename is None:  # nothing that a user could mend
            raise
        print(printable(f"hsisr: error: {error.filename}: {error.strerror}; change its permissions, or choose another "
                        "place"), file=sys.stderr)  # fmt: skip
        sys.exit(1)


class _Stopped(BaseException):
    """The system asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _end_in_order() -> None:
    """End on SIGTERM and SIGHUP as on an error: temporary files are removed, and a line says how to go on."""

    def stop(number: int, frame: Any) -> None:
        raise _Stopped(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # under nohup, it is to be ignored
            signal.signal(number, stop)


def _resuming() -> str:
    resumes = sys.argv[1:2] and sys.argv[1] in ("fetch", "predict", "train")
    return "; the same command goes on where it was" if resumes else ""


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        print(hsisr.__version__)
        raise typer.Exit
