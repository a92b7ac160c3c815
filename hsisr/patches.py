"""Patch files, under the name by which other programs import them; see `hsisr.pipeline.patch_files`."""

from hsisr.pipeline.patch_files import PatchFile as PatchFile
