"""Time of directional aggregation: our backends against the loop over slices, on the available device.

    python studies/dsca.py                       # about ten minutes on two CPU cores
    python studies/dsca.py --shapes 4x256 1x256  # images x side
    python studies/dsca.py --device cuda         # on a GPU: fills the table of docs/gpu-op.md
        python studies/dsca.py --threads 1 --clock cpu   # on a shared machine: processor time

Writes studies/results/dsca_<device>.json and .png. Each time is the median of interleaved repeats in one process.
Rows:
    select    the paper's program: one `narrow` for each slice of a plain (N, C, H, W) map
    unbind    hsisr.ops with backend "torch", the map channels-last
    compiled  torch.compile of `unbind` (only with --compile: minutes for each shape)
    captured  `unbind` captured in a CUDA graph (only on a GPU, forward)
    cpu, cuda the native backends; cuda once for each precision of its products
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from hsisr.ops import directional_aggregation, scan

CHANNELS, TAPS = 64, 7
#: (images, side) of spec and paper: training at x4 and x8, sizes between, a whole CAVE image, four, all bands of one.
SHAPES = [(32, 24), (32, 48), (4, 64), (4, 128), (1, 256), (4, 256)]
GPU_SHAPES = [*SHAPES, (31, 256)]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    device = arguments.device
    shapes = arguments.shapes or (GPU_SHAPES if device == "cuda" else SHAPES)
    ceilings = _ceilings(device, CLOCKS[arguments.clock])
    print(f"measured ceilings: {ceilings['gflops']:.0f} GFLOP/s (matrix product), {ceilings['gbytes']:.1f} GB/s (copy)")
    rows = []
    for images, side in shapes:
        for training in (False, True):
            rows += _measure(images, side, training, arguments, ceilings)
    _write(rows, ceilings, arguments)


def select_loop(x: Tensor, vertical, horizontal) -> Tensor:
    """The paper's program in our words: slices by `narrow`. In the backward pass, each slice fills a whole map."""
    for (weight, bias, slope), dim in ((vertical, 2), (horizontal, 3)):
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        slices = [x.narrow(dim, i, 1) for i in range(x.shape[dim])]
        for order in (range(1, len(slices)), range(len(slices) - 2, -1, -1)):
            for i in order:
                state = slices[i - 1 if order.step > 0 else i + 1]
                slices[i] = slices[i] + functional.prelu(functional.conv2d(state, weight, bias, padding=padding), slope)
        x = torch.cat(slices, dim)
    return x


def cost(images: int, side: int, training: bool) -> tuple[float, float]:
    """FLOP of the convolutions, and bytes that must move if each pass reads and writes each map once."""
    pixels = images * side * side
    passes = 4 * 2 * CHANNELS * CHANNELS * TAPS * pixels * (side - 1) / side
    map_bytes = 4 * CHANNELS * pixels
    # forward: x in, h out, in training also z; backward: gradient and z in, two gradients out; weights: h and dz in
    return (3 * passes, (12 + 16 + 8) * map_bytes) if training else (passes, 8 * map_bytes)


def _measure(images: int, side: int, training: bool, arguments, ceilings) -> list[dict]:
    candidates = _candidates(images, side, training, arguments)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for step in candidates.values():
        step()  # builds, warms caches, and lets libraries choose their algorithms
    spent = time.perf_counter()
    while len(times["unbind"]) < arguments.repeats or time.perf_counter() - spent < arguments.seconds:
        for name, step in candidates.items():
            times[name].append(_time(step, arguments.device, CLOCKS[arguments.clock]))
    flop, moved = cost(images, side, training)
    medians = {name: statistics.median(values) for name, values in times.items()}
    rows = []
    for name, seconds in medians.items():
        row = {
            "shape": [images, CHANNELS, side, side],
            "pass": "forward+backward" if training else "forward",
            "backend": name,
            "milliseconds": 1e3 * seconds,
            "spread_milliseconds": [1e3 * min(times[name]), 1e3 * max(times[name])],
            "repeats": len(times[name]),
            "speedup_over_select": medians["select"] / seconds,
            "speedup_over_unbind": medians["unbind"] / seconds,
            "gflop": flop / 1e9,
            "gbytes": moved / 1e9,
            "share_of_arithmetic_ceiling": flop / seconds / 1e9 / ceilings["gflops"],
            "share_of_memory_ceiling": moved / seconds / 1e9 / ceilings["gbytes"],
        }
        rows.append(row)
        print(
            f"{images:3d} x {side:3d}^2 {row['pass']:17s} {name:10s} {row['milliseconds']:9.1f} ms   "
            f"x{row['speedup_over_select']:5.2f} of select   x{row['speedup_over_unbind']:5.2f} of unbind   "
            f"{100 * row['share_of_arithmetic_ceiling']:3.0f} % of arithmetic",
            flush=True,
        )
    return rows


def _candidates(images: int, side: int, training: bool, arguments) -> dict[str, Callable[[], None]]:
    device = arguments.device
    random = torch.Generator().manual_seed(0)
    scale = 0.6 / (CHANNELS * TAPS) ** 0.5

    def parameter(*shape: int) -> Tensor:
        return (scale * torch.randn(*shape, generator=random)).to(device).requires_grad_(training)

    def half(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
        slope = torch.full((1,), 0.25, device=device, requires_grad=training)
        return parameter(*shape), parameter(CHANNELS), slope

    vertical, horizontal = half(CHANNELS, CHANNELS, 1, TAPS), half(CHANNELS, CHANNELS, TAPS, 1)
    plain = torch.randn(images, CHANNELS, side, side, generator=random).to(device)
    dense = plain.contiguous(memory_format=torch.channels_last)
    plain.requires_grad_(training), dense.requires_grad_(training)

    def step(function, x: Tensor, **options) -> Callable[[], None]:
        def run() -> None:
            y = function(x, vertical, horizontal, **options)
            if training:
                torch.autograd.grad(y.sum(), (x, *vertical, *horizontal))

        def without_gradients() -> None:
            with torch.no_grad():
                run()

        return run if training else without_gradients

    found = {
        "select": step(select_loop, plain),
        "unbind": step(directional_aggregation, dense, backend="torch"),
    }
    if arguments.compile:
        found["compiled"] = step(torch.compile(directional_aggregation), dense, backend="torch")
    if device == "cpu":
        found["cpu"] = step(directional_aggregation, dense, backend="cpu")
    else:
        if not training:
            found["captured"] = _capture(found["unbind"])
        for precision in ("fp32", "tf32", "bf16", "fp16"):
            found[f"cuda {precision}"] = step(scan.directional_aggregation, dense, precision=precision)
    return found


def _capture(step: Callable[[], None]) -> Callable[[], None]:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _time(step: Callable[[], None], device: str, clock: Callable[[], float]) -> float:
    _wait(device)
    start = clock()
    step()
    _wait(device)
    return clock() - start


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _ceilings(device: str, clock: Callable[[], float]) -> dict[str, float]:
    """Speed of a large matrix product and of a large copy: the best of a few."""
    side, elements = (8192, 1 << 28) if device == "cuda" else (2048, 1 << 25)
    a, b = torch.randn(side, side, device=device), torch.randn(side, side, device=device)
    source, target = torch.randn(elements, device=device), torch.empty(elements, device=device)
    product = min(_time(lambda: torch.mm(a, b), device, clock) for _ in range(5))
    copy = min(_time(lambda: target.copy_(source), device, clock) for _ in range(5))
    return {"gflops": 2 * side**3 / product / 1e9, "gbytes": 2 * 4 * elements / copy / 1e9}


def _write(rows: list[dict], ceilings: dict[str, float], arguments) -> None:
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = arguments.out or folder / f"dsca_{arguments.device}.json"
    environment = {
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor() or "CPU",
        "torch": torch.__version__,
        "threads": arguments.threads,
        "clock": arguments.clock,
        "load_average": os.getloadavg(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    path.write_text(json.dumps({"environment": environment, "ceilings": ceilings, "rows": rows}, indent=1) + "\n")
    _plot(rows, path.with_suffix(".png"))
    print(f"wrote {path} and {path.with_suffix('.png')}")


def _plot(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for panel, which in zip(panels, ("forward", "forward+backward"), strict=True):
        chosen = [row for row in rows if row["pass"] == which]
        shapes = list(dict.fromkeys(f"{row['shape'][0]} x {row['shape'][2]}^2" for row in chosen))
        names = list(dict.fromkeys(row["backend"] for row in chosen))
        for i, name in enumerate(names):
            heights = [row["speedup_over_select"] for row in chosen if row["backend"] == name]
            places = [s + (i - len(names) / 2 + 0.5) * 0.8 / len(names) for s in range(len(shapes))]
            panel.bar(places, heights, 0.8 / len(names), label=name)
        panel.set_xticks(range(len(shapes)), shapes)
        panel.set(title=which, xlabel="images x side^2", ylabel="speed-up over the select loop")
        panel.axhline(1, color="black", linewidth=0.5)
    panels[0].legend()
    figure.savefig(path, dpi=120)


def _shape(text: str) -> tuple[int, int]:
    images, side = text.split("x")
    return int(images), int(side)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="cpu: processor time of all threads")
    parser.add_argument("--shapes", type=_shape, nargs="+", metavar="IMAGESxSIDE")
    parser.add_argument("--repeats", type=int, default=3, help="at least this many of each")
    parser.add_argument("--seconds", type=float, default=3, help="at least this long a shape")
    parser.add_argument("--compile", action="store_true", help="also time torch.compile of the loop")
    parser.add_argument("--out", type=Path, help="JSON file; the plot lies beside it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
