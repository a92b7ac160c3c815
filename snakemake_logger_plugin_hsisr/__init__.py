"""A logger plugin for Snakemake: one line a step, and the literal command `snakemake --resources gpu=1 all`.

Snakemake imports every package of this kind of name when it builds its parser, before it reads `sys.argv`. That is why
the words of the command line are put in order here; `move_swallowed_targets` says what is wrong with them. A profile
chooses the screen by `logger: hsisr`.
"""

import sys

from snakemake_logger_plugin_hsisr.command_line import default_cores as default_cores
from snakemake_logger_plugin_hsisr.command_line import move_swallowed_targets as move_swallowed_targets
from snakemake_logger_plugin_hsisr.handler import LogHandler as LogHandler

sys.argv[:] = move_swallowed_targets(sys.argv)
