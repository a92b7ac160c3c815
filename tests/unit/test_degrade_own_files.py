"""Responses and PSFs of the user's own: every kind of file gives the same, and what is wrong with one is one line."""

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from hsisr.cli.app import app
from hsisr.config import Config
from hsisr.datasets.writers import export
from hsisr.degrade import CustomProtocol, degrade, pair, read_psf, response
from hsisr.errors import HsisrError
from hsisr.pipeline import benchmark, pair_files, patch_files, paths, steps
from hsisr.pipeline.patch_files import PatchFile
from hsisr.scene import Scene
from tests.unit.conftest import CONFIG, small_scene

WAVELENGTHS_NM = np.arange(500.0, 900.0, 50.0)
VALUES = np.abs(np.random.default_rng(0).normal(size=(8, 2)))
KERNEL = np.array([[0, 1, 1, 0], [1, 3, 3, 1], [1, 3, 3, 1], [0, 1, 1, 0.0]])


def write_csv(path, values, header="wavelength_nm,red,green", separator=",") -> None:
    lines = [separator.join(f"{value:.12g}" for value in row) for row in values]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")


@pytest.fixture
def scene() -> Scene:
    cube = np.random.default_rng(1).random((8, 24, 20)).astype(np.float32)
    return Scene(cube, "own", wavelengths_nm=WAVELENGTHS_NM)


# ----- responses


@pytest.mark.parametrize(
    "kind", ["csv", "semicolons", "decimal commas", "tabs", "spaces.txt", "no header", "mat", "mat73", "npy"]
)
def test_a_table_with_wavelengths_is_resampled_whatever_its_format(tmp_path, kind):
    table = np.column_stack([WAVELENGTHS_NM, VALUES])
    path = tmp_path / "own.csv"
    if kind == "mat":
        path = tmp_path / "own.mat"
        savemat(path, {"srf": table, "name": "a camera"})
    elif kind == "mat73":
        path = tmp_path / "own.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            file["srf"] = table.T
            file["srf"].attrs["MATLAB_class"] = np.bytes_("double")
        with open(path, "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    elif kind == "npy":
        path = tmp_path / "own.npy"
        np.save(path, table)
    elif kind == "spaces.txt":
        path = tmp_path / "own.txt"
        write_csv(path, table, "", "  ")
    elif kind == "decimal commas":
        write_csv(path, table, "nm;rot;grün", ";")
        path.write_text(path.read_text().replace(".", ","))
    else:
        separator = {"semicolons": ";", "tabs": "\t"}.get(kind, ",")
        header = "" if kind == "no header" else separator.join(["nm", "red", "green"])
        write_csv(path, table, header, separator)
    found = response(path, WAVELENGTHS_NM)
    np.testing.assert_allclose(found, VALUES.T / VALUES.sum(axis=0)[:, None], rtol=1e-9)
    between = response(path, WAVELENGTHS_NM[:-1] + 25)
    middle = (VALUES[:-1] + VALUES[1:]).T / 2
    np.testing.assert_allclose(between, middle / middle.sum(axis=1, keepdims=True), rtol=1e-9)


@pytest.mark.parametrize("ending", ["mat", "npy", "csv"])
def test_a_table_without_wavelengths_is_for_the_bands_in_order(tmp_path, scene, ending):
    path = tmp_path / f"own.{ending}"
    {"mat": lambda: savemat(path, {"P": VALUES}), "npy": lambda: np.save(path, VALUES),
     "csv": lambda: write_csv(path, VALUES, "red,green")}[ending]()  # fmt: skip
    expected = VALUES.T / VALUES.sum(axis=0)[:, None]
    np.testing.assert_allclose(response(path, WAVELENGTHS_NM + 3), expected, rtol=1e-9)
    blind = Scene(scene.cube, "own")
    made = pair(blind, "wald", 4, response=path)
    np.testing.assert_allclose(made.metadata["response_matrix"], expected, rtol=1e-9)
    assert made.metadata["response"] == str(path) and made.guide.shape == (2, 24, 20)
    with pytest.raises(HsisrError, match="has 8 rows and no wavelengths, and the scene has 7 bands; give a"):
        response(path, WAVELENGTHS_NM[:7])


def test_by_number_of_the_band_where_it_is_asked_for(tmp_path):
    path = tmp_path / "own.csv"
    write_csv(path, np.column_stack([WAVELENGTHS_NM, VALUES]))
    np.testing.assert_allclose(response(f"{path}@index", WAVELENGTHS_NM + 40), response(path, WAVELENGTHS_NM))


RISING = np.column_stack([WAVELENGTHS_NM, VALUES])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (RISING[:, :1], "holds wavelengths only; add a column for each channel"),
        (VALUES.T, "2 rows and 8 columns; expected a row a wavelength or band and a column a channel: transpose it"),
        (RISING[::-1], "its first column, wavelengths in nm, must rise from row to row; sort the rows"),
        (RISING * [1e-3, 1, 1], "goes from 0.5 to 0.85, as wavelengths in micrometres do; give them in nm"),
        (RISING[::-1] * [1e-3, 1, 1], "goes from 0.85 to 0.5, as wavelengths in micrometres do; give them in nm"),
        (np.column_stack([np.arange(8), RISING]), "its first column counts the rows, from 0 to 7; leave it out"),
        (RISING[:, [1, 0, 2]], "seems to hold wavelengths; only the first column may"),
        (RISING[np.r_[3:8, :3]], "its first column, wavelengths in nm, must rise from row to row; sort the rows"),
        (RISING * [1, -1, 1], "holds negative weights, down to -"),
        (RISING * [1, 0, 1], "red is 0 everywhere; leave the column out"),
        (RISING * [1, np.nan, 1], "holds NaN or infinity"),
    ],
)  # fmt: skip
def test_a_table_that_is_no_response_is_told_in_one_line(tmp_path, values, message):
    path = tmp_path / "own.csv"
    write_csv(path, values, "nm,red,green" if values.shape[1] == 3 else "")
    with pytest.raises(HsisrError, match=message) as caught:
        response(path, WAVELENGTHS_NM)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no numbers"),
        ("nm,red\n400,1\n410,one\n", "line 3 holds 'one' in column 2; expected a number"),
        ("400,,1\n410,1,2\n", "line 1 holds nothing in column 2"),
        ("400,1\n410,1,2\n", "line 2 has 3 columns, the first one 2"),
    ],
)
def test_text_that_is_no_table(tmp_path, text, message):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(HsisrError, match=message):
        response(tmp_path / "own.csv", WAVELENGTHS_NM)


@pytest.mark.parametrize(
    "text",
    [
        "nm,1,2\n400,3,4\n410,5,6\n",
        "Centre (nm),red,green,\n400,3,4,\n410,5,6,\n",
        '"nm","a b","c"\n"400","3","4"\n410,5,6\n',
    ],
)
def test_text_as_spreadsheets_write_it(tmp_path, text):
    (tmp_path / "own.csv").write_text(text)
    np.testing.assert_allclose(response(tmp_path / "own.csv", np.array([400.0, 410.0])), [[3 / 8, 5 / 8], [0.4, 0.6]])


def test_decimal_commas_between_tabs_or_quotes(tmp_path):
    """They had made columns of their own."""
    for number, text in enumerate(("400\t0,1\t0,3\n410\t1,1\t1,3\n", '"400","0,1","0,3"\n"410","1,1","1,3"\n')):
        (tmp_path / f"{number}.csv").write_text(text)
        made = response(tmp_path / f"{number}.csv", np.array([400.0, 410.0]))
        np.testing.assert_allclose(made, [[0.1 / 1.2, 1.1 / 1.2], [0.3 / 1.6, 1.3 / 1.6]])


@pytest.mark.parametrize("ending", ["csv", "mat", "npy"])
def test_wavelengths_that_fall_are_no_channel(tmp_path, ending):
    path = tmp_path / f"own.{ending}"
    falling = RISING[::-1]
    {"mat": lambda: savemat(path, {"P": falling}), "npy": lambda: np.save(path, falling),
     "csv": lambda: write_csv(path, falling, "")}[ending]()  # fmt: skip
    with pytest.raises(HsisrError, match="must rise from row to row; sort the rows"):
        response(path, WAVELENGTHS_NM)


def test_a_name_that_says_wavelengths_is_believed(tmp_path):
    (tmp_path / "own.csv").write_text("wavelength_um,red\n0.7,3\n0.5,4\n0.6,5\n")
    with pytest.raises(HsisrError, match="wavelength_um seems to hold wavelengths"):
        response(tmp_path / "own.csv", WAVELENGTHS_NM[:3])


def test_absent_and_unknown():
    with pytest.raises(HsisrError, match="absent.csv: no such file"):
        response("absent.csv", WAVELENGTHS_NM)
    with pytest.raises(HsisrError, match="own.png: expected a table"):
        response("own.png", WAVELENGTHS_NM)
    with pytest.raises(HsisrError, match="unknown response 'nikon'; choose one of .*or a file"):
        response("nikon", WAVELENGTHS_NM)


# ----- PSFs


@pytest.mark.parametrize("ending", ["npy", "csv", "mat", "tif", "png"])
def test_a_psf_of_any_format_is_normalised(tmp_path, ending):
    path = tmp_path / f"psf.{ending}"
    whole = (KERNEL * 20).astype(np.uint8)
    {"npy": lambda: np.save(path, KERNEL), "csv": lambda: write_csv(path, KERNEL, ""),
     "mat": lambda: savemat(path, {"psf": KERNEL}), "png": lambda: Image.fromarray(whole).save(path),
     "tif": lambda: export(Scene(KERNEL[None].astype(np.float32), "psf"), path)}[ending]()  # fmt: skip
    np.testing.assert_allclose(read_psf(path), KERNEL / KERNEL.sum(), atol=1e-7)
    cube = np.random.default_rng(2).random((2, 24, 24))
    array = CustomProtocol("array", {"psf": {"kind": "array", "weights": KERNEL.tolist()}})
    np.testing.assert_allclose(degrade(cube, CustomProtocol("file", {"psf": str(path)}), 4), degrade(cube, array, 4))


def test_what_is_no_psf(tmp_path):
    def told(values, name="psf.npy"):
        np.save(tmp_path / "psf.npy", values)
        with pytest.raises(HsisrError) as caught:
            CustomProtocol("mine", {"psf": str(tmp_path / name)})
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "protocol mine: psf: " in told(-KERNEL) and "holds negative weights, down to -3" in told(-KERNEL)
    assert "its weights are 0 everywhere" in told(np.zeros((4, 4)))
    assert "NaN or infinity" in told(np.full((4, 4), np.nan))
    assert "no such file" in told(KERNEL, "absent.npy")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8)).save(tmp_path / "colours.png")
    assert "has 3 bands that differ; a PSF is a grey image" in told(KERNEL, "colours.png")
    with pytest.raises(HsisrError, match="psf must be a mapping with a kind .*, a file .*, or none"):
        CustomProtocol("mine", {"psf": "wide"})


# ----- in a project


def configured(**protocol) -> benchmark.Benchmark:
    own = {"psf": "psf.npy", "response": "srf.csv"} | protocol
    name = "indian_pines_x4_mine"
    config = Config.parse(
        CONFIG | {"benchmarks": {name: {"models": ["bicubic", "gsa", "tiny"]}}, "protocols": {"mine": own}}
    )
    benchmark.check(config)
    return benchmark.resolve(config, name)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("psf.npy", KERNEL)
    bands = small_scene().wavelengths_nm
    write_csv(tmp_path / "srf.csv", np.column_stack([bands, np.arange(10.0).reshape(5, 2)]))
    small_scene().save(paths.SCENE.format(dataset="indian_pines", scene="indian_pines"))


def test_their_content_belongs_to_the_steps(project, tmp_path):
    def digests() -> list[str]:
        chosen = configured()
        made = [steps.pairing(chosen, "indian_pines-test"), steps.cutting(chosen), steps.training(chosen, "tiny", 0),
                steps.scoring(chosen, "gsa"), steps.costing(chosen)]  # fmt: skip
        return [step.digest for step in made]

    before = digests()
    assert before == digests()
    np.save("psf.npy", KERNEL + 1)
    wider = digests()
    assert not set(before) & set(wider)
    np.save("psf.npy", KERNEL)
    (tmp_path / "srf.csv").write_text((tmp_path / "srf.csv").read_text() + "# edited\n")
    assert not set(digests()) & {*before, *wider}


def test_a_patch_file_needs_the_psf_no_more(project, tmp_path):
    """It holds the weights, as its training may degrade what it turns; also ones too many for an attribute."""
    for size in (4, 80):
        kernel = np.random.default_rng(0).random((size, size))
        np.save("psf.npy", kernel)
        chosen = configured(sampling="centre")
        for item in chosen.parts["train"]:
            pair_files.make(chosen, item.name, chosen.path(paths.PAIR, item=item.name))
        patch_files.make(chosen, chosen.path(paths.PATCHES))
        (tmp_path / "psf.npy").unlink()
        patches = PatchFile(chosen.path(paths.PATCHES), augment=True)
        kept = patches.rule.degradation(4).kernel
        np.testing.assert_allclose(kept, kernel / kernel.sum(), rtol=1e-12)
        assert patches[0].guide.shape == (2, 16, 16)


def test_a_psf_that_cannot_be_centred_is_told_at_once(project):
    np.save("psf.npy", np.ones((3, 3)))
    with pytest.raises(HsisrError, match="benchmark indian_pines_x4_mine: PSF array of .3, 3.: at scale 4 .* even"):
        configured()


def test_a_benchmark_names_a_file(project):
    choice = {"models": ["gsa"], "response": "srf.csv"}
    chosen = benchmark.resolve(Config.parse({"benchmarks": {"indian_pines_x4": choice}}), "indian_pines_x4")
    assert list(steps.pairing(chosen, "indian_pines-test").code)[-1] == "srf.csv"
    pair_files.make(chosen, "indian_pines-test", "pair.h5")
    assert pair_files.read("pair.h5").metadata["response"] == "srf.csv"
    wrong = Config.parse({"benchmarks": {"indian_pines_x4": choice | {"response": "absent.csv"}}})
    with pytest.raises(HsisrError, match="benchmarks.indian_pines_x4.response: absent.csv: no such file"):
        benchmark.resolve(wrong, "indian_pines_x4")


def test_on_the_command_line(project):
    scene = "data/scenes/indian_pines/indian_pines.h5"
    own = "--response srf.csv --psf psf.npy"
    app(f"degrade {scene} --protocol wald --scale 4 -o pair.h5 {own}".split(), standalone_mode=False)
    made = pair_files.read("pair.h5")
    assert made.metadata["protocol"] == "wald-own-psf" and made.guide.shape[0] == 2
    np.testing.assert_allclose(made.metadata["kernel"], KERNEL / KERNEL.sum())
    with pytest.raises(HsisrError, match="protocol mixup: blurs by no PSF that could be another"):
        app(f"degrade {scene} --protocol mixup --scale 4 -o other.h5 {own}".split(), standalone_mode=False)
