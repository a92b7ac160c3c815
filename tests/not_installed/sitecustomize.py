"""Python runs this at its start. It hides packages that programs look for, and import if they are there."""

from importlib.machinery import PathFinder

#: It comes with xarray. Snakemake loads all of it to plan jobs, although no rule of ours passes a table.
_HIDDEN = ("pandas",)
_find = PathFinder.find_spec


def _find_others(name, path=None, target=None):
    return None if name in _HIDDEN else _find(name, path, target)


PathFinder.find_spec = _find_others
