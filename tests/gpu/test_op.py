"""Directional aggregation on a GPU: the kernels against the definition in float64, in all that a caller can vary."""

import warnings

import pytest
import torch

from hsisr import ops
from hsisr.ops import backend as choice
from hsisr.ops import build, plan, scan, selfcheck, tf32
from tests.gpu import BACKEND, DEVICE, REHEARSAL, on_gpu, only_gpu
from tests.unit.test_ops import directions, feature_map, largest_error, select_loop

pytestmark = on_gpu

PRECISIONS = ["fp32"] if REHEARSAL else list(plan.PRECISIONS)
#: Largest relative error of one scan's result, by the precision of its products; of gradients see `selfcheck`.
OF_A_SCAN = {"fp32": 1e-5, "tf32": 5e-3, "bf16": 3e-2, "fp16": 5e-3}
#: (N, C, H, W), taps: published sizes, borders, a row, a column, a pixel, counts that no tile divides.
SHAPES = [
    ((2, 64, 24, 24), 7),
    ((3, 64, 48, 40), 7),
    ((1, 64, 13, 200), 7),
    ((2, 64, 1, 9), 7),
    ((2, 64, 9, 1), 7),
    ((1, 64, 1, 1), 7),
    ((2, 16, 25, 3), 5),
    ((1, 20, 8, 70), 3),
    ((2, 32, 11, 17), 11),
]


def placed(tensors, dtype=torch.float32):
    return [t.to(DEVICE, dtype) for t in tensors]


def with_gradients(function, x, vertical, horizontal):
    leaves = [t.detach().clone().requires_grad_() for t in (x, *vertical, *horizontal)]
    y = function(leaves[0], tuple(leaves[1:4]), tuple(leaves[4:]))
    probe = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).reshape(y.shape).to(y)
    gradients = torch.autograd.grad((y * probe).sum(), leaves, materialize_grads=True)
    return [t.detach().double().cpu() for t in (y, *gradients)]


@pytest.fixture(scope="module")
def case():
    """A map of the published width and its parameters, on the device, in float32."""
    vertical, horizontal = directions(64, 7)
    return [placed([feature_map(2, 64, 24, 20)])[0], placed(vertical), placed(horizontal)]


def aggregate(x, vertical, horizontal, **options):
    return ops.directional_aggregation(x, vertical, horizontal, backend=BACKEND, **options)


def test_every_kernel_of_the_published_size_builds_and_starts():
    if REHEARSAL:
        build.load(build.cpu_library())
        return
    capability = torch.cuda.get_device_capability()
    for precision in PRECISIONS:
        build.load(
            build.cuda_library(plan.variant_for(64, 7, precision, capability), capability), torch.device("cuda", 0)
        )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("reverse", [False, True], ids=["forth", "back"])
@pytest.mark.parametrize("dim", [2, 3], ids=["rows", "columns"])
@pytest.mark.parametrize(("shape", "taps"), SHAPES)
def test_a_scan_is_the_definition(shape, taps, dim, reverse, precision):
    weight, bias, slope = directions(shape[1], taps)[dim - 2]
    x = feature_map(*shape)
    slices = list(x.split(1, dim))
    order = range(len(slices) - 2, -1, -1) if reverse else range(1, len(slices))
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    for i in order:
        state = torch.nn.functional.conv2d(slices[i + 1 if reverse else i - 1], weight, bias, padding=padding)
        slices[i] = slices[i] + torch.nn.functional.prelu(state, slope)
    truth = torch.cat(slices, dim)
    h, _ = torch.ops.hsisr.conv_scan(*placed([x, weight, bias, slope]), dim, reverse, precision, False)
    assert largest_error([h.double().cpu()], [truth]) < OF_A_SCAN[precision]


@pytest.mark.parametrize("checkpoint", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("shape", "taps"), SHAPES)
def test_result_and_gradients_are_those_of_the_definition(shape, taps, precision, checkpoint):
    x, (vertical, horizontal) = feature_map(*shape), directions(shape[1], taps)
    truth = with_gradients(select_loop, x, vertical, horizontal)
    arguments = placed([x])[0], placed(vertical), placed(horizontal)
    found = with_gradients(lambda *words: scan.directional_aggregation(*words, precision, checkpoint), *arguments)
    assert largest_error(found, truth) < selfcheck.TOLERANCE[precision]


def test_exact_training_stays_exact_where_tf32_is_allowed(case):
    """The weight gradients and the recomputed messages are cuDNN's, which rounds to TF32 unless it is told not to."""
    assert REHEARSAL or tf32.is_allowed(), "PyTorch's default has changed"
    exact = [case[0].double().cpu(), *([t.double().cpu() for t in group] for group in case[1:])]
    truth = with_gradients(select_loop, *exact)
    for checkpoint in (False, True):
        found = with_gradients(lambda *words, c=checkpoint: aggregate(*words, checkpoint=c), *case)
        assert largest_error(found, truth) < selfcheck.TOLERANCE["fp32"]


def test_the_fallback_on_the_gpu_agrees(case):
    with tf32.without():
        truth = with_gradients(lambda *words: ops.directional_aggregation(*words, backend="torch"), *case)
    assert largest_error(with_gradients(aggregate, *case), truth) < selfcheck.TOLERANCE["fp32"]


def test_equal_calls_give_equal_bits(case):
    with torch.inference_mode():
        first = aggregate(*case)
        assert all(torch.equal(aggregate(*case), first) for _ in range(5))
        assert torch.equal(aggregate(case[0].contiguous(), *case[1:]), first), "whatever the layout of the map"


@pytest.mark.parametrize("dtype", [torch.bfloat16] if REHEARSAL else [torch.bfloat16, torch.float16])
def test_half_maps_and_autocast(case, dtype):
    exact = aggregate(*case).detach().double()
    name = {torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
    with torch.autocast(DEVICE, dtype):
        assert choice.choose(BACKEND, case[0], (7, 7), True) == (BACKEND, name)
        found = aggregate(*case)
    assert found.dtype == torch.float32, "what is carried stays float32"
    assert largest_error([found.detach().double()], [exact]) < OF_A_SCAN[name] * 4
    half = aggregate(*([t.to(dtype) for t in part] if isinstance(part, list) else part.to(dtype) for part in case))
    assert half.dtype == dtype
    assert largest_error([half.detach().double()], [exact]) < OF_A_SCAN[name] * 4


@only_gpu
def test_fp16_trains_with_a_gradient_scaler(case):
    parameters = [torch.nn.Parameter(t.clone()) for group in case[1:] for t in group]
    optimiser, scaler = torch.optim.SGD(parameters, lr=1e-4), torch.amp.GradScaler("cuda")
    losses = []
    for _ in range(8):
        with torch.autocast("cuda", torch.float16):
            loss = aggregate(case[0], tuple(parameters[:3]), tuple(parameters[3:])).square().mean()
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and scaler.get_scale() > 0


@only_gpu
def test_other_streams(case):
    with torch.inference_mode():
        truth = aggregate(*case)
        torch.cuda.synchronize()
        streams = [torch.cuda.Stream() for _ in range(3)]
        found = []
        for stream in streams:
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                found.append(aggregate(case[0] + 0, *case[1:]))
        torch.cuda.synchronize()
    assert all(torch.equal(one, truth) for one in found)


@only_gpu
def test_backward_on_another_stream(case):
    truth = with_gradients(aggregate, *case)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = with_gradients(aggregate, *case)
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(found, truth, strict=True))


@only_gpu
@pytest.mark.parametrize("training", [False, True])
def test_graph_capture(case, training):
    """Captured once, replayed with other numbers in the same memory."""
    leaves = [t.clone().requires_grad_(training) for t in (case[0], *case[1], *case[2])]

    def step():
        y = aggregate(leaves[0], tuple(leaves[1:4]), tuple(leaves[4:]))
        return [y, *torch.autograd.grad(y.square().sum(), leaves)] if training else [y]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.set_grad_enabled(training):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.set_grad_enabled(training), torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        leaves[0].mul_(0.5).add_(0.1)
    graph.replay()
    torch.cuda.synchronize()
    with torch.set_grad_enabled(training):
        for one, other in zip(captured, step(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=only_gpu)])
def test_compiled(case, compiler):
    compiled = torch.compile(aggregate, fullgraph=True, backend=compiler)
    truth = with_gradients(aggregate, *case)
    found = with_gradients(compiled, *case)
    assert largest_error(found, truth) < 1e-6


@pytest.mark.parametrize("dim", [2, 3])
def test_opcheck(dim):
    weight, bias, slope = (t.requires_grad_() for t in placed(directions(16, 3)[dim - 2]))
    x = placed([feature_map(2, 16, 5, 6)])[0].contiguous(memory_format=torch.channels_last).requires_grad_()
    for save_z in (True, False):
        arguments = (x, weight, bias, slope, dim, False, "fp32", save_z)
        found = torch.library.opcheck(torch.ops.hsisr.conv_scan, arguments, rtol=1e-3, atol=1e-4)
        assert set(found.values()) == {"SUCCESS"}


@only_gpu
def test_a_map_too_large_for_shared_memory_falls_back_with_a_warning(monkeypatch, case):
    monkeypatch.setattr(choice, "_warned", set())
    long = placed([feature_map(1, 64, 2, 3000)])[0]
    with pytest.warns(RuntimeWarning, match="slices of 3000 pixels need"), torch.inference_mode():
        found = aggregate(long, *case[1:])
        assert torch.equal(found, ops.directional_aggregation(long, *case[1:], backend="torch"))


@only_gpu
def test_the_last_size_that_fits_runs(case):
    capability = torch.cuda.get_device_capability()
    variant, limit = plan.variant_for(64, 7, "fp32", capability), plan.shared_limit(capability)
    longest = max(n for n in range(8, 1200, 8) if variant.shared_bytes(n, 1) <= limit)
    x, (vertical, horizontal) = feature_map(1, 64, 3, longest), directions(64, 7)
    with torch.inference_mode():
        found = scan.directional_aggregation(placed([x])[0], placed(vertical), placed(horizontal), "fp32")
    assert largest_error([found.double().cpu()], [select_loop(x, vertical, horizontal)]) < 1e-4


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_the_second_gpu(case):
    with torch.inference_mode():
        found = aggregate(
            *([t.to("cuda:1") for t in part] if isinstance(part, list) else part.to("cuda:1") for part in case)
        )
        assert found.device.index == 1
        torch.testing.assert_close(found.to("cuda:0"), aggregate(*case), rtol=1e-5, atol=1e-5)


def test_auto_picks_the_kernel_and_the_self_check_passes():
    if not REHEARSAL:
        assert choice.choose("auto", torch.zeros(1, 64, 24, 24, device="cuda"), (7, 7), True) == ("cuda", "fp32")
        assert "CUDA kernel (built on first use)" in ops.describe_backend()
    lines = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.check(build_missing=True, say=lines.append)
    assert sum(line.startswith(f"{BACKEND} ") and "largest relative error" in line for line in lines) >= len(PRECISIONS)
