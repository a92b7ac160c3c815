"""Weights of `hybrid` that are made here from CAVE, and the name that then stands for them; on a made-up copy of it."""

import numpy as np
import pytest
from PIL import Image

from hsisr.cli.app import app
from hsisr.config import Config, Sweep
from hsisr.datasets import fetching
from hsisr.errors import HsisrError
from hsisr.inference import load_model, read_metadata
from hsisr.inference.whole import super_resolve
from hsisr.models.shipped import made_model, made_names
from hsisr.pipeline import benchmark, steps
from hsisr.scene import Scene
from hsisr.training import imported, making
from tests.unit.test_degrade_estimation import scene

WAVELENGTHS_NM = np.linspace(400, 700, 31)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder with a copy of CAVE, and the weights made of it where the name looks for them."""
    folder = tmp_path_factory.mktemp("made")
    for number, name in enumerate(("balloons", "cd")):
        below = folder / "CAVE" / f"{name}_ms"
        below.mkdir(parents=True)
        for band, plane in enumerate(np.roll(scene(31, 96), number, axis=0), 1):
            Image.fromarray((plane * 60000).astype(np.uint16)).save(below / f"{name}_ms_{band:02d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        patch.setenv("HSISR_SOURCE_CAVE", str(folder / "CAVE"))
        patch.setattr(fetching, "_published_hashes", lambda data_set: {})  # these are not the published files
        patch.setattr(making, "_STEPS", 2)
        app(["weights", "hybrid-cave-x4"], standalone_mode=False)
        yield folder


@pytest.fixture(scope="module")
def images() -> tuple[Scene, np.ndarray]:
    """An LR image and its guide."""
    hr = scene(31, 48, rank=4)
    return Scene(hr.reshape(31, 12, 4, 12, 4).mean(axis=(2, 4)), "lr", wavelengths_nm=WAVELENGTHS_NM), hr[:3]


def test_the_name_stands_for_what_was_made(made, images, capsys):
    path = made_model(4)
    assert path == made / "hsisr" / "weights" / "hybrid-cave-x4.safetensors" and load_model(path).response.any()
    taught = read_metadata(path)["taught_by"]
    assert taught["dataset"] == "cave" and list(taught["scenes"]) == ["balloons", "cd"]
    by_name, by_file = (super_resolve(*images, model=model) for model in ("hybrid", path))
    np.testing.assert_array_equal(by_name, by_file)
    app(["weights"], standalone_mode=False)
    told = capsys.readouterr().out
    assert f"made here: {path}, SHA-256 " in told and all(name in told for name in made_names())
    with pytest.raises(HsisrError, match="hybrid-cave-x4.safetensors: exists"):
        app(["weights", "hybrid-cave-x4"], standalone_mode=False)


def test_making_that_stops_goes_on_in_the_same_folder(made, monkeypatch):
    folders = []

    def stopped(network, samples, folder, *given, **named):
        folders.append(folder)
        raise HsisrError("stopped")

    monkeypatch.setattr("hsisr.training.fitting.fit", stopped)
    monkeypatch.setattr("hsisr.models.hybrid.Hybrid.prepare_training", lambda network, pairs, seed: seed)
    for _ in range(2):
        with pytest.raises(HsisrError, match="stopped"):
            app(["weights", "hybrid-cave-x2"], standalone_mode=False)
    assert folders[0] == folders[1] == made_model(2).with_name(".hybrid-cave-x2.safetensors.work")
    assert not made_model(4).with_name(".hybrid-cave-x4.safetensors.work").exists()  # one that ended leaves none


def test_what_does_not_fit_is_refused_with_what_does(made, images):
    lr, guide = images

    def refused(lr: Scene, guide: np.ndarray | None, **options) -> str:
        with pytest.raises(HsisrError) as error:
            super_resolve(lr, guide, model="hybrid", **options)
        return str(error.value)

    larger = np.kron(guide, np.ones((2, 2), np.float32))
    assert "`hsisr weights hybrid-cave-x8` makes them from CAVE" in refused(lr, larger)
    assert "scale 2, 4, 8, 16, not 3; learn from the scene itself" in refused(lr, guide[:, :36, :36])
    assert "needs a guide" in refused(lr, None)
    assert "guide of 3 bands, and this one has 2" in refused(lr, guide[:2])
    assert "5 good bands, and hybrid was trained for 31" in refused(lr.bands([0, 1, 2, 3, 4]), guide)
    infrared = Scene(lr.cube, "lr", wavelengths_nm=WAVELENGTHS_NM + 300)
    assert "up to 300 nm from those hybrid was trained on, 400 to 700 nm; learn" in refused(infrared, guide)


def test_configurations_name_them(made):
    models = {"made": {"base": "hybrid", "weights": "shipped"}}

    def resolved(name: str, **sections) -> benchmark.Benchmark:
        content = {"models": models, "benchmarks": {name: {"models": ["made"]}}, **sections}
        return benchmark.resolve(Config.parse(content), name)

    assert resolved("cave_x4").model("made").weights == str(made_model(4))
    with pytest.raises(
        HsisrError, match="models.made.weights: shipped: .* for scale 8 are not .*weights hybrid-cave-x8"
    ):
        resolved("cave_x8")
    dealt = resolved("cave_x4", splits={"cave": "uestc"})  # it tests balloons
    with pytest.raises(HsisrError, match="weights: learnt from balloons, cd, which cave_x4 tests; choose a split"):
        imported.place_weights(dealt, dealt.model("made"), 0)
    sweep = Sweep(scene="lr.tif", models=["prior", "hybrid"], scale=4)
    assert steps.sweeping(sweep).inputs["models"] == [str(made_model(4))]
    benchmark.check(Config.parse({"sweeps": {"mine": sweep.model_dump()}}))
