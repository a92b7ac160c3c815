"""An edit reruns what it must, and nothing else: plans, and real runs whose files are compared."""

from pathlib import Path

import pytest

from hsisr.config import load
from hsisr.files import file_hash
from hsisr.pipeline import benchmark, steps
from hsisr.sources import PACKAGE

from .conftest import Project, traces

NAME = "indian_pines_x4"
WEIGHTS = f"runs/{NAME}/mulsr-demo/seed0/model.safetensors"
PATCHES = f"data/patches/{NAME}/train.h5"

#: Jobs that see all models of a benchmark at once.
COMPARED = {"runtime": 1, "classify": 1}


@pytest.fixture
def edited(finished):
    """Edit a file of the finished project; it is put back afterwards."""
    before = {}

    def edit(name: str, old: str, new: str) -> None:
        path = finished.folder / name
        before.setdefault(path, path.read_text())
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    yield edit
    for path, text in before.items():
        path.write_text(text)


def test_edit_of_training_reruns_training_and_what_follows(finished, edited):
    edited("hsisr/training/schedules.py", '"""', '"""Edited. ')
    assert finished.planned("all") == {"train": 1, "evaluate": 1, **COMPARED, "merge": 1, "report": 1}


def test_edit_of_a_reader_reruns_from_convert_on(finished, edited):
    edited("hsisr/datasets/readers/numpy.py", '"""', '"""Edited. ')
    jobs = finished.planned("all")
    assert "fetch" not in jobs and "split" not in jobs
    assert jobs["convert"] == 1 and jobs["pairs"] == 3 and jobs["train"] == 1 and jobs["evaluate"] == 3


def test_edit_of_metrics_reruns_scores_and_the_training_that_is_validated_by_them(finished, edited):
    edited("hsisr/metrics/__init__.py", '"""', '"""Edited. ')
    assert finished.planned("all") == {"train": 1, "evaluate": 3, **COMPARED, "merge": 1, "report": 1}


def test_edit_of_a_models_training_reruns_that_model(finished, edited):
    edited("config.yaml", "max_steps: 6", "max_steps: 7")
    assert finished.planned("all") == {"train": 1, "evaluate": 1, **COMPARED, "merge": 1, "report": 1}


def test_edit_of_the_report_section_rewrites_the_report_only(finished, edited):
    edited("config.yaml", "title: Hyperspectral", "title: My hyperspectral")
    assert finished.planned("all") == {"report": 1}


def test_title_on_the_command_line_rewrites_the_report_only(finished):
    assert finished.planned("all", "--config", "report={title: x}") == {"report": 1}


def test_lost_records_are_told(finished):
    """Without them, Snakemake sees no edit of the configuration, and says that all is up to date."""
    records, aside = (finished.folder / ".snakemake" / name for name in ("metadata", "aside"))
    words = ["all", "--dry-run", "--config", "patches={size_lr_px: 7}"]
    seen = finished.snakemake(*words).stdout
    records.rename(aside)
    try:
        said = finished.snakemake(*words).stdout
    finally:
        if records.exists():
            records.rmdir()
        aside.rename(records)
    assert "Nothing to be done" in said and "has no record of how the results here were made" in said
    assert "Nothing to be done" not in seen and "has no record" not in seen


def test_what_no_step_uses_reruns_nothing(finished, edited):
    edited("hsisr/cli/tools.py", '"""', '"""Edited. ')
    edited("hsisr/models/two_stream.py", '"""', '"""Edited. ')
    edited("hsisr/datasets/catalogue/cave.yaml", "title: CAVE", "title: The CAVE")
    edited("hsisr/degrade/responses/nikon_d700.csv", "# source:", "# source: edited,")
    assert finished.planned("all") == {}


def test_an_entry_of_the_catalogue_reruns_its_own_data_set(finished, edited):
    edited("hsisr/datasets/catalogue/indian_pines.yaml", "black_level: 1000", "black_level: 999")
    jobs = finished.planned("all")
    assert jobs["convert"] == 1 and jobs["train"] == 1 and "fetch" not in jobs and "split" not in jobs


def test_changed_programs_and_data_give_other_weights(finished_copy):
    """The loss, then the data: trained anew, never taken from before; put back, the same bytes again."""
    project = finished_copy
    loss = project.folder / "hsisr/training/objectives/loss.py"
    conversion = project.folder / "hsisr/datasets/conversion.py"
    first = file_hash(project.folder / WEIGHTS)
    patches = file_hash(project.folder / PATCHES)

    def run(*words: str) -> str:
        said = project.snakemake("--cores", "2", WEIGHTS, *words).stdout
        assert "resumes" not in said
        return file_hash(project.folder / WEIGHTS)

    before = loss.read_text()
    loss.write_text(before.replace("loss = mean_distance(estimate, target)", "loss = 10 * mse_loss(estimate, target)"))
    assert loss.read_text() != before
    weights = weights_of(project)
    other = run()
    assert other != first and weights_of(project) != weights

    loss.write_text(before)
    before = conversion.read_text()
    halved = "    return apply(result, data_set.band_steps)"
    assert halved in before
    conversion.write_text(before.replace(halved, "    result = replace(result, scale=result.scale / 2)\n" + halved))
    assert run() not in (first, other) and file_hash(project.folder / PATCHES) != patches

    conversion.write_text(before)
    assert run("--forcerun", "train") == first and file_hash(project.folder / PATCHES) == patches
    assert not (project.folder / WEIGHTS).with_name("state").joinpath("last.pt").exists()


def weights_of(project: Project) -> dict[str, list]:
    """The weights of a model file, without what it says of itself."""
    from safetensors.numpy import load_file

    return {key: value.tolist() for key, value in load_file(project.folder / WEIGHTS).items()}


def test_an_edit_between_two_parts_of_a_training_starts_it_anew(finished_copy):
    """A state of another program is set aside, with a line that names the file."""
    project = finished_copy
    expected = file_hash(project.folder / WEIGHTS)
    words = ("train", NAME, "mulsr-demo")
    engine = project.folder / "hsisr/training/engine.py"
    before = engine.read_text()
    due = "        if self.progress.due(self.step):\n"
    assert due in before
    stop = "        if self.step == 4:\n            self._save()\n            raise SystemExit(9)\n"
    engine.write_text(before.replace(due, stop + due))
    assert project.hsisr(*words, check=False).returncode == 9
    assert (project.folder / WEIGHTS).with_name("state").joinpath("last.pt").is_file()
    engine.write_text(before)
    said = project.hsisr(*words).stdout
    assert "belongs to another run (code: hsisr/training/engine.py)" in said and "resumes" not in said
    assert file_hash(project.folder / WEIGHTS) == expected


def test_scores_of_other_weights_are_refused(finished_copy):
    """By hand: weights that were trained again, or another program, are not merged with the scores of before."""
    project = finished_copy
    config = (project.folder / "config.yaml").read_text()
    (project.folder / "config.yaml").write_text(config.replace("max_steps: 6", "max_steps: 3"))
    said = project.hsisr("evaluate", NAME, "mulsr-demo", check=False).stdout
    assert "trained with other settings or code (training.max_steps: 6, now 3); train again" in said
    (project.folder / "config.yaml").write_text(config.replace("stride_lr_px: 3", "stride_lr_px: 2"))
    said = project.hsisr("train", NAME, "mulsr-demo", check=False).stdout
    assert f"{PATCHES}: made with other settings" in said and "make it again by `hsisr patches`" in said
    (project.folder / "config.yaml").write_text(config.replace(f"{NAME}:", f"{NAME}:\n    noise: 0.1", 1))
    said = project.hsisr("evaluate", NAME, "bicubic", check=False).stdout
    assert "-test.h5: made with other settings" in said and "make it again by `hsisr pairs`" in said
    (project.folder / "config.yaml").write_text(config)
    with open(project.folder / WEIGHTS, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x00")
    said = project.hsisr("merge", NAME, check=False).stdout
    assert f"made before {WEIGHTS} changed; make it again with the step evaluate" in said
    with open(project.folder / PATCHES, "ab") as file:
        file.write(b"\x00")
    said = project.hsisr("evaluate", NAME, "mulsr-demo", check=False).stdout
    assert f"trained before {PATCHES} changed; train again" in said


#: Sub-command -> the step that it does, of a benchmark and the words of the command.
STEPS = {
    "fetch": lambda config, chosen, words: steps.fetching(config, words[1]),
    "convert": lambda config, chosen, words: steps.conversion(config, words[1]),
    "split": lambda config, chosen, words: steps.splitting(config, words[1]),
    "pairs": lambda config, chosen, words: steps.pairing(chosen, words[2]),
    "patches": lambda config, chosen, words: steps.cutting(chosen),
    "train": lambda config, chosen, words: steps.training(chosen, words[2], 0),
    "evaluate": lambda config, chosen, words: steps.scoring(chosen, words[2]),
    "runtime": lambda config, chosen, words: steps.costing(chosen),
    "classify": lambda config, chosen, words: steps.classifying(chosen),
    "merge": lambda config, chosen, words: steps.merging(chosen),
    "report": lambda config, chosen, words: steps.reporting(config, [chosen]),
}

#: What every command loads beside its step: the command line, and what it makes the step's arguments with.
COMMAND_LINE = (
    "hsisr.cli", "hsisr.__main__", "hsisr.config", "hsisr.pipeline", "hsisr.screen", "hsisr.sources", "hsisr.system"
)  # fmt: skip


def test_every_step_knows_all_that_it_uses(finished):
    """Modules that were loaded, and files of the package that were opened, are in the step's identity."""
    config = load(finished.folder / "config.yaml")
    chosen = benchmark.resolve(config, NAME)
    found = [trace for trace in traces(finished) if trace["words"][:1] and trace["words"][0] in STEPS]
    assert {trace["words"][0] for trace in found} == set(STEPS)
    for trace in found:
        step = STEPS[trace["words"][0]](config, chosen, trace["words"])
        # the command asks `steps` what the step is, for which it loads what that needs
        known = {*step.closure, *PACKAGE.closure(["hsisr.pipeline.steps"]), *BY_THE_COMMAND.get(step.name, ())}
        unknown = {name for name in trace["modules"] if name not in known and not name.startswith(COMMAND_LINE)}
        assert not unknown, (trace["words"], sorted(unknown))
        for name in trace["files"]:
            path = Path(name)
            inside = path.parts[0] in ("hsisr", "csrc") and (finished.folder / path).is_file()
            if inside and path.suffix not in (".py", ".pyc") and path.parent.name != "catalogue":
                assert name in step.code, (trace["words"], name)


#: Modules that the commands load for what they print.
BY_THE_COMMAND = {"merge": ("hsisr.evaluation.table",), "evaluate": ("hsisr.evaluation.table",)}
