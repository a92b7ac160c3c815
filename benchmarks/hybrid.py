"""The prior and the hybrid on CAVE: training, scores on the test scenes, and the cost beside MulSR.

    python benchmarks/hybrid.py --data <folder with complete_ms_data> [--scale 8] [--protocol mulsr] [--steps 1500]
    python benchmarks/hybrid.py --cost [--scale 8]

Without --cost: solves the training scenes that the folder holds (those of the published list of 20), trains on all but
two of them, which validate, and scores prior and hybrid on the test scenes. With --cost: counted FLOPs and seconds of
hybrid and MulSR on the same cube, and of hybrid on 31 and on 200 bands; interleaved, median of --rounds.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import cave
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from hsisr import degrade, metrics
from hsisr.config import Training
from hsisr.inference import predict
from hsisr.models import registry
from hsisr.models.hybrid.samples import solved
from hsisr.training import fit

TRAIN = (
    "balloons",
    "beads",
    "cd",
    "chart_and_stuffed_toy",
    "egyptian_statue",
    "face",
    "fake_and_real_peppers",
    "hairs",
)
VALIDATE = ("feathers", "flowers")
TEST = ("jelly_beans", "oil_painting", "thread_spools", "watercolors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="local copy of CAVE, whole or in part")
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--protocol", default="mulsr")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--rounds", type=int, default=3, help="of --cost")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.cost:
        _cost(options.scale, options.rounds)
    else:
        _train(options)


def _train(options: argparse.Namespace) -> None:
    pairs = _pairs(options.data, options.protocol, options.scale)
    network = registry.build("hybrid", options.scale, 31, 3)
    started = time.perf_counter()
    patches = solved(
        ((name, pairs[name].lr, pairs[name].guide, pairs[name].hr) for name in TRAIN), options.scale, network.basis
    )
    print(f"{len(TRAIN)} training scenes solved in {time.perf_counter() - started:.0f} s")
    settings = Training(
        epochs=None,
        max_steps=options.steps,
        batch_size=options.batch,
        learning_rate=options.rate,
        schedule={"kind": "cosine"},
        validate_every_steps=max(1, options.steps // 6),
        threads=options.threads,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = fit(
            network, patches, folder, settings, validate=lambda model: _mean_psnr(model, [pairs[n] for n in VALIDATE])
        )
    print(
        f"{outcome.steps} steps of {options.batch} patches, {outcome.seconds:.0f} s on {options.threads} threads, "
        f"validation included; kept step {outcome.kept_step}, validation {outcome.validation_psnr:.2f} dB\n"
    )
    untrained = registry.build("prior", options.scale, 31, 3)
    print(f"`{options.protocol}` x{options.scale}, PSNR / SAM\n\n| scene | prior | hybrid |\n| --- | --- | --- |")
    rows = []
    for name in (*VALIDATE, *TEST):
        found = [
            _scores(predict(model, pairs[name].lr, pairs[name].guide), pairs[name]) for model in (untrained, network)
        ]
        label = f"{name} (validation)" if name in VALIDATE else name
        print(f"| {label} | {' | '.join(f'{psnr:.2f} / {sam:.2f}' for psnr, sam in found)} |", flush=True)
        if name in TEST:
            rows.append(found)
    print(f"| mean of test | {' | '.join(f'{psnr:.2f} / {sam:.2f}' for psnr, sam in np.mean(rows, axis=0))} |")


def _pairs(data: Path, protocol: str, scale: int) -> dict[str, degrade.Pair]:
    names = (*TRAIN, *VALIDATE, *TEST)
    scenes = zip(names, cave.read(data, names), strict=True)
    return {name: degrade.pair(scene, protocol, scale) for name, scene in scenes}


def _scores(estimate: np.ndarray, pair: degrade.Pair) -> tuple[float, float]:
    found = metrics.score(pair.hr, estimate, pair.metadata["scale"], "mulsr")
    return found["psnr"], found["sam"]


def _mean_psnr(model: torch.nn.Module, pairs: list[degrade.Pair]) -> float:
    return float(np.mean([_scores(predict(model, pair.lr, pair.guide), pair)[0] for pair in pairs]))


def _cost(scale: int, rounds: int) -> None:
    """A cube of 31 bands and 16 x 16 LR pixels for both; 31 and 200 bands for hybrid alone."""
    cases = {}
    for name, bands in (("mulsr", 31), ("hybrid", 31), ("hybrid", 200)):
        rng = np.random.default_rng(0)
        lr = rng.random((bands, 16, 16), dtype=np.float32)
        guide = rng.random((3, 16 * scale, 16 * scale), dtype=np.float32)
        cases[f"{name}, {bands} bands"] = (registry.build(name, scale, bands, 3).eval(), lr, guide)
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (model, lr, guide) in cases.items():
            if hasattr(model, "forget"):
                model.forget()
            started = time.perf_counter()
            predict(model, lr, guide)
            seconds[name].append(time.perf_counter() - started)
    print("| model | network GFLOP | seconds, all included |\n| --- | --- | --- |")
    for name, (model, lr, guide) in cases.items():
        with FlopCounterMode(display=False) as counter:
            predict(model, lr, guide)
        print(f"| {name} | {counter.get_total_flops() / 1e9:.2f} | {statistics.median(seconds[name]):.2f} |")


if __name__ == "__main__":
    main()
