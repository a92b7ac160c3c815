"""The paper's claim on small networks: the gain from mixtures, photographs and LR-only scenes with few labelled scenes.

    python studies/ablation.py run --data <folder with CAVE> --out <folder> [--photos <folder>] [--models solo]
    python studies/ablation.py table --out <folder>
    python studies/ablation.py figure --out <folder> --picture <file.svg>

CAVE x4 under `mixup`. Labelled scenes: the first 1, 2 or all of Spectral Mixup's five. LR-only scenes: five. Test
scenes: four of Spectral Mixup's.
run: trains one arm after the other on one thread, and writes a JSON file for each. An arm with a file is done. An
interrupted arm resumes, so the whole can run in many sittings: after --minutes, no new arm begins. All arms of a seed
come before the next seed. table, figure: of the available arms.

Every component has its own optimiser steps, as published. Equal steps: every arm takes `STEPS` steps; an arm with all
components takes a quarter of them on labelled spectra. Equal time: every arm has as much processor time as the arm
without components. The cost of a step is measured once, in turns, and written beside the arms.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cave
import numpy as np
import torch
from hybrid import TEST
from solo import Crops, _pair, _photographs, _score

from hsisr.config import Objectives, Training
from hsisr.files import read_json, write_json
from hsisr.models import registry
from hsisr.samples import TrainingSamples
from hsisr.training import fit

SCALE = 4
LABELLED = ("balloons", "chart_and_stuffed_toy", "egyptian_statue", "fake_and_real_peppers", "hairs")
LR_ONLY = ("beads", "cd", "face", "feathers", "flowers")
COUNTS, SEEDS = (1, 2, 5), (0, 1, 2)
COMPONENTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "mixup": ("mixup",),
    "rgb": ("rgb",),
    "unlabelled": ("unlabelled",),
    "all": ("mixup", "rgb", "unlabelled"),
}
#: Optimiser steps of every arm, and steps to measure the cost of one.
STEPS, TIMED = {"solo": 1000, "deepshare-s": 600}, 40
#: Settings that differ between the networks, chosen on training scenes.
BATCH, LEARNING_RATE = {"solo": 8, "deepshare-s": 2}, {"solo": 2e-3, "deepshare-s": 1e-3}


@dataclass(frozen=True)
class Arm:
    """One training: the network, its extra component, its labelled scenes, the equal budget, the seed."""

    model: str
    budget: str
    component: str
    labelled: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its file and folder."""
        return f"{self.model}-{self.budget}-{self.component}-{self.labelled}-seed{self.seed}"


def arms(models: Sequence[str]) -> Iterator[Arm]:
    """The arms in order of training. Without components, equal time is equal steps, so one arm serves both."""
    for seed in SEEDS:
        for model in models:
            for budget in ("steps", "time"):
                for labelled in COUNTS:
                    for component in COMPONENTS:
                        if component != "none" or budget == "steps":
                            yield Arm(model, budget, component, labelled, seed)


def main() -> None:
    """Parse the command line. Train arms, or print the available ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table", "figure"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the arms")
    parser.add_argument("--data", type=Path, help="local copy of CAVE")
    parser.add_argument("--photos", type=Path, help="a folder of photographs, in place of rgb_photos")
    parser.add_argument("--models", nargs="+", choices=STEPS, default=tuple(STEPS))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of this sitting")
    parser.add_argument("--picture", type=Path, help="of figure: the file")
    options = parser.parse_args()
    {"run": run, "table": print_table, "figure": draw}[options.what](options)


def run(options: argparse.Namespace) -> None:
    """Train the arms that have no file yet."""
    torch.set_num_threads(1)
    started, data = time.monotonic(), Data(options.data, options.photos)
    options.out.mkdir(parents=True, exist_ok=True)
    costs = {model: _costs(model, data, options.out / f"{model}-costs.json") for model in options.models}
    for arm in arms(options.models):
        file = options.out / f"{arm.name}.json"
        if file.exists():
            continue
        if time.monotonic() - started > 60 * options.minutes:
            return
        seconds = costs[arm.model]
        steps = STEPS[arm.model]
        if arm.budget == "time":
            steps = round(steps * seconds["none"] / seconds[arm.component])
        network = _train(arm, steps, data, options.out / "runs" / arm.name)
        scores = {name: _score(network, pair, SCALE) for name, pair in data.test.items()}
        write_json(file, {**asdict(arm), "steps": steps, "scores": scores, "bicubic": data.bicubic})
        print(f"{arm.name}: {_mean(scores)[0] - _mean(data.bicubic)[0]:+.2f} dB", flush=True)


class Data:
    """Pairs of all scenes and photographs in memory, and the test scores of bicubic interpolation."""

    def __init__(self, folder: Path, photographs: Path | None) -> None:
        names = (*LABELLED, *LR_ONLY, *TEST)
        scenes = dict(zip(names, cave.read(folder, names), strict=True))
        pairs = {name: _pair(scene, "mixup", SCALE) for name, scene in scenes.items()}
        self.wavelengths_nm = scenes[LABELLED[0]].wavelengths_nm
        self.labelled, self.lr_only, self.test = ({k: pairs[k] for k in part} for part in (LABELLED, LR_ONLY, TEST))
        self.photographs = {one.name: _pair(one, "mixup", SCALE) for one in _photographs(photographs)}
        bicubic = registry.build("bicubic", SCALE, len(self.wavelengths_nm), 0)
        self.bicubic = {name: _score(bicubic, pair, SCALE) for name, pair in self.test.items()}

    def samples(self, labelled: int, seed: int) -> tuple[TrainingSamples, dict[str, TrainingSamples]]:
        """Crops of the first labelled scenes, and the samples of the other objectives."""
        first = dict(list(self.labelled.items())[:labelled])
        parts = (first, self.photographs, self.lr_only)
        spectra, photographs, lr_only = (
            Crops({name: [[pair]] for name, pair in part.items()}, seed, wavelengths_nm)
            for part, wavelengths_nm in zip(parts, (self.wavelengths_nm, None, self.wavelengths_nm), strict=True)
        )
        return spectra, {"rgb": photographs, "unlabelled": lr_only}


def _train(arm: Arm, steps: int, data: Data, folder: Path) -> Any:
    samples, others = data.samples(arm.labelled, arm.seed)
    torch.manual_seed(arm.seed)
    network = registry.build(arm.model, SCALE, samples.bands, 0)
    chosen = {name: {} for name in COMPONENTS[arm.component]}
    training = Training(
        epochs=None,
        max_steps=steps,
        batch_size=BATCH[arm.model],
        learning_rate=LEARNING_RATE[arm.model],
        schedule={"kind": "cosine", "warmup_steps": 50},
        clip_gradient=1.0,
        precision="bf16",
        objectives=Objectives.model_validate(chosen),
        select="last",
        threads=1,
        device="cpu",
    )
    fit(
        network,
        samples,
        folder,
        training,
        seed=arm.seed,
        others={name: others[name] for name in chosen if name in others},
    )
    return network.eval()


def _costs(model: str, data: Data, file: Path) -> dict[str, float]:
    """Processor seconds for an optimiser step of each component: the median of three rounds, in turns."""
    if not file.exists():
        found: dict[str, list[float]] = {name: [] for name in COMPONENTS}
        for _ in range(3):
            for name in COMPONENTS:
                with tempfile.TemporaryDirectory() as folder:
                    started = time.process_time()
                    _train(Arm(model, "time", name, max(COUNTS), 0), TIMED, data, Path(folder))
                    found[name].append((time.process_time() - started) / TIMED)
        write_json(file, {name: statistics.median(times) for name, times in found.items()})
    return read_json(file)


def _mean(scores: dict[str, Sequence[float]]) -> np.ndarray:
    return np.mean(list(scores.values()), axis=0)


@dataclass(frozen=True)
class Cell:
    """Gains of one arm's seeds over bicubic interpolation, mean over the test scenes: PSNR in dB, SAM in degrees."""

    gains: np.ndarray  # (seeds, 2)

    @property
    def mean(self) -> np.ndarray:
        """Mean over the seeds, (2,)."""
        return self.gains.mean(axis=0)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over the seeds, (2,); 0 for a single seed."""
        return self.gains.std(axis=0, ddof=min(1, len(self.gains) - 1))

    def __str__(self) -> str:
        psnr, sam = (f"{mean:+.2f} ± {spread:.2f}" for mean, spread in zip(self.mean, self.spread, strict=True))
        return f"{psnr} / {sam}" + ("" if len(self.gains) == len(SEEDS) else f" ({len(self.gains)})")


def cells(folder: Path) -> dict[tuple[str, str, str, int], Cell]:
    """(model, budget, component, labelled scenes) -> gains of the finished arms."""
    found: dict[tuple[str, str, str, int], list[np.ndarray]] = {}
    for arm in arms(tuple(STEPS)):
        file = folder / f"{arm.name}.json"
        if file.exists():
            content = read_json(file)
            gain = _mean(content["scores"]) - _mean(content["bicubic"])
            budgets = ("steps", "time") if arm.component == "none" else (arm.budget,)
            for budget in budgets:
                found.setdefault((arm.model, budget, arm.component, arm.labelled), []).append(gain)
    return {key: Cell(np.array(gains)) for key, gains in found.items()}


def print_table(options: argparse.Namespace) -> None:
    """Gain over bicubic interpolation, mean and standard deviation over the seeds; and their number, if not all."""
    found = cells(options.out)
    for model, budget in sorted({key[:2] for key in found}, reverse=True):
        print(f"\n`{model}`, equal {budget}: gain in PSNR (dB) / SAM (degrees)\n")
        print(f"| labelled scenes | {' | '.join(map(str, COUNTS))} |\n| --- |{' --- |' * len(COUNTS)}")
        for component in COMPONENTS:
            row = [str(found.get((model, budget, component, count), "")) for count in COUNTS]
            if any(row):
                print(f"| {component} | {' | '.join(row)} |")


def draw(options: argparse.Namespace) -> None:
    """Gain in PSNR against the number of labelled scenes, a panel for each network and budget.

    Bars are standard deviations over the seeds. A single seed has no bar.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    found = cells(options.out)
    panels = sorted({key[:2] for key in found}, reverse=True)
    figure = Figure(figsize=(1 + 2 * len(panels), 2.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (model, budget) in zip(axes, panels, strict=True):
        for place, component in enumerate(COMPONENTS):
            known = {count: found[key] for count in COUNTS if (key := (model, budget, component, count)) in found}
            counts = [count * 1.04 ** (place - 2) for count in known]  # side by side, so that all bars are visible
            gains = [cell.mean[0] for cell in known.values()]
            bars = [cell.spread[0] if len(cell.gains) > 1 else np.nan for cell in known.values()]
            axis.errorbar(counts, gains, bars, marker="o", markersize=3, capsize=2, linewidth=1, label=component)
        axis.axhline(0, color="grey", linewidth=0.8)
        axis.set(xlabel="labelled scenes", xscale="log", xlim=(0.8, 6.2))
        axis.set_title(f"{model}, equal {budget}", fontsize=9)
        axis.set_xticks(COUNTS, map(str, COUNTS))
        axis.minorticks_off()
    axes[0].set_ylabel("gain over bicubic (dB)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right", fontsize=8, frameon=False)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ablation"}):  # small, with the same bytes every time
        figure.savefig(options.picture, metadata={"Date": None} if options.picture.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
