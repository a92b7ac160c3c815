"""hsisr.models.TwoStream and FusionTransformer: any shape, start as bicubic, learn; attention against a plain loop."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate, l1_loss

from hsisr.errors import HsisrError
from hsisr.evaluation.analysis import runtime
from hsisr.inference import Options, finetune, load_model, predict
from hsisr.models import FusionTransformer, TwoStream, registry
from hsisr.models.transformer import WindowAttention
from tests.unit import own_scene

BASES = ("two-stream", "transformer")
SMALL = {"two-stream": {"width": 8}, "transformer": {"width": 8, "blocks": 2, "heads": 2, "window": 4}}

pytestmark = pytest.mark.usefixtures("one_thread")


def small(base: str, scale: int = 4, bands: int = 5, channels: int = 3, **options) -> torch.nn.Module:
    """A small network with a last layer that does something."""
    torch.manual_seed(0)
    network = registry.build(base, scale, bands, channels, SMALL[base] | options)
    torch.nn.init.normal_(network.last.weight, std=0.1)
    return network


def images(scale: int = 4, bands: int = 5, channels: int = 3, count: int = 2, size: tuple[int, int] = (6, 5)):
    generator = torch.Generator().manual_seed(1)
    lr = torch.rand(count, bands, *size, generator=generator)
    return lr, torch.rand(count, channels, *(scale * n for n in size), generator=generator)


def bicubic(lr: torch.Tensor, scale: int) -> torch.Tensor:
    return interpolate(lr, scale_factor=scale, mode="bicubic")


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("scale", "bands", "channels", "size"),
    [(2, 1, 1, (1, 1)), (3, 7, 2, (5, 9)), (8, 31, 3, (3, 2)), (5, 4, 6, (7, 4))],
)
def test_any_scale_bands_channels_and_sizes(base, scale, bands, channels, size):
    lr, guide = images(scale, bands, channels, size=size)
    found = small(base, scale, bands, channels).super_resolve(lr, guide)
    assert found.shape == (2, bands, *guide.shape[2:]) and torch.isfinite(found).all()


@pytest.mark.parametrize("base", BASES)
def test_untrained_it_is_the_upsampled_image(base):
    lr, guide = images(3)
    network = registry.build(base, 3, 5, 3, SMALL[base])
    assert torch.equal(network(lr, guide), bicubic(lr, 3))
    without = registry.build(base, 3, 5, 3, SMALL[base] | {"skip": False})
    assert not torch.allclose(without(lr, guide), bicubic(lr, 3), atol=0.1)


@pytest.mark.parametrize(("network", "parameters"), [(TwoStream, 2_294_623), (FusionTransformer, 385_847)])
def test_sizes_that_the_documentation_states(network, parameters):
    assert sum(p.numel() for p in network(8, 31, 3).parameters()) == parameters


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("skip", [True, False])
def test_gradients_reach_every_parameter_and_both_images(base, skip):
    lr, guide = (image.requires_grad_() for image in images())
    network = small(base, skip=skip)
    (network(lr, guide) ** 2).mean().backward()
    assert all((p.grad != 0).any() and torch.isfinite(p.grad).all() for p in network.parameters())
    assert (lr.grad != 0).any() and (guide.grad != 0).any()


@pytest.mark.parametrize("base", BASES)
def test_it_learns_one_pair(base):
    """The reference is a mixture of the guide's channels, which bicubic interpolation cannot know."""
    torch.manual_seed(0)
    guide = interpolate(torch.rand(1, 3, 16, 16), scale_factor=2, mode="bilinear")
    hr = torch.einsum("bg,nghw->nbhw", torch.rand(5, 3) / 3, guide)
    lr = torch.nn.functional.avg_pool2d(hr, 4)
    network = registry.build(base, 4, 5, 3, SMALL[base])
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(60):
        optimiser.zero_grad()
        l1_loss(network(lr, guide), hr).backward()
        optimiser.step()
    assert l1_loss(network(lr, guide), hr) < 0.5 * l1_loss(bicubic(lr, 4), hr)


@pytest.mark.parametrize("base", BASES)
def test_images_of_a_batch_do_not_meet(base):
    lr, guide = images(count=3)
    network = small(base)
    together = network(lr, guide)
    for n in range(3):
        torch.testing.assert_close(network(lr[n : n + 1], guide[n : n + 1])[0], together[n])


@pytest.mark.parametrize("base", BASES)
def test_padding_repeats_the_last_pixel(base):
    """6 x 6 pixels, which neither network can halve as often as it does, padded by hand."""
    lr, guide = images(2, size=(3, 3))
    network = small(base, scale=2)
    places = torch.arange(8).clamp(max=5)
    padded = [maps[:, :, places][:, :, :, places] for maps in (bicubic(lr, 2), guide)]
    wanted = bicubic(lr, 2) + network.detail(*padded)[:, :, :6, :6]
    torch.testing.assert_close(network(lr, guide), wanted)


@pytest.mark.parametrize("base", BASES)
def test_it_sees_a_neighbourhood_only(base):
    """The receptive field is finite: ground far from a change is left as it was."""
    lr, guide = images(2, count=1, size=(80, 8))
    network = small(base, scale=2).eval()
    before = network(lr, guide)
    guide = guide.clone()
    guide[:, :, 0] += 1
    difference = (network(lr, guide) - before).abs().amax((0, 1, 3))
    assert difference[:8].max() > 1e-3 and difference[64:].max() == 0


@pytest.mark.parametrize("base", BASES)
def test_bfloat16(base):
    lr, guide = images()
    network = small(base)
    exact = network(lr, guide)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(lr, guide)
        found.square().mean().backward()
    assert found.dtype == torch.float32  # the upsampled image is not rounded
    assert (found - exact).abs().max() < 0.05 * (exact - bicubic(lr, 4)).abs().max()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("base", BASES)
def test_scenes_are_predicted_and_their_operations_counted(base):
    network, (lr, guide) = small(base, bands=31), (image[0].numpy() for image in images(bands=31))
    np.testing.assert_array_equal(predict(network, lr, guide), predict(network, lr, guide))
    cost = runtime.measure({"it": lambda: predict(network, lr, guide)})["it"]
    last = 2 * 9 * network.width  # of one value, in the last convolution alone
    assert cost.flops_per_value > last


@pytest.mark.parametrize(("base", "network"), [("two-stream", TwoStream), ("transformer", FusionTransformer)])
def test_the_engine_trains_writes_and_loads_it(base, network, tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 40, 24)
    finetune(lr, guide, base, tmp_path / "run", steps=2, hold_out=0, options=Options(device="cpu"))
    model = load_model(tmp_path / "run")
    assert isinstance(model, network) and (model.last.weight != 0).any()


def test_attention_is_counted():
    """Linear layers: 2 x 4 w^2 a token; attention: two products of T x T x w a window."""
    layer = WindowAttention(8, 2, 4, 2)

    def attend() -> np.ndarray:
        with torch.inference_mode():
            return layer(torch.rand(1, 8, 12, 8)).numpy()

    tokens, windows = 8 * 12, 6
    wanted = 2 * 4 * 8**2 * tokens + windows * 2 * 2 * 16 * 16 * 8
    assert runtime.measure({"it": attend})["it"].flops_per_value == wanted / (tokens * 8)


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_window_attention_is_the_plain_loop(shift):
    torch.manual_seed(0)
    layer = WindowAttention(6, 3, 4, shift).double()
    tokens = torch.rand(2, 8, 12, 6, dtype=torch.double)
    torch.testing.assert_close(layer(tokens), plain_attention(layer, tokens))


def plain_attention(layer: WindowAttention, tokens: torch.Tensor) -> torch.Tensor:
    """Window by window, head by head, pair by pair; shifted windows are smaller at the border, so nothing is masked."""
    result = torch.empty_like(tokens)
    size = tokens.shape[3] // layer.heads
    query, key, value = layer.query_key_value(tokens).chunk(3, dim=3)
    for rows in cuts(tokens.shape[1], layer):
        for columns in cuts(tokens.shape[2], layer):
            places = [(row, column) for row in rows for column in columns]
            for image in range(len(tokens)):
                for head in range(layer.heads):
                    of_head = slice(head * size, (head + 1) * size)
                    for row, column in places:
                        logits = torch.stack(
                            [
                                query[image, row, column, of_head] @ key[image, r, c, of_head] / size**0.5
                                + layer.position_bias[head, offset(layer, row - r, column - c)]
                                for r, c in places
                            ]
                        )
                        values = torch.stack([value[image, r, c, of_head] for r, c in places])
                        result[image, row, column, of_head] = logits.softmax(0) @ values
    return layer.output(result)


def cuts(length: int, layer: WindowAttention) -> list[range]:
    """Tokens of every window along an axis."""
    edges = sorted({0, length, *range(layer.shift, length, layer.window)})
    return [range(start, stop) for start, stop in zip(edges, edges[1:], strict=False)]


def offset(layer: WindowAttention, down: int, right: int) -> int:
    return (down + layer.window - 1) * (2 * layer.window - 1) + right + layer.window - 1


def test_shifted_windows_do_not_reach_around_the_border():
    layer = WindowAttention(4, 2, 4, 2)
    tokens = torch.rand(1, 8, 8, 4)
    changed = tokens.clone()
    changed[:, 0, 0] += 1
    seen = (layer(changed) != layer(tokens)).any(3)[0]
    assert seen[:2, :2].all() and not seen[2:].any() and not seen[:, 2:].any()


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("lr", "guide", "message"),
    [
        ((1, 4, 3, 3), (1, 3, 12, 12), r"the image has shape \(1, 4, 3, 3\), expected \(N, 5, h, w\)"),
        ((5, 3, 3), (1, 3, 12, 12), r"the image has shape \(5, 3, 3\), expected \(N, 5, h, w\)"),
        ((1, 5, 3, 3), (1, 3, 12, 13), r"guide has shape \(1, 3, 12, 13\), expected \(1, 3, 12, 12\).* at scale 4"),
        ((1, 5, 3, 3), (1, 1, 12, 12), r"guide has shape \(1, 1, 12, 12\), expected \(1, 3, 12, 12\)"),
        ((2, 5, 3, 3), (1, 3, 12, 12), r"guide has shape \(1, 3, 12, 12\), expected \(2, 3, 12, 12\)"),
    ],
)
def test_images_that_do_not_fit_are_told_in_one_line(base, lr, guide, message):
    with pytest.raises(HsisrError, match=message) as error:
        small(base)(torch.rand(lr), torch.rand(guide))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("two-stream", 4, 31, 3, {"width": 7}), r"two-stream\.width: 7 is not allowed"),
        (("two-stream", 1, 31, 3), "scale 1 is not allowed"),
        (("two-stream", 4, 31, 0), "two-stream: needs a guide"),
        (("transformer", 4, 31, 3, {"width": 10}), "width must be a multiple of heads, and 10 is not one of 4"),
        (("transformer", 4, 31, 3, {"window": 5}), r"transformer\.window: 5 is not allowed"),
        (("transformer", 4, 0, 3), "FusionTransformer: bands must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(call, message):
    with pytest.raises(HsisrError, match=message) as error:
        registry.build(*call)
    assert "\n" not in str(error.value)
