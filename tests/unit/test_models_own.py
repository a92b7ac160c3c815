"""Networks of the user's own: found by import path, checked before training, never imported on a file's word."""

import sys
import textwrap

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import hsisr
from hsisr.cli.app import app
from hsisr.config import Config, Training
from hsisr.errors import HsisrError
from hsisr.evaluation import evaluate_model
from hsisr.files import file_hash
from hsisr.inference import load_model, predict
from hsisr.models import DeepShare, MulSR, own, registry
from hsisr.models.base import as_model
from hsisr.models.model_files import read_metadata
from hsisr.pipeline import benchmark, pair_files, paths, steps
from hsisr.pipeline.patch_files import PatchFile
from hsisr.scene import Scene
from hsisr.sources import own_sources
from hsisr.training import fit, train_one
from tests.unit.conftest import CONFIG

NETWORK = """
import torch
from torch import nn

from blocks import upsampled


class Net(nn.Module):
    def __init__(self, bands, guide_channels, scale, width: int = 8, kernel: tuple[int, int] = (3, 3)):
        super().__init__()
        self.factor, self.width = scale, width
        self.inside = nn.Conv2d(bands + guide_channels, width, kernel, padding="same")
        self.out = nn.Conv2d(width, bands, 1)

    def forward(self, lr, guide):
        up = upsampled(lr, self.factor)
        return up + self.out(torch.relu(self.inside(torch.cat([up, guide], 1))))


class Alone(nn.Module):
    guide_channels = 0

    def __init__(self, scale):
        super().__init__()
        self.factor, self.gain = scale, nn.Parameter(torch.ones(1))

    def forward(self, lr):
        return self.gain * upsampled(lr, self.factor)


class Silent(nn.Module):
    pass


class Odd(nn.Module):
    def forward(self, lr, guide, mask):
        return lr


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, lr, guide):
        return self.gain * lr


class Failing(Small):
    def forward(self, lr, guide):
        raise ValueError("not yet written")


class Refusing(Small):
    def __init__(self, bands):
        raise ValueError(f"{bands} bands are too few")


class Frozen(Net):
    def __init__(self, bands, guide_channels, scale):
        super().__init__(bands, guide_channels, scale)
        self.requires_grad_(False)


class Detached(Net):
    def forward(self, lr, guide):
        return super().forward(lr, guide).detach()


class Weightless(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.factor = scale

    def forward(self, lr, guide):
        return upsampled(lr, self.factor)


class Demanding(Small):
    guide_channels = 3


NUMBER = 3
"""
BLOCKS = """
from torch.nn.functional import interpolate


def upsampled(lr, scale):
    return interpolate(lr, scale_factor=scale)
"""
TRAINING = {"epochs": None, "max_steps": 4, "batch_size": 2, "validate_every_steps": 2, "threads": 1, "device": "cpu"}


@pytest.fixture
def project(small, monkeypatch):
    """The small benchmark's folder with the user's own files, in a process that knows nothing of them."""
    monkeypatch.setattr(own, "_trusted", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write("mynet.py", NETWORK)
    write("blocks.py", BLOCKS)
    forget()
    yield small
    forget()


def write(name: str, text: str) -> None:
    with open(name, "w") as file:
        file.write(text)


def forget() -> None:
    """As in another process."""
    for name in ("mynet", "blocks"):
        sys.modules.pop(name, None)
    own_sources.cache_clear()
    own._trusted.clear()


def configured(base: str = "mynet:Net", **recipe) -> benchmark.Benchmark:
    mine = {"base": base, "training": TRAINING, **recipe}
    config = Config.parse(CONFIG | {"benchmarks": {"indian_pines_x4": {"models": ["mine"]}}, "models": {"mine": mine}})
    benchmark.check(config)
    return benchmark.resolve(config, "indian_pines_x4")


def test_it_is_trained_scored_and_used_as_any_other(project):
    chosen = configured(width=4)
    train_one(chosen, chosen.model("mine"), 0)
    path = chosen.path(paths.WEIGHTS, model="mine", seed=0)
    told = read_metadata(path)
    assert (told["base"], told["options"], told["bands"], told["guide_channels"]) == ("mynet:Net", {"width": 4}, 5, 3)
    found = evaluate_model(chosen, "mine", "here")
    assert found.result.base == "mynet:Net" and found.result.parameters > 0 and found.result.mean["psnr"] > 5
    pair = pair_files.read(chosen.path(paths.PAIR, item="indian_pines-test"))
    expected = predict(load_model(path), pair.lr, pair.guide)
    np.testing.assert_allclose(hsisr.super_resolve(pair.lr, pair.guide, model=path), expected, atol=1e-5)
    with pytest.raises(HsisrError, match="mynet:Net needs a guide"):
        hsisr.super_resolve(pair.lr, model=path)
    Scene(pair.hr, "own").save("own.h5")
    one_place = f"scene: own.h5, models: [{path}], psfs: [airy], fwhm_lr: [1], responses: [3], snr_db: [30]"
    write("own.yaml", f"models: {{mine: {{base: 'mynet:Net'}}}}\nsweeps: {{mine: {{{one_place}}}}}\n")
    forget()
    swept = CliRunner().invoke(app, ["sweep", "mine", "-c", "own.yaml"])
    assert swept.exit_code == 0 and "refused" not in swept.output, swept.output


def test_the_identity_of_its_steps_holds_its_own_files_and_what_they_import(project):
    def digests() -> list[str]:
        forget()
        chosen = configured()
        made = [steps.training(chosen, "mine", 0), steps.scoring(chosen, "mine"), steps.costing(chosen)]
        assert {"mynet.py", "blocks.py"} <= set(made[0].code)
        return [step.digest for step in made]

    before = digests()
    assert digests() == before
    write("beside.py", "x = 1\n")
    assert digests() == before
    write("blocks.py", BLOCKS + "# edited\n")
    edited = digests()
    assert all(one != other for one, other in zip(before, edited, strict=True))
    write("blocks.py", BLOCKS)
    write("mynet.py", NETWORK + "# edited\n")
    assert not set(digests()) & {*before, *edited}


def test_what_it_imports_of_hsisr_belongs_to_its_steps(project):
    write("blocks.py", BLOCKS + "from hsisr.models.transformer import FusionTransformer\n")
    forget()
    assert "hsisr.models.transformer" in steps.training(configured(), "mine", 0).closure


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"base": "nothere:Net"}, "models.mine.base: nothere:Net: there is no module nothere in "),
        ({"base": "mynet:Nett"}, "models.mine.base: mynet:Nett: mynet has no class Nett; its networks: Net, Alone"),
        ({"base": "mynet:NUMBER"}, "mynet:NUMBER: is no network; expected a class that inherits from torch.nn.Module"),
        ({"base": "mynet:Silent"}, r"mynet:Silent: has no forward; expected forward\(self, lr\)"),
        ({"base": "mynet:Odd"}, r"its forward takes \(self, lr, guide, mask\); expected forward\(self, lr\)"),
        ({"base": "mynet:Net", "widths": 3}, "models.mine.widths: unknown key; did you mean width"),
        ({"base": "mynet:Net", "width": "wide"}, "models.mine.width: 'wide' is not allowed; must be a valid integer"),
        ({"base": "my net"}, "models.mine.base: unknown model 'my net'; known models: nearest, .*import path"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_told_before_anything_is_made(project, recipe, message):
    with pytest.raises(HsisrError, match=message) as caught:
        configured(**recipe)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_to_be_found\n", "cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be"),
        ("1 / 0\n", r"cannot be imported: ZeroDivisionError: division by zero \(.*mynet.py, line 1\)"),
        ("raise SystemExit(3)\n", "cannot be imported: SystemExit: 3"),
        ("def (\n", "cannot be imported: SyntaxError: "),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_imported_is_one_line(project, text, message):
    write("mynet.py", text)
    with pytest.raises(HsisrError, match=message) as caught:
        configured()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("mynet:Small", r"super_resolve makes \(1, 5, 4, 4\) of LR \(1, 5, 4, 4\) and guide \(1, 3, 16, 16\); "),
        ("mynet:Failing", "mynet:Failing: super_resolve failed on LR .*: ValueError: not yet written"),
        ("mynet:Refusing", "mynet:Refusing: its constructor failed with bands=5: ValueError: 5 bands are too few"),
        ("mynet:Frozen", "mynet:Frozen: the image of forward has no gradient, so that nothing would be learnt"),
        ("mynet:Detached", "mynet:Detached: the image of forward has no gradient"),
        ("mynet:Weightless", "mynet:Weightless: the image of forward has no gradient"),
    ],
)  # fmt: skip
def test_what_fails_is_told_before_the_first_step(project, base, message):
    chosen = configured(base)
    with pytest.raises(HsisrError, match=message) as caught:
        train_one(chosen, chosen.model("mine"), 0)
    assert "\n" not in str(caught.value)


def test_a_guide_that_is_needed_and_not_there(project):
    registry.trust("mynet:Demanding")
    with pytest.raises(HsisrError, match="mynet:Demanding: needs a guide"):
        registry.build("mynet:Demanding", 4, 5, 0)
    with pytest.raises(HsisrError, match="mynet:Demanding: is made for guide_channels 3, and these images have 1"):
        registry.build("mynet:Demanding", 4, 5, 1)


def test_one_without_a_guide_is_not_given_one(project):
    chosen = configured("mynet:Alone")
    train_one(chosen, chosen.model("mine"), 0)
    network = load_model(chosen.path(paths.WEIGHTS, model="mine", seed=0))
    assert not as_model(network).takes_guide
    assert hsisr.super_resolve(np.ones((7, 6, 6), np.float32), model=network).shape == (7, 24, 24)


def test_a_model_file_imports_nothing_by_itself(project):
    chosen = configured()
    train_one(chosen, chosen.model("mine"), 0)
    path = chosen.path(paths.WEIGHTS, model="mine", seed=0)
    forget()
    write("mynet.py", "open('ran', 'w').close()\n" + NETWORK)
    with pytest.raises(HsisrError, match="tensors: mynet:Net: a class of somebody's own.*config.yaml") as caught:
        load_model(path)
    assert "\n" not in str(caught.value) and "mynet" not in sys.modules
    registry.trust("mynet:Net")
    load_model(path)
    assert "mynet" in sys.modules


def test_an_installed_package_brings_a_network(project, tmp_path, monkeypatch):
    """A package with an entry point; its sources, and no others, belong to the step."""
    place = tmp_path / "installed"
    (place / "bring-1.0.dist-info").mkdir(parents=True)
    (place / "bring-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: bring\nVersion: 1.0\n")
    (place / "bring-1.0.dist-info/entry_points.txt").write_text("[hsisr.models]\nbrought = bring.net:Net\n")
    (place / "bring").mkdir()
    (place / "bring/__init__.py").write_text("")
    (place / "bring/parts.py").write_text(BLOCKS)
    (place / "bring/net.py").write_text(NETWORK.replace("from blocks", "from .parts"))
    monkeypatch.syspath_prepend(place)
    own.installed_networks.cache_clear()
    try:
        assert "brought" in registry.names()
        benchmarks = {"indian_pines_x4": {"models": ["bicubic", "brought"]}}
        config = Config.parse({"benchmarks": benchmarks, "training": TRAINING, "patches": CONFIG["patches"]})
        benchmark.check(config)
        chosen = benchmark.resolve(config, "indian_pines_x4")
        assert {"bring/net.py", "bring/parts.py", "bring/__init__.py"} <= set(steps.training(chosen, "brought", 0).code)
        train_one(chosen, chosen.model("brought"), 0)
        path = chosen.path(paths.WEIGHTS, model="brought", seed=0)
        assert read_metadata(path)["base"] == "brought" and type(load_model(path)).__module__ == "bring.net"
    finally:
        own.installed_networks.cache_clear()


# ----- fit


def fitted(network, small, **more):
    patches = PatchFile(small.path(paths.PATCHES), seed=0)
    fit(network, patches, "fitted", Training(**TRAINING), **more)
    return patches


def imported(name: str):
    registry.trust(f"mynet:{name}")
    return own.load(f"mynet:{name}")


def test_fit_refuses_a_network_without_weights_to_train(project):
    with pytest.raises(HsisrError, match="Weightless: has no weights to train, or all of them are frozen"):
        fitted(imported("Weightless")(4), project)


def test_fit_refuses_what_is_easily_taken_for_its_arguments(project):
    path = project.path(paths.PATCHES)
    network, patches = imported("Net")(5, 3, 4), PatchFile(path)
    for arguments, fault in (
        ((imported("Net"), patches, "fitted"), "fit: model is <class .*; expected a torch.nn.Module, an object"),
        ((network, path, "fitted"), r"fit: patches is the path .*; give hsisr.patches.PatchFile\(...\) of it"),
        ((network, patches, "fitted", TRAINING), r"fit: training is a dict; give hsisr.config.Training\(...\)"),
    ):
        with pytest.raises(HsisrError, match=fault):
            fit(*arguments)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_fit_writes_a_model_file_of_any_network(project, kind):
    network = imported("Net")(5, 3, 4, width=6).to(kind)
    fitted(network, project)
    assert {weight.dtype for weight in network.parameters()} == {kind}
    told = read_metadata("fitted")
    assert (told["base"], told["options"], told["scale"]) == ("mynet:Net", {"width": 6}, 4)
    assert told["protocol"] == project.protocol
    pair = pair_files.read(project.path(paths.PAIR, item="indian_pines-test"))
    made = hsisr.super_resolve(pair.lr, pair.guide, model="fitted")
    np.testing.assert_allclose(made, predict(network, pair.lr, pair.guide), atol=1e-5)


def test_a_benchmark_takes_what_fit_has_written(project):
    fitted(imported("Net")(5, 3, 4, width=6), project)
    chosen = configured(width=6, kernel=[3, 3], weights="fitted/model.safetensors")
    train_one(chosen, chosen.model("mine"), 0)
    assert evaluate_model(chosen, "mine", "here").result.weights["sha256"] == file_hash("fitted/model.safetensors")
    other = configured(width=7, weights="fitted/model.safetensors")
    with pytest.raises(HsisrError, match="of another network: options"):
        train_one(other, other.model("mine"), 0)


def test_fit_says_when_a_network_cannot_be_built_again(project, capsys):
    network = imported("Net")(5, 3, 4, width=6, kernel=(5, 5))  # which it does not keep
    fitted(network, project)
    said = capsys.readouterr().err
    assert "fit: writes no model.safetensors: Net cannot be built again" in said and "options={...}" in said
    with pytest.raises(HsisrError, match="fitted/model.safetensors: no such model file"):
        load_model("fitted")
    fitted(network, project, options={"width": 6, "kernel": [5, 5]})
    assert "writes no" not in capsys.readouterr().err
    assert load_model("fitted").inside.kernel_size == (5, 5)


def test_fit_knows_a_network_whose_shapes_tell_nothing(project, capsys):
    """Two networks of the same weights that make other images are not the same."""
    write("mynet.py", NETWORK + textwrap.dedent("""

    class Scaled(Net):
        def __init__(self, bands, guide_channels, scale, gain: float = 1.0):
            super().__init__(bands, guide_channels, scale)
            self._gain = gain

        def forward(self, lr, guide):
            return self._gain * super().forward(lr, guide)
    """))  # fmt: skip
    network = imported("Scaled")(5, 3, 4, gain=2.0)
    fitted(network, project)
    assert "makes another image" in capsys.readouterr().err
    fitted(network, project, options={"gain": 2.0})
    assert load_model("fitted")._gain == 2
    fitted(network, project)
    assert "the one that is there is of an earlier run" in capsys.readouterr().err


def test_fit_knows_our_own_networks_by_themselves(project, capsys):
    """Also one that is trained on samples of its own, which are no images."""
    for network in (MulSR(4, 16, blocks=1, guide_channels=3, skip=True), DeepShare(5, 4, width=16, group=3, overlap=1)):
        fitted(network, project)
        again = load_model("fitted")
        assert type(again) is type(network)
        lr, guide = torch.rand(1, 5, 4, 4), torch.rand(1, 3, 16, 16)
        with torch.no_grad():
            images = [as_model(one.eval()).super_resolve(lr, guide) for one in (network, again)]
        assert torch.equal(*images)
    hybrid = registry.build("hybrid", 4, 5, 3, {"width": 8, "blocks": 1, "components": 3})
    samples = hybrid.prepare_training(pair_files.training_pairs(project), 0)
    fit(hybrid, samples, "fitted", Training(**TRAINING))
    told = read_metadata("fitted")
    assert (told["base"], told["scale"], told["bands"], told["guide_channels"]) == ("hybrid", 4, 5, 3)
    assert told["options"]["width"] == 8 and "writes no" not in capsys.readouterr().err


def test_a_class_inside_a_function_cannot_be_imported(project, capsys):
    class Local(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up = torch.nn.Conv2d(5, 5 * 16, 1)

        def forward(self, lr, guide):
            return torch.nn.functional.pixel_shuffle(self.up(lr), 4)

    fitted(Local(), project)
    assert "Local is defined inside a function, where no other program can import it" in capsys.readouterr().err
