"""Figures of the report as files of their own, for papers, slides and `snakemake --report`."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from hsisr.files import atomic_path, write_text
from hsisr.report.figures import LINE_COLORS
from hsisr.report.gallery import Row

#: In pixels: largest side of a picture in a montage, gap between pictures, height of a heading.
_SIDE_PX, _GAP_PX, _HEADING_PX = 256, 6, 18

#: Colours of the page's light theme.
_COLORS = {"--reference": "#b9b6af", "--muted": "#5b6067", "--rule": "#dbd8d1", "--paper": "#ffffff"}


def start(folder: str | os.PathLike) -> None:
    """Empty the folder of figures, so that no figure of an older report stays."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)


def write(folder: str | os.PathLike, plots: Mapping[str, str], galleries: Mapping[str, Sequence[Row]]) -> None:
    """Write plots as <name>.svg and the pictures of each scene as <name>.png; names become file names.

    plots: name -> SVG element of `hsisr.report.figures`. galleries: scene -> rows of pictures.
    """
    for name, svg in plots.items():
        write_text(Path(folder) / f"{_file_name(name)}.svg", standalone(svg))
    for name, rows in galleries.items():
        with atomic_path(Path(folder) / f"{_file_name(name)}.png", suffix=".png") as temporary:
            montage(rows).save(temporary)


def standalone(svg: str) -> str:
    """An SVG element of the page as a file: on white, with the colours of the light theme."""
    svg = str(svg)  # a plain text: markup that is marked as safe would be escaped here
    for name, color in _COLORS.items():
        svg = svg.replace(f"var({name})", color)
    for index, (light, _) in enumerate(LINE_COLORS):
        svg = svg.replace(f"var(--line-{index})", light)
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return svg.replace("</title>", '</title><rect width="100%" height="100%" fill="#ffffff"/>', 1) + "\n"


def montage(rows: Sequence[Row]) -> Image.Image:
    """Composites and maps of a scene in one picture: one column for each image, with its name above, as on the page."""
    columns = [picture.column for picture in rows[0].pictures]
    height, width = _panel_size(rows[0].pictures[-1].image)
    sheet = Image.new(
        "RGB",
        (len(columns) * (width + _GAP_PX) - _GAP_PX, _HEADING_PX + len(rows) * (height + _GAP_PX) - _GAP_PX),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(columns):
        draw.text((column * (width + _GAP_PX), 2), name, fill="black")
    for number, row in enumerate(rows):
        for picture in row.pictures:
            place = (
                columns.index(picture.column) * (width + _GAP_PX),
                _HEADING_PX + number * (height + _GAP_PX),
            )
            panel = Image.fromarray(np.ascontiguousarray(picture.image))
            sheet.paste(panel.resize((width, height), Image.Resampling.NEAREST), place)
    return sheet


def _panel_size(image: np.ndarray) -> tuple[int, int]:
    factor = _SIDE_PX / max(image.shape[:2])
    return tuple(max(1, round(side * factor)) for side in image.shape[:2])


def _file_name(name: str) -> str:
    """A heading as a file name: `PSNR of each band` becomes `psnr-of-each-band`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
