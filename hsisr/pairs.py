"""Pair files, with the module name that other programs import; see `hsisr.pipeline.pair_files`."""

from hsisr.pipeline.pair_files import PairFile as PairFile
from hsisr.pipeline.pair_files import read as read
