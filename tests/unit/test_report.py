"""The report, built from results, previews and histories that the pipeline's own writers made."""

import base64
import csv
import hashlib
import io
import json
import math
import re
import shutil
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from hsisr import datasets, metrics, report
from hsisr.config import Config
from hsisr.errors import HsisrError
from hsisr.evaluation import preview, results
from hsisr.files import stamp, write_text
from hsisr.pipeline import paths, steps
from hsisr.pipeline.benchmark import Benchmark, resolve
from hsisr.report import content, figures, gallery, page, pictures, probes, tables, words
from hsisr.training.engine import HISTORY_COLUMNS

CONFIG = {
    "benchmarks": {
        "indian_pines_x4": {"models": ["bicubic", "gsa", "net"]},
        "cave_x8": {"models": ["bicubic", "gsa", "net"]},
    },
    "models": {"net": {"base": "mulsr", "seeds": [0, 1]}},
    "scenes": {"cave": ["balloons", "beads", "paints", "sponges"]},
    "report": {"title": "Two <benchmarks> & three models", "scenes": 1},
}
SIZES = {"indian_pines_x4": (80, 48), "cave_x8": (64, 96)}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# --- fabricated results


def smooth_cube(bands: int, height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cube = gaussian_filter(rng.random((bands, height, width)), (min(bands / 8, 3), 2, 2))
    return ((cube - cube.min()) / (cube.max() - cube.min())).astype(np.float32)


def fabricate(benchmark: Benchmark, height: int, width: int) -> None:
    """Results of bicubic (blurred), gsa (noisy) and net (less noisy), written as evaluation and training do."""
    wavelengths_nm = np.array(datasets.entry(benchmark.dataset).wavelengths_nm)
    items = [item.name for item in benchmark.parts["test"]]
    cubes = {name: smooth_cube(len(wavelengths_nm), height, width, seed) for seed, name in enumerate(items)}
    found = {name: fabricate_model(benchmark, name, cubes, wavelengths_nm) for name in benchmark.models}
    parts = {part: [item.name for item in members] for part, members in benchmark.parts.items()}
    merged = results.Results(
        **stamp("results", steps.merging(benchmark).identity),
        dataset=benchmark.dataset,
        scale=benchmark.scale,
        protocol=benchmark.protocol,
        convention=benchmark.convention,
        command=f"snakemake results/{benchmark.name}.json --cores all",
        parts=parts,
        response=benchmark.response,
        reference_bands=dict.fromkeys(("neighbourhood_grouping", "entropy_and_correlation"), [1, 8]),
        classification=results.Classification(
            classes={"corn": 40, "woods": 30},
            dropped={"oats": "4 pixels, fewer than 10"},
            splits=10,
            block_px=8,
            reference=accuracies(0.9),
            lr=accuracies(0.65),
        ),
        models=found,
        environment={"python": "3.11", "processor": "a processor", "gpu": None},
    )
    results.write(benchmark.path(paths.RESULTS), merged)


def fabricate_model(
    benchmark: Benchmark, name: str, cubes: dict[str, np.ndarray], wavelengths_nm: np.ndarray
) -> results.ModelResult:
    rng = np.random.default_rng(1)
    previews, scores = {}, {}
    for scene, cube in cubes.items():
        lr = zoom(cube, (1, 1 / benchmark.scale, 1 / benchmark.scale), order=0, grid_mode=True, mode="nearest")
        noise = rng.standard_normal(cube.shape)
        estimate = {
            "bicubic": gaussian_filter(cube, (0, 4, 4)),
            "gsa": cube + 0.02 * noise,
            "net": cube + 0.01 * noise,
        }[name].astype(np.float32)
        previews[scene] = preview.make(lr, estimate, cube, wavelengths_nm)
        scores[scene] = metrics.score(cube, estimate, benchmark.scale, benchmark.convention)
    preview.write(benchmark.path(paths.PREVIEW, model=name), previews)
    entry = benchmark.models[name]
    if entry.is_network:
        for seed in entry.seeds:
            write_history(benchmark.path(paths.HISTORY, model=name, seed=seed), [20.0, 30.0, 28.0])
    mean = {key: float(np.mean([values[key] for values in scores.values()])) for key in scores[scene]}
    seeds = {str(seed): mean for seed in entry.seeds} if entry.is_network else {}
    return results.ModelResult(
        base=entry.base,
        options={},
        mean=mean,
        std=dict.fromkeys(mean, 0.5),
        scenes=scores,
        seeds=seeds,
        seed_std=dict.fromkeys(mean, 0.25) if seeds else {},
        parameters=12345 if seeds else 0,
        training_steps=3000 if seeds else 0,
        flops_per_value=1.25e6 if seeds else None,
        timing={"seconds": 0.5, "training_seconds": 250.0, "seconds_per_megapixel_band": 1.2, "peak_memory_mb": 300.0}
        if seeds
        else {"seconds": 0.5, "seconds_per_megapixel_band": 0.03, "peak_memory_mb": 50.0},
        bands={method: BANDS[name] for method in ("neighbourhood_grouping", "entropy_and_correlation")},
        classification=accuracies({"bicubic": 0.7, "gsa": 0.8, "net": 0.85}[name]),
    )


BANDS = {
    "bicubic": results.BandChoice(bands=[0, 9], overlap=0.0, distance=25.0),
    "gsa": results.BandChoice(bands=[1, 9], overlap=0.5, distance=5.0),
    "net": results.BandChoice(bands=[1, 8], overlap=1.0, distance=0.0),
}


def accuracies(oa: float) -> dict:
    scores = {"oa": oa, "aa": oa - 0.05, "kappa": oa - 0.1, "oa_std": 0.01, "aa_std": 0.02, "kappa_std": 0.015}
    return {classifier: {"blocks": scores, "random": scores | {"oa": oa + 0.05}} for classifier in ("svm", "forest")}


def write_history(path: str, psnr: list[float]) -> None:
    rows = [[100 * (k + 1), k + 1, 0.1 / (k + 1), value, 1e-4, k] for k, value in enumerate(psnr)]
    write_text(path, "\n".join(",".join(map(str, row)) for row in [HISTORY_COLUMNS, *rows]) + "\n")


def benchmarks_of(config: dict) -> tuple[list[Benchmark], Config]:
    parsed = Config.parse(config)
    return [resolve(parsed, name) for name in parsed.benchmarks], parsed


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with fabricated results of two benchmarks and the report of them."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        chosen, config = benchmarks_of(CONFIG)
        for benchmark in chosen:
            fabricate(benchmark, *SIZES[benchmark.name])
        report.build(chosen, paths.REPORT, config.report, paths.FIGURES)
    return folder


@pytest.fixture
def project(built, tmp_path, monkeypatch) -> Path:
    """A copy of the built folder, made the current one, for tests that change or miss files."""
    folder = tmp_path / "project"
    shutil.copytree(built, folder)
    monkeypatch.chdir(folder)
    return folder


class Page(HTMLParser):
    """Tags of a page in order, each (tag, attributes, text up to the next tag); checks that tags nest."""

    VOID = frozenset(("meta", "link", "img", "br", "input", "path"))

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), []))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.tags:
            self.tags[-1][2].append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes, _ in self.tags if name == tag]

    def texts(self, tag: str) -> list[str]:
        return ["".join(text).strip() for name, _, text in self.tags if name == tag]


@pytest.fixture(scope="module")
def parsed(built) -> Page:
    return Page(built / paths.REPORT)


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB"))


def picture(parsed: Page, alt: str) -> np.ndarray:
    return decoded(next(image["src"] for image in parsed.all("img") if image.get("alt") == alt))


# --- the page


def test_page_loads_nothing_from_outside(built, parsed):
    html = (built / paths.REPORT).read_text()
    for tag, attributes, _ in parsed.tags:
        for name, value in attributes.items():
            if name in ("src", "srcset", "poster", "data", "action", "xlink:href") and tag != "svg":
                assert value.startswith("data:"), (tag, name, value[:60])
            if name == "href":
                assert value.startswith(("data:", "#")) or (tag == "a" and value.startswith("https://")), value
    assert "@import" not in html and "url(" not in html and not parsed.all("iframe")
    policy = next(meta for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'; img-src data:;")


def test_page_is_accessible(parsed):
    ids = [attributes["id"] for _, attributes, _ in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labels = [attributes["aria-labelledby"] for _, attributes, _ in parsed.tags if "aria-labelledby" in attributes]
    assert labels and {name for label in labels for name in label.split()} <= set(ids)
    assert len(labels) == len(set(labels))
    assert all("alt" in image for image in parsed.all("img"))
    assert all(label["aria-label"] for label in parsed.all("svg") if label.get("role") == "img")
    assert len(parsed.all("caption")) == len(parsed.all("table")) > 0
    assert all(cell["scope"] in ("row", "col") for cell in parsed.all("th"))
    levels = [int(tag[1]) for tag, _, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_title_is_escaped(built, parsed):
    assert parsed.texts("title")[0] == "Two <benchmarks> & three models"
    assert "<benchmarks>" not in (built / paths.REPORT).read_text()


def test_header_tells_what_was_compared(built):
    html = (built / paths.REPORT).read_text()
    for text in (
        "AVIRIS Indian Pines",
        "BSD-3-Clause",
        "doi:10.4231/R7RX991C",
        "Gaussian PSF with FWHM of one LR pixel",
        "color_infrared (nir, red, green)",
        metrics.find_convention("mulsr").description,
        "indian_pines-test (rows 0 to 79, columns 96 to 143 of indian_pines)",
        "snakemake results/indian_pines_x4.json --cores all",
        "2 scenes: paints, sponges",
        "a processor",
    ):
        assert text in html, text


def test_guide_in_words():
    def of(name: str, datasets: dict | None = None, **choice: str) -> str:
        config = {"benchmarks": {name: {"models": ["bicubic"], **choice}}, "datasets": datasets or {}}
        return words.guide(resolve(Config.parse(config), name))

    own = {"cave": {"guide": {"layout": ["{scene}.tif"]}}}
    assert of("cave_x8") == "simulated by the spectral response nikon_d700 (red, green, blue)"
    assert of("cave_x8_mixup") == "none: super-resolution of a single image"
    assert of("cave_x8", response="none") == "none: super-resolution of a single image"
    assert of("cave_x8_wald", own) == of("cave_x8_full", own) == "the sharp image that comes with each scene"
    assert of("cave_x8_wald", own, response="pan").startswith("simulated by the spectral response pan")


def test_best_is_bold_and_second_underlined(built, parsed):
    read = results.read(built / "results/indian_pines_x4.json", results.Results)
    order = sorted((model.mean["psnr"] for model in read.models.values()), reverse=True)
    assert f"{order[0]:.2f}" in parsed.texts("b") and f"{order[1]:.2f}" in parsed.texts("u")
    table = tables.scores(read)
    assert [cell.mark for cell in table.rows["net"][:4]] == ["best"] * 4
    assert {cells[4].mark for cells in table.rows.values()} == {""}  # their RMSE differ by less than its spread
    assert table.rows["net"][0].addition == "\u00b1 0.25" and table.rows["gsa"][0].addition == ""
    costs = tables.costs(read).rows
    assert [cell.text for cell in costs["net"]] == [
        "12,345",
        "3,000",
        "4 min 10 s",
        "0.5 s",
        "1.2 s",
        "1.25 M",
        "300 MB",
    ]
    assert [cell.text for cell in costs["gsa"]] == [tables.NOTHING] * 3 + ["0.5 s", "30 ms", tables.NOTHING, "50 MB"]


@pytest.mark.parametrize(
    ("values", "key", "expected"),
    [
        ({"a": 30.0, "b": 31.0, "c": 29.0}, "psnr", {"b": "best", "a": "second"}),
        ({"a": 3.0, "b": 2.0, "c": 4.0}, "sam", {"b": "best", "a": "second"}),
        ({"a": 30.001, "b": 30.004, "c": 29.0}, "psnr", {"a": "best", "b": "best", "c": "second"}),
        ({"a": 30.0, "b": 30.0}, "psnr", {}),
        ({"a": 30.0}, "psnr", {}),
    ],
)
def test_ranks(values, key, expected):
    assert tables.ranks(values, key) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (0.123, "0.12 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_duration(seconds, text):
    assert tables.duration(seconds) == text


def test_overview_leaves_out_what_was_not_compared(built):
    read = {name: results.read(built / f"results/{name}.json", results.Results) for name in SIZES}
    read["cave_x8"] = read["cave_x8"].model_copy(update={"models": {"gsa": read["cave_x8"].models["gsa"]}})
    rows = tables.overview(read).rows
    assert [cell.text for cell in rows["cave_x8"]] == [
        tables.NOTHING,
        f"{read['cave_x8'].models['gsa'].mean['psnr']:.2f}",
        tables.NOTHING,
    ]


def with_scores(found: results.Results, model: str, **scores: float | None) -> results.Results:
    """The same results, some scores of one model replaced."""
    changed = found.models[model].model_copy(
        update={
            "mean": found.models[model].mean | scores,
            "scenes": {name: values | scores for name, values in found.models[model].scenes.items()},
        }
    )
    return found.model_copy(update={"models": found.models | {model: changed}})


def test_perfect_model_leads(built):
    read = results.read(built / "results/cave_x8.json", results.Results)
    perfect = with_scores(read, "bicubic", psnr=None)  # identical images: results files hold no infinity
    cells = tables.scores(perfect).rows
    assert (cells["bicubic"][0].text, cells["bicubic"][0].mark, cells["net"][0].mark) == ("\u221e", "best", "second")
    finding = words.finding(perfect)
    assert finding.startswith("bicubic leads with \u221e dB PSNR, ") and " Next: net " in finding
    assert tables.scores_csv({"cave_x8": perfect}).count(",inf,") == 2


def test_scores_without_a_reference(project):
    config = CONFIG | {"benchmarks": {"indian_pines_x4_full": {"models": ["bicubic", "gsa", "net"]}}}
    (benchmark,), parsed_config = benchmarks_of(config)
    read = results.read("results/indian_pines_x4.json", results.Results)
    for number, model in enumerate(benchmark.models):
        undefined = {"consistency_guide": None, "d_s": None, "qnr": None}
        scores = {"consistency_lr": 0.01 * (number + 1), "d_lambda": 0.2, **undefined}
        found = read.models[model].model_copy(update={"mean": scores, "scenes": {"indian_pines-test": scores}})
        found.seed_std = dict.fromkeys(scores)
        read.models[model] = found
        preview.write(benchmark.path(paths.PREVIEW, model=model), {})
    stamped = stamp("results", steps.merging(benchmark).identity)
    content = {**read.model_dump(by_alias=True), **stamped, "convention": None, "protocol": "full"}
    results.write(benchmark.path(paths.RESULTS), results.Results.model_validate(content))
    report.build([benchmark], paths.REPORT, parsed_config.report)
    html = Path(paths.REPORT).read_text()
    assert "Best LR RMSE: bicubic 0.0100, then gsa 0.0200, net 0.0300." in html
    assert [column.heading for column in tables.scores(read.model_copy(update={"convention": None})).columns][:2] == [
        "LR RMSE",
        "D_lambda",
    ]
    assert "no reference" in html and "Pictures and spectra" not in html and "QNR" not in html
    assert "Training loss" in html  # of the runs at reduced resolution


def test_scene_choice_and_per_scene_table(built, parsed):
    html = (built / paths.REPORT).read_text()
    assert "Shown: 1 of 2 test scenes." in html
    assert "Composite of paints: net" in html and "Composite of sponges: net" not in html
    assert "PSNR dB of each scene" in html  # every scene is in the tables
    assert parsed.texts("th").count("sponges") == 6  # once a score


def test_markdown_and_csv_hold_the_scores(built):
    read = results.read(built / "results/cave_x8.json", results.Results)
    folder = (built / paths.REPORT).parent
    text = (folder / "index.md").read_text()
    assert f"**{read.models['net'].mean['psnr']:.2f}**" in text and "`snakemake results/cave_x8.json" in text
    rows = list(csv.DictReader((folder / "scores.csv").open()))
    assert len(rows) == 3 * (1 + 2)
    row = next(row for row in rows if (row["model"], row["scene"]) == ("gsa", "sponges"))
    assert float(row["sam"]) == read.models["gsa"].scenes["sponges"]["sam"]


def test_same_results_same_bytes(project):
    before = Path(paths.REPORT).read_bytes()
    chosen, config = benchmarks_of(CONFIG)
    report.build(chosen, paths.REPORT, config.report)
    assert Path(paths.REPORT).read_bytes() == before


def test_every_table_marks_its_leaders(built):
    read = results.read(built / "results/indian_pines_x4.json", results.Results)
    classified = tables.classification(read)
    assert list(classified.rows) == [tables.REFERENCE_ROW, tables.LR_ROW, "bicubic", "gsa", "net"]
    assert [cell.text for cell in classified.rows["net"][:4]] == ["85.0", "80.0", "75.0", "90.0"]
    assert classified.rows["net"][0].addition == "\u00b1 1.0"
    assert {name: cells[0].mark for name, cells in classified.rows.items()} == {
        tables.REFERENCE_ROW: "",
        tables.LR_ROW: "",
        "bicubic": "",
        "gsa": "second",
        "net": "best",
    }
    rows = tables.bands(read, [400.0, 410.0]).rows
    assert [cell.text for cell in rows["gsa"]] == ["0.50", "5.0"] * 2
    assert [cell.mark for cell in rows["net"]] == ["best"] * 4


def test_published_numbers_are_marked_as_theirs(built, parsed):
    read = results.read(built / "results/cave_x8.json", results.Results)
    rows = tables.published_scores(read).rows
    assert rows["MulSR, as printed by MulSR 2023"][0].text == "45.44"
    assert all(cell.mark == "" for cells in rows.values() for cell in cells)
    assert rows["net, here"][0].text == f"{read.models['net'].mean['psnr']:.2f}"
    assert tables.published_scores(results.read(built / "results/indian_pines_x4.json", results.Results)) is None
    html = (built / paths.REPORT).read_text()
    assert "Li et al., MulSR, IEEE TGRS 2023, Tables V and VI" in html
    assert "as printed by SSPSR 2020" not in html  # single images; ours have a guide
    alone = read.model_copy(update={"response": None, "models": {"bicubic": read.models["bicubic"]}})
    assert "SSPSR, as printed by SSPSR 2020" in tables.published_scores(alone).rows


def test_rows_of_the_same_protocol_stand_alone_and_missing_scenes_are_named(built):
    read = results.read(built / "results/cave_x8.json", results.Results)
    assert tables.missing_scenes(read) == ""
    league = read.model_copy(update={"protocol": "uestc", "parts": {"test": ["cd", "flowers", "watercolors"]}})
    rows = tables.published_scores(league).rows
    assert rows["LE-Mamba, as printed by the UESTC group"][-1].text == rows["net, here"][-1].text == "uestc"
    assert not any("MulSR 2023" in name for name in rows)
    said = tables.missing_scenes(league)
    assert said.startswith("9 of their 11 test scenes are missing here: balloons, chart_and_stuffed_toy, clay")
    assert "here are tested besides: watercolors" in said
    assert said in tables.markdown("title", {"cave_x8_uestc": league}, {"cave_x8_uestc": None}, {})
    whole = [*datasets.entry("cave").splits["uestc"].test]
    assert tables.missing_scenes(league.model_copy(update={"parts": {"test": whole}})) == ""


def test_page_says_what_was_classified_and_what_was_not(built):
    html = (built / paths.REPORT).read_text()
    assert "corn (40 pixels), woods (30 pixels)." in html and "oats (4 pixels, fewer than 10)." in html
    assert "different blocks of 8 x 8 pixels" in html and "SVM OA, optimistic" in html
    assert html.count("Recommended bands: neighbourhood grouping") >= 2  # a section each
    assert "Quality against time" in html and "Worst pixel of net" in html
    read = results.read(built / "results/cave_x8.json", results.Results)
    scores = [f"{seed['psnr']:.4g}" for seed in read.models["net"].seeds.values()]
    assert len(scores) > 1 and f"net {', '.join(scores)}" in html  # said of the plot with a dot a seed


def test_latex_of_the_scores(built):
    text = (built / "results/report/scores.tex").read_text()
    read = results.read(built / "results/cave_x8.json", results.Results)
    assert f"\\textbf{{{read.models['net'].mean['psnr']:.2f}}} $\\pm$ 0.25" in text
    assert "\\caption{cave\\_x8: protocol mulsr, convention mulsr.}" in text
    assert text.count("\\toprule") == 2 and text.count("\\begin{table}") == text.count("\\end{table}") == 2
    assert "PSNR dB $\\uparrow$" in text


# --- pictures


def test_composites_share_the_stretch_of_the_reference(built, parsed):
    found = preview.read(built / "results/indian_pines_x4/gsa.h5")["indian_pines-test"]
    stretch = pictures.Stretch.of(found.reference_composite, found.valid)
    for alt, image in {
        "gsa": found.composite,
        "LR input": found.lr_composite,
        "Reference": found.reference_composite,
    }.items():
        np.testing.assert_array_equal(picture(parsed, f"Composite of indian_pines-test: {alt}"), stretch(image))
    reference = picture(parsed, "Composite of indian_pines-test: Reference")
    dark, bright = (reference == 0).mean(axis=(0, 1)), (reference == 255).mean(axis=(0, 1))
    assert (dark > 0.002).all() and (dark < 0.01).all() and (bright > 0.002).all() and (bright < 0.01).all()


def test_stretch_of_a_constant_channel():
    composite = np.stack([np.full((4, 4), 0.3), np.linspace(0, 1, 16).reshape(4, 4), np.zeros((4, 4))], axis=-1)
    shown = pictures.Stretch.of(composite, np.ones(composite.shape[:2], bool))(composite)
    assert shown[..., 0].max() == shown[..., 2].max() == 0 and shown[..., 1].max() == 255


def test_error_maps_share_one_scale(built, parsed):
    maps = {}
    for model in ("bicubic", "gsa", "net"):
        maps[model] = preview.read(built / f"results/indian_pines_x4/{model}.h5")["indian_pines-test"].error
    alts = [image["alt"] for image in parsed.all("img") if image["alt"].startswith("Error (RMSE) of")]
    tops = {alt.rsplit(" ", 1)[1] for alt in alts if "indian_pines-test" in alt}
    assert len(tops) == 1
    top = float(tops.pop())
    assert np.percentile(np.stack(list(maps.values())), 99.5) <= top <= maps["bicubic"].max() * 1.1
    for model, values in maps.items():
        alt = f"Error (RMSE) of {model} on indian_pines-test, from 0 to {top:g}"
        expected = colormaps["inferno"](values / top, bytes=True)[..., :3]
        np.testing.assert_array_equal(picture(parsed, alt), expected)


@pytest.mark.parametrize(("highest", "top"), [(0.0561, 0.057), (0.05, 0.05), (11.02, 12.0), (0.0, 1e-9)])
def test_color_scale_ends_at_a_round_number(highest, top):
    scale = pictures.ColorScale.over("inferno", [np.full((3, 3), highest)], np.ones((3, 3), bool))
    assert scale.top == pytest.approx(top)


def test_pixels_without_data_are_black_and_count_in_no_picture(pines):
    """The maps' ends and means had counted them, with spectral angles of 90 degrees."""
    scene = pines.scenes[0]
    valid = np.ones(scene.valid.shape, bool)
    valid[:20, :24] = False
    models = {}
    for name, view in scene.models.items():
        angle = np.where(valid, view.spectral_angle, 90).astype(np.float32)
        models[name] = replace(view, spectral_angle=angle, error=np.where(valid, view.error, 5).astype(np.float32))
    composites, errors, angles = gallery.rows(replace(scene, valid=valid, models=models), {})
    assert errors.scale.top < 1 and angles.scale.top < 90
    for row, found in ((errors, "error"), (angles, "spectral_angle")):
        for shown in row.pictures:
            values = getattr(scene.models[shown.column], found)[valid].astype(float)
            mean = np.sqrt((values**2).mean()) if found == "error" else values.mean()
            assert float(shown.caption.rstrip("\u00b0")) == pytest.approx(mean, abs=0.006)
            assert (shown.image[~valid] == 0).all()
    assert len(composites.pictures) == 5
    for guide, said in (
        (scene.reference, "first three bands as"),
        (scene.reference[..., :1].repeat(3, axis=2), "first band"),
    ):
        captions = {shown.column: shown.caption for shown in gallery.rows(replace(scene, guide=guide), {})[0].pictures}
        assert captions["Guide"].startswith(said) and captions["Reference"] == ""
    probe = probes.probe(replace(scene, valid=valid), 1, figures.line_styles(dict.fromkeys(scene.models, True)))
    assert probe["spectra"][0] is None and probe["spectra"][-1] is not None


def textured(height: int, width: int) -> np.ndarray:
    """A picture with detail everywhere: (height, width, 3) uint8."""
    composite = busy(np.random.default_rng(0), height, width)
    return pictures.Stretch.of(composite, np.ones(composite.shape[:2], bool))(composite)


def test_encoding_follows_the_budget():
    small, large = textured(80, 48), textured(512, 512)
    assert pictures.choose_encoding([small] * 11, 1e6).quality is None
    chosen = pictures.choose_encoding([large] * 40, 5e6)
    assert chosen.quality is not None and chosen.side_px >= 512
    assert pictures.choose_encoding([large] * 40, 1e4) == pictures.ENCODINGS[-1]


@pytest.mark.parametrize("encoding", pictures.ENCODINGS, ids=str)
@pytest.mark.parametrize("size", [(48, 80), (512, 512), (1100, 700)], ids=str)
def test_encodings_keep_what_they_promise(encoding, size):
    original = textured(*size)
    uri = encoding.data_uri(original)
    shown = decoded(uri)
    assert max(shown.shape[:2]) <= encoding.side_px
    assert shown.shape[0] / shown.shape[1] == pytest.approx(size[0] / size[1], rel=0.02)
    assert encoding.size_bytes(original) == pytest.approx(0.75 * len(uri), rel=0.25)
    if shown.shape == original.shape:
        assert np.abs(shown.astype(float) - original).mean() < (0.1 if encoding.quality is None else 6)


# --- plots


def test_spectra_break_where_bands_are_missing_or_spectrometers_overlap():
    wavelengths_nm = np.array(datasets.entry("indian_pines").wavelengths_nm)
    runs = figures.segments(wavelengths_nm)
    assert [run.start for run in runs] == [0, 31, 94, 103, 144] and runs[-1].stop == 200
    for run in runs:
        steps = np.diff(wavelengths_nm[run])
        assert (steps > 0).all() and (steps < 15).all()


@pytest.mark.parametrize(
    ("wavelengths_nm", "starts"),
    [
        (np.linspace(400, 700, 31), [0]),
        (np.linspace(700, 400, 31), [0]),
        (np.array([500.0]), [0]),
        (np.array([400, 410, 420, 600, 610, 620.0]), [0, 3]),
        (np.array([400, 410, 420, 600, 800, 810, 820.0]), [0, 3, 4]),
    ],
)
def test_segments(wavelengths_nm, starts):
    runs = figures.segments(wavelengths_nm)
    assert [run.start for run in runs] == starts
    assert [n for run in runs for n in range(run.start, run.stop)] == list(range(len(wavelengths_nm)))


@pytest.fixture
def pines(project) -> content.Content:
    return content.read(resolve(Config.parse(CONFIG), "indian_pines_x4"), 1)


def test_plots_are_svg_for_the_page(pines):
    styles = figures.line_styles({"bicubic": False, "gsa": False, "net": True})
    svg = figures.spectra(pines.scenes[0], 0, styles, 'a "label" of 0.00246')
    assert svg.startswith("<svg viewBox=") and 'aria-label="a &quot;label&quot; of 0.00246"' in svg
    assert not re.search(r'="[^"]*\d\.\d{3}', svg.replace("0.00246", ""))  # coordinates are rounded
    lines = re.findall(r'<g data-model="([^"]+)"><path d="([^"]+)"', svg)
    assert [name for name, _ in lines] == ["reference", *["bicubic", "gsa", "net"] * 2]  # values above, errors below
    assert all(path.count("M") == 5 for _, path in lines)  # as many pieces as runs of bands
    assert "var(--line-0)" in svg and "var(--reference)" in svg and "var(--muted)" in svg
    assert not re.search(r"#[0-9a-f]{6}|\bid=|url\(|<use|<style|<metadata", svg)
    assert "Wavelength (nm)" in svg and ">Error<" in svg


def test_ticks_keep_their_digits(pines):
    scene = replace(pines.scenes[0], reference_spectra=np.full((3, 200), 0.1))
    view = replace(next(iter(scene.models.values())), spectra=np.linspace(0.1, 0.2, 600).reshape(3, 200))
    svg = figures.spectra(replace(scene, models={"net": view}), 0, figures.line_styles({"net": True}), "")
    assert ">0.104<" in svg and ">0.112<" in svg and not re.search(r' d="[^"]*\.\d{3,}', svg)


def test_bands_without_wavelengths_are_numbered(pines):
    scene = replace(pines.scenes[0], wavelengths_nm=None)
    svg = figures.band_psnr(scene, figures.line_styles({"bicubic": False, "gsa": False, "net": True}), "")
    assert ">Band<" in svg and "Wavelength" not in svg
    five = replace(scene, models={"net": replace(scene.models["net"], band_psnr=np.arange(5.0))})
    svg = figures.band_psnr(five, figures.line_styles({"net": True}), "")
    assert [text for text in re.findall(r">([\d.]+)</text>", svg.split(">Band<")[0])] == ["1", "2", "3", "4", "5"]


def test_preview_without_wavelengths_counts_bands(project):
    benchmark = resolve(Config.parse(CONFIG), "indian_pines_x4")
    for model in benchmark.models:
        path = benchmark.path(paths.PREVIEW, model=model)
        numbered = {
            name: replace(found, wavelengths_nm=np.arange(1, 201)) for name, found in preview.read(path).items()
        }
        preview.write(path, numbered)
    read = content.read(benchmark, 1)
    assert read.scenes[0].wavelengths_nm is None
    assert "red, green and blue show bands" in page.section(read, 1.0).html


def test_training_curves_and_kept_weights(pines):
    assert [(history.model, history.seed, history.kept) for history in pines.histories] == [
        ("net", 0, 1),
        ("net", 1, 1),
    ]
    styles = figures.line_styles({"bicubic": False, "gsa": False, "net": True})
    loss = figures.training_loss(pines.histories, styles, "")
    assert loss.count('data-model="net"') == 2 and ">0.05<" in loss  # a logarithmic axis in plain numbers
    psnr = figures.validation_psnr(pines.histories, styles, "")
    kept = [re.search(r"L ([\d.]+ [\d.]+)", line)[1] for line in lines_of(psnr)["net"]]
    assert kept == [re.search(r"translate\(([\d. ]+)\)", line)[1] for line in lines_of(psnr)["net"]]


def lines_of(svg: str) -> dict[str, list[str]]:
    """Model -> what draws each of its lines, and their marks."""
    found = {}
    for part in " ".join(svg.split()).split('<g data-model="')[1:]:
        name, drawn = part.split('">', 1)
        found.setdefault(name, []).append(drawn.partition("</g></g>")[0])
    return found


def test_models_differ_by_more_than_colour(pines):
    styles = figures.line_styles(dict.fromkeys("abcdefgh", True))
    marks = {style.marker_path for style in styles.values()}
    assert len(marks) == len(styles) == len({style.color for style in styles.values()})
    assert len({style.marks(200)[0] for style in styles.values()}) == len(styles)  # none lies over another
    assert all(set(style.marks(count)) <= set(range(count)) for style in styles.values() for count in (1, 3, 31))
    svg = figures.band_psnr(pines.scenes[0], figures.line_styles({"bicubic": False, "gsa": False, "net": True}), "")
    drawn = {
        name: set(re.findall(r'<path d="([^"]*)" transform="translate', line))
        for name, (line,) in lines_of(svg).items()
    }
    assert [len(shapes) for shapes in drawn.values()] == [1, 1, 1] and len(set.union(*drawn.values())) == 3


def test_lines_stand_out_in_both_themes():
    style = (Path(page.__file__).parent / "templates/style.css").read_text()
    papers = re.findall(r"--paper: (#[0-9a-f]{6})", style)[:2]
    for colors in figures.LINE_COLORS:
        for color, paper in zip(colors, papers, strict=True):
            assert contrast(color, paper) > 3, (color, paper)


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two colours."""

    def luminance(color: str) -> float:
        values = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        linear = np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


# --- spectra of any pixel


def probes_of(parsed: Page) -> list[dict]:
    blocks = [text for tag, attributes, text in parsed.tags if attributes.get("type") == "application/json"]
    return [json.loads("".join(text)) for text in blocks]


def unpacked(probe: dict, row: int, column: int) -> np.ndarray:
    """(1 + models, bands) spectra of a pixel of the page, found by its place in the scene."""
    place = probe["rows"].index(row) * len(probe["columns"]) + probe["columns"].index(column)
    content = base64.b64decode(probe["spectra"][place])
    low, step = np.frombuffer(content[:8], "<f4").astype(float)
    return (low + step * np.frombuffer(content[8:], "<u2")).reshape(-1, len(probe["positions"]))


def test_page_holds_the_spectra_of_many_pixels(built, parsed):
    found = preview.read(built / "results/indian_pines_x4/gsa.h5")["indian_pines-test"]
    probe = probes_of(parsed)[0]
    assert [line["name"] for line in probe["models"]] == ["bicubic", "gsa", "net"] and probe["size"] == [80, 48]
    assert probe["rows"] == found.sample_rows.tolist() == list(range(0, 80, 2)) and probe["every"] == 2
    reference = smooth_cube(200, 80, 48, 0)
    for row, column in ((0, 0), (40, 22), (78, 46)):
        spectra = unpacked(probe, row, column)
        np.testing.assert_allclose(spectra[0], reference[:, row, column], atol=1e-5)
        n, m = (list(found).index(at) for found, at in ((probe["rows"], row), (probe["columns"], column)))
        np.testing.assert_allclose(spectra[2], found.samples[n, m], atol=1e-5)


def test_dark_pixels_keep_their_spectral_angle():
    rng = np.random.default_rng(0)
    spectra = 1e-4 * rng.random((5, 31))
    content = probes.pack(spectra)
    low, step = np.frombuffer(content[:8], "<f4").astype(float)
    again = (low + step * np.frombuffer(content[8:], "<u2")).reshape(spectra.shape)
    np.testing.assert_allclose(again, spectra, atol=1e-4 / 65535)
    assert probes.pack(np.full((2, 3), 0.25))[8:] == bytes(12)  # all equal: codes of 0, and no division by 0


def test_more_scenes_show_fewer_pixels_each(pines):
    scene = pines.scenes[0]
    whole = probes.choose_stride([scene], 1e9)
    size = 2 * 4 * 200  # of a pixel: the reference and three models
    stride = probes.choose_stride([scene] * 12, 1.2e6)
    shown = probes.probe(scene, stride, figures.line_styles(dict.fromkeys(scene.models, True)))
    assert whole == 1 and stride > 1 and shown["every"] == 2 * stride
    assert 12 * len(shown["spectra"]) * (size + 8) <= 1.2e6 < 12 * 2 * len(shown["spectra"]) * (size + 8)
    assert probes.choose_stride([scene], 1) == 40 and probes.choose_stride([], 1) == 1


# --- figures as files


def test_figures_are_files_of_their_own(built, project):
    folder = built / "results/figures/indian_pines_x4"
    names = {path.name for path in folder.iterdir()}
    assert {"quality-against-time.svg", "training-loss.svg", "indian-pines-test.png"} <= names
    assert "recommended-bands-neighbourhood-grouping.svg" in names and len(names) == 12
    for path in folder.glob("*.svg"):
        root = ElementTree.fromstring(path.read_text())
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and root[0].text and "var(" not in path.read_text()
    sheet = np.asarray(Image.open(folder / "indian-pines-test.png"))
    height, width = 256, round(256 * 48 / 80)
    assert sheet.shape == (18 + 3 * (height + 6) - 6, 5 * (width + 6) - 6, 3)
    reference = sheet[18 : 18 + height, -width:]
    assert np.ptp(reference) > 100 and (sheet[18 + height + 6 :, -width:] == 255).all()
    Path("results/figures/old_x4").mkdir()
    chosen, config = benchmarks_of(CONFIG)
    report.build(chosen, paths.REPORT, config.report, paths.FIGURES)
    assert not Path("results/figures/old_x4").exists()


# --- what can be missing


def test_no_benchmarks(tmp_path):
    with pytest.raises(HsisrError, match="names no benchmarks"):
        report.build([], tmp_path / "index.html", Config().report)


def damage(path: str) -> None:
    file = Path(path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def other_reference(path: str) -> None:
    found = {name: replace(one, points=one.points + 1) for name, one in preview.read(path).items()}
    preview.write(path, found)


def not_a_number(path: str) -> None:
    found = {name: replace(one, error=one.error * np.nan) for name, one in preview.read(path).items()}
    preview.write(path, found)


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        ("results/cave_x8.json", lambda p: Path(p).unlink(), "no such results file; `hsisr evaluate cave_x8`"),
        ("results/cave_x8.json", damage, "not a JSON file"),
        ("results/cave_x8/gsa.h5", lambda p: Path(p).unlink(), "no such preview file; `hsisr evaluate`"),
        ("results/cave_x8/gsa.h5", damage, "damaged preview file"),
        (
            "results/cave_x8/gsa.h5",
            lambda p: preview.write(p, {}),
            "no pictures of paints; `hsisr evaluate cave_x8 gsa`",
        ),
        ("results/cave_x8/gsa.h5", other_reference, "another reference .*`hsisr evaluate cave_x8 gsa` makes it again"),
        (
            "results/cave_x8/gsa.h5",
            not_a_number,
            "paints holds values that are no numbers; `hsisr evaluate cave_x8 gsa`",
        ),
        ("runs/cave_x8/net/seed1/history.csv", lambda p: Path(p).write_bytes(b"\xff\xfe"), "damaged training history"),
        ("runs/cave_x8/net/seed1/history.csv", lambda p: Path(p).write_text("step,loss\n1,2\n"), "validation_psnr"),
        ("runs/cave_x8/net/seed1/history.csv", lambda p: write_history(p, []), "no rows"),
    ],
)
def test_missing_or_damaged_files_are_named(project, path, change, said):
    before = Path(paths.REPORT).read_bytes()
    change(path)
    chosen, config = benchmarks_of(CONFIG)
    with pytest.raises(HsisrError, match=f"^{path}.*{said}") as caught:
        report.build(chosen, paths.REPORT, config.report)
    assert "\n" not in str(caught.value)
    assert Path(paths.REPORT).read_bytes() == before


def test_results_of_other_settings_are_refused(project):
    config = CONFIG | {"benchmarks": {"cave_x8": {"models": ["bicubic", "gsa", "net"], "noise": 0.5}}}
    chosen, settings = benchmarks_of(config)
    with pytest.raises(HsisrError, match=r"results/cave_x8.json: made with other settings or .* with the step merge"):
        report.build(chosen, paths.REPORT, settings.report)


def test_absent_history_is_told_on_the_page(project):
    shutil.rmtree("runs/cave_x8/net/seed1")
    chosen, config = benchmarks_of(CONFIG)
    report.build(chosen, paths.REPORT, config.report)
    html = Path(paths.REPORT).read_text()
    assert "No training curve: <code>runs/cave_x8/net/seed1/history.csv</code> is absent." in html


# --- first screen, policy, order


def test_first_screen_says_what_was_found(built, parsed):
    html = (built / paths.REPORT).read_text()
    read = {
        name: results.read(built / f"results/{name}.json", results.Results) for name in ("indian_pines_x4", "cave_x8")
    }
    for name, found in read.items():
        card = html[html.index(f'<a href="#{name}">{name}</a></p>') :]
        card = card[: card.index("</li>")]
        assert words.finding(found) in card and f"convention {found.convention}" in card
    assert html.index('class="cards"') < html.index('<section class="benchmark"')


def test_no_column_holds_scores_of_two_conventions(built):
    read = {
        name: results.read(built / f"results/{name}.json", results.Results) for name in ("indian_pines_x4", "cave_x8")
    }
    assert page._overviews(read) == []  # two protocols
    alike = {name: found.model_copy(update={"protocol": "wald"}) for name, found in read.items()}
    (overview,) = page._overviews(alike)
    assert "protocol wald, convention mulsr" in overview.heading and list(overview.tables[0].rows) == list(read)


def test_policy_allows_the_page_its_own_style_and_script_and_nothing_else(built):
    html = (built / paths.REPORT).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert "unsafe" not in policy
    assert not re.search(r"<[^>]* style=", html), "a style attribute would need 'unsafe-inline'"
    for kind in ("style", "script"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_every_plot_and_picture_says_what_it_shows(built):
    html = (built / paths.REPORT).read_text()
    plots = re.findall(r'<svg [^>]*role="img"[^>]*>(<title>[^<]+</title>)?', html)
    assert plots and all(plots)
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img[^>]*>", html))


def test_spread_of_the_seeds_decides_what_leads():
    values = {"a": 30.0, "b": 29.9, "c": 28.0}
    assert tables.ranks(values, "psnr") == {"a": "best", "b": "second"}
    assert tables.ranks(values, "psnr", {"a": 0.2}) == {"a": "best", "b": "best", "c": "second"}
    assert tables.ranks({"a": math.inf, "b": 29.9}, "psnr", {"b": 1.0}) == {"a": "best", "b": "second"}


@pytest.mark.parametrize("values", [[0.011, 0.012, 0.0125], [0.01, 0.04], [1e-3, 2e-2], [1e-5, 1e3]])
def test_logarithmic_axis_has_several_ticks(values):
    histories = [content.History("net", 0, np.arange(1, 1 + len(values)), np.array(values), np.array(values), 0)]
    svg = figures.training_loss(histories, figures.line_styles({"net": True}), "loss")
    ticks = [float(text) for text in re.findall(r">([\d.e+-]+)</text>", svg.split("Optimiser step")[1])]
    inside = [tick for tick in ticks if min(values) * 0.9 <= tick <= max(values) * 1.1]
    assert len(inside) >= 2, ticks


def test_labels_are_not_printed_over_each_other():
    points = {"first": (1.0, 30.0), "second": (1.01, 30.01), "third": (1.02, 30.02)}
    svg = figures.quality_against_time(points, "PSNR", figures.line_styles(dict.fromkeys(points, True)), "label")
    heights = []
    for name in points:
        tag = re.search(rf"<text[^>]*>{name}</text>", svg)[0]
        heights.append(float(re.search(r' y="([\d.]+)"', tag)[1]))
    heights.sort()
    assert min(np.diff(heights)) > 8


# --- in a browser


def browse(file: Path, profile: Path, size: str = "1280,1000") -> tuple[str, list[str]]:
    """Open a page in headless Chromium; returns the DOM after its scripts, and what was written to the console."""
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}",
        f"--window-size={size}",
        "--enable-logging=stderr",
        "--virtual-time-budget=4000",
        "--dump-dom",
        file.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def with_script(source: Path, target: Path, script: str) -> Path:
    """A copy of the page that runs a script at its end and leaves what it returns in the DOM, as JSON."""
    run = f"document.body.dataset.found = JSON.stringify((() => {{ {script} }})());"
    page = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", source.read_text())  # its own allows no other
    target.write_text(page.replace("</body>", f"<script>{run}</script></body>"))
    return target


def found(dom: str) -> dict:
    return json.loads(re.search(r'data-found="([^"]*)"', dom).group(1).replace("&quot;", '"'))


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@needs_chromium
def test_browser_reports_no_error_and_no_request(built, tmp_path):
    _, console = browse(built / paths.REPORT, tmp_path / "profile")
    assert console == []
    spoiled = tmp_path / "spoiled.html"
    html = (built / paths.REPORT).read_text()
    spoiled.write_text(html.replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>'))
    _, console = browse(spoiled, tmp_path / "profile")
    assert len(console) == 1 and "Content Security Policy" in console[0]  # so a request would have been seen


@needs_chromium
def test_browser_slider_viewer_and_legend_work(built, tmp_path):
    script = """
    const result = {};
    const press = (key) => viewer.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
    const [stage, right] = [".compare .stage", ".compare select.right"].map((s) => document.querySelector(s));
    const range = stage.querySelector("input");
    result.options = [...right.options].map((option) => option.text);
    result.chosen = right.selectedOptions[0].text;
    range.value = 25;
    range.dispatchEvent(new Event("input"));
    result.cut = getComputedStyle(stage.querySelector(".over")).clipPath;
    result.spoken = range.getAttribute("aria-valuetext");
    right.value = 1;
    right.dispatchEvent(new Event("change"));
    result.under = stage.querySelector(".under").alt;
    document.querySelectorAll(".picture")[2].click();
    const name = viewer.querySelector(".name");
    result.opened = [viewer.open, name.textContent];
    press("ArrowRight");
    result.next = name.textContent;
    const width = () => parseFloat(document.querySelector(".pane img").style.width);
    const fitted = width();
    press("+");
    result.zoom = width() / fitted;
    press("0");
    result.fit = width() / fitted;
    viewer.querySelector("[data-do=close]").click();
    result.closed = !viewer.open;
    const button = document.querySelector('.legend button[data-model="net"]');
    button.click();
    const lines = [...document.querySelectorAll("#indian_pines_x4 .plot [data-model=net]")];
    result.hidden = lines.length > 0 && lines.every((line) => line.style.visibility === "hidden");
    result.pressed = button.getAttribute("aria-pressed");
    return result;
    """
    dom, console = browse(with_script(built / paths.REPORT, tmp_path / "page.html", script), tmp_path / "profile")
    assert console == []
    models = ["bicubic", "gsa", "net"]
    assert found(dom) == {
        "options": ["LR input", *models, "Reference", *models, *models],
        "chosen": "net",
        "cut": "inset(0px 75% 0px 0px)",
        "spoken": "25 percent LR input, the rest net",
        "under": "Composite of indian_pines-test: bicubic",
        "opened": [True, "Composite: gsa"],
        "next": "Composite: net",
        "zoom": pytest.approx(1.5),
        "fit": pytest.approx(1),
        "closed": True,
        "hidden": True,
        "pressed": "false",
    }


@needs_chromium
def test_browser_draws_the_spectra_of_the_pixel_that_is_pressed(built, tmp_path):
    script = """
    const figure = document.querySelector(".probe");
    const field = figure.querySelector(".field"), band = figure.querySelector(".band input");
    const result = { plain: figure.querySelector("output").textContent };
    const rows = [...figure.querySelectorAll("tbody tr")];
    const cells = () => rows.map((row) => [...row.cells].map((cell) => cell.textContent));
    const caption = () => figure.querySelector("caption").textContent;
    const at = (type, row, column, kind) => {
      const box = field.getBoundingClientRect();
      const clientX = box.left + box.width * (column + 0.5) / 48, clientY = box.top + box.height * (row + 0.5) / 80;
      field.dispatchEvent(new PointerEvent(type, { clientX, clientY, pointerType: kind, bubbles: true }));
    };
    at("pointermove", 10, 6, "mouse");
    result.hovered = caption();
    at("pointerleave", 0, 0, "mouse");
    result.left = caption();
    at("click", 30, 12, "touch");
    result.pressed = caption();
    band.value = 7;
    band.dispatchEvent(new Event("input"));
    result.cells = cells();
    const press = (key, shiftKey = false) => {
      field.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, cancelable: true }));
    };
    press("ArrowDown");
    press("ArrowLeft", true);
    result.moved = caption();
    result.said = figure.querySelector("output").textContent;
    const curve = figure.querySelector('.plot [data-model="net"] path').getAttribute("d");
    result.runs = curve.split("M").length - 1;
    result.lines = [...figure.querySelectorAll(".plot [data-model]")].map((line) => line.dataset.model);
    document.querySelector('.legend button[data-model="gsa"]').click();
    press("ArrowUp");
    result.hidden = [...figure.querySelectorAll('.plot [data-model="gsa"]')].map((line) => line.style.visibility);
    return result;
    """
    dom, console = browse(with_script(built / paths.REPORT, tmp_path / "page.html", script), tmp_path / "profile")
    assert console == []
    result = found(dom)
    models = ["bicubic", "gsa", "net"]
    kept = {name: preview.read(built / f"results/indian_pines_x4/{name}.h5")["indian_pines-test"] for name in models}
    middle = f"{kept['net'].wavelengths_nm[kept['net'].composite_bands[1]]:.1f}".removesuffix(".0")
    assert result["plain"] == "" and result["hovered"] == f"Row 10, column 6, at {middle} nm"
    assert result["left"] == f"Row 40, column 24, at {middle} nm"
    assert result["pressed"] == f"Row 30, column 12, at {middle} nm"
    reference = kept["net"].reference_samples[15, 6].astype(float)
    assert result["cells"][0] == ["Reference", f"{reference[7]:.4f}", "", "", ""]
    for cells, name in zip(result["cells"][1:], models, strict=True):
        estimate = kept[name].samples[15, 6].astype(float)
        error = estimate - reference
        sam = np.degrees(np.arccos(estimate @ reference / np.linalg.norm(estimate) / np.linalg.norm(reference)))
        shown = [float(cell.rstrip("\u00b0")) for cell in cells[1:]]
        assert cells[0] == name and shown[:3] == pytest.approx(
            [estimate[7], error[7], np.sqrt(np.mean(error**2))], abs=1e-4
        )
        assert shown[3] == pytest.approx(sam, abs=0.006)
    assert result["moved"] == f"Row 32, column 0, at {kept['net'].wavelengths_nm[7]:.1f} nm".replace(".0 nm", " nm")
    assert result["said"].startswith("Row 32, column 0. Spectral angle in degrees: bicubic ")
    assert result["runs"] == 5 and result["lines"] == ["reference", *models, *models]
    assert result["hidden"] == ["hidden", "hidden"]


@needs_chromium
def test_browser_page_fits_a_phone(built, tmp_path):
    script = "return [document.documentElement.scrollWidth, window.innerWidth, document.images.length];"
    page_file = with_script(built / paths.REPORT, tmp_path / "page.html", script)
    dom, _ = browse(page_file, tmp_path / "profile", size="390,844")
    width, window, images = found(dom)
    assert width <= window <= 500 and images > 20


# --- size


@pytest.mark.slow
def test_twelve_scenes_and_eight_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"net{k}" for k in range(6)]
    config = {
        "benchmarks": {"cave_x8": {"models": ["bicubic", "gsa", *names]}},
        "models": {name: {"base": "mulsr"} for name in names},
        "report": {"scenes": 12},
    }
    (benchmark,), parsed = benchmarks_of(config)
    rng = np.random.default_rng(0)
    textures = {item.name: busy(rng, 512, 512) for item in benchmark.parts["test"]}
    wavelengths_nm = np.linspace(400, 700, 31)
    models = {}
    for number, (name, model) in enumerate(benchmark.models.items()):
        noise = 0.01 * (number + 1)
        previews = {scene: busy_preview(texture, noise, wavelengths_nm, rng) for scene, texture in textures.items()}
        preview.write(benchmark.path(paths.PREVIEW, model=name), previews)
        mean = {"psnr": 40.0 - number, "ssim": 0.9, "sam": 1.0, "ergas": 1.0, "rmse": 0.01, "cc": 0.9}
        models[name] = results.ModelResult(
            base=model.base,
            options={},
            mean=mean,
            std=mean,
            scenes=dict.fromkeys(textures, mean),
            seeds={},
            seed_std={},
            parameters=0,
            training_steps=0,
            timing={"seconds": 1.0},
        )
        if model.is_network:
            write_history(benchmark.path(paths.HISTORY, model=name, seed=0), [20.0, 30.0])
    header = {"dataset": "cave", "scale": 8, "protocol": "mulsr", "convention": "mulsr", "command": ""}
    parts = {part: [item.name for item in items] for part, items in benchmark.parts.items()}
    whole = results.Results(
        **stamp("results", steps.merging(benchmark).identity),
        **header,
        parts=parts,
        response=None,
        models=models,
        environment={},
    )
    results.write(benchmark.path(paths.RESULTS), whole)
    started = time.process_time()  # of this process: what else runs on the machine does not count
    report.build([benchmark], paths.REPORT, parsed.report, paths.FIGURES)
    assert time.process_time() - started < 60
    assert Path(paths.REPORT).stat().st_size < 25e6


def busy(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A composite with detail everywhere: fine texture, alike in all channels, on coarse patches of colour."""
    fine = gaussian_filter(rng.standard_normal((height, width, 1)), (1, 1, 0))
    coarse = gaussian_filter(rng.standard_normal((height, width, 3)), (15, 15, 0))
    return (fine / fine.std() + coarse / coarse.std()).astype(np.float32)


def busy_preview(
    texture: np.ndarray, noise: float, wavelengths_nm: np.ndarray, rng: np.random.Generator
) -> preview.Preview:
    points = np.array([[10, 10], [200, 300], [500, 40]])
    spectra = rng.random((3, 31)).astype(np.float32)
    return preview.Preview(
        composite=texture + noise * rng.standard_normal(texture.shape, dtype=np.float32),
        reference_composite=texture,
        lr_composite=texture[::8, ::8],
        guide_composite=texture,
        composite_bands=np.array([25, 15, 5]),
        valid=np.ones(texture.shape[:2], bool),
        error=noise * np.abs(rng.standard_normal((512, 512), dtype=np.float32)),
        spectral_angle=noise * np.abs(rng.standard_normal((512, 512), dtype=np.float32)),
        points=points,
        spectra=spectra + noise,
        reference_spectra=np.ones((3, 31), np.float32) * 0.5,
        worst_point=np.array([100, 400]),
        worst_spectra=spectra[:2],
        sample_rows=np.arange(5, 512, 11),
        sample_columns=np.arange(5, 512, 11),
        samples=rng.random((47, 47, 31), dtype=np.float32),
        reference_samples=np.full((47, 47, 31), 0.5, np.float32),
        band_psnr=40 - 100 * noise + rng.random(31),
        wavelengths_nm=wavelengths_nm,
    )
