"""hsisr.models.DeepShare: against vectors of the paper's program, and against the literal form elsewhere."""

import json

import numpy as np
import pytest
import torch

from hsisr import degrade, inference
from hsisr.errors import HsisrError
from hsisr.models import DeepShare, Sspsr, load_official, registry
from hsisr.models.resize import upsample_bicubic
from tests.unit.plain_deepshare import PlainDeepShare
from tests.unit.vectors import filled, relative

VECTORS = ("31bands_x4", "31bands_x8", "128bands_x4")


def twins(bands: int, scale: int, seed: int = 0, **options) -> tuple[DeepShare, PlainDeepShare]:
    """The fast and the literal form with the same weights, in float64."""
    torch.manual_seed(seed)
    plain = PlainDeepShare(bands, scale, **options).double()
    with torch.no_grad():
        for name, bias in plain.named_parameters():
            if name.endswith("conv_du.0.bias"):
                bias.fill_(1)  # no channel of the attention is dead, so that all have gradients to compare
    return load_official(DeepShare(bands, scale, **options).double(), plain.state_dict()), plain


def images(bands: int, scale: int, size: tuple[int, int] = (3, 2)) -> tuple[torch.Tensor, torch.Tensor]:
    """An LR image and its bicubic enlargement."""
    lr = np.random.default_rng(bands).random((1, bands, *size))
    return torch.from_numpy(lr), torch.from_numpy(degrade.imresize(lr, scale))


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("path", ["spectral", "rgb"])
def test_reference_vectors(extra_data, name, path):
    vectors = np.load(extra_data / "reference" / f"deepshare_{name}.npz")
    bands, scale = vectors["spectral_lr"].shape[1], int(name.rsplit("x", 1)[1])
    weights = filled(extra_data / "reference", f"deepshare_{name}_state_dict.json")
    model = load_official(DeepShare(bands, scale, width=32).double(), weights)
    lr, bicubic = (torch.tensor(vectors[f"{path}_{key}"]) for key in ("lr", "bicubic"))
    lr.requires_grad_()
    sr = model(lr, bicubic, modality=path)
    (sr * torch.tensor(vectors[f"{path}_probe"])).sum().backward()

    assert relative(sr, vectors[f"{path}_sr"]) < 1e-10
    assert relative(lr.grad, vectors[f"{path}_grad_lr"]) < 1e-10
    parameters = dict(model.named_parameters())
    norms = np.array([float(parameters[key].grad.norm()) for key in vectors[f"{path}_grad_norm_keys"]])
    assert np.abs(norms - vectors[f"{path}_grad_norms"]).max() / vectors[f"{path}_grad_norms"].max() < 1e-10


@pytest.mark.parametrize("name", VECTORS)
def test_published_keys_and_shapes(extra_data, name):
    shapes = json.loads((extra_data / "reference" / f"deepshare_{name}_state_dict.json").read_text())
    bands, scale = (int(n) for n in name.split("bands_x"))
    model = DeepShare(bands, scale, width=32)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == shapes


def test_published_size():
    assert sum(parameter.numel() for parameter in DeepShare(31, 4).parameters()) == 21_460_975


@pytest.mark.parametrize(
    ("bands", "scale", "options"),
    [
        (31, 2, {"width": 16}),
        (31, 3, {"width": 16}),
        (128, 8, {"width": 16}),  # no vector of the paper's program has these two together
        (9, 6, {"width": 32}),
        (8, 4, {"width": 16}),
        (10, 4, {"width": 16, "group": 4, "overlap": 3}),
        (10, 4, {"width": 16, "group": 5, "overlap": 0}),
    ],
)
def test_equals_the_literal_form(bands, scale, options):
    model, plain = twins(bands, scale, **options)
    for modality, channels in (("spectral", bands), ("rgb", options.get("group", 8))):
        lr, bicubic = images(channels, scale)
        probe = torch.randn(bicubic.shape, dtype=torch.float64)
        outputs = [network(lr, bicubic, modality=modality) for network in (model, plain)]
        assert relative(outputs[0], outputs[1].detach()) < 1e-12
        for sr in outputs:
            (sr * probe).sum().backward()
    literal = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        assert relative(parameter.grad, literal[name].grad) < 1e-10, name


def test_groups_in_several_batches_are_the_same_groups(monkeypatch):
    model, plain = twins(20, 2, width=16)
    lr, bicubic = images(20, 2)
    for batch in (1, 2, 100):
        monkeypatch.setattr(DeepShare, "_batch", lambda self, lr, batch=batch: batch)
        assert relative(model(lr, bicubic), plain(lr, bicubic).detach()) < 1e-12


def test_batch_of_groups_stays_below_the_blocks_that_fault_their_pages_in():
    model = DeepShare(31, 4, width=32)
    small, large = model._batch(torch.zeros(1, 31, 4, 4)), model._batch(torch.zeros(1, 31, 512, 512))
    assert small > 31 and large == 1
    with torch.autocast("cpu", torch.bfloat16):
        assert model._batch(torch.zeros(1, 31, 4, 4)) == 2 * small


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (16, 5)])
def test_bicubic_image_is_that_of_the_protocol(scale, size):
    image = np.random.default_rng(0).random((2, 3, *size))
    expected = degrade.imresize(image, scale)
    np.testing.assert_allclose(upsample_bicubic(torch.from_numpy(image), scale), expected, rtol=0, atol=1e-14)
    single = upsample_bicubic(torch.from_numpy(image).float(), scale)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-6)


def test_bicubic_image_passes_the_gradient_and_keeps_its_precision_under_autocast():
    image = torch.rand(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: upsample_bicubic(x, 3), image)
    exact = upsample_bicubic(image.detach().float(), 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(upsample_bicubic(image.detach().float(), 4), exact)


@pytest.mark.parametrize("modality", ["spectral", "rgb"])
def test_bicubic_image_is_made_where_it_is_not_given(modality):
    model, plain = twins(12, 4, width=16)
    lr, bicubic = images({"spectral": 12, "rgb": 8}[modality], 4)
    assert relative(model(lr, modality=modality), plain(lr, bicubic, modality=modality).detach()) < 1e-12


def test_sspsr_is_the_spectral_path_without_the_rgb_path():
    model, plain = twins(12, 4, width=16)
    sspsr = Sspsr(12, 4, width=16).double()
    assert set(sspsr.state_dict()) == {key for key in model.state_dict() if "_RGB" not in key}
    sspsr.load_state_dict({key: value for key, value in model.state_dict().items() if "_RGB" not in key})
    lr, bicubic = images(12, 4)
    assert relative(sspsr(lr), plain(lr, bicubic).detach()) < 1e-12


def test_skip_starts_as_the_bicubic_image_and_adds_it_to_the_published_output():
    fresh = DeepShare(12, 4, width=16, skip=True).double()
    model, _ = twins(12, 4, width=16)
    for modality, channels in (("spectral", 12), ("rgb", 8)):
        lr, bicubic = images(channels, 4)
        assert torch.equal(fresh(lr, bicubic, modality), bicubic)
        expected = model(lr, bicubic, modality) + bicubic
        trained = DeepShare(12, 4, width=16, skip=True).double()
        trained.load_state_dict(model.state_dict())
        assert torch.allclose(trained(lr, bicubic, modality), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [4, 3])
def test_with_skip_the_first_maps_show_the_image_and_no_pattern(scale):
    rng = np.random.default_rng(0)
    lr = torch.from_numpy(rng.random((1, 12, 24, 24)).astype(np.float32))
    even = lr.mean((2, 3), keepdim=True).expand_as(lr)

    def pattern(skip: bool) -> float:
        """Standard deviation over the joined branches of an image that is 0 everywhere, beside what a real one adds."""
        torch.manual_seed(0)
        network = DeepShare(12, scale, width=32, skip=skip)
        with torch.no_grad():
            nothing = network._join_groups(torch.zeros_like(lr))[..., 16:-16, 16:-16]
            detail = (network._join_groups(lr) - network._join_groups(even))[..., 16:-16, 16:-16]
        return float(nothing.std((2, 3)).mean() / detail.std((2, 3)).mean())

    assert pattern(skip=True) == 0
    assert pattern(skip=False) > 0.1


def test_without_skip_all_weights_start_as_the_papers_program_has_them():
    torch.manual_seed(0)
    model = DeepShare(12, 4, width=16)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            bound = module.weight[0].numel() ** -0.5  # torch's: uniform, weights and biases
            assert 0.5 * bound < module.weight.abs().max() <= bound
            assert 0 < module.bias.abs().max() <= bound


@pytest.mark.parametrize("form", ["flat", "model", "module"])
def test_published_checkpoint_forms(tmp_path, form):
    model, _ = twins(12, 4, width=16)
    weights = {key: value.float() for key, value in model.state_dict().items()}
    content = {
        "flat": weights,
        "model": {"model": weights, "optimizer": {"state": {}}, "epoch": 10},
        "module": {"model": {f"module.{key}": value for key, value in weights.items()}},
    }[form]
    torch.save(content, tmp_path / "published.pth")
    loaded = load_official(DeepShare(12, 4, width=16), tmp_path / "published.pth")
    assert all(torch.equal(value, weights[key]) for key, value in loaded.state_dict().items())


def test_checkpoint_of_another_network_is_refused_key_by_key():
    with pytest.raises(HsisrError, match=r"does not fit Sspsr; unexpected: .*trunk_RGB\.head\.weight"):
        load_official(Sspsr(12, 4, width=16), DeepShare(12, 4, width=16).state_dict())
    with pytest.raises(HsisrError, match=r"missing: branch1\.upsample\.2\.weight"):
        load_official(DeepShare(12, 8, width=16), DeepShare(12, 4, width=16).state_dict())


@pytest.mark.parametrize("name", ["deepshare", "deepshare-s", "sspsr"])
def test_registered_models_super_resolve_an_image_with_and_without_a_guide(name):
    network = registry.build(name, 3, 9, 0, {"width": 16})
    assert isinstance(network, DeepShare) == (name != "sspsr")
    assert network.skip == (name == "deepshare-s")
    lr = np.random.default_rng(0).random((9, 4, 5)).astype(np.float32)
    without = inference.predict(network, lr)
    assert without.shape == (9, 12, 15) and without.dtype == np.float32
    np.testing.assert_array_equal(inference.predict(network, lr, np.ones((3, 12, 15))), without)
    assert not registry.entry(name).needs_guide


def test_runs_under_bfloat16_autocast_forward_and_backward():
    model, _ = twins(12, 4, width=16)
    model = model.float()
    lr, _ = images(12, 4)
    lr = lr.float()
    exact = model(lr)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(lr)
    assert 0 < relative(rough.float(), exact) < 0.05
    rough.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for n, p in model.named_parameters() if "_RGB" not in n)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_equals_the_cpu_on_a_gpu():
    model, _ = twins(31, 4, width=32)
    lr, _ = images(31, 4)
    expected = model(lr).detach()
    assert relative(model.cuda()(lr.cuda()).cpu(), expected) < 1e-10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 5}, "scale 5 is not allowed; expected 2, 3, 4, 6, 8"),
        ({"scale": 1}, "scale 1 is not allowed"),
        ({"scale": 4.0}, "scale 4.0 is not allowed"),
        ({"width": 24}, "width: 24 is not allowed; .*multiple of 16"),
        ({"bands": 7}, "7 bands are fewer than a group of 8"),
        ({"overlap": 8}, "overlap must be less than group"),
        ({"group": 0}, "group: 0 is not allowed"),
    ],
)
def test_arguments_that_are_not_allowed(arguments, message):
    with pytest.raises(HsisrError, match=message) as error:
        DeepShare(**{"bands": 31, "scale": 4, "width": 16} | arguments)
    assert "\n" not in str(error.value)


def test_prediction_before_training_in_double_precision():
    network, lr = DeepShare(8, 2, width=16).double(), torch.rand(1, 8, 3, 7, dtype=torch.float64)
    with torch.inference_mode():
        expected = network(lr)
    lr.requires_grad_()
    found = network(lr)
    found.sum().backward()
    assert torch.equal(found.detach(), expected) and lr.grad.abs().max() > 0


def test_scale_may_be_numpys():
    assert DeepShare(8, np.int64(4), width=16)(torch.zeros(1, 8, 2, 3)).shape == (1, 8, 8, 12)


@pytest.mark.parametrize(
    ("lr", "bicubic", "modality", "message"),
    [
        ((2, 12, 4), None, "spectral", r"shape \(2, 12, 4\), expected \(N, 12, h, w\)"),
        ((2, 8, 4, 4), None, "spectral", r"expected \(N, 12, h, w\)"),
        ((2, 3, 4, 4), None, "rgb", r"expected \(N, 8, h, w\): RGB mixed into 8 channels"),
        ((2, 12, 4, 4), (2, 12, 16, 12), "spectral", r"bicubic image has shape \(2, 12, 16, 12\)"),
        ((2, 12, 4, 4), None, "infrared", "unknown modality 'infrared'"),
    ],
)
def test_inputs_that_do_not_fit(lr, bicubic, modality, message):
    model = DeepShare(12, 4, width=16)
    with pytest.raises(HsisrError, match=message):
        model(torch.zeros(lr), None if bicubic is None else torch.zeros(bicubic), modality)
