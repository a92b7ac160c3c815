"""Pair files, under the name by which other programs import them; see `hsisr.pipeline.pair_files`."""

from hsisr.pipeline.pair_files import PairFile as PairFile
from hsisr.pipeline.pair_files import read as read
