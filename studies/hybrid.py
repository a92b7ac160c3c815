"""The prior and the hybrid on CAVE: training, scores on the test scenes, and the cost beside MulSR.

    python studies/hybrid.py --data <folder with complete_ms_data> [--scale 8] [--protocol mulsr] [--minutes 10]
    python studies/hybrid.py --data <folder> --protocol uestc --train beads face --test flowers hairs
    python studies/hybrid.py --data <folder> --validate feathers beads face
    python studies/hybrid.py --data <folder> --leave-out
    python studies/hybrid.py --data <folder> --samson <folder with samson_1.mat> --weights <file>
    OMP_NUM_THREADS=1 python studies/hybrid.py --cost [--scale 8] [--threads 1]

Without --cost: solves the ten training scenes of the published list that the folder holds and trains on them for the
minutes, all included; the network learns from eight, and two choose its weights. Then scores prior, the filters alone
(no network) and hybrid on the four test scenes, by the protocol's convention. Several --minutes: a hybrid for each,
after one preparation. Where preparation takes all the minutes, hybrid is the filters. --train, --test: other scenes.
--validate: scenes that are left out of the training and scored in place of the test scenes: for all choices.
--leave-out: no network; scores prior and filters on all scenes, those of --train and --test, each with filters that
learnt from all others, without and with those in the dark. Only the camera's response is learnt from all scenes. Then
where the angle is lost: parts of the mean angle, and of the squared error of the last, by the guide's mean value.
--weights: scores prior and a model file, as it is, under four protocols, with the guide's channels in the wrong order,
and on Samson and Indian Pines, resampled to CAVE's bands. With
--cost: counted FLOPs and seconds of hybrid and MulSR on the same cube, and of hybrid on 31 and on 200 bands;
interleaved, median of --rounds. Then parameters, CPU seconds and rates of prior and hybrid on 512 x 512 x 31, beside
this machine's own rate of matrix products: of numpy's work, the large products and eigenproblems count.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cave
import numpy as np
import torch
from other_data import indian_pines
from torch.utils.flop_counter import FlopCounterMode

from hsisr import datasets, degrade, metrics
from hsisr.config import Training
from hsisr.datasets.bands import resample
from hsisr.degrade import Sensor
from hsisr.inference import predict
from hsisr.models import prior as priors
from hsisr.models import registry
from hsisr.models.hybrid.agreement import agreed, contradiction
from hsisr.models.hybrid.filters import Details, Learnt, response_of
from hsisr.models.hybrid.pieces import Piece
from hsisr.models.hybrid.samples import filters_of
from hsisr.models.model_files import load_model, save_model
from hsisr.models.network import Network
from hsisr.models.prior import features
from hsisr.models.prior.regression import Fit, Sums
from hsisr.samples import TrainingSamples
from hsisr.scene import Scene
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
#: Under which a finished model is scored.
PROTOCOLS = ("mulsr", "wald", "uestc", "dhif")
#: Of the guide's mean over channels, between the classes of pixels of --leave-out.
LIMITS = (0.01, 0.02, 0.04, 0.08, 0.16)
TEST = ("jelly_beans", "oil_painting", "thread_spools", "watercolors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="local copy of CAVE, whole or in part")
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--protocol", default="mulsr")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0], help="of preparation and training")
    parser.add_argument("--train", nargs="+", default=TRAIN, metavar="SCENE")
    parser.add_argument("--test", nargs="+", default=TEST, metavar="SCENE")
    parser.add_argument("--validate", nargs="+", default=(), metavar="SCENE", help="of the training scenes")
    parser.add_argument("--leave-out", action="store_true", help="filters of every scene, learnt from all others")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="keep the last network in this file, for `hsisr predict --model`")
    parser.add_argument("--weights", type=Path, help="model file to score in place of a training")
    parser.add_argument("--samson", type=Path, help="of --weights: folder with samson_1.mat")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--rounds", type=int, default=3, help="of --cost")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.cost:
        _cost(options.scale, options.rounds)
        _rates(options.scale, options.rounds)
    elif options.leave_out:
        _leave_out(options)
    elif options.weights:
        _elsewhere(options)
    else:
        _train(options)


def _train(options: argparse.Namespace) -> None:
    started = time.perf_counter()
    scored = options.validate or options.test
    train = [name for name in options.train if name not in scored]
    pairs = _pairs(options.data, options.protocol, options.scale, (*train, *scored))
    network = registry.build("hybrid", options.scale, 31, 3)
    patches = network.prepare_training([(name, pairs[name]) for name in train])
    prepared = time.perf_counter() - started
    print(f"{len(train)} scenes read, degraded and solved in {prepared:.0f} s, {options.threads} threads")
    models = {"prior": registry.build("prior", options.scale, 31, 3), "filters alone": copy.deepcopy(network)}
    for minutes in options.minutes:
        network = copy.deepcopy(models["filters alone"])
        if minutes * 60 > prepared:
            _fit(network, patches, minutes - prepared / 60, options)
        models[f"hybrid, {minutes:g} min"] = network
    if options.out:
        facts = {"bands": 31, "guide_channels": 3, "protocol": options.protocol, "wavelengths_nm": None}
        save_model(options.out, network, {"base": "hybrid", "options": {}, "scale": options.scale, **facts}, {})
    print(f"\n| `{options.protocol}` x{options.scale} | {' | '.join(models)} |\n|{' --- |' * (1 + len(models))}")
    rows = []
    for name in scored:
        pair = pairs[name]
        rows.append([_scores(predict(model, pair.lr, pair.guide), pair) for model in models.values()])
        print(f"| {name} | {_cells(rows[-1])} |", flush=True)
    print(f"| mean | {_cells(np.mean(rows, axis=0))} |")


def _leave_out(options: argparse.Namespace) -> None:
    scale, names = options.scale, (*options.train, *options.test)
    pairs = _pairs(options.data, options.protocol, scale, names)
    kept = [(pair, priors.solve(pair.lr, pair.guide, scale, Sensor(mask=pair.mask))) for pair in pairs.values()]
    response = response_of((pair, solution, scale) for pair, solution in kept)
    start = Learnt.nothing(len(kept[0][0].hr), len(response)).filters
    _, unseen = filters_of(kept, scale, response, start)
    usual = max(contradiction(pair.hr, pair.guide, response, pair.mask) for pair, _ in kept)
    print(f"| `{options.protocol}` x{scale} | prior | filters | with those in the dark |\n|{' --- |' * 4}")
    rows, parts = [], []
    for name, (pair, solution), theirs in zip(names, kept, unseen, strict=True):
        details = Details(Piece(pair.lr, pair.guide, solution), scale, response)
        made = [details.image]
        for filters in (np.stack([theirs[0], start[1]]), theirs):
            filtered = details.image + details.filtered(filters)
            made.append(agreed(filtered, pair.guide, response, solution, usual))
        rows.append([_scores(image, pair) for image in made])
        parts.append(_by_brightness(pair, made))
        print(f"| {name} | {_cells(rows[-1])} |", flush=True)
    print(f"| mean | {_cells(np.mean(rows, axis=0))} |")
    print("\n| guide from | pixels | prior | filters | with those in the dark | squared error |\n|" + " --- |" * 6)
    for limit, (share, *angles, square) in zip((0.0, *LIMITS), np.mean(parts, axis=0), strict=True):
        print(f"| {limit:g} | {share:.0%} | {' | '.join(f'{angle:.2f}' for angle in angles)} | {square:.0%} |")


def _by_brightness(pair: degrade.Pair, images: Sequence[np.ndarray]) -> np.ndarray:
    """By class of `LIMITS`: share of the pixels, part of each image's mean angle, share of the last's squared error."""
    spectra = pair.hr.reshape(len(pair.hr), -1).astype(np.float64)
    made = [np.clip(image, 0, 1).reshape(spectra.shape).astype(np.float64) for image in images]
    classes = np.digitize(pair.guide.mean(axis=0).ravel(), LIMITS)
    squares = ((made[-1] - spectra) ** 2).sum(axis=0)
    weights = [np.full(len(classes), 1 / len(classes))]
    for found in made:
        sizes = np.sqrt((spectra**2).sum(axis=0) * (found**2).sum(axis=0))
        cosine = (spectra * found).sum(axis=0) / np.maximum(sizes, np.finfo(float).tiny)
        weights.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))) / len(classes))
    weights.append(squares / squares.sum())
    return np.transpose([np.bincount(classes, values, len(LIMITS) + 1) for values in weights])


def _fit(network: Network, patches: TrainingSamples, minutes: float, options: argparse.Namespace) -> None:
    settings = Training(
        epochs=None,
        max_steps=100_000,  # the minutes end it
        max_minutes=minutes,
        batch_size=options.batch,
        learning_rate=options.rate,
        schedule={"kind": "cosine"},
        validate_every_steps=100,
        threads=options.threads,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = fit(network, patches, folder, settings)
    print(f"{outcome.steps} steps of {options.batch} patches in {outcome.seconds:.0f} s, {outcome.kept_step} are kept")


def _elsewhere(options: argparse.Namespace) -> None:
    """A finished model where it was not trained: other protocols, a wrong guide, other cameras."""
    network, names = load_model(options.weights), options.validate or options.test
    scale = network.scale
    models = [registry.build("prior", scale, 31, 3), network]
    scenes = cave.read(options.data, names)
    cases = {f"`{name}`": [degrade.pair(scene, name, scale) for scene in scenes] for name in PROTOCOLS}
    cases["`wald`, guide as blue, green, red"] = [replace(pair, guide=pair.guide[::-1]) for pair in cases["`wald`"]]
    centres = datasets.entry("cave").wavelengths_nm
    others = [resample(scene, centres) for scene in (_samson(options.samson), indian_pines())]
    cases |= {f"{scene.name}, `wald`": [degrade.pair(scene, "wald", scale, 0, "nikon_d700")] for scene in others}
    print(f"| x{scale} | prior | {options.weights.stem} |\n| --- | --- | --- |")
    for case, pairs in cases.items():
        found = [[_scores(predict(model, pair.lr, pair.guide), pair) for model in models] for pair in pairs]
        print(f"| {case} | {_cells(np.mean(found, axis=0))} |", flush=True)


def _samson(folder: Path) -> Scene:
    scene = datasets.read_scene(
        folder / "samson_1.mat", variable="V", axes="BP", rows=95, columns=95, wavelengths_nm=np.linspace(401, 889, 156)
    )
    return Scene(scene.cube / scene.cube.max(), "Samson", wavelengths_nm=scene.wavelengths_nm)


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


def _rates(scale: int, rounds: int) -> None:
    """A smooth cube of 31 bands and 512 x 512 HR pixels for prior and hybrid."""
    rng = np.random.default_rng(0)
    places = np.mgrid[:512, :512] / 512
    waves = np.cos(np.tensordot(40 * rng.standard_normal((24, 2)), places, 1) + 6 * rng.random((24, 1, 1)))
    hr = np.tensordot(rng.random((31, 24)) / 24, 0.5 + 0.5 * waves, 1).astype(np.float32)
    lr = degrade.gaussian_footprint(scale).sampler(scale, hr.shape[1:])(hr)
    lr = (lr + 0.003 * rng.standard_normal(lr.shape)).astype(np.float32)
    guide = np.tensordot(rng.random((3, 31)) / 31, hr, 1).astype(np.float32)
    models = {name: registry.build(name, scale, 31, 3) for name in ("prior", "hybrid")}
    torch.nn.init.normal_(models["hybrid"].filters, std=1e-3)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds + 1):
        for name, model in models.items():
            if name == "hybrid":
                model.forget()
            started = time.process_time()
            predict(model, lr, guide)
            seconds[name].append(time.process_time() - started)
    print("\n| 512 x 512 x 31 | parameters | GFLOP | CPU seconds | GFLOP/s |\n| --- | --- | --- | --- | --- |")
    for name, model in models.items():
        count = sum(values.numel() for values in model.parameters()) if name == "hybrid" else 0
        if name == "hybrid":
            model.forget()
        with FlopCounterMode(display=False) as counter, _counted() as products:
            predict(model, lr, guide)
        gflop, median = (counter.get_total_flops() + sum(products)) / 1e9, statistics.median(seconds[name][1:])
        print(f"| {name} | {count:,} | {gflop:.0f} | {median:.2f} | {gflop / median:.0f} |")
    for kind in (np.float32, np.float64):
        print(f"| matrix product, 1,024 a side, {kind.__name__} | | 2.1 | | {_product_rate(kind):.0f} |")


def _product_rate(kind: type) -> float:
    """GFLOP/s of this machine's matrix products, the best of ten."""
    one, other = np.random.default_rng(0).random((2, 1024, 1024)).astype(kind)
    best = np.inf
    for _ in range(10):
        started = time.process_time()
        one @ other
        best = min(best, time.process_time() - started)
    return 2 * 1024**3 / best / 1e9


@contextmanager
def _counted() -> Iterator[list[float]]:
    """Floating-point operations of numpy's large products and eigenproblems in what is run meanwhile."""
    found: list[float] = []

    def counting(place: Any, name: str, count: Callable[..., float]) -> Any:
        work = getattr(place, name)

        @wraps(work)
        def counted(*values: Any, **named: Any) -> Any:
            found.append(float(count(*values)))
            return work(*values, **named)

        return patch.object(place, name, counted)

    def seen(functions: Any, guide: np.ndarray, place: np.ndarray, sampler: Any, valid: Any = None) -> float:
        rows, columns = (axis.nnz for axis in (sampler.rows, sampler.columns))
        return 2 * len(functions) * (rows * guide.shape[2] + columns * sampler.rows.shape[0])

    with ExitStack() as patches:
        for work in (
            counting(features.Bumps, "made", lambda bumps, factors, which, out: 2 * len(factors) * out.size),
            counting(priors, "seen_features", seen),
            counting(Fit, "__call__", lambda fit, values: 2 * fit.weights.size * values.shape[1]),
            counting(Sums, "add", lambda sums, values, *_: (sums.features + sums.targets + 1) ** 2 * values.shape[1]),
            counting(Sums, "turned", lambda sums, turn: 4 * len(turn) ** 3),
            counting(np.linalg, "eigh", lambda matrix: 9 * len(matrix) ** 3),
        ):
            patches.enter_context(work)
        yield found


if __name__ == "__main__":
    main()
