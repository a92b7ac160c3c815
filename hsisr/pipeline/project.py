"""A user's project: the folder that `hsisr init` writes. `hsisr run` and `snakemake` work in it."""

import os
from pathlib import Path
from string import Template

import yaml

from hsisr import datasets
from hsisr.config import Config
from hsisr.errors import HsisrError
from hsisr.files import write_text
from hsisr.pipeline import benchmark as benchmarks
from hsisr.sources import profiles_folder

#: The default data set of a project. It comes with hsisr.
DATASET = "indian_pines"

_MODELS = ("bicubic", "gsa", "prior", "hybrid-10min")
_SINGLE_IMAGE_MODELS = ("bicubic", "deepshare-10min")

#: Networks that learn something on a laptop. Their training, with the cosine schedule, is limited by time.
_NETWORKS = {
    "hybrid-10min": {"base": "hybrid", "learning_rate": 2.0e-3},
    "deepshare-10min": {"base": "deepshare-s", "learning_rate": 5.0e-4},
}

_SNAKEFILE = '''"""A study with hsisr: README.md says how to run it."""

from hsisr.sources import workflow_folder


include: str(workflow_folder() / "Snakefile")


workflow.default_target = "all"  # that of an included file is not taken
'''

_CONFIG = Template("""\
# The configuration of this study. `hsisr schema` prints every key; a key that you leave out has its default.
# The benchmarks to make: <dataset>_x<scale>[_<protocol>], and the models to compare.
$benchmarks
# Models beside the registered ones: a name, its base, and what differs from the defaults of the base.
$models""")

_SOURCE = Template("""
# Where the published files lie.
$sources""")

_SCENES = Template("""
# The scenes that lie there; without this section, hsisr expects all $count of the data set.
$scenes""")

_README = Template("""\
# $name

A study with hsisr (hyperspectral image super-resolution): `config.yaml` says which models to compare, on which data.

    hsisr run -n          what would run
    hsisr run             everything, and results/report/index.html
    hsisr run results/$benchmark.json
    hsisr table           the scores

`hsisr run` calls `snakemake` in this folder and passes its options on. If it stops, run it again: it goes on where it
was.
""")


def create(
    folder: str | os.PathLike, dataset: str | None = None, source: str | None = None, scale: int = 4
) -> list[Path]:
    """Write a project into a folder: Snakefile, config.yaml, profiles, README.md. Returns the files.

    dataset: of the catalogue; None: Indian Pines, which comes with hsisr. source: folder, archive or URL of the data
    set; None: where it is published. If it is a local folder, its scenes are listed. scale: HR pixels per LR pixel.
    folder: of the project.
    Raises HsisrError, and writes nothing, if one of the files exists, or if the project could not run.
    """
    folder = Path(folder)
    name = dataset or DATASET
    local = None if source is None or "://" in source else str(Path(source).expanduser().resolve())
    contents = {
        "Snakefile": _SNAKEFILE,
        "config.yaml": _config(name, local or source, scale),
        "README.md": _README.substitute(name=folder.resolve().name, benchmark=f"{name}_x{scale}"),
    }
    for profile in sorted(profiles_folder().glob("*/*.yaml")):
        contents[f"profiles/{profile.parent.name}/{profile.name}"] = profile.read_text(encoding="utf-8")
    for file in contents:
        if (folder / file).exists():
            raise HsisrError(f"{folder / file}: is there already, and is not overwritten; choose another folder")
    for file, text in contents.items():
        write_text(folder / file, text)
    return [folder / file for file in contents]


def _config(dataset: str, source: str | None, scale: int) -> str:
    """The configuration, after a check that it can run."""
    entry = datasets.entry(dataset)
    if entry.auxiliary:
        raise HsisrError(f"{dataset}: photographs help training, nothing is compared on them; choose another data set")
    benchmark = f"{dataset}_x{scale}"
    held = None if source is None else datasets.find_scenes(dataset, source)
    guided = benchmarks.resolve(Config.parse({"benchmarks": {benchmark: {"models": ["bicubic"]}}}), benchmark).has_guide
    chosen = _MODELS if guided else _SINGLE_IMAGE_MODELS
    text = _CONFIG.substitute(
        benchmarks=_yaml({"benchmarks": {benchmark: {"models": list(chosen)}}}),
        models=_yaml({"models": {name: _recipe(name) for name in chosen if name in _NETWORKS}}),
    )
    if source is not None:
        text += _SOURCE.substitute(sources=_yaml({"sources": {dataset: source}}))
    if held is not None and set(held) != set(entry.scenes):
        text += _SCENES.substitute(count=len(entry.scenes), scenes=_yaml({"scenes": {dataset: held}}))
    benchmarks.check(Config.parse(yaml.safe_load(text)))
    return text


def _recipe(name: str) -> dict:
    network = _NETWORKS[name]
    training = {
        "epochs": None,
        "max_steps": 100000,
        "max_minutes": 10,
        "batch_size": 8,
        "learning_rate": network["learning_rate"],
        "schedule": {"kind": "cosine"},
        "validate_every_steps": 200,
    }
    return {"base": network["base"], "training": training}


def _yaml(content: dict) -> str:
    return yaml.safe_dump(content, sort_keys=False, width=110, default_flow_style=None)
