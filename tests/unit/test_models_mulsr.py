"""hsisr.models.MulSR: against vectors of the paper's program, and against the literal form in other configurations."""

import json

import numpy as np
import pytest
import torch

from hsisr.errors import HsisrError
from hsisr.models import MulSR, load_official
from tests.unit.plain_mulsr import PlainMulSR
from tests.unit.vectors import filled, relative


@pytest.fixture(scope="module")
def official(extra_data) -> dict[str, np.ndarray]:
    """The published keys and shapes with the values of the reference vectors."""
    return filled(extra_data / "reference", "mulsr_state_dict.json")


def twins(scale: int = 4, seed: int = 0, **options) -> tuple[MulSR, PlainMulSR]:
    """The fast and the literal form with the same weights, away from their initial values, in float64."""
    torch.manual_seed(seed)
    plain = PlainMulSR(scale, **options).double()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if name.endswith(("bias", "gamma", "weight_g")):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return load_official(MulSR(scale, **options).double(), plain.state_dict()), plain


@pytest.mark.parametrize("scale", [4, 8, 16])
def test_reference_vectors(extra_data, official, scale):
    vectors = np.load(extra_data / "reference" / f"mulsr_x{scale}.npz")
    model = load_official(MulSR(scale).double(), official)
    bands, guide = (torch.tensor(vectors[key], requires_grad=True) for key in ("hsi", "rgb"))
    sr, difference = model(bands, guide)
    (sr * torch.tensor(vectors["probe"])).sum().backward()

    assert relative(sr, vectors["sr"]) < 1e-10
    assert relative(difference, vectors["difference"]) < 1e-10
    assert relative(bands.grad, vectors["grad_hsi"]) < 1e-10
    assert relative(guide.grad, vectors["grad_rgb"]) < 1e-10
    parameters = dict(model.named_parameters())
    norms = np.array([float(parameters[key].grad.norm()) for key in vectors["grad_norm_keys"]])
    assert np.abs(norms - vectors["grad_norms"]).max() / vectors["grad_norms"].max() < 1e-10


def test_published_keys_shapes_and_size(extra_data):
    shapes = json.loads((extra_data / "reference" / "mulsr_state_dict.json").read_text())
    model = MulSR(8)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == shapes
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_635_548


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 2, "width": 16, "blocks": 1},
        {"scale": 4, "width": 28, "blocks": 2, "guide_channels": 1},
        {"scale": 6, "width": 16, "blocks": 3, "guide_channels": 4},
    ],
)
def test_equals_the_literal_form(options):
    model, plain = twins(**options)
    scale, channels = options["scale"], options.get("guide_channels", 3)
    bands = torch.rand(2, 3, 4, 3, dtype=torch.float64)
    guide = torch.rand(2, channels, 4 * scale, 3 * scale, dtype=torch.float64)
    probe = torch.randn(2, 1, 4 * scale, 3 * scale, dtype=torch.float64)
    outputs = [network(bands, guide) for network in (model, plain)]
    assert relative(outputs[0][0], outputs[1][0]) < 1e-12
    assert relative(outputs[0][1], outputs[1][1]) < 1e-12
    for sr, _ in outputs:
        (sr * probe).sum().backward()
    literal = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        assert relative(parameter.grad, literal[name].grad) < 1e-10, name


@pytest.mark.parametrize("band_batch", [None, 1, 2, 5])
def test_super_resolve_is_a_call_a_band(band_batch):
    model, plain = twins(width=16, blocks=2)
    lr, guide = torch.rand(2, 5, 3, 4, dtype=torch.float64), torch.rand(2, 3, 12, 16, dtype=torch.float64)
    with torch.inference_mode():
        expected = plain.super_resolve(lr, guide)
        assert relative(model.super_resolve(lr, guide, band_batch), expected) < 1e-12
        assert relative(model.super_resolve_bands(lr, guide, [4, 0, 2]), expected[:, [4, 0, 2]]) < 1e-12


def test_float32_is_as_exact_as_the_literal_form():
    model, plain = twins(width=28, blocks=2)
    lr, guide = torch.rand(1, 3, 6, 6, dtype=torch.float64), torch.rand(1, 3, 24, 24, dtype=torch.float64)
    with torch.inference_mode():
        truth = plain.super_resolve(lr, guide)
        lr, guide = lr.float(), guide.float()
        fast, literal = (relative(n.float().super_resolve(lr, guide), truth) for n in (model, plain))
    assert 0 < fast <= 2 * literal


def test_guide_shared_by_samples_has_the_gradient_of_its_copies():
    model, _ = twins(width=16, blocks=2)
    bands, guide = torch.rand(6, 3, 3, 3, dtype=torch.float64), torch.rand(2, 3, 12, 12, dtype=torch.float64)
    shared, copied = guide.clone().requires_grad_(), guide.clone().requires_grad_()
    probe = torch.randn(6, 1, 12, 12, dtype=torch.float64)
    (model(bands, shared)[0] * probe).sum().backward()
    (model(bands, copied.repeat_interleave(3, 0))[0] * probe).sum().backward()
    assert relative(shared.grad, copied.grad) < 1e-12


def test_folded_weights_do_not_outlive_a_call():
    model, _ = twins(width=16, blocks=1)
    lr, guide = torch.rand(1, 3, 3, 3, dtype=torch.float64), torch.rand(1, 3, 12, 12, dtype=torch.float64)
    with torch.inference_mode():
        before = model.super_resolve(lr, guide)
    model.super_resolve(lr, guide).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.mul_(1.1)
        assert relative(model.super_resolve(lr, guide), before) > 1e-3


GONE = {
    "dsca": ("DULR.",),
    "mii": ("DULR.", "down.", "cross_reduce.", "up."),
    "lfcc": ("uint.", "uint_x2.", "optimize_down.", "optimize_up."),
}


@pytest.mark.parametrize("ablation", list(GONE))
def test_ablation_removes_its_parameters_and_no_others(ablation):
    full, ablated = MulSR(4, 16, 1), MulSR(4, 16, 1, **{ablation: False})
    expected = {key for key in full.state_dict() if not key.startswith(GONE[ablation])}
    assert set(ablated.state_dict()) == expected
    sr, difference = ablated(torch.rand(1, 3, 3, 3), torch.rand(1, 3, 12, 12))
    assert (difference is None) == (ablation == "lfcc")
    (sr.sum() if difference is None else sr.sum() + difference.sum()).backward()
    assert all(parameter.grad is not None for parameter in ablated.parameters())


def test_ablations_compute_what_is_left():
    full, plain = twins(width=16, blocks=1)
    bands, guide = torch.rand(1, 3, 3, 3, dtype=torch.float64), torch.rand(1, 3, 12, 12, dtype=torch.float64)
    without = MulSR(4, 16, 1, dsca=False).double()
    without.load_state_dict(full.state_dict(), strict=False)
    plain.DULR = torch.nn.Identity()
    assert relative(without(bands, guide)[0], plain(bands, guide)[0]) < 1e-12

    without = MulSR(4, 16, 1, mii=False).double()
    without.load_state_dict(full.state_dict(), strict=False)
    plain.DULR = Zero()
    with torch.no_grad():
        plain.up[0].bias.zero_()
        assert relative(without(bands, guide)[0], plain(bands, guide)[0]) < 1e-12


class Zero(torch.nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


def test_without_both_factors_the_alpha_branch_is_gone():
    single = MulSR(4, 16, 1, mii=False, lfcc=False)
    assert {key.split(".")[0] for key in single.state_dict()} == {
        "hsi_head_x2",
        "rgb_head_x2",
        "inter_body_x2",
        "reduce_x2",
        "end_x2",
    }
    assert single(torch.rand(1, 3, 3, 3), torch.rand(1, 3, 12, 12))[0].shape == (1, 1, 12, 12)


def test_skip_starts_as_interpolation_of_the_band_itself():
    lr = torch.rand(1, 4, 5, 6)
    with torch.inference_mode():
        sr = MulSR(4, 16, 1, skip=True).super_resolve(lr, torch.rand(1, 3, 20, 24))
    expected = torch.nn.functional.interpolate(lr, scale_factor=4, mode="bicubic", align_corners=False)
    assert torch.allclose(sr, expected, atol=1e-6)


def test_skip_adds_to_the_published_output():
    model, plain = twins(width=16, blocks=1)
    skipping = MulSR(4, 16, 1, skip=True).double()
    skipping.load_state_dict(model.state_dict())
    bands, guide = torch.rand(1, 3, 3, 3, dtype=torch.float64), torch.rand(1, 3, 12, 12, dtype=torch.float64)
    added = skipping(bands, guide)[0] - plain(bands, guide)[0]
    expected = torch.nn.functional.interpolate(bands[:, 2:], scale_factor=4, mode="bicubic", align_corners=False)
    assert torch.allclose(added, expected, atol=1e-12)


def test_runs_under_bfloat16_autocast():
    model, _ = twins(width=16, blocks=1)
    model = model.float()
    lr, guide = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        exact = model.super_resolve(lr, guide)
        with torch.autocast("cpu", torch.bfloat16):
            assert relative(model.super_resolve(lr, guide).float(), exact) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 3}, "scale 3 is not allowed; expected an even number"),
        ({"scale": 0}, "scale 0 is not allowed; expected an even number"),
        ({"scale": 4.0}, "scale 4.0 is not allowed; expected an even number"),
        ({"scale": "4"}, "scale '4' is not allowed; expected an even number"),
        ({"scale": 4, "width": 32}, "width: 32 is not allowed; .*16, 28, 40, 52, 64"),
        ({"scale": 4, "blocks": 0}, "blocks: 0 is not allowed"),
        ({"scale": 4, "guide_channels": 0}, "guide_channels must be at least 1"),
    ],
)
def test_arguments_that_are_not_allowed(options, message):
    with pytest.raises(HsisrError, match=message):
        MulSR(**options)


@pytest.mark.parametrize(
    ("bands", "guide", "message"),
    [
        ((2, 3, 4), (1, 3, 16, 16), "bands have shape"),
        ((1, 4, 4, 4), (1, 3, 16, 16), "bands have shape"),
        ((1, 3, 4, 4), (1, 3, 16, 12), "guide has shape"),
        ((1, 3, 4, 4), (1, 1, 16, 16), "guide has shape"),
        ((3, 3, 4, 4), (2, 3, 16, 16), "3 samples of bands do not go with 2 guides"),
    ],
)
def test_shapes_that_do_not_fit(bands, guide, message):
    with pytest.raises(HsisrError, match=message):
        MulSR(4, 16, 1)(torch.zeros(bands), torch.zeros(guide))


@pytest.mark.parametrize("lr", [(1, 2, 4, 4), (2, 5, 4, 4)])
def test_images_that_do_not_fit(lr):
    with pytest.raises(HsisrError, match=r"at least 3 bands|2 samples of bands do not go with 1 guides"):
        MulSR(4, 16, 1).super_resolve(torch.zeros(lr), torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("bands", [[3], [-1], [], [0.0], [True, False, True], 1, [[0], [1], [2]]])
def test_bands_that_there_are_not(bands):
    with pytest.raises(HsisrError, match=r"band numbers are .* \(K,\) or \(2, K\) whole numbers from 0 to 2"):
        MulSR(4, 16, 1).super_resolve_bands(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 16, 16), bands)


def test_bands_of_each_image_may_differ():
    torch.manual_seed(0)
    model = MulSR(4, width=16, blocks=1)
    lr, guide = torch.rand(2, 7, 4, 4), torch.rand(2, 3, 16, 16)
    chosen = torch.tensor([[0, 6, 3], [2, 1, 5]])
    found = model.super_resolve_bands(lr, guide, chosen)
    for image in range(2):
        alone = model.super_resolve_bands(lr[image : image + 1], guide[image : image + 1], chosen[image])
        torch.testing.assert_close(found[image : image + 1], alone, rtol=1e-5, atol=1e-6)


def test_alpha_head_leaves_the_published_network_as_it_is():
    torch.manual_seed(3)
    published = MulSR(4, 16, 1)
    torch.manual_seed(3)
    supervised = MulSR(4, 16, 1, alpha_weight=0.5)
    own = set(supervised.state_dict()) - set(published.state_dict())
    assert {key.split(".")[0] for key in own} == {"end"}
    supervised.load_state_dict({**supervised.state_dict(), **published.state_dict()})
    lr, guide = torch.rand(2, 4, 3, 5), torch.rand(2, 3, 12, 20)
    sr, half = supervised.super_resolve_scales(lr, guide, [3, 1])
    assert torch.equal(sr, published.super_resolve_bands(lr, guide, [3, 1]))
    assert half.shape == (2, 2, 6, 10)


def test_alpha_head_starts_at_the_interpolated_band():
    model = MulSR(4, 16, 1, skip=True, alpha_weight=1)
    lr = torch.rand(1, 3, 4, 5)
    _, half = model.super_resolve_scales(lr, torch.rand(1, 3, 16, 20), [0, 1, 2])
    assert torch.allclose(half, torch.nn.functional.interpolate(lr, scale_factor=2, mode="bicubic"))


def test_alpha_weight_needs_lfcc():
    with pytest.raises(HsisrError, match="alpha_weight needs lfcc"):
        MulSR(4, 16, 1, lfcc=False, alpha_weight=1)
