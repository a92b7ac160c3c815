"""The products that docs/sensors.md reads, and what its commands print; `python -m tests.workflow.sensor_products`.

The products show one made-up landscape in the layout of each agency. Run as a program, this writes what the commands
print today into the page; read the difference before you commit it.
"""

import gzip
import io
import os
import re
import shlex
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import numpy as np
import rasterio
from rasterio.warp import Resampling, reproject, transform

from tests.unit import landscape
from tests.unit import product_files as made

PAGE = Path(__file__).parents[2] / "docs" / "sensors.md"
#: A command of the page, and what the block under it says that it prints.
STEP = re.compile(r"^    (hsisr [^\n]*)\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
#: The address of the page that stands for a server of images.
ADDRESS = "https://example.com"
#: Lines that depend on the machine: free memory, time.
_OF_MACHINE = re.compile(r"^(memory: .*|.* of disk while it works|.* learns the scene, .*)\n", re.MULTILINE)
_PRISMA_VNIR_NM = (*range(970, 400, -40), 0)
_PRISMA_SWIR_NM = tuple(range(2490, 930, -50))
_ENMAP_NM = (450, 550, 660, 740, 860, 905, 902, 980, 1250, 1400, 1650, 2200)


def write(folder: Path) -> None:
    """Write every product that the page names into a folder."""
    ground = landscape.reflectance
    errors = [("SWIR", 4, 0, 20, column) for column in range(30, 34)]
    for level in ("L2D", "L2C"):
        name = f"PRS_{level}_STD_20230824100356_20230824100400_0001.he5"
        lengths = {"vnir_nm": _PRISMA_VNIR_NM, "swir_nm": _PRISMA_SWIR_NM}
        made.prisma(folder / name, level, errors=tuple(errors), ground=ground, **lengths)
    _enmap(folder)
    scene, _ = made.desis(folder / "unpacked" / "DESIS-HSI-L2A-DT1203190212_025-20191203T021128-V0210", ground)
    made.zipped(scene, folder / f"{scene.name}.zip")
    _emit(folder)
    _sentinel2(folder)
    made.landsat(folder, ground)
    _eo1(folder)
    coarse = partial(_enlarged, 10)
    made.aviris(folder / "AV320231008t181518_003_L2A_OE_4a1b_RFL_ORT.nc", coarse)
    made.neon(folder / "NEON_D16_ABBY_DP3_500000_5799000_reflectance.h5", partial(_enlarged, 30))
    colours = np.rint(700 * _enlarged(30, (650, 550, 460), 0.1)).clip(0, 255).astype(np.uint8)
    made.tiff(folder / "2023_ABBY_5_500000_5799000_image.tif", colours, 0.1)
    made.tanager(folder / "20250601_120000_00_4001_ortho_sr_hdf5.h5", ground=ground)
    image, stored = made.planet(folder, ground)
    made.tiff(folder / "20230801_101530_ssc4_u0001_analytic_SR_clip.tif", stored[[1, 3, 5, 7]], 0.5)
    assert image.parent == folder
    _images(folder)
    _item(folder / "item")


def run(command: str, folder: Path) -> str:
    """What a command of the page prints, on both streams, without what depends on the machine.

    The command runs in this process, in `folder`. Addresses of the page lead to a server of its files.
    """
    from hsisr.cli.app import app

    said = io.StringIO()
    with _served(folder) as address, chdir(folder), redirect_stdout(said), redirect_stderr(said):
        app(shlex.split(command.replace(ADDRESS, address))[1:], standalone_mode=False)
    return _OF_MACHINE.sub("", said.getvalue().replace(address, ADDRESS))


def filled(text: str, folder: Path) -> str:
    """The text of the page with what its commands print; only blocks that are there are filled."""

    def step(match: re.Match[str]) -> str:
        printed = run(match[1], folder)
        return match[0] if match[2] is None else f"    {match[1]}\n\n```text\n{printed}```\n"

    return STEP.sub(step, text)


class _Parts(SimpleHTTPRequestHandler):
    """A server of files, and of parts of them."""

    def send_head(self):
        """As the base class does, or with the part that is asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None:
            return super().send_head()
        content = Path(self.translate_path(self.path)).read_bytes()
        part = content[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(content)}")
        self.end_headers()
        return io.BytesIO(part)

    def log_message(self, *_) -> None:
        """Say nothing."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The address at which the files of a folder are served meanwhile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Parts, directory=folder))
    with server, mock.patch.dict(os.environ, no_proxy="127.0.0.1"):
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _enlarged(times: int, wavelengths_nm: Sequence[float], pixel_m: float) -> np.ndarray:
    """The landscape as if all in it were so many times smaller: for images from the air, of fine pixels."""
    return landscape.reflectance(wavelengths_nm, round(times * pixel_m))


def _enmap(folder: Path) -> None:
    """The zip archive of a product whose cloud layer shows a cloud; the band at 1400 nm is not expected."""
    expected = ("1,2,3,4,5,6", "7,8,9,11,12")
    product, _ = made.enmap(folder / "unpacked", ground=landscape.reflectance, centres=_ENMAP_NM, expected=expected)
    rows, columns = np.mgrid[: landscape.HEIGHT_M // 30, : landscape.WIDTH_M // 30]
    cloud = (rows - 8) ** 2 + (columns - 34) ** 2 < 20
    made.tiff(product / f"{product.name}-QL_QUALITY_CLOUD.TIF", cloud[None].astype(np.uint8))
    made.zipped(product, folder / f"{product.name}.ZIP")


def _sentinel2(folder: Path) -> None:
    """A product whose classes show a cloud and its shadow."""
    safe, _ = made.sentinel2(folder, ground=landscape.reflectance)
    rows, columns = np.mgrid[: landscape.HEIGHT_M // 20, : landscape.WIDTH_M // 20]
    classes = np.full(rows.shape, 4, np.uint8)
    classes[(rows - 40) ** 2 + (columns - 12) ** 2 < 30] = 9
    classes[(rows - 36) ** 2 + (columns - 20) ** 2 < 30] = 3
    image = next(safe.rglob("*_SCL_20m.jp2"))
    image.unlink()
    made.tiff(image, classes[None], 20.0, "JP2OpenJPEG")


def _emit(folder: Path) -> None:
    """A product whose grid lies inside the landscape."""
    longitude, latitude = transform(made.CRS, "EPSG:4326", [made.LEFT + 60], [made.TOP - 60])
    corner = (longitude[0], latitude[0])

    def on_grid(wavelengths_nm, pixel_m):
        fine = landscape.reflectance(wavelengths_nm, 10)
        grid = np.zeros((len(fine), 17, 34))
        place = rasterio.Affine(0.0005, 0, corner[0], 0, -0.0005, corner[1])
        fine_place = rasterio.Affine(10, 0, made.LEFT, 0, -10, made.TOP)
        reproject(fine, grid, src_transform=fine_place, src_crs=made.CRS, dst_transform=place, dst_crs="EPSG:4326",
                  resampling=Resampling.average)  # fmt: skip
        return grid

    made.emit(folder, on_grid, corner)


def _eo1(folder: Path) -> None:
    """Hyperion, whose swath lies askew in its image, and ALI's panchromatic band."""

    def swath(wavelengths_nm, pixel_m):
        seen = landscape.reflectance(wavelengths_nm, pixel_m)
        rows, columns = np.mgrid[: seen.shape[1], : seen.shape[2]]
        across = columns - rows / 4
        return seen * ((across >= 3) & (across < seen.shape[2] - 11))

    made.hyperion(folder, swath)
    pan = made.shown(landscape.reflectance, np.arange(480, 700, 40), 10.0).mean(axis=0)
    name = "EO1A1400432009124110PY"
    made.tiff(folder / f"{name}_1T" / f"{name}_B01_L1T.TIF", pan[None].astype(np.int16), 10.0)


def _images(folder: Path) -> None:
    """Plain images: the LR image in an archive and packed, the guide as GeoTIFF, JPEG 2000 and VRT."""
    low = made.tiff(folder / "LR.tif", made.shown(landscape.reflectance, _ENMAP_NM[:5]).astype(np.uint16))
    sharp = made.shown(landscape.reflectance, (490, 560, 660), 10.0).astype(np.uint16)
    made.tiff(folder / "guide.tif", sharp, 10.0, tiled=True)
    made.tiff(folder / "guide.jp2", sharp, 10.0, "JP2OpenJPEG")
    with zipfile.ZipFile(folder / "delivery.zip", "w") as archive:
        archive.write(low, "images/LR.tif")
    (folder / "LR.tif.gz").write_bytes(gzip.compress(low.read_bytes()))
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{band}"><SimpleSource><SourceFilename relativeToVRT="1">guide.tif'
        f"</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in (3, 2)
    )
    (folder / "guide.vrt").write_text(
        f'<VRTDataset rasterXSize="{sharp.shape[2]}" rasterYSize="{sharp.shape[1]}"><SRS>{made.CRS}</SRS><GeoTransform>'
        f"{made.LEFT}, 10, 0, {made.TOP}, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )


def _item(folder: Path) -> None:
    """A STAC item whose assets lie beside it."""
    made.stac(folder)
    made.tiff(folder / "lr.tif", made.shown(landscape.reflectance, (450, 650, 850)).astype(np.uint16))
    for band, nm in (("B02", 490), ("B03", 560)):
        made.tiff(folder / f"{band}.tif", made.shown(landscape.reflectance, (nm,), 15.0).astype(np.uint16), 15.0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary))
        PAGE.write_text(filled(PAGE.read_text(), Path(temporary)))
