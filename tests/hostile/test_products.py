"""Products, stacks and mosaics made to harm: much in many files, descriptions without end, other files of the user."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from hsisr import limits
from hsisr.datasets.readers import describe, packages, products, read_scene
from hsisr.errors import HsisrError
from tests.unit import product_files as made

from . import apart
from .test_crafted import LEAKS, refused

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
#: Bytes of pixels of a file that is allowed to be blank; three of them are too many.
_BLANK_PX = 10_000


def blank(path: Path, side: int = _BLANK_PX, count: int = 1, dtype: str = "int16") -> Path:
    """A TIFF without a byte of pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=count, dtype=dtype, tiled=True, SPARSE_OK=True
    ):
        pass
    return path


def zipped(file: Path) -> Path:
    with zipfile.ZipFile(file.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(file, file.name)
    return file.with_suffix(".zip")


# Bombs


def enmap(folder: Path) -> Path:
    path, _ = made.enmap(folder)
    blank(next(path.glob("*SPECTRAL_IMAGE.TIF")), count=4)
    return path


def description(folder: Path) -> Path:
    return next(enmap(folder).glob("*METADATA.XML"))


def archive(folder: Path) -> Path:
    return made.zipped(enmap(folder), folder / "a.zip")


def quality_layer(folder: Path) -> Path:
    path, _ = made.landsat(folder)
    blank(next(path.glob("*QA_PIXEL.TIF")), 20_000)
    return path


def many_bands_in_files(folder: Path) -> Path:
    path, _ = made.hyperion(folder)
    for file in path.glob("*.TIF"):
        blank(file)
    return path


def sentinel2(folder: Path) -> Path:
    path, _ = made.sentinel2(folder)
    next(path.rglob("*_SCL_*")).unlink()
    for file in path.rglob("*_10m.jp2"):
        profile = {"driver": "JP2OpenJPEG", "QUALITY": "1"}
        with rasterio.open(file, "w", width=6000, height=6000, count=1, dtype="uint16", **profile) as image:
            image.write(np.zeros((1, 6000, 6000), np.uint16))
    return path


def planet(folder: Path) -> Path:
    path, _ = made.planet(folder)
    return blank(path, count=8)


def stack_of_tiffs(folder: Path) -> Path:
    for number in range(3):
        blank(folder / "stack" / f"b_{number}.tif")
    return folder / "stack"


def stack_of_pictures(folder: Path) -> Path:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    (folder / "stack").mkdir()
    Image.new("L", (_BLANK_PX, _BLANK_PX)).save(folder / "stack" / "b_0.png")
    for number in range(1, 6):
        shutil.copy(folder / "stack" / "b_0.png", folder / "stack" / f"b_{number}.png")
    return folder / "stack"


def item_of_one_asset_many_times(folder: Path) -> Path:
    path = made.stac(folder)
    blank(folder / "lr.tif")
    item = json.loads(path.read_text())
    asset = {"href": "lr.tif", "roles": ["lr"]}
    path.write_text(json.dumps({**item, "assets": {f"a{number}": asset for number in range(1000)}}))
    return path


def image_in_an_archive(folder: Path) -> Path:
    return Path(f"/vsizip/{zipped(blank(folder / 'a.tif', count=4))}/a.tif")


def lookup_table(folder: Path) -> Path:
    path, _ = made.emit(folder)
    with h5py.File(path, "r+") as file:
        for name in ("glt_x", "glt_y"):
            del file[f"location/{name}"]
            table = np.ones((5000, 5000), np.int32)
            file.create_dataset(f"location/{name}", data=table, chunks=(1000, 1000), compression=1)
    return path


def masks_larger_than_their_cube(folder: Path) -> Path:
    made.tanager(folder / "a.h5")
    with h5py.File(folder / "a.h5", "r+") as file:
        fields = file["HDFEOS/GRIDS/HYP/Data Fields"]
        for name in ("nodata_pixels", "beta_cloud_mask"):
            del fields[name]
            fields.create_dataset(name, data=np.ones((10_000, 10_000), np.uint8), chunks=(1000, 1000), compression=1)
    return folder / "a.h5"


def vector_of_wavelengths(folder: Path) -> Path:
    made.aviris(folder / "a.nc")
    with h5py.File(folder / "a.nc", "r+") as file:
        del file["reflectance/wavelength"]
        blank_numbers = np.ones(10**8, np.uint8)
        file["reflectance"].create_dataset("wavelength", data=blank_numbers, chunks=(10**6,), compression=1)
    return folder / "a.nc"


BOMBS = [
    enmap, description, archive, quality_layer, many_bands_in_files, sentinel2, planet, stack_of_tiffs,
    stack_of_pictures, item_of_one_asset_many_times, image_in_an_archive, lookup_table, masks_larger_than_their_cube,
    vector_of_wavelengths,
]  # fmt: skip


@apart.needs_linux
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_bomb_is_refused_soon_in_little_memory(bomb, tmp_path):
    options = {"ortho": True} if bomb is lookup_table else {}
    said = apart.refused("hsisr.datasets.readers.read_scene", bomb(tmp_path), **options)
    misfits = (quality_layer, masks_larger_than_their_cube, vector_of_wavelengths)
    assert limits.EXPANSION.variable in said if bomb not in misfits else "damaged" not in said


@apart.needs_linux
@pytest.mark.parametrize(
    "content",
    [
        b"<a>" + b"<b/>" * 10_000_000 + b"</a>",
        b"<a>" + b'<b c="" d=""/>' * 3_000_000 + b"</a>",
        b"<a " + b" ".join(b'b%d=""' % number for number in range(4_000_000)) + b"/>",
        b"<a>" + b"x" * (65 * 2**20) + b"</a>",
    ],
    ids=["elements", "attributes", "one tag", "text"],
)
def test_descriptions_without_end(content, tmp_path):
    path, _ = made.enmap(tmp_path)
    next(path.glob("*METADATA.XML")).write_bytes(content)
    assert apart.refused("hsisr.datasets.readers.read_scene", path).endswith("refused")


@apart.needs_linux
def test_a_text_without_end(tmp_path):
    path, _ = made.landsat(tmp_path)
    next(path.glob("*_MTL.txt")).write_bytes(b"".join(b"K%d = 1\n" % number for number in range(3_000_000)))
    assert apart.refused("hsisr.datasets.readers.read_scene", path).endswith("refused")


def test_a_long_text_in_a_description_is_none_of_these():
    root = packages.parse_xml(Path("a.xml"), b"<a>" + b"<b>1</b>" * 1000 + b"x" * 900_000 + b"</a>")
    assert len(root) == 1000


# What is no bomb


def test_large_data_of_a_small_header(tmp_path):
    """The size of the data counts, not that of the header by which it is named."""
    (tmp_path / "a.hdr").write_text(
        "ENVI\nsamples = 1000\nlines = 1000\nbands = 300\ndata type = 1\ninterleave = bsq\nbyte order = 0\n"
    )
    with open(tmp_path / "a.img", "wb") as file:
        file.truncate(300 * 10**6)
    assert describe(tmp_path / "a.hdr")["bands"] == describe(tmp_path / "a.img")["bands"] == 300


def test_a_blank_layer_of_a_large_product(tmp_path):
    layer = blank(tmp_path / "flags.tif", 20_000, dtype="uint8")
    (tmp_path / "image.bsq").write_bytes(bytes(3 * 10**6))
    assert products.raster(packages.Package.of(tmp_path), layer.name).shape == (1, 20_000, 20_000)
    (tmp_path / "image.bsq").unlink()
    assert limits.EXPANSION.variable in refused(products.raster, packages.Package.of(tmp_path), layer.name)


def test_a_mosaic_of_large_images(tmp_path):
    made.tiff(tmp_path / "a.tif", np.zeros((1, 100, 100), np.uint8))
    with open(tmp_path / "a.tif", "r+b") as file:
        file.truncate(300 * 10**6)
    assert describe(mosaic(tmp_path / "a.vrt", ["a.tif"], 17_000))["rows"] == 17_000


# Other files of the user


def mosaic(path: Path, names: list[str], side: int = 24) -> Path:
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename></SimpleSource>' for name in names
    )
    band = f'<VRTRasterBand dataType="Byte" band="1">{sources}</VRTRasterBand>'
    path.write_text(f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}">{band}</VRTDataset>')
    return path


@pytest.mark.parametrize(
    "name", ["../secret.tif", "GTIFF_DIR:1:../../secret.tif", "inner.vrt", "sub/../../secret.tif", "/secret.tif"]
)
def test_no_mosaic_takes_pixels_from_elsewhere(name, tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    for folder in (tmp_path, inside):
        made.tiff(folder / "secret.tif", np.full((1, 24, 24), 77, np.uint8))
    mosaic(inside / "inner.vrt", ["../secret.tif"])
    assert "does not lie beside" in refused(read_scene, mosaic(inside / "a.vrt", [name])) or name == "/secret.tif"


@pytest.mark.parametrize("name", ["../secret.tif", "inner.vrt"])
def test_no_header_of_er_mapper_does(name, tmp_path):
    """GDAL opens whatever a `Translated` one names."""
    (tmp_path / "in").mkdir()
    made.tiff(tmp_path / "secret.tif", np.full((1, 24, 24), 77, np.uint8))
    mosaic(tmp_path / "in" / "inner.vrt", ["../secret.tif"])
    (tmp_path / "in" / "a.ers").write_text(
        f'DatasetHeader Begin\n\tVersion = "6.0"\n\tDataFile = "{name}"\n\tDataSetType = Translated\n'
        "\tDataType = Raster\n\tByteOrder = LSBFirst\n\tRasterInfo Begin\n\t\tCellType = Unsigned8BitInteger\n"
        "\t\tNrOfLines = 24\n\t\tNrOfCellsPerLine = 24\n\t\tNrOfBands = 1\n\tRasterInfo End\nDatasetHeader End\n"
    )
    assert "does not lie beside" in refused(read_scene, tmp_path / "in" / "a.ers")


def test_mosaics_that_fan_out(tmp_path):
    """Each of four names the next a thousand times."""
    made.tiff(tmp_path / "x.tif", np.ones((1, 24, 24), np.uint8))
    names = ["a.vrt", "b.vrt", "c.vrt", "x.tif"]
    for name, below in zip(names, names[1:], strict=False):
        mosaic(tmp_path / name, [below] * 300)
    assert describe(tmp_path / "a.vrt")["bands"] == 1


HDF5: dict[str, Callable[[Path], object]] = {
    "prisma": lambda folder: made.prisma(folder / "a.h5"),
    "emit": lambda folder: shutil.move(made.emit(folder)[0], folder / "a.h5"),
    "aviris": lambda folder: made.aviris(folder / "a.h5"),
    "neon": lambda folder: made.neon(folder / "a.h5"),
    "tanager": lambda folder: made.tanager(folder / "a.h5"),
    "basic tanager": lambda folder: made.tanager(folder / "a.h5", "SWATHS"),
}


def data_sets(file: h5py.File) -> Iterator[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    yield from names


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("product", HDF5)
def test_no_product_takes_numbers_from_elsewhere(product, leak, tmp_path):
    """Whichever data set leads out: the product is refused, or is as it was, as that one is not used."""
    HDF5[product](tmp_path)
    (tmp_path / "secret").write_bytes(b"\x01" * 10_000)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["private"] = np.ones((6, 24, 24), np.uint8)
    whole = read_scene(tmp_path / "a.h5").load()
    with h5py.File(tmp_path / "a.h5") as file:
        names = list(data_sets(file))
    outcomes = []
    for name in names:
        shutil.copy(tmp_path / "a.h5", tmp_path / "leaking.h5")
        with h5py.File(tmp_path / "leaking.h5", "r+") as file:
            shape, dtype = file[name].shape, file[name].dtype
            del file[name]
            if leak.__name__.startswith("external") and leak.__name__ != "external_link" and dtype.kind in "iuf":
                file.create_dataset(name, shape, dtype, external=[(str(tmp_path / "secret"), 0, 10_000)])
            else:
                leak(file, name, tmp_path)
        try:
            scene = read_scene(tmp_path / "leaking.h5")
        except HsisrError as error:
            outcomes.append(len(str(error).splitlines()) == 1)
            continue
        facts = ("mask", "wavelengths_nm", "fwhm_nm", "bad_bands", "transform")
        outcomes.append(np.array_equal(scene.cube, whole.cube, equal_nan=True))
        outcomes += [np.array_equal(getattr(scene, fact), getattr(whole, fact)) for fact in facts]
    assert all(outcomes)
