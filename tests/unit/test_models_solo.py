"""hsisr.models.Solo: starts as bicubic, is taught by spectra and photographs, keeps noise out, ships with weights."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from hsisr.config import Training
from hsisr.degrade import Sensor, degrade, gaussian_footprint
from hsisr.degrade.custom import CustomProtocol
from hsisr.inference import load_model, predict, read_metadata, save_model
from hsisr.models import registry
from hsisr.models.apply import open_method
from hsisr.models.classical.bicubic import bicubic
from hsisr.models.options import SoloOptions
from hsisr.models.shipped import OPTIONS, shipped_model, shipped_models
from hsisr.models.solo import Solo, _blur
from hsisr.models.windows import HeldImages
from hsisr.samples import Sample
from hsisr.training import fit
from hsisr.training.objectives import Batch
from hsisr.training.objectives import build as objectives
from tests.unit.test_degrade_estimation import scene

SCALE, BANDS = 2, 12


def solo(trained: bool = True, **options) -> Solo:
    """A small network; trained: with last convolutions that are not zero."""
    torch.manual_seed(0)
    network = Solo(SCALE, width=8, blocks=1, **options).eval()
    if trained:
        for part in (network.deep, network.light) if network.light else (network.deep,):
            torch.nn.init.normal_(part.last.weight, std=0.05)
    return network


@pytest.fixture(scope="module")
def hr() -> np.ndarray:
    return scene(BANDS, 48).astype(np.float32)


@pytest.fixture(scope="module")
def lr(hr) -> np.ndarray:
    return degrade(hr, "wald", SCALE)


@pytest.mark.parametrize("bands", [1, 3, BANDS])
def test_untrained_it_is_bicubic_whatever_the_bands(lr, bands):
    np.testing.assert_allclose(predict(solo(trained=False), lr[:bands]), bicubic(lr[:bands], scale=SCALE), atol=1e-6)


def test_an_image_as_bright_again_is_the_same_image(lr):
    network = solo()
    assert np.abs(predict(network, lr) - bicubic(lr, scale=SCALE)).max() > 1e-3
    np.testing.assert_allclose(predict(network, 5 * lr), 5 * predict(network, lr), rtol=1e-3, atol=1e-4)


def test_the_order_of_the_bands_changes_nothing(lr):
    """The order, and the machine, had decided the signs of the components."""
    network, order = load_model(shipped_model(SCALE)), np.random.default_rng(0).permutation(BANDS)
    np.testing.assert_allclose(predict(network, lr[order]), predict(network, lr)[order], atol=1e-4)


def test_without_the_light_network_each_component_is_enlarged_alone():
    network, components, blur = solo(light=False), torch.randn(2, 3, 8, 8), torch.tensor([0.5, 0.25])
    alone = [network.details(components[:, number : number + 1], blur) for number in range(3)]
    assert alone[0].abs().max() > 1e-3
    torch.testing.assert_close(network.details(components, blur), torch.cat(alone, dim=1))
    assert all(name.startswith("deep.") for name in network.state_dict())


def test_eight_turns_see_no_direction(lr):
    network = solo(turns=8)
    turned = np.rot90(predict(network, np.ascontiguousarray(np.rot90(lr, axes=(1, 2)))), -1, (1, 2))
    np.testing.assert_allclose(turned, predict(network, lr), atol=1e-4)


def test_only_so_many_components_get_detail(lr):
    def rank(components: int) -> int:
        added = predict(solo(components=components), lr) - bicubic(lr, scale=SCALE)
        return int(np.linalg.matrix_rank(added.reshape(BANDS, -1).astype(np.float64), tol=1e-4))

    assert rank(1) == 1 < rank(4) <= 4


def test_dark_pixels_keep_their_colour_and_no_value_is_negative(lr):
    dark = lr.copy()
    dark[:, :, :12] *= 0.01
    enlarged, found = bicubic(dark, scale=SCALE), predict(solo(colour=0.2), dark)
    assert found.min() >= 0 > enlarged.min()
    pixels = found[:, :, :20], np.maximum(enlarged[:, :, :20], 0)
    assert (pixels[1].any(axis=0) <= pixels[0].any(axis=0)).all()  # no pixel turns black
    product, *norms = ((a * b).sum(axis=0) for a, b in (pixels, (pixels[0],) * 2, (pixels[1],) * 2))
    seen = product / np.sqrt(norms[0] * norms[1]).clip(1e-12)
    assert np.degrees(np.arccos(seen[norms[1] > 0].clip(-1, 1))).max() < 50
    assert np.abs(found - enlarged).max() > 1e-3


def test_the_blur_that_an_image_shows_steers_the_network(hr):
    network = solo()
    torch.nn.init.ones_(network.deep.steered.weight)
    noise = np.cumsum(np.cumsum(np.random.default_rng(0).standard_normal((1, 64, 64)), 1), 2)
    sharp, blurred = (
        _blur([(torch.from_numpy(image)[None].float(), None)], cautious=False)
        for image in (noise, gaussian_filter(noise, (0, 0.8, 0.8)))
    )
    assert blurred[0] > sharp[0] + 0.5
    components = torch.rand(1, 1, 8, 8)
    assert not torch.allclose(network.details(components, sharp), network.details(components, blurred))


def test_detail_of_nothing_but_noise_is_left_out():
    noise = np.random.default_rng(0).normal(0.5, 0.05, (BANDS, 64, 64)).astype(np.float32)
    network = solo()
    with torch.no_grad():
        plain = network(torch.from_numpy(noise)[None])[0].numpy()
    enlarged = bicubic(noise, scale=SCALE)
    found = predict(network, noise)
    added, would_add = found - enlarged, plain - enlarged
    assert (added**2).mean() < 0.15 * (would_add**2).mean()
    assert ((found - 0.5) ** 2).mean() < 1.01 * ((enlarged - 0.5) ** 2).mean()


@pytest.mark.parametrize("even", [0.0, 0.3])
def test_few_bands_of_which_one_is_even_have_a_result(lr, even):
    """They have a component without variance. A product may hold 0 wherever water vapour takes the light."""
    low = lr[:3].copy()
    low[1] = even
    found = predict(load_model(shipped_model(SCALE)), low)
    np.testing.assert_allclose(found, bicubic(low, scale=SCALE), atol=0.15)


def test_with_a_known_psf_it_agrees_better_with_the_lr_image(lr):
    footprint = gaussian_footprint(SCALE)
    sampler = footprint.sampler(SCALE, (48, 48))

    def disagreement(sensor: Sensor | None) -> float:
        return float(np.abs(sampler(predict(solo(), lr, sensor=sensor)) - lr).mean())

    assert disagreement(Sensor(footprint=footprint)) < 0.5 * disagreement(None)


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_a_known_psf_brings_no_noise_back(hr, noise):
    """Of nothing but noise, back-projection would restore what interpolation has smoothed."""
    noisy = degrade(hr, "wald", SCALE, noise, seed=1)
    sensor = Sensor(footprint=gaussian_footprint(SCALE))
    found = [((predict(solo(trained=False), noisy, sensor=known) - hr) ** 2).mean() for known in (sensor, None)]
    assert found[0] <= found[1]


def test_pixels_without_data_do_not_shape_the_subspace(lr):
    mask = np.ones((48, 48), bool)
    mask[:, :8] = False
    spoilt = lr.copy()
    spoilt[:, :, :4] = np.random.default_rng(0).random((BANDS, 24, 4))
    expected, found = (predict(solo(trained=False), image, sensor=Sensor(mask=mask)) for image in (lr, spoilt))
    np.testing.assert_allclose(found[:, :, 16:], expected[:, :, 16:], atol=1e-6)
    no_guide = np.empty((0, 48, 48), np.float32)
    learnt = [solo().estimate(HeldImages(image, no_guide, SCALE, mask), Sensor()) for image in (lr, spoilt)]
    for name, value in vars(learnt[0]).items():
        np.testing.assert_allclose(getattr(learnt[1], name), value, rtol=1e-5, err_msg=name)


class Patches:
    """The same few patches again and again."""

    label, guide_channels, wavelengths_nm, rule = "patches", 0, None, None

    def __init__(self, hr: np.ndarray) -> None:
        self.lr, self.hr, self.bands, self.size_px = degrade(hr, "wald", SCALE), hr, len(hr), 16

    def __len__(self) -> int:
        return 4

    def stack(self, numbers) -> Sample:
        rows = [8 * (number % 3) for number in numbers]
        low = np.stack([self.lr[:, row : row + 8, :8] for row in rows])
        return Sample(low, None, np.stack([self.hr[:, 2 * row : 2 * row + 16, :16] for row in rows]))

    def scene_of(self, number: int) -> str:
        return "s"

    def identity(self) -> dict:
        return {}


def test_it_trains_with_every_objective(hr, tmp_path):
    patches, photographs = Patches(hr), Patches(hr[:3])
    patches.wavelengths_nm = np.linspace(400, 700, BANDS)
    training = Training(
        epochs=None,
        max_steps=40,
        batch_size=4,
        learning_rate=3e-3,
        threads=1,
        device="cpu",
        select="last",
        objectives={"mixup": {}, "rgb": {}, "unlabelled": {}},
    )
    network = solo(trained=False)
    others = {"rgb": photographs, "unlabelled": patches}
    losses = objectives(training, 0, network, patches, others)
    batch = Batch.of([Sample(patches.lr[:, :8, :8], None, patches.hr[:, :16, :16])], torch.device("cpu"))
    names = [name for step in losses.steps(network.train(), batch, 0, 0.0) for name, _ in step]
    assert names == ["labelled", "mixup", "rgb", "unlabelled"]

    def error() -> float:
        return float(np.abs(predict(network, patches.lr)[:, :16, :16] - patches.hr[:, :16, :16]).mean())

    before = error()
    fit(network, patches, tmp_path, training, others=others)
    assert error() < before


def test_a_model_file_takes_any_number_of_bands(lr, tmp_path):
    facts = {"base": "solo", "scale": SCALE, "bands": BANDS, "guide_channels": 0, "options": {"width": 8, "blocks": 1}}
    save_model(tmp_path / "m.safetensors", solo(), facts)
    method = open_method(tmp_path / "m.safetensors", SCALE, 0)
    assert method.bands is None and not method.needs_guide
    np.testing.assert_array_equal(method(lr[:7], None), predict(load_model(tmp_path / "m.safetensors"), lr[:7]))


@pytest.mark.parametrize("path", shipped_models().values())
def test_weights_that_travel_have_the_options_that_are_told_of_them(path):
    options = read_metadata(path)["options"]
    assert SoloOptions(**options) == SoloOptions(**OPTIONS)
    assert load_model(path).colour == OPTIONS["colour"]


def test_scales_without_weights_have_none():
    assert list(shipped_models()) == [2, 3, 4, 8]
    assert shipped_model(5) is None and shipped_model(4) == shipped_models()[4]


@pytest.mark.parametrize("scale", sorted(shipped_models()))
@pytest.mark.parametrize("noise", [0, 0.02])
def test_weights_that_travel_beat_bicubic_on_an_image_of_no_photograph(scale, noise):
    """Straight edges of any direction, in bands of their own strengths."""
    y, x = np.mgrid[:96, :96]
    edges = [(np.cos(a) * (x - 48) + np.sin(a) * (y - 48) > b) for a, b in ((0.3, 0), (1.9, 12), (2.6, -20))]
    spectra = np.random.default_rng(1).random((BANDS, 3)) / 3
    cube = np.tensordot(spectra, np.stack(edges).astype(np.float32), 1).astype(np.float32)
    low = degrade(cube, "wald", scale, noise, seed=1)
    network = load_model(shipped_model(scale))
    errors = [((estimate - cube) ** 2).mean() for estimate in (predict(network, low), bicubic(low, scale=scale))]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("side", [40, 36])
@pytest.mark.parametrize("shape", ["lamp", "bar", "waves"])
def test_small_images_of_one_shape_are_no_worse_than_bicubic(shape, side):
    """What its spectrum seems to say of blur is the shape; the network would make each edge too strong."""
    y, x = np.mgrid[:side, :side]
    shapes = {
        "lamp": np.exp(-((y - 18) ** 2 + (x - 20) ** 2) / 120),
        "bar": (y > 14) & (y < 23),
        "waves": np.sin((y + 0.15 * x) / 6),
    }
    spectra = np.random.default_rng(1).random((BANDS, 2))
    cube = 0.2 + np.tensordot(spectra, np.stack([shapes[shape].astype(float), x / 40]), 1).astype(np.float32)
    psf = {"kind": "gaussian", "sigma_lr": 0.28}
    low = degrade(cube, CustomProtocol("sharp", {"psf": psf, "response": "none"}), 4)
    network = load_model(shipped_model(4))
    errors = [((estimate - cube) ** 2).mean() for estimate in (predict(network, low), bicubic(low, scale=4))]
    assert errors[0] < errors[1]


def test_a_registered_network_may_average_over_turns(lr):
    network = registry.build("solo", SCALE, BANDS, 0, {"turns": 4, "width": 8})
    assert network.turns == 4 and predict(network, lr).shape == (BANDS, 48, 48)
