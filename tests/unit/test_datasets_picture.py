"""Pictures as files: the format that the ending says, and labels above pictures that stand side by side."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hsisr.datasets import picture
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.inference import Options, super_resolve_file
from hsisr.pipeline import pair_files
from hsisr.scene import Scene

WHITE = 255
RED = np.tile(np.array([200, 10, 10], np.uint8), (40, 200, 1))


@pytest.mark.parametrize(("name", "kind"), [("x.png", "PNG"), ("x.jpg", "JPEG"), ("x.JPEG", "JPEG")])
@pytest.mark.filterwarnings("error")
def test_the_ending_says_the_format(name: str, kind: str, tmp_path: Path) -> None:
    picture.write(tmp_path / name, RED)
    with Image.open(tmp_path / name) as image:
        assert image.format == kind
        assert np.abs(np.asarray(image).astype(int) - RED).max() <= (0 if kind == "PNG" else 6)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_another_ending_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match=r"x.gif: a picture ends in .png, .jpg, .jpeg"):
        picture.write(tmp_path / "x.gif", RED)
    with pytest.raises(HsisrError, match="p.tif: a picture ends in"):
        super_resolve_file("lr.tif", None, "bicubic", tmp_path / "sr.tif", Options(scale=2), preview=tmp_path / "p.tif")
    assert not list(tmp_path.iterdir())


def test_labels_stand_above_their_pictures() -> None:
    row = picture.side_by_side([("one", RED), ("two words that need more than one line of this picture", RED)])
    label, below = row[:-40], row[-40:]
    assert np.array_equal(below[:, :200], RED) and np.array_equal(below[:, -200:], RED)
    assert np.all(below[:, 200:-200] == WHITE)
    assert label[:, :200].min() < 100 and label[:, -200:].min() < 100  # letters
    assert np.all(label[18:, :200] == WHITE) and label[18:, -200:].min() < 100  # the second takes two lines


def test_narrow_pictures_get_room_for_their_label() -> None:
    assert picture.side_by_side([("a name of some length", RED[:, :8])]).shape[1] >= 160


@pytest.mark.parametrize(
    ("bands", "wavelengths", "words"),
    [
        ([2, 1, 0], np.array([450.2, 550.0, 650.4]), "650, 550, 450 nm"),
        ([2, 1, 0], None, "bands 2, 1, 0"),
        ([4], None, "band 4"),
    ],
)
def test_bands_are_named_by_what_is_known_of_them(bands, wavelengths, words) -> None:
    assert picture.bands_in_words(bands, wavelengths) == words


@pytest.fixture
def labels(monkeypatch) -> list[str]:
    """The labels of what is written."""
    found: list[str] = []
    real = picture.side_by_side
    monkeypatch.setattr(picture, "side_by_side", lambda row: found.extend(text for text, _ in row) or real(row))
    return found


def test_a_preview_names_scene_scale_bands_and_guide(tmp_path: Path, labels: list[str]) -> None:
    rng = np.random.default_rng(0)
    lr = Scene(rng.random((4, 12, 12), np.float32), "lr", wavelengths_nm=np.array([450.0, 550, 650, 800]))
    export(lr, tmp_path / "lr.tif")
    export(Scene(rng.random((3, 24, 24), np.float32), "guide"), tmp_path / "guide.tif")
    out = tmp_path / "p.jpg"
    super_resolve_file(tmp_path / "lr.tif", tmp_path / "guide.tif", "gsa", tmp_path / "sr.tif", preview=out)
    assert labels == ["lr.tif, 650, 550, 450 nm", "gsa x2", "guide guide.tif, bands 2, 1, 0"]
    with Image.open(out) as image:
        assert image.format == "JPEG"


def test_a_pair_names_its_images(tmp_path: Path, labels: list[str]) -> None:
    from hsisr import degrade

    cube = np.random.default_rng(0).random((4, 16, 16), np.float32)
    mask = np.arange(256).reshape(16, 16) < 128
    scene = Scene(cube, "field", wavelengths_nm=np.array([450.0, 550, 650, 800]), mask=mask)
    pair = degrade.pair(scene, "wald", 2, seed=0, response="color_infrared")
    pair_files.write(tmp_path / "pair.h5", "field", pair, scene)
    pair_files.show(pair_files.read(tmp_path / "pair.h5"), tmp_path / "pair.png")
    assert labels == ["field: LR image x2, 650, 550, 450 nm", "guide, bands 0, 1, 2", "HR reference, 650, 550, 450 nm"]
    shown = np.asarray(Image.open(tmp_path / "pair.png"))
    for left in (0, 166, 332):  # pixels without data are black
        assert shown[-16:-8, left : left + 16].max() > 200 and shown[-8:, left : left + 16].max() == 0
