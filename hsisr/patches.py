"""Patch files, with the module name that other programs import; see `hsisr.pipeline.patch_files`."""

from hsisr.pipeline.patch_files import PatchFile as PatchFile
