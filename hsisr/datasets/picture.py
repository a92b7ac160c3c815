"""Pictures as files: a single picture, or several side by side with a label above each."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hsisr.errors import HsisrError
from hsisr.files import atomic_path

#: Ending of a picture -> Pillow's format and options. Pillow writes them, as GDAL does not report a full disk.
_JPEG = ("JPEG", {"quality": 92})
_KINDS: dict[str, tuple[str, dict[str, int]]] = {".png": ("PNG", {}), ".jpg": _JPEG, ".jpeg": _JPEG}
#: In pixels: the gap between pictures, the height of letters, and the least width of a column.
_GAP_PX, _LETTER_PX, _NARROWEST_PX = 6, 13, 160


def check_ending(out: str | os.PathLike) -> None:
    """Raise HsisrError if the ending is not one that `write` supports."""
    if Path(out).suffix.lower() not in _KINDS:
        raise HsisrError(f"{out}: a picture ends in {', '.join(_KINDS)}")


def write(out: str | os.PathLike, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8 as PNG or JPEG; the ending decides. Errors as `check_ending`."""
    from PIL import Image

    check_ending(out)
    form, options = _KINDS[Path(out).suffix.lower()]
    with atomic_path(out) as new:
        Image.fromarray(picture).save(new, form, **options)


def side_by_side(labelled: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Pictures (H, W, 3) uint8 of one height in a row, on white. Each has its label above it, broken into lines."""
    columns = [(_wide_enough(picture), label) for label, picture in labelled]
    labels = [_label(text, picture.shape[1]) for picture, text in columns]
    height = max(label.shape[0] for label in labels)
    parts = []
    for (picture, _), label in zip(columns, labels, strict=True):
        above = np.pad(label, ((0, height - label.shape[0]), (0, 0), (0, 0)), constant_values=255)
        column = np.concatenate([above, picture])
        parts += [np.full((len(column), _GAP_PX, 3), 255, np.uint8), column]
    return np.concatenate(parts[1:], axis=1)


def bands_in_words(bands: Sequence[int] | np.ndarray, wavelengths_nm: np.ndarray | None) -> str:
    """The shown bands in words: "650, 550, 450 nm", or "bands 3, 2, 1" if wavelengths are unknown."""
    if wavelengths_nm is None:
        return f"band{'s' if len(bands) > 1 else ''} {', '.join(map(str, bands))}"
    return f"{', '.join(f'{wavelengths_nm[band]:.0f}' for band in bands)} nm"


def _wide_enough(picture: np.ndarray) -> np.ndarray:
    missing = max(0, _NARROWEST_PX - picture.shape[1])
    return np.pad(picture, ((0, 0), (0, missing), (0, 0)), constant_values=255)


def _label(text: str, width: int) -> np.ndarray:
    """The text in black on white, (height, width, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_LETTER_PX)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    spacing = _LETTER_PX + 4
    image = Image.new("RGB", (width, len(lines) * spacing + 2), "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((0, number * spacing), line, fill="black", font=font)
    return np.asarray(image)
