"""hsisr.models.base: every registered model keeps the contract, and modules that do not know it are adapted to it."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

import hsisr
from hsisr import degrade
from hsisr.config import Objectives, Training
from hsisr.degrade import Pair, Sensor, gaussian_footprint
from hsisr.errors import HsisrError
from hsisr.inference import predict
from hsisr.metrics import score
from hsisr.models import MulSR, registry
from hsisr.models.apply import Method
from hsisr.models.base import Adapted, Model, as_model
from hsisr.models.network import Network
from hsisr.pipeline import pair_files, paths
from hsisr.pipeline.known_bands import KnownBands
from hsisr.pipeline.patch_files import PatchFile
from hsisr.scene import Scene
from hsisr.training import fit
from hsisr.training.objectives import Auxiliary, Batch, Iteration, Supervised, build
from hsisr.training.validation import Validation

SCALE, BANDS, CHANNELS = 2, 9, 3
#: Options that make every network small.
SMALL = {
    "hybrid": {"width": 8, "blocks": 1},
    "mulsr": {"width": 16, "blocks": 1},
    "mulsr-s": {"width": 16, "blocks": 1},
    "deepshare": {"width": 16},
    "deepshare-s": {"width": 16},
    "solo": {"width": 8, "blocks": 1},
    "sspsr": {"width": 16},
    "two-stream": {"width": 8},
    "transformer": {"width": 8, "heads": 2, "blocks": 2, "window": 4},
}
EVERY = registry.names()
NETWORKS = [name for name in EVERY if registry.entry(name).kind == "network"]


def built(name: str, scale: int = SCALE) -> Model:
    torch.manual_seed(0)
    return registry.build(name, scale, BANDS, CHANNELS, SMALL.get(name))


@pytest.fixture(scope="module")
def pair() -> Pair:
    rng = np.random.default_rng(0)
    hr = np.kron(rng.random((BANDS, 10, 10)), np.ones((4, 4))) + 0.05 * rng.random((BANDS, 40, 40))
    hr = hr.astype(np.float32)
    guide = hr[:CHANNELS] * np.float32(0.9)
    return Pair(hr.reshape(BANDS, 20, 2, 20, 2).mean((2, 4)), guide, hr, None)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_described_without_memory(name):
    """On PyTorch's `meta` device, as a model file's tensors are compared before the network is made."""
    with torch.device("meta"):
        described = registry.build(name, SCALE, BANDS, CHANNELS, SMALL.get(name))
    expected = {key: tensor.shape for key, tensor in built(name).state_dict().items()}
    assert {key: tensor.shape for key, tensor in described.state_dict().items()} == expected
    assert all(weights.is_meta for weights in described.parameters())


@pytest.mark.parametrize("name", EVERY)
def test_a_model_says_the_same_as_its_entry(name):
    model, entry = built(name), registry.entry(name)
    assert isinstance(model, Model) and as_model(model) is model
    assert isinstance(model, Network) == (entry.kind == "network")
    assert (model.kind, model.needs_guide, model.rgb_path) == (entry.kind, entry.needs_guide, entry.rgb_path)
    assert model.check_scale is entry.check_scale and model.scale == SCALE
    assert model.takes_sensor == ("sensor" in entry.options.model_fields or name in ("hybrid", "solo"))
    assert model.takes_guide or not model.needs_guide
    if model.kind == "network":
        assert model.bands == (BANDS if "bands" in entry.facts else None)
        assert model.guide_channels == (CHANNELS if "guide_channels" in entry.facts else 0)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.filterwarnings("ignore:the PSF cannot be measured")
def test_a_model_works_with_all_that_may_be_told(name, pair):
    """Whoever has a guide, a limit of memory and a sensor may pass them to any model."""
    model = built(name)
    sensor = Sensor(footprint=gaussian_footprint(SCALE), mask=np.ones((40, 40), bool))
    estimate = predict(model, pair.lr, pair.guide, memory=2**30, sensor=sensor)
    assert estimate.shape == pair.hr.shape and estimate.dtype == np.float32 and np.isfinite(estimate).all()
    method = Method(name, SCALE, model.needs_guide, model)
    assert method.takes_sensor == model.takes_sensor
    if model.needs_guide:
        with pytest.raises(HsisrError, match="needs a guide"):
            predict(model, pair.lr)
    else:
        assert predict(model, pair.lr).shape == pair.hr.shape


@pytest.mark.parametrize("name", EVERY)
def test_windows_of_a_model_start_at_its_period(name, pair):
    model = built(name)
    method = Method(name, SCALE, model.needs_guide, model)
    assert method.lr_period * SCALE % model.period_px == 0
    assert type(model.bytes_per_pixel(BANDS, CHANNELS)) is int
    assert model.bytes_per_pixel(BANDS, CHANNELS) > 4 * (BANDS + CHANNELS)
    assert method.bytes_per_pixel(BANDS, CHANNELS) == model.bytes_per_pixel(BANDS, CHANNELS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_trained_as_it_says(name, pair):
    network = built(name)
    lr, guide, hr = (torch.from_numpy(image)[None] for image in (pair.lr, pair.guide, pair.hr))
    if network.band_wise:
        some = network.super_resolve_bands(lr, guide, [3, 1])
        assert torch.allclose(some, network.super_resolve(lr, guide)[:, [3, 1]], atol=1e-5)
    else:
        with pytest.raises(HsisrError, match=f"{network.name}: takes all bands at once"):
            network.super_resolve_bands(lr, guide, [0])
    with pytest.raises(HsisrError, match=f"{network.name}: has no output at half the scale, as its alpha_weight is 0"):
        network.super_resolve_scales(lr, guide, [0])
    prepared = network.prepare_training(iter([("s", pair)]), seed=3)
    assert (prepared is not None) == (name == "hybrid")
    assert network.useful_untrained == (name in ("hybrid", "solo"))
    if prepared is None:
        batch = Batch(lr, guide, hr)
    else:
        batch = Batch(*map(torch.from_numpy, (vars(prepared.stack([0, 1])).values())))
    losses = list(Supervised(Training(bands_per_step=4), 0).losses(network, batch, 0))
    assert len(losses) == (3 if network.band_wise else 1) and all(loss.requires_grad for loss in losses)
    if network.rgb_path:
        assert network(lr[:, :8], modality="rgb").shape == (1, 8, 40, 40)


def test_pairs_are_not_made_for_a_network_that_does_not_ask_for_them():
    def pairs():
        raise AssertionError("asked for")
        yield

    assert all(built(name).prepare_training(pairs()) is None for name in NETWORKS if name != "hybrid")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("scale", [1, 2, 3, 5, 6, 8])
def test_a_scale_is_refused_before_and_by_the_model_itself(name, scale):
    def refused(check) -> bool:
        try:
            check()
        except HsisrError as error:
            assert f"scale {scale} is not allowed" in str(error)
            return True
        return False

    entry = registry.entry(name)
    assert refused(lambda: entry.check_scale(scale)) == refused(lambda: built(name, scale))
    if entry.kind == "network" and refused(lambda: entry.check_scale(scale)):
        facts = {fact: {"bands": BANDS, "guide_channels": CHANNELS}[fact] for fact in entry.facts}
        assert refused(lambda: type(built(name))(scale=scale, **facts))


# ----- modules of a user's own


class Plain(torch.nn.Module):
    """As docs/custom-experiments.md has it, without `super_resolve`: takes the guide where there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seen: list[int] = []

    def forward(self, lr, guide=None):
        self.seen.append(0 if guide is None else guide.shape[1])
        return self.weight * interpolate(lr, scale_factor=4)


class Blind(torch.nn.Module):
    """One that takes no guide and says so."""

    guide_channels = 0

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, lr):
        return self.weight * interpolate(lr, scale_factor=4)


class Asking(Blind):
    """One that takes none, but whose `super_resolve` asks for the argument."""

    def super_resolve(self, lr, guide):
        assert guide is None
        return self(lr)


class Banded(Blind):
    """One that is trained band by band; whole images are made of its bands."""

    def super_resolve_bands(self, lr, guide, bands):
        assert guide is None or guide.ndim == 4
        return self.weight * interpolate(lr[:, bands], scale_factor=4)


class Told(Blind):
    """One with a `super_resolve` that takes all that can be told."""

    guide_channels, scale, period_px, takes_sensor, maps_in_memory, width = CHANNELS, 4, 8, True, 3, 5
    heard = None

    def super_resolve(self, lr, guide, sensor=None, memory=None):
        self.heard = (tuple(guide.shape), sensor, memory)
        return self(lr)


def test_networks_predict_in_their_own_precision():
    network, lr, guide = MulSR(4, width=16, blocks=1), np.ones((3, 4, 5)), np.ones((3, 16, 20))
    expected = predict(network, lr, guide)
    np.testing.assert_array_equal(predict(network, lr, guide, 32), expected)  # as training.precision has it
    with pytest.raises(HsisrError, match="precision 16: expected one of 32, bf16, fp16"):
        predict(network, lr, guide, 16)
    np.testing.assert_allclose(predict(network.double(), lr, guide), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", [Plain, Blind, Asking, Banded, Told])
def test_a_module_of_ones_own_predicts_and_validates(small, kind):
    """Documented in custom-experiments.md; with a guide at hand and without, which it need not be able to take."""
    file = small.path(paths.PAIR, item="indian_pines-validation")
    pair = pair_files.read(file)
    expected = np.kron(pair.lr, np.ones((4, 4), np.float32))
    module = kind()
    np.testing.assert_allclose(predict(module, pair.lr, pair.guide), expected)
    found = Validation([file], 4, "mulsr")(module)
    assert found == pytest.approx(score(pair.hr, expected, 4, "mulsr", mask=pair.mask)["psnr"])
    if kind is not Told:
        np.testing.assert_allclose(predict(module, pair.lr), expected)
    assert module.training  # it is left as it was


@pytest.mark.parametrize("kind", [Plain, Blind, Banded])
def test_a_module_of_ones_own_is_trained_and_validated(small, tmp_path, kind):
    training = Training(epochs=None, max_steps=2, batch_size=2, learning_rate=0.1, threads=1, device="cpu")
    module, patches = kind(), PatchFile(small.path(paths.PATCHES))
    file = small.path(paths.PAIR, item="indian_pines-validation")
    outcome = fit(module, patches, tmp_path, training, validate=Validation([file], 4, "mulsr"))
    assert outcome.steps == 2 and np.isfinite(outcome.validation_psnr) and float(module.weight.detach()) != 1
    if kind is Plain:
        assert set(module.seen) == {patches.guide_channels} and patches.guide_channels > 0


def test_what_a_module_says_of_itself_is_its_contract(pair):
    module = Told()
    contract = as_model(module)
    assert isinstance(contract, Adapted) and contract.kind == "network" and contract.name == "Told"
    assert (contract.scale, contract.guide_channels, contract.period_px) == (4, CHANNELS, 8)
    assert contract.needs_guide and contract.takes_sensor and contract.takes_memory and not contract.rgb_path
    assert contract.working_bytes(31) == 4 * 3 * 5
    sensor, guide = Sensor(), np.zeros((CHANNELS, 80, 80), np.float32)
    predict(module, pair.lr, guide, memory=77, sensor=sensor)
    assert module.heard == ((1, CHANNELS, 80, 80), sensor, 77)
    with pytest.raises(HsisrError, match="^Told needs a guide"):
        predict(module, pair.lr)


def test_a_network_that_works_in_place_leaves_the_images_as_they_are():
    """It had changed the images of validation from one validation to the next, and those of the models after it."""

    class InPlace(torch.nn.Module):
        def forward(self, lr, guide):
            guide.zero_()
            return interpolate(lr.mul_(0.5), scale_factor=4)

    lr, guide = np.ones((3, 5, 5), np.float32), np.ones((2, 20, 20), np.float32)
    assert (predict(InPlace(), lr, guide) == 0.5).all() and (
        hsisr.super_resolve(lr, guide, model=InPlace()) == 0.5
    ).all()
    assert (lr == 1).all() and (guide == 1).all()


def test_what_a_module_does_not_say_has_a_default():
    contract = as_model(torch.nn.Conv2d(3, 7, 3))
    assert (contract.scale, contract.bands, contract.guide_channels, contract.period_px) == (None, None, None, 1)
    assert contract.takes_guide and not contract.needs_guide
    assert not (contract.takes_sensor or contract.takes_memory or contract.band_wise or contract.rgb_path)
    assert contract.alpha_weight == 0 and contract.prepare_training([("s", None)]) is None
    assert contract.working_bytes(31) == 4 * 20 * 7
    with pytest.raises(HsisrError, match="Conv2d: has no output at half the scale"):
        contract.super_resolve_scales(None, None, [0])
    with pytest.raises(HsisrError, match="Conv2d: takes all bands at once"):
        contract.super_resolve_bands(None, None, [0])


def test_something_else_under_the_name_of_a_trait_is_none_of_it():
    class Own(Blind):
        guide_channels = (1, 2)

        def __init__(self) -> None:
            super().__init__()
            self.scale, self.width = torch.nn.Parameter(torch.ones(3)), torch.nn.Linear(2, 2)

    contract = as_model(Own())
    assert contract.scale is None and contract.width is None and contract.guide_channels is None


def test_a_method_on_arrays_of_ones_own(pair):
    class Repeated:
        """No module, and no parameters."""

        def super_resolve(self, lr, guide):
            return np.kron(lr, np.ones((2, 2))) * (1 if guide is None else 2)

    contract = as_model(Repeated())
    assert contract.kind == "classical" and contract.working_bytes(2) == 8 * 8 * 2
    np.testing.assert_allclose(predict(Repeated(), pair.lr), np.kron(pair.lr, np.ones((2, 2))))
    np.testing.assert_allclose(predict(Repeated(), pair.lr, pair.guide), 2 * np.kron(pair.lr, np.ones((2, 2))))


def test_a_whole_scene_by_a_module_that_does_not_say_its_scale():
    lr, guide = np.random.default_rng(0).random((3, 8, 8), np.float32), np.zeros((1, 32, 32), np.float32)
    expected = np.kron(lr, np.ones((4, 4), np.float32))
    np.testing.assert_allclose(hsisr.super_resolve(lr, guide, model=Plain()), expected)
    np.testing.assert_allclose(hsisr.super_resolve(lr, model=Blind(), scale=4), expected)
    with pytest.raises(HsisrError, match="model Blind: nothing says its scale, nor is there a guide; give scale="):
        hsisr.super_resolve(lr, model=Blind())


class Faulty:
    """One that makes what no model should."""

    def __init__(self, made) -> None:
        self.super_resolve = lambda lr, guide=None: made


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (
            np.ones((3, 8, 8)),
            r"Faulty: makes an image \(3, 8, 8\) of an LR image \(3, 8, 8\) at scale 4; .*\(3, 32, 32\)",
        ),
        (np.ones((2, 32, 32)), r"Faulty: makes an image \(2, 32, 32\) of an LR image \(3, 8, 8\); expected"),
        (np.ones((32, 32)), r"Faulty: makes an image \(32, 32\)"),
        (np.full((3, 32, 32), np.nan), "Faulty: gives NaN or infinity for LR image"),
        (np.where(np.arange(32) == 7, np.inf, np.ones((3, 32, 32))), "Faulty: gives NaN or infinity for LR image"),
    ],
)
def test_what_a_model_makes_is_checked(made, fault):
    with pytest.raises(HsisrError, match=fault):
        hsisr.super_resolve(np.ones((3, 8, 8), np.float32), model=Faulty(made), scale=4)


def test_a_module_that_makes_no_image_is_one_line():
    lr = np.ones((3, 8, 8), np.float32)
    for make, fault in (
        (lambda lr: (lr,), r"makes tuple of an LR image"),
        (lambda lr: lr[0], r"makes \(3, 8, 8\) of an LR image"),
        (lambda lr: lr, r"makes an image \(3, 8, 8\) of an LR image \(3, 8, 8\) at scale 4"),
        (lambda lr: interpolate(lr, scale_factor=4) * float("nan"), "gives NaN or infinity"),
    ):
        module = Blind()
        module.forward = make
        with pytest.raises(HsisrError, match=f"Blind: {fault}"):
            hsisr.super_resolve(lr, model=module, scale=4)


def test_a_class_is_no_model():
    with pytest.raises(HsisrError, match=r"model Blind: is a class; give an object of it, such as Blind\(...\)"):
        hsisr.super_resolve(np.ones((3, 8, 8), np.float32), model=Blind, scale=4)


def test_validation_of_a_diverged_network_and_of_references_that_cannot_be_scored(small, tmp_path):
    file = small.path(paths.PAIR, item="indian_pines-validation")
    module = Blind()
    torch.nn.init.constant_(module.weight, float("nan"))
    with pytest.raises(HsisrError, match="indian_pines-validation: the network gives NaN or infinity, so training div"):
        Validation([file], 4, "mulsr")(module)
    known = KnownBands("the training patches", 5, None)
    Validation([file], 4, "mulsr").check(known)
    assert Validation(file, 4, "mulsr").files == [file]
    pair = pair_files.read(file)
    bright = degrade.Pair(pair.lr, pair.guide, pair.hr * 2, pair.mask, pair.metadata)
    pair_files.write(tmp_path / "bright.h5", "field", bright, Scene(bright.hr))
    with pytest.raises(HsisrError, match="validation, field: .* convention mulsr clips"):
        Validation([tmp_path / "bright.h5"], 4, "mulsr").check(known)
    with pytest.raises(HsisrError, match="validation, field: .* give the value that counts as 1 as peak"):
        Validation([tmp_path / "bright.h5"], 4, "plain").check(known)
    Validation([tmp_path / "bright.h5"], 4, "plain", peak=2.0).check(known)


def test_torchs_loader_takes_a_patch_file(small):
    patches = PatchFile(small.path(paths.PATCHES), seed=3)
    batches = list(DataLoader(patches, batch_size=8))
    assert len(batches) == -(-len(patches) // 8) and set(batches[0]) == {"lr", "guide", "hr"}
    expected = patches.stack(range(8, 16))
    for name in ("lr", "guide", "hr"):
        np.testing.assert_array_equal(batches[1][name].numpy(), getattr(expected, name))


def test_a_batch_of_more_patches_than_there_are(small, tmp_path, capsys, monkeypatch):
    patches = PatchFile(small.path(paths.PATCHES))
    training = Training(epochs=None, max_steps=1, batch_size=len(patches) + 1, threads=1, device="cpu")
    fit(Blind(), patches, tmp_path / "many", training)
    assert f"batch_size {len(patches) + 1} is more than the {len(patches)} samples" in capsys.readouterr().err
    fit(Blind(), patches, tmp_path / "few", training.model_copy(update={"batch_size": len(patches)}))
    assert "batch_size" not in capsys.readouterr().err
    huge = training.model_copy(update={"batch_size": 10**9})
    with pytest.raises(HsisrError, match=r"training.batch_size: 1000000000 samples of .* GiB left; choose at most"):
        fit(Blind(), patches, tmp_path / "huge", huge)


def test_validation_without_files_is_one_line():
    with pytest.raises(HsisrError, match="validation: there are no pair files to score a network on; ") as error:
        Validation([], 4, "mulsr")
    assert "\n" not in str(error.value)


def test_an_objective_that_asks_for_the_rgb_path_of_a_network_without_one_is_one_line(small):
    training = Training(objectives=Objectives(rgb={"dataset": "rgb_photos"}))
    patches = PatchFile(small.path(paths.PATCHES))
    with pytest.raises(HsisrError, match="training.objectives.rgb: Blind has no RGB path; it needs a `forward`"):
        build(training, 0, Blind(), patches, {})


def test_an_objective_with_patches_of_its_own_is_fed_as_the_run_is_and_may_end_the_epoch():
    class Samples:
        label, bands, guide_channels, wavelengths_nm, rule, size_px = "s", 3, 0, None, degrade.PROTOCOLS["wald"], 4

        def __len__(self):
            return 30

    class Extra(Auxiliary):
        name = "extra"

        def losses(self, model, batch, number, first=0):
            raise NotImplementedError

    class Other:
        """Has none, as the objective of docs/custom-experiments.md."""

        name, setting = "other", None

    training = Training(batch_size=4)
    extra = Extra(hsisr.config.Objective(count=2), training, Samples())
    iteration = Iteration([Other(), extra])
    assert iteration.samples_per_epoch(40) == 15 and extra.steps_per_batch(None, 3) == 2
    share = hsisr.training.feeding.Share(1, 2)
    iteration.feed_with(3, share)
    assert (extra.feed.workers, extra.feed.share, extra.feed.size) == (3, share, 4)


# ----- samples


def test_samples_are_known_by_content_and_not_by_path(small, tmp_path):
    path = Path(small.path(paths.PATCHES))
    (tmp_path / "other.h5").write_bytes(path.read_bytes())
    one = PatchFile(path, seed=1).identity()
    assert one == PatchFile(tmp_path / "other.h5", seed=1).identity()
    changed = [PatchFile(path, seed=2), PatchFile(path, 1, "dihedral"), PatchFile(path, 1, scenes=1)]
    assert all(one != file.identity() for file in changed)
    (tmp_path / "other.h5").write_bytes(path.read_bytes() + b"\0")
    assert one != PatchFile(tmp_path / "other.h5", seed=1).identity()


def test_samples_of_solved_scenes_are_known_by_content(pair):
    def samples(pair: Pair, seed: int):
        return built("hybrid").prepare_training([("s", pair)], seed)

    one = samples(pair, 0)
    assert one.identity() == samples(pair, 0).identity() != samples(pair, 1).identity()
    half = Pair(pair.lr / 2, pair.guide / 2, pair.hr / 2, None)
    assert one.identity()["sha256"] != samples(half, 0).identity()["sha256"]


# ----- nobody probes

#: File -> calls that it may make, and why.
ALLOWED = {
    "models/base.py": {"hasattr", "getattr", "signature"},  # the adapter of foreign objects, which is there for that
    "models/own.py": {"signature"},  # constructors of classes of somebody else's, whose arguments are their options
    "cli/app.py": {"signature"},  # options of a command, to which --quiet and --verbose are added
    "datasets/readers/__init__.py": {"signature"},  # names of a reader's options, for the message on an unknown one
}


def probes(tree: ast.AST) -> list[tuple[str, int]]:
    """Calls that ask an object for a trait: hasattr, getattr with a name in quotes, inspect.signature."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        literal = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
        if name in ("hasattr", "signature") or (name == "getattr" and literal):
            found.append((name, node.lineno))
    return found


def test_nobody_probes():
    package = Path(hsisr.__file__).parent
    files = sorted(package.rglob("*.py"))
    assert len(files) > 100
    for file in files:
        allowed = ALLOWED.get(file.relative_to(package).as_posix(), set())
        rest = [found for found in probes(ast.parse(file.read_text())) if found[0] not in allowed]
        assert not rest, f"{file}: give the trait a default in the contract (hsisr/models/base.py) instead: {rest}"


@pytest.mark.parametrize("line", ["hasattr(x, n)", "getattr(x, 'a', 0)", "inspect.signature(f)", "signature(f)"])
def test_probing_is_noticed(line):
    assert len(probes(ast.parse(line))) == 1
    assert not probes(ast.parse("getattr(x, field.name)"))
