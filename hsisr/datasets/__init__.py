"""Data sets: the catalogue, fetching, reading any format into a Scene, writing, splits."""

from typing import TYPE_CHECKING

from hsisr.lazy_names import loader

#: Public name -> its module. A module, and h5py or rasterio with it, loads when one of its names is first used.
_PUBLIC = {
    "names": "hsisr.datasets.catalogue",
    "entry": "hsisr.datasets.catalogue",
    "DataSet": "hsisr.datasets.catalogue",
    "Region": "hsisr.datasets.catalogue",
    "Split": "hsisr.datasets.catalogue",
    "parts": "hsisr.datasets.splits",
    "fold": "hsisr.datasets.splits",
    "split": "hsisr.datasets.splits",
    "Item": "hsisr.datasets.splits",
    "fetch": "hsisr.datasets.fetching",
    "find_scenes": "hsisr.datasets.fetching",
    "given_source": "hsisr.datasets.fetching",
    "local_files": "hsisr.datasets.fetching",
    "convert": "hsisr.datasets.conversion",
    "present": "hsisr.datasets.overview",
    "READERS": "hsisr.datasets.readers",
    "read_scene": "hsisr.datasets.readers",
    "export": "hsisr.datasets.writers",
    "show": "hsisr.datasets.quicklook",
    "table": "hsisr.datasets.overview",
    "page": "hsisr.datasets.overview",
    "info": "hsisr.datasets.overview",
}

__all__ = list(_PUBLIC)

if TYPE_CHECKING:
    from hsisr.datasets.catalogue import DataSet as DataSet
    from hsisr.datasets.catalogue import Region as Region
    from hsisr.datasets.catalogue import Split as Split
    from hsisr.datasets.catalogue import entry as entry
    from hsisr.datasets.catalogue import names as names
    from hsisr.datasets.conversion import convert as convert
    from hsisr.datasets.fetching import fetch as fetch
    from hsisr.datasets.fetching import find_scenes as find_scenes
    from hsisr.datasets.fetching import given_source as given_source
    from hsisr.datasets.fetching import local_files as local_files
    from hsisr.datasets.overview import info as info
    from hsisr.datasets.overview import page as page
    from hsisr.datasets.overview import present as present
    from hsisr.datasets.overview import table as table
    from hsisr.datasets.quicklook import show as show
    from hsisr.datasets.readers import READERS as READERS
    from hsisr.datasets.readers import read_scene as read_scene
    from hsisr.datasets.splits import Item as Item
    from hsisr.datasets.splits import fold as fold
    from hsisr.datasets.splits import parts as parts
    from hsisr.datasets.splits import split as split
    from hsisr.datasets.writers import export as export


__getattr__, __dir__ = loader(__name__, _PUBLIC)
