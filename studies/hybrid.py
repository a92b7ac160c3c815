"""The prior and the hybrid on CAVE: training, scores on the test scenes, and the cost beside MulSR.

    python studies/hybrid.py --data <folder with complete_ms_data> [--scale 8] [--protocol mulsr] [--minutes 10]
    python studies/hybrid.py --data <folder> --protocol uestc --train beads face --test flowers hairs
    python studies/hybrid.py --data <folder> --validate feathers beads face
    python studies/hybrid.py --cost [--scale 8]

Without --cost: solves the ten training scenes of the published list that the folder holds and trains on them for the
minutes, all included; then scores prior, the filters alone (no network) and hybrid on the four test scenes, by the
protocol's convention. Where preparation takes all the minutes, hybrid is the filters. --train, --test: other scenes.
--validate: scenes that are left out of the training and scored in place of the test scenes: for all choices. With
--cost: counted FLOPs and seconds of hybrid and MulSR on the same cube, and of hybrid on 31 and on 200 bands;
interleaved, median of --rounds.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import cave
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from hsisr import degrade, metrics
from hsisr.config import Training
from hsisr.inference import predict
from hsisr.models import registry
from hsisr.models.model_files import save_model
from hsisr.models.network import Network
from hsisr.samples import TrainingSamples
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
    "feathers",
    "flowers",
)
TEST = ("jelly_beans", "oil_painting", "thread_spools", "watercolors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="local copy of CAVE, whole or in part")
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--protocol", default="mulsr")
    parser.add_argument("--minutes", type=float, default=10.0, help="of preparation and training")
    parser.add_argument("--train", nargs="+", default=TRAIN, metavar="SCENE")
    parser.add_argument("--test", nargs="+", default=TEST, metavar="SCENE")
    parser.add_argument("--validate", nargs="+", default=(), metavar="SCENE", help="of the training scenes")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="keep the trained network in this file, for `hsisr predict --model`")
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
    started = time.perf_counter()
    scored = options.validate or options.test
    train = [name for name in options.train if name not in scored]
    pairs = _pairs(options.data, options.protocol, options.scale, (*train, *scored))
    network = registry.build("hybrid", options.scale, 31, 3)
    patches = network.prepare_training([(name, pairs[name]) for name in train])
    filters = copy.deepcopy(network)
    prepared = time.perf_counter() - started
    print(f"{len(train)} scenes read, degraded and solved in {prepared:.0f} s, {options.threads} threads")
    if options.minutes * 60 > prepared:
        _fit(network, patches, options.minutes - prepared / 60, options)
    if options.out:
        facts = {"bands": 31, "guide_channels": 3, "protocol": options.protocol, "wavelengths_nm": None}
        save_model(options.out, network, {"base": "hybrid", "options": {}, "scale": options.scale, **facts}, {})
    models = [registry.build("prior", options.scale, 31, 3), filters, network]
    print(f"\n| `{options.protocol}` x{options.scale} | prior | filters alone | hybrid |\n| --- | --- | --- | --- |")
    rows = []
    for name in scored:
        pair = pairs[name]
        rows.append([_scores(predict(model, pair.lr, pair.guide), pair) for model in models])
        print(f"| {name} | {_cells(rows[-1])} |", flush=True)
    print(f"| mean | {_cells(np.mean(rows, axis=0))} |")


def _fit(network: Network, patches: TrainingSamples, minutes: float, options: argparse.Namespace) -> None:
    settings = Training(
        epochs=None,
        max_steps=100_000,  # the minutes end it
        max_minutes=minutes,
        batch_size=options.batch,
        learning_rate=options.rate,
        schedule={"kind": "cosine"},
        select="last",
        threads=options.threads,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = fit(network, patches, folder, settings)
    print(f"{outcome.steps} steps of {options.batch} patches in {outcome.seconds:.0f} s")


def _cells(scores: Iterable[tuple[float, float]]) -> str:
    return " | ".join(f"{psnr:.2f} / {sam:.2f}" for psnr, sam in scores)


def _pairs(data: Path, protocol: str, scale: int, names: Sequence[str]) -> dict[str, degrade.Pair]:
    scenes = zip(names, cave.read(data, names), strict=True)
    return {name: degrade.pair(scene, protocol, scale) for name, scene in scenes}


def _scores(estimate: np.ndarray, pair: degrade.Pair) -> tuple[float, float]:
    found = metrics.score(pair, estimate)
    return found["psnr"], found["sam"]


def _cost(scale: int, rounds: int) -> None:
    """A cube of 31 bands and 16 x 16 LR pixels for both; 31 and 200 bands for hybrid alone."""
    cases = {}
    for name, bands in (("mulsr", 31), ("hybrid", 31), ("hybrid", 200)):
        rng = np.random.default_rng(0)
        lr = rng.random((bands, 16, 16), dtype=np.float32)
        guide = rng.random((3, 16 * scale, 16 * scale), dtype=np.float32)
        network = registry.build(name, scale, bands, 3).eval()
        if name == "hybrid":
            torch.nn.init.normal_(network.filters, std=1e-3)  # untrained ones are zero, and are not applied
        cases[f"{name}, {bands} bands"] = (network, lr, guide)
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (model, lr, guide) in cases.items():
            if name.startswith("hybrid"):
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
