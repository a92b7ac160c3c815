"""What a stranger's files get: a row for each situation from public trackers, with the right value or the one line.

The makers of the files are not part of the project; they lie in `cases/own-files` of the folder HSISR_EXTRA_DATA.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hsisr.cli.app import app
from hsisr.datasets import read_scene
from hsisr.errors import HsisrError

from ..conftest import EXTRA_DATA

CASES = EXTRA_DATA / "cases" / "own-files"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="HSISR_EXTRA_DATA does not hold the cases")

GSA = "--model gsa -o out.tif"
ENMAP = "ENMAP01-____L2A-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z"
DESIS = "DESIS-HSI-L2A-DT1203190212_025-20191203T021128-V0210"
SAFE = "S2B_MSIL2A_20210122T133229_N0500_R081_T33UUU_20210122T155500.SAFE"
LANDSAT = "LC08_L2SP_193023_20220724_20220802_02_T1"
S2 = "T33UUU_20210122T133229"
JP2 = f"{SAFE}/GRANULE/L2A_T33UUU_A020270_20210122T133224/IMG_DATA/R10m"
PRISMA = "PRS_L2D_STD_20230824100356_20230824100400_0001.he5"
EMIT = "EMIT_L2A_RFL_001_20220815T042838_2222703_003.nc"
HYPERION = "EO1H1400432009124110PY_1T"


@dataclass(frozen=True)
class Row:
    """A command in a case's folder, and what follows: an error that holds `error`, or a result.

    rmse: at most, of the result's valid pixels in reflectance. invalid: pixels of the result without data.
    factor: reflectance of a value of the result. said: what one of the lines of warning holds.
    """

    case: str
    command: str
    error: str = ""
    rmse: float = 0.0256
    invalid: int = 0
    factor: float = 1e-4
    truth: str = "truth.npy"
    said: str = ""


def refused(case, command, error):
    return Row(case, command, error)


def predict(case, lr, guide, **expected):
    return Row(case, f"predict {lr} --guide {guide} {GSA}", **expected)


ROWS = [
    predict("00-control", "LR.tif", "GUIDE.tif"),
    Row("00-control", "predict LR.tif --guide GUIDE.tif --model prior -o out.tif"),
    Row("01-prisma-l2d", f"predict {PRISMA} {GSA}", rmse=0.038, factor=1),
    Row("01-prisma-l2d", f"predict {PRISMA} --read overlap=vnir {GSA}", rmse=0.038, factor=1),
    refused("01-prisma-l2d", f"predict {PRISMA} --scale 2 {GSA}", "its pixels are 6 times as fine"),
    *(predict("02-enmap-l2a", name, "GUIDE.tif", rmse=0.06, invalid=64, factor=1)
      for name in (ENMAP, f"{ENMAP}.ZIP", f"{ENMAP}/{ENMAP}-METADATA.XML", f"{ENMAP}/{ENMAP}-SPECTRAL_IMAGE.TIF")),
    predict("03-emit-l2a", EMIT, "GUIDE.tif", rmse=0.06, invalid=16, factor=1, said="--read ortho=true"),
    *(predict("04-desis-l2a", f"{DESIS}{end}", "GUIDE.tif", invalid=64, factor=1)
      for end in ("-SPECTRAL_IMAGE.tif", "-SPECTRAL_IMAGE.hdr", "-METADATA.xml", ".zip")),
    predict("06-sentinel2-guide", "LR.tif", SAFE, said="states no BOA_ADD_OFFSET"),
    predict("06-sentinel2-guide", "LR.tif", f"{SAFE}/MTD_MSIL2A.xml"),
    predict("06-sentinel2-guide", "LR.tif", "tifs"),
    predict("06-sentinel2-guide", "LR.tif", f"tifs/{S2}_B02.tif --guide tifs/{S2}_B03.tif --guide tifs/{S2}_B04.tif"),
    predict("06-sentinel2-guide", "LR.tif", f"{JP2}/{S2}_B02_10m.jp2 --guide {JP2}/{S2}_B03_10m.jp2"),
    predict("06-sentinel2-guide", "LR.tif", JP2),
    Row("06-sentinel2-guide", f"export {JP2} out.tif", truth="", invalid=0),
    predict("07-landsat-folder", "LR.tif", LANDSAT, rmse=0.02),
    Row("08-hyperion-bands", "predict EO1H1400432009124110PY_1T --scale 4 --model bicubic -o out.tif",
        rmse=0.0348, factor=1 / 4000, said="stored numbers stay as they are"),
    predict("08-hyperion-bands", "EO1H1400432009124110PY_1T", "LC08", rmse=0.029, factor=1 / 4000,
            said="its QA_PIXEL says clear and cloud of the same pixels"),
    Row("10-envi-variants", "predict l_nan_in_data.hdr --scale 4 --model bicubic -o out.tif", rmse=0.04, invalid=512,
        factor=1),
    Row("10-envi-variants", "predict e_refl_scale.hdr --scale 4 --model bicubic -o out.tif", rmse=0.0348, factor=1),
    Row("10-envi-variants", "predict h_index.hdr --scale 4 --model bicubic -o out.tif", rmse=0.0348, factor=1,
        said="given as 'Index', which is no unit of length"),
    Row("11-envi-names", "predict v1.2_2023-05-01.hdr --scale 4 --model bicubic -o out.tif", truth=""),
    Row("11-envi-names", "predict UP.HDR --scale 4 --model bicubic -o out.tif", truth=""),
    Row("12-specim-capture", "predict scan_0007 --scale 4 --model bicubic -o out.tif", truth="",
        said="WHITEREF_scan_0007.hdr: taken for a reference"),
    predict("13-dead-zeros", "LR.tif", "GUIDE.tif", rmse=0.034, said="7.9% of its samples, in 87.9% of its pixels"),
    predict("13-dead-zeros", "LR_none.tif", "GUIDE.tif"),
    predict("14-unsorted-overlap", "LR.tif", "GUIDE.tif", rmse=0.0265),
    predict("14-unsorted-overlap", "LRdesc.tif", "GUIDE.tif", truth="truthdesc.npy"),
    refused("16-overwrites-input", "predict LR.tif --guide GUIDE.tif --model gsa -o LR.tif", "LR.tif: is the input"),
    refused("16-overwrites-input", "predict LR.tif --guide GUIDE.tif --model gsa -o GUIDE.tif", "is the input GUIDE"),
    refused("16-overwrites-input", "predict X.raw --guide GUIDE.tif --model gsa -o X.img", "X.hdr: is the input X.raw"),
    refused("16-overwrites-input", "show LR.tif -o LR.tif", "LR.tif: is the input LR.tif"),
    refused("16-overwrites-input", "export X.raw X.hdr", "X.hdr: is the input X.raw"),
    predict("20-gcps-rpcs", "LR_gcps.tif", "GUIDE.tif"),
    predict("20-gcps-rpcs", "LR_gcps.tif", "GUIDE_big.tif"),
    predict("20-gcps-rpcs", "LR_rpcs.tif", "GUIDE.tif", error="says where it lies by rational polynomials"),
    predict("20-gcps-rpcs", "LR_rpcs.tif", "GUIDE.tif --read georeference=none"),
    predict(
        "21-crs-mix",
        "LR.tif",
        "G_latlon.tif",
        error="lies in EPSG:4326, LR.tif in EPSG:32633; --align (in Python align=True) reprojects the guide, to the "
        "scale of --scale",
    ),
    predict("21-crs-mix", "LR.tif", "G_latlon.tif --align", error="give --scale, to which --align resamples"),
    predict("21-crs-mix", "LR.tif", "G_utm32.tif --align --scale 4"),
    predict("21-crs-mix", "LR.tif", "G_wkt.tif"),
    predict("21-crs-mix", "LRll.tif", "Gll.tif"),
    predict("23-guides", "LR.tif", "rgba.tif", rmse=0.0215, invalid=240),
    predict("23-guides", "LR.tif", "photo_rgba.png", rmse=0.0215, invalid=240),
    predict("23-guides", "LR.tif", "photo.png", rmse=0.0215),
    predict("23-guides", "LR.tif", "wld.png", rmse=0.0215, said="it is taken to lie in that of LR.tif"),
    predict("23-guides", "LR.tif", "wld.png --read-guide crs=EPSG:32633", rmse=0.0215),
    predict("23-guides", "LR.tif", "uint8jpeg.tif", rmse=0.033),
    predict("23-guides", "LR.tif", "palette.tif", error="holds palette indices, not values"),
    predict("23-guides", "LR.tif", "pan.tif", rmse=0.0267),
    *(predict("23-guides", "LR.tif", f"pan.{end}", rmse=0.0267) for end in ("vrt", "img", "ers")),
    predict("23-guides", "LR.tif", "nan.tif", invalid=100),
    predict("23-guides", "LR.tif", "nan_undeclared.tif", error="--read-guide nodata=nan"),
    predict("23-guides", "LR.tif", "nan_undeclared.tif --read-guide nodata=nan", invalid=100),
    predict("23-guides", "LR.tif", "n0.tif", invalid=100),
    predict("23-guides", "LR.tif", "n65535.tif", invalid=100),
    predict("23-guides", "LR.tif", "s2offset.tif"),
    Row("23-guides", "predict LR.tif --guide g150.tif --model prior -o out.tif", rmse=0.005),
    predict("24-more-guides", "LR_nocrs.tif", "GUIDE_big.tif", said="LR_nocrs.tif: has coordinates but no CRS; it is"),
    predict("24-more-guides", "LR.tif", "GUIDE_big_nocrs.tif", said="GUIDE_big_nocrs.tif: has coordinates but no CRS"),
    predict("24-more-guides", "LR.tif", "g_blank4.tif", said="its band 3 (from 0) is the same number everywhere"),
    predict("24-more-guides", "LR.tif", "g_thermal.tif", rmse=0.0275),
    predict("24-more-guides", "LR.tif", "s2_10m"),
    predict("24-more-guides", "LR.tif", "s2_2348", error="band 5 is missing"),
    predict("24-more-guides", "LR.tif", " --guide ".join(f"s2_2348/{S2}_B0{band}.tif" for band in (2, 3, 4))),
    predict("24-more-guides", "LR.tif", "rgb_hwc.npy", error="--read axes=HWB"),
    predict("24-more-guides", "LR.tif", "rgb_hwc.npy --read-guide axes=HWB"),
    predict("24-more-guides", "lab.raw", "lab_g.raw", rmse=0.02, factor=1),
    predict("24-more-guides", "lab.raw", "lab_g.raw --align --scale 4", rmse=0.02, factor=1),
    predict("24-more-guides", "lab.raw", "GUIDE.tif --align --scale 4", error="lab.raw: has coordinates"),
    predict("24-more-guides", "lab.raw", "GUIDE.tif --read georeference=none", factor=1),
    predict("24-more-guides", "GUIDE.tif", "LR.tif", error="the two seem to be swapped"),
    refused("24-more-guides", "info lib.hdr", "a library of spectra, not an image"),
    predict("30-sizes", "LR_1x1.tif", "G_1x1.tif", truth="t_1x1.npy", rmse=0.1),
    predict("30-sizes", "LR_3x40.tif", "G_3x40.tif", truth="t_3x40.npy", rmse=0.03),
    predict("30-sizes", "LR.tif", "G_flat.tif", truth="t.npy", rmse=0.0348, said="holds no detail"),
    predict("30-sizes", "LR_c64.tif", "G.tif", error="has type complex64"),
    predict("30-sizes", "LR_f16.npy", "G.tif --read axes=BHW", truth="t.npy", factor=1),
    predict("31-multipage-tiff", "cube_pages.tif", "GUIDE.tif"),
    refused("32-mat-kinds", "export lr_and_rgb.mat out.tif", "--read variable=NAME"),
    Row("32-mat-kinds", "predict harvard.mat --scale 4 --model bicubic -o out.tif", rmse=0.0348, factor=1),
    predict("33-hdf5-products", "NEON_D13_MOAB_DP3_645000_4230000_reflectance.h5", "GUIDE.tif", invalid=64, factor=1),
    predict("34-nodata-lr", "f32_nan_decl_9999.tif", "GUIDE.tif", invalid=192),
    predict("34-nodata-lr", "f32_both.tif", "GUIDE.tif", invalid=704),
    predict("34-nodata-lr", "u16_0.tif", "GUIDE.tif", invalid=192),
    predict("34-nodata-lr", "mask.tif", "GUIDE.tif", invalid=192),
    predict("34-nodata-lr", "i16_m9999_undeclared.tif", "GUIDE.tif --read nodata=-9999", invalid=192),
    predict("40-paths", "link_LR.tif", "GUIDE.tif"),
    predict("40-paths", "linked.hdr", "GUIDE.tif", factor=1),
    predict("40-paths", "LR.tif.gz", "GUIDE.tif", error="a gzip archive; unpack it first"),
    predict("40-paths", "/vsigzip/LR.tif.gz", "GUIDE.tif"),
    predict("40-paths", "/vsizip/LR.zip/LR.tif", "/vsizip/LR.zip/GUIDE.tif"),
    predict("40-paths", "LR.zip", "GUIDE.tif", error="a zip archive; unpack it first"),
    predict("40-paths", "/vsizip/LR.zip/L.tif", "GUIDE.tif", error="LR.zip: holds no L.tif; it holds LR.tif, GUIDE"),
    predict("40-paths", "dangling.tif", "GUIDE.tif", error="dangling.tif: no such file or folder"),
    refused("40-paths", "predict LR.tif --guide GUIDE.tif --model gsa -o no/out.tif", "there is no folder no;"),
    refused("40-paths", "predict LR.tif --guide GUIDE.tif --model gsa -o link_LR.tif", "link_LR.tif: is the input"),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a case with its files; each is made once."""
    root = tmp_path_factory.mktemp("own-files")
    for file in CASES.glob("*.py"):
        shutil.copy(file, root)

    def make(case: str) -> Path:
        folder = root / case
        if not folder.exists():
            shutil.copytree(CASES / case, folder)
            words = [sys.executable, "-W", "ignore", "make.py"]
            subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=120)
        return folder

    return make


@pytest.fixture
def there(made, tmp_path, monkeypatch):
    """Go to a fresh copy of a case's folder."""

    def go(case: str) -> Path:
        folder = tmp_path / case
        shutil.copytree(made(case), folder, symlinks=True)
        monkeypatch.chdir(folder)
        return folder

    return go


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.case[:2]} {row.command[:70]}")
@pytest.mark.filterwarnings("ignore")
def test_row(row, there, capsys):
    there(row.case)
    words = row.command.split()
    if row.error:
        with pytest.raises(HsisrError) as caught:
            app(words, standalone_mode=False)
        assert row.error in str(caught.value) and "\n" not in str(caught.value)
        assert not Path("out.tif").exists()
        return
    app(words, standalone_mode=False)
    assert row.said in capsys.readouterr().err
    result = read_scene("out.tif")
    valid = np.ones(result.shape[1:], bool) if result.mask is None else result.mask
    assert (~valid).sum() == row.invalid
    if row.truth:
        error = (result.cube * row.factor - np.load(row.truth))[:, valid]
        assert np.sqrt((error**2).mean()) <= row.rmse


def low_of(truth, scale):
    bands, height, width = truth.shape
    return truth.reshape(bands, height // scale, scale, width // scale, scale).mean((2, 4))


@pytest.mark.parametrize(
    ("case", "name", "scale", "factor", "step", "invalid", "bad"),
    [("01-prisma-l2d", PRISMA, 6, 1, 1 / 65535, 0, 0), ("02-enmap-l2a", ENMAP, 4, 1, 1e-4, 4, 1),
     ("02-enmap-l2a", f"{ENMAP}.ZIP", 4, 1, 1e-4, 4, 1), ("03-emit-l2a", EMIT, 4, 1, 1e-6, 1, 1),
     ("04-desis-l2a", f"{DESIS}.zip", 4, 1, 1e-4, 4, 0), ("08-hyperion-bands", HYPERION, 4, 1 / 4000, 1 / 4000, 0, 0)]
)  # fmt: skip
def test_values_of_products(there, case, name, scale, factor, step, invalid, bad):
    there(case)
    scene, expected = read_scene(name), low_of(np.load("truth.npy"), scale)
    valid = np.ones(scene.shape[1:], bool) if scene.mask is None else scene.mask
    good = np.ones(scene.shape[0], bool) if scene.bad_bands is None else ~scene.bad_bands
    assert scene.shape == expected.shape
    assert np.abs(scene.cube * factor - expected)[good][:, valid].max() <= 0.51 * step
    assert ((~valid).sum(), (~good).sum()) == (invalid, bad)
    assert (np.diff(scene.wavelengths_nm) > 0).all() and (scene.fwhm_nm > 0).all()
    if case != "08-hyperion-bands":
        assert abs(scene.wavelengths_nm - np.linspace(420, 2400, len(expected))).max() < 0.06
    assert scene.crs is not None or case == "03-emit-l2a"


def test_every_maker_has_a_row():
    looked_at = {row.case for row in ROWS} | {"15-dotted-names", "17-wavelength-tags"}
    assert {file.parent.name for file in CASES.glob("*/make.py")} == looked_at


def test_a_dotted_name_is_its_own(there):
    there("15-dotted-names")
    assert np.array_equal(read_scene("scan.v2.hdr").cube, np.load("v2.npy"))
    assert np.array_equal(read_scene("scan.hdr").cube, np.load("v1.npy"))


@pytest.mark.parametrize(
    ("name", "bad"), [("a_wyvern", 0), ("c_descriptions", 0), ("d_desis_dataset_level", 0), ("f_unit_in_value", 0),
                      ("g_center_wavelength", 0), ("h_bbl_dataset", 2), ("i_bbl_minus1", 2), ("j_wl_0_for_unused", 1)]
)  # fmt: skip
def test_wavelengths_of_geotiffs(there, name, bad):
    there("17-wavelength-tags")
    scene = read_scene(f"{name}.tif")
    used = scene.wavelengths_nm[scene.wavelengths_nm > 0]
    assert abs(used - np.linspace(420, 2400, 20)[: len(used)]).max() < 0.06
    assert (0 if scene.bad_bands is None else scene.bad_bands.sum()) == bad


@pytest.mark.parametrize("name", list("abcdgijlnst"))
def test_headers_of_scanners(there, name):
    folder = there("10-envi-variants")
    scene = read_scene(next(folder.glob(f"{name}_*.hdr")))
    low = np.load("low.npy")
    valid = np.ones(low.shape[1:], bool) if scene.mask is None else scene.mask
    assert np.abs(scene.cube - low)[:, valid].max() == 0
    if name not in "jl":
        np.testing.assert_allclose(scene.wavelengths_nm[[0, -1]], [420, 2400], atol=0.01)


def test_every_name_of_a_data_file(there):
    folder = there("11-envi-names")
    files = [file for file in folder.iterdir() if file.suffix not in (".py", ".txt")]
    assert len(files) == 40
    for file in files:
        assert read_scene(file).shape == (20, 16, 16), file.name
