"""The command line: `hsisr <step>`, the same code that the rules of the workflow run, and tools for files.

A mistake of the user ends with one line on stderr and status 1. Heavy packages load only in the commands that use
them, so that `--help` and the data steps start at once.
"""

from hsisr.cli import predict as predict
from hsisr.cli import project as project
from hsisr.cli import steps as steps
from hsisr.cli import tools as tools
from hsisr.cli.app import main as main
