"""Reader of photographs: PNG, JPEG, BMP or TIFF of one or three channels of 8 or 16 bits."""

from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers import ground
from hsisr.datasets.readers.arrays import scene_name
from hsisr.datasets.readers.images import decode, driver_of, is_opacity, open_image, valid_pixels
from hsisr.errors import HsisrError, notice
from hsisr.scene import Scene


def matches(path: Path, head: bytes) -> bool:
    """True for PNG, JPEG and BMP. TIFF files go to the reader of rasters, unless the user asks for this one."""
    return driver_of(head) in ("PNG", "JPEG", "BMP")


def read(path: Path, crs: str | None = None, georeference: str | None = None) -> Scene:
    """Scene of the channels red, green and blue (or grey), scaled from the type's range to [0, 1].

    Transparent pixels are masked. A world file beside the image gives its transform. crs: the CRS of this transform.
    georeference: `none` leaves the transform out.
    Raises HsisrError for a damaged image and for other numbers of channels.
    """
    pixels = decode(path)
    if len(pixels) > 4 or (len(pixels) == 2 and not is_opacity(pixels[1])):
        raise HsisrError(f"{path}: {len(pixels)} channels; a photograph has 1 (grey) or 3, and one for transparency")
    with open_image(path) as image:
        valid, _ = valid_pixels(path, image)
        turn = image.tags().get("EXIF_Orientation", "1")
        place = ground.as_told(path, ground.georeference(image), crs, georeference)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise HsisrError(f"{path}: stored as {pixels.dtype}; a photograph has 8 or 16 bits")
    if turn != "1":
        notice(
            f"{path}: viewers turn this photograph (EXIF orientation {turn}); hsisr takes its rows and columns as they "
            "are stored; turn it for good before it serves as a guide"
        )
    colours = pixels[: 3 if len(pixels) >= 3 else 1]  # the second or fourth channel is transparency
    scale = 1.0 / np.iinfo(pixels.dtype).max
    return Scene(colours, name=scene_name(path), scale=scale, crs=place.crs, transform=place.transform, mask=valid)


def describe(path: Path) -> dict[str, Any]:
    """Channels, size and type; pixels are not read. For a palette, the channels of its colours."""
    with open_image(path) as image:
        palette = image.count == 1 and image.colorinterp[0].name == "palette"
        channels, rows, columns, dtype = 3 if palette else image.count, image.height, image.width, image.dtypes[0]
    return {"format": "image", "channels": channels, "rows": rows, "columns": columns, "type": dtype}
