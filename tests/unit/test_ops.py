"""Directional aggregation: definition, gradients, registration, choice of the backend."""

import importlib.util
import json
import warnings

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hsisr import ops
from hsisr.errors import HsisrError
from hsisr.ops import backend as choice
from hsisr.ops import build, measured, scan, tf32

COMPILED = ["torch", "cpu"]


@pytest.fixture(autouse=True)
def two_threads():
    torch.set_num_threads(2)


def directions(channels=8, taps=5, dtype=torch.float64, requires_grad=False, seed=0):
    random = torch.Generator().manual_seed(seed)
    scale = 0.6 / (channels * taps) ** 0.5

    def numbers(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    made = []
    for shape, slope in (((channels, channels, 1, taps), 0.25), ((channels, channels, taps, 1), 0.2)):
        tensors = (scale * numbers(*shape), 0.05 * numbers(channels), torch.tensor([slope]))
        made.append(tuple(t.to(dtype).requires_grad_(requires_grad) for t in tensors))
    return made


def feature_map(*shape, dtype=torch.float64, requires_grad=False, seed=1):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype).requires_grad_(requires_grad)


def select_loop(x, vertical, horizontal):
    """The definition, slice by slice, as the paper's program writes it."""
    for (weight, bias, slope), dim in ((vertical, 2), (horizontal, 3)):
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        slices = [x.narrow(dim, i, 1) for i in range(x.shape[dim])]

        def message(state, weight=weight, bias=bias, slope=slope, padding=padding):
            z = torch.nn.functional.conv2d(state, weight, bias, padding=padding)
            return torch.nn.functional.prelu(z, slope)

        for i in range(1, len(slices)):
            slices[i] = slices[i] + message(slices[i - 1])
        for i in reversed(range(len(slices) - 1)):
            slices[i] = slices[i] + message(slices[i + 1])
        x = torch.cat(slices, dim)
    return x


def with_gradients(function, x, vertical, horizontal, **options):
    leaves = [t.detach().clone().requires_grad_() for t in (x, *vertical, *horizontal)]
    y = function(leaves[0], tuple(leaves[1:4]), tuple(leaves[4:]), **options)
    probe = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    return [y.detach(), *torch.autograd.grad((y * probe).sum(), leaves, materialize_grads=True)]


def largest_error(found, truth):
    errors = [(a - b).abs().max() / b.abs().max().clamp_min(1e-30) for a, b in zip(found, truth, strict=True)]
    return max(e.item() for e in errors)


@pytest.mark.parametrize("backend", COMPILED)
def test_reference_vectors(extra_data, backend):
    folder = extra_data / "reference"
    spec = importlib.util.spec_from_file_location("fill", folder / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    shapes = json.loads((folder / "mulsr_state_dict.json").read_text())
    state = {k: torch.tensor(v) for k, v in fill.fill(shapes, 0).items() if k.startswith("DULR")}
    keys = [f"DULR.{half}.conv.{part}" for half in (0, 1) for part in ("0.weight", "0.bias", "1.weight")]
    leaves = [state[key].requires_grad_() for key in keys]
    vectors = np.load(folder / "dsca.npz")
    x = torch.tensor(vectors["x"]).requires_grad_()

    y = ops.directional_aggregation(x, tuple(leaves[:3]), tuple(leaves[3:]), backend=backend)
    gradients = torch.autograd.grad((y * torch.tensor(vectors["probe"])).sum(), [x, *leaves])

    names = [key.replace("DULR.", "grad_").replace(".", "_") for key in keys]
    truth = [vectors["y"], vectors["grad_x"], *(vectors[name] for name in names)]
    found = [t.detach() for t in (y, *gradients)]
    assert largest_error(found, [torch.tensor(t) for t in truth]) < 1e-10


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(
    ("shape", "taps"),
    [
        ((2, 8, 6, 9), 5),
        ((1, 4, 1, 7), 3),
        ((3, 20, 7, 1), 7),
        ((1, 40, 1, 1), 3),
        ((2, 16, 25, 3), 11),
        ((1, 5, 8, 70), 3),
    ],
)
def test_equals_the_slice_by_slice_definition(backend, shape, taps):
    x, (vertical, horizontal) = feature_map(*shape), directions(shape[1], taps)
    truth = with_gradients(select_loop, x, vertical, horizontal)
    found = with_gradients(ops.directional_aggregation, x, vertical, horizontal, backend=backend)
    assert largest_error(found, truth) < 1e-12
    again = with_gradients(ops.directional_aggregation, x, vertical, horizontal, backend=backend, checkpoint=True)
    assert largest_error(again, truth) < 1e-12


def test_cpu_backend_in_single_precision():
    x, (vertical, horizontal) = feature_map(2, 64, 13, 50), directions(64, 7)
    truth = with_gradients(select_loop, x, vertical, horizontal)
    singles = [tuple(t.float() for t in d) for d in (vertical, horizontal)]
    found = with_gradients(ops.directional_aggregation, x.float(), *singles, backend="cpu")
    assert largest_error([t.double() for t in found], truth) < 1e-5


def test_result_does_not_depend_on_memory_layout_or_threads():
    parameters = directions(16, 7, torch.float32)
    for images in (1, 3):  # fewer than threads, and not a multiple of them: rows are shared out
        x = feature_map(images, 16, 20, 37, dtype=torch.float32)
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for layout in (torch.contiguous_format, torch.channels_last):
                laid_out = x.contiguous(memory_format=layout)
                results.append(with_gradients(ops.directional_aggregation, laid_out, *parameters, backend="cpu"))
        for result in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_gradcheck():
    x = feature_map(2, 4, 3, 5, requires_grad=True)
    vertical, horizontal = directions(4, 3, requires_grad=True)

    def function(x, *parameters):
        return ops.directional_aggregation(x, parameters[:3], parameters[3:], backend="cpu")

    assert torch.autograd.gradcheck(function, (x, *vertical, *horizontal))


def test_a_compiled_backend_refuses_second_derivatives():
    x, parameters = feature_map(1, 4, 3, 5), directions(4, 3, requires_grad=True)
    weight = parameters[0][0]
    with pytest.raises(HsisrError, match=r'differentiated only once.*create_graph=True.*give backend="torch"'):
        y = ops.directional_aggregation(x, *parameters, backend="cpu")
        torch.autograd.grad(y.sum(), weight, create_graph=True)
    y = ops.directional_aggregation(x, *parameters, backend="torch")
    (first,) = torch.autograd.grad(y.sum(), weight, create_graph=True)
    assert torch.autograd.grad(first.sum(), weight)[0].abs().max() > 0


def test_forward_mode_and_torch_func_take_pytorch(monkeypatch):
    monkeypatch.setattr(choice, "_warned", set())
    x, (vertical, horizontal) = feature_map(2, 4, 3, 5), directions(4, 3)

    def derivative(backend):
        return torch.func.jvp(lambda w: scanned(backend, x, (w, *vertical[1:])), (vertical[0],), (vertical[0],))[1]

    def scanned(backend, x, vertical=vertical):
        return ops.directional_aggregation(x, vertical, horizontal, backend=backend)

    with pytest.warns(RuntimeWarning, match="not the cpu backend: the kernel has no forward-mode derivatives"):
        assert torch.equal(derivative("cpu"), derivative("torch"))
    expected = torch.func.jvp(lambda x: scanned("torch", x), (x,), (x,))[1]
    along = torch.compile(lambda x: torch.func.jvp(lambda x: scanned("cpu", x), (x,), (x,))[1], backend="aot_eager")
    torch.testing.assert_close(along(x), expected)
    compiled = torch.compile(lambda x: scanned("cpu", x), backend="aot_eager", fullgraph=True)
    compiled(x)  # makes code for a map that is not dual
    with torch.autograd.forward_ad.dual_level():
        dual = compiled(torch.autograd.forward_ad.make_dual(x, x))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, expected)
    one_by_one = torch.func.vmap(lambda image: scanned("cpu", image[None])[0])(x)
    assert largest_error([one_by_one], [scanned("cpu", x)]) < 1e-14


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
def test_opcheck(dim, reverse):
    weight, bias, slope = directions(4, 3, requires_grad=True)[dim - 2]
    x = feature_map(2, 4, 5, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    for save_z in (True, False):
        arguments = (x, weight, bias, slope, dim, reverse, "fp32", save_z)
        assert set(torch.library.opcheck(torch.ops.hsisr.conv_scan, arguments).values()) == {"SUCCESS"}
    with torch.no_grad():
        h, z = torch.ops.hsisr.conv_scan(x, weight, bias, slope, dim, reverse, "fp32", True)
        dx, dz = torch.ops.hsisr.conv_scan_backward(h, z, weight, slope, dim, reverse, "fp32")
        plain = weight.detach()
    tests = {
        torch.ops.hsisr.conv_scan_backward: (h, z, plain, slope.detach(), dim, reverse, "fp32"),
        torch.ops.hsisr.conv_scan_weight_gradients: (h, dx, z, dz, plain, dim, reverse, "fp32"),
        torch.ops.hsisr.conv_scan_messages: (h, plain, bias.detach(), dim, reverse, "fp32"),
    }
    for op, arguments in tests.items():
        assert set(torch.library.opcheck(op, arguments).values()) == {"SUCCESS"}


def test_messages_are_not_differentiable():
    weight, bias, slope = directions(4, 3, requires_grad=True)[0]
    _, z = torch.ops.hsisr.conv_scan(feature_map(1, 4, 3, 3), weight, bias, slope, 2, False, "fp32", True)
    assert not z.requires_grad


def test_compiles_without_graph_breaks():
    parameters = directions(8, 3, torch.float32)
    x = feature_map(1, 8, 6, 7, dtype=torch.float32)
    # aot_eager traces forward and backward as the default compiler does, and leaves out its code generation
    compiled = torch.compile(ops.directional_aggregation, fullgraph=True, backend="aot_eager")
    truth = with_gradients(ops.directional_aggregation, x, *parameters, backend="cpu")
    found = with_gradients(compiled, x, *parameters, backend="cpu")
    assert all(torch.equal(a, b) for a, b in zip(found, truth, strict=True))


@pytest.mark.slow
def test_compiles_with_the_default_compiler():
    parameters = directions(8, 3, torch.float32)
    x = feature_map(1, 8, 6, 7, dtype=torch.float32)
    compiled = torch.compile(ops.directional_aggregation, fullgraph=True)
    truth = with_gradients(ops.directional_aggregation, x, *parameters, backend="cpu")
    found = with_gradients(compiled, x, *parameters, backend="cpu")
    assert largest_error(found, truth) < 1e-6


def test_autocast_keeps_the_carry_in_single_precision():
    parameters = directions(8, 3, torch.float32)
    x = feature_map(1, 8, 6, 7, dtype=torch.float32)
    truth = ops.directional_aggregation(x, *parameters, backend="cpu")
    with torch.autocast("cpu", torch.bfloat16):
        found = ops.directional_aggregation(x, *parameters, backend="cpu")
        raw = torch.ops.hsisr.conv_scan(x.bfloat16(), *parameters[0], 2, False, "fp32", False)[0]
    assert found.dtype == raw.dtype == torch.float32
    assert torch.equal(found, truth)


def test_half_precision_maps_come_back_in_their_type():
    parameters = directions(8, 3, torch.bfloat16)
    x = feature_map(1, 8, 6, 7, dtype=torch.bfloat16)
    found = ops.directional_aggregation(x, *parameters, backend="cpu")
    exact = ops.directional_aggregation(x.double(), *[tuple(t.double() for t in d) for d in parameters], backend="cpu")
    assert found.dtype == torch.bfloat16
    assert largest_error([found.double()], [exact]) < 2**-8


def test_checkpoint_keeps_fewer_maps():
    x, (vertical, horizontal) = feature_map(1, 8, 16, 16), directions(8, 3, requires_grad=True)
    sizes = {}
    for checkpoint in (False, True):
        kept = {}

        def keep(tensor, kept=kept):
            kept[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            y = ops.directional_aggregation(x, vertical, horizontal, backend="cpu", checkpoint=checkpoint)
        sizes[checkpoint] = sum(n == y.numel() for n in kept.values())
    assert sizes == {False: 8, True: 4}


def test_a_backward_pass_under_autocast_recomputes_messages_in_single_precision():
    parameters = directions(8, 3, torch.float32)
    x = feature_map(1, 8, 6, 7, dtype=torch.float32)
    truth = with_gradients(ops.directional_aggregation, x, *parameters, backend="cpu")
    with torch.autocast("cpu", torch.bfloat16):
        found = with_gradients(ops.directional_aggregation, x, *parameters, backend="cpu", checkpoint=True)
    assert largest_error(found, truth) < 1e-5


class Switches(TorchDispatchMode):
    """Notes whether TF32 was allowed when PyTorch's convolutions were called."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "convolution" in func.name():
            self.seen.append((func.name(), tf32.is_allowed()))
        return func(*args, **(kwargs or {}))


@pytest.fixture
def default_switches():
    """Put PyTorch's TF32 switches back, which can be set in more ways than read."""
    yield
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize(("precision", "rounded"), [("fp32", False), ("tf32", True), ("bf16", True)])
def test_exact_training_keeps_tf32_out_of_the_weight_gradient_and_the_recomputed_messages(
    default_switches, precision, rounded
):
    """The parts that the CUDA backend leaves to cuDNN, here on the CPU."""
    weight, bias, slope = directions(4, 3, torch.float32)[0]
    h = feature_map(2, 4, 5, 6, dtype=torch.float32)
    with Switches() as switches:
        z = scan._messages(h, weight, bias, 2, False, precision)
        scan._weight_gradients(h, h, z, h, weight, 2, False, precision)
    assert switches.seen == [("aten::convolution", rounded), ("aten::convolution_backward", rounded)]
    assert tf32.is_allowed(), "afterwards it is as it was"
    with tf32.without(), tf32.without():
        assert not tf32.is_allowed()
    assert tf32.is_allowed()


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", [(5, 6), (1, 6), (5, 1), (1, 1)])
def test_weight_gradients_by_one_convolution_are_those_of_the_kernel(size, reverse, dim):
    """What the CUDA backend computes, also of maps of a single row or column."""
    weight, bias, slope = directions(4, 3)[dim - 2]
    x = feature_map(2, 4, *size).contiguous(memory_format=torch.channels_last)
    h, z = torch.ops.hsisr.conv_scan(x, weight, bias, slope, dim, reverse, "fp32", True)
    dx, dz = torch.ops.hsisr.conv_scan_backward(h, z, weight, slope, dim, reverse, "fp32")
    truth = torch.ops.hsisr.conv_scan_weight_gradients(h, dx, z, dz, weight, dim, reverse, "fp32")
    found = scan._weight_gradients(h, dx, z, dz, weight, dim, reverse, "fp32")
    for a, b in zip(found, truth, strict=True):
        assert a.shape == b.shape and a.is_contiguous()
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.skipif(torch.__version__ < "2.9", reason="the new TF32 switch came with PyTorch 2.9")
@pytest.mark.parametrize("value", ["ieee", "tf32", "none"])
def test_the_new_tf32_switch_is_read_and_nothing_raises(default_switches, value):
    torch.backends.cudnn.conv.fp32_precision = value
    assert choice._precision("torch.float32", training=False) == ("tf32" if value == "tf32" else "fp32")
    x, parameters = feature_map(1, 4, 5, 5, dtype=torch.float32), directions(4, 3, torch.float32)
    for backend in COMPILED:
        with_gradients(ops.directional_aggregation, x, *parameters, backend=backend, checkpoint=True)
    assert torch.backends.cudnn.conv.fp32_precision == value


@pytest.mark.parametrize("variable", [None, "auto"])
def test_auto_depends_on_size_not_on_what_is_built(monkeypatch, tmp_path, variable):
    if variable:
        monkeypatch.setenv(choice.VARIABLE, variable)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing is built here
    small, large = feature_map(1, 4, 8, 16), torch.zeros(1, 4, 128, 128, dtype=torch.float64)
    assert choice.choose("auto", small, (3, 3), False)[0] == "torch"
    assert choice.choose("auto", large, (3, 3), False)[0] == "cpu"


def test_auto_takes_what_was_measured_to_be_faster_and_measures_once(monkeypatch, tmp_path):
    built = build.cached_path(build.cpu_library())
    build.load(build.cpu_library())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    table = build.cached_path(build.cpu_library()).with_suffix(".faster_from.json")
    table.parent.mkdir()
    assert table.name == built.with_suffix(".faster_from.json").name
    counted = []

    def seconds(function, x, directions):
        counted.append(x.shape[3])
        return 1.0 if function is scan.directional_aggregation else 2.0 if x.shape[3] >= 64 else 1.05

    monkeypatch.setattr(measured, "_seconds", seconds)
    measured._native_from.cache_clear()
    picks = {side: choice.choose("auto", torch.zeros(1, 8, side, side), (7, 7), False)[0] for side in (47, 48, 63, 64)}
    assert picks == {47: "torch", 48: "torch", 63: "torch", 64: "cpu"}
    assert counted == [96, 96, 64, 64, 48, 48]  # until the kernel is no longer faster
    measured._native_from.cache_clear()  # another process
    assert choice.choose("auto", torch.zeros(1, 8, 80, 80), (7, 7), False)[0] == "cpu"
    assert len(counted) == 6
    threads = torch.get_num_threads()
    assert json.loads(table.read_text()) == {f"8 channels, {threads} threads": 64 * 64}
    measured._native_from.cache_clear()


def test_medium_maps_stay_with_pytorch_where_nothing_can_be_built(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "load", lambda library: (_ for _ in ()).throw(build.Unavailable("no compiler")))
    measured._native_from.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choice.choose("auto", torch.zeros(1, 8, 64, 64), (7, 7), False)[0] == "torch"
    measured._native_from.cache_clear()


def test_environment_names_the_backend(monkeypatch):
    x = feature_map(1, 4, 8, 8)
    monkeypatch.setenv(choice.VARIABLE, "cpu")
    assert choice.choose("auto", x, (3, 3), False)[0] == "cpu"
    assert choice.choose("torch", x, (3, 3), False)[0] == "torch"
    monkeypatch.setenv(choice.VARIABLE, "gpu")
    with pytest.raises(
        HsisrError,
        match=r"HSISR_DSCA_BACKEND: unknown backend 'gpu'; did you mean cpu\? choose from auto, cuda",
    ):
        choice.choose("auto", x, (3, 3), False)


def test_a_backend_that_cannot_run_warns_once_and_falls_back(monkeypatch):
    monkeypatch.setattr(choice, "_warned", set())
    x, parameters = feature_map(1, 4, 5, 5), directions(4, 3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        results = [ops.directional_aggregation(x, *parameters, backend="cuda") for _ in range(3)]
    assert len(told) == 1
    assert "not the cuda backend" in str(told[0].message)
    assert "small kernels" in str(told[0].message), "the warning tells what it costs"
    assert torch.equal(results[-1], ops.directional_aggregation(x, *parameters, backend="torch"))


def test_too_many_channels_fall_back(monkeypatch):
    monkeypatch.setattr(choice, "_warned", set())
    with pytest.warns(RuntimeWarning, match="up to 128 channels, not 132"):
        name, _ = choice.choose("cpu", torch.zeros(1, 132, 2, 2), (3, 3), False)
    assert name == "torch"


def test_precision_follows_map_autocast_training_and_tf32_switch(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert choice._precision("torch.float32", training=False) == "tf32"
    assert choice._precision("torch.float32", training=True) == "fp32"
    assert choice._precision("torch.bfloat16", training=True) == "bf16"
    assert choice._precision("torch.float16", training=False) == "fp16"
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert choice._precision("torch.float32", training=False) == "fp32"


def test_describe_backend_is_one_line_and_builds_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    line = ops.describe_backend()
    assert "128 x 128" in line and "\n" not in line
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(choice.VARIABLE, "torch")
    assert ops.describe_backend() == "torch, because HSISR_DSCA_BACKEND says so"


def test_check_reports_and_refuses_wrong_results(monkeypatch):
    lines = []
    ops.check(build_missing=True, say=lines.append)
    assert any(line.startswith("cpu fp64: largest relative error") for line in lines)
    right = scan.directional_aggregation
    monkeypatch.setattr(scan, "directional_aggregation", lambda *args, **options: 1.001 * right(*args, **options))
    with pytest.raises(HsisrError, match="the cpu fp64 backend gives wrong results"):
        ops.check(build_missing=True, say=lines.append)


@pytest.mark.parametrize(
    ("x", "channels", "text"),
    [
        (torch.zeros(4, 5, 5), 4, "x must be"),
        (torch.zeros(1, 4, 0, 5), 4, "x must be"),
        (torch.zeros(1, 4, 5, 5, dtype=torch.int32), 4, "x must be floating-point"),
        (torch.zeros(1, 3, 5, 5), 4, "vertical has weight"),
    ],
)
def test_wrong_shapes_are_refused(x, channels, text):
    with pytest.raises(HsisrError, match=text):
        ops.directional_aggregation(x, *directions(channels, 3))


def test_even_kernels_are_refused():
    vertical, horizontal = directions(4, 3)
    even = (torch.zeros(4, 4, 1, 4), *vertical[1:])
    with pytest.raises(HsisrError, match="with k odd"):
        ops.directional_aggregation(torch.zeros(1, 4, 5, 5), even, horizontal)


def test_unknown_backend_is_refused():
    with pytest.raises(HsisrError, match="unknown backend 'opencl'"):
        ops.directional_aggregation(torch.zeros(1, 4, 5, 5), *directions(4, 3), backend="opencl")
