"""A configuration that names nothing but a sweep: the workflow runs it, and the report shows it."""

import json
import os

import yaml

from tests.unit.conftest import small_scene


def test_the_workflow_sweeps_and_reports(project):
    small_scene(64, 64).save(project.folder / "scene.h5")
    sweep = {"scene": "scene.h5", "models": ["bicubic", "gsa"], "psfs": ["gaussian", "delta"], "responses": [2, 3]}
    configure = (project.folder / "config.yaml").write_text
    configure(yaml.safe_dump({"sweeps": {"mine": sweep}}))
    assert project.planned() == {"sweep": 1, "report": 1}
    project.snakemake("--cores", "1")
    assert project.planned() == {}
    os.utime(project.folder / "scene.h5", (0, 0))  # an older file in its place
    assert project.planned() == {"sweep": 1, "report": 1}

    found = json.loads((project.folder / "results/sweeps/mine.json").read_text())
    assert len(found["grid"]) == 2 * 2 * 2
    worst = f"{found['models']['gsa']['psnr_worst']:.2f}"
    page = (project.folder / "results/report/index.html").read_text()
    assert 'href="#sweep-mine"' in page and 'id="sweep-mine"' in page
    assert worst in page and worst in (project.folder / "results/report/index.md").read_text()

    configure(yaml.safe_dump({"sweeps": {"mine": sweep | {"psfs": ["gaussian"]}}}))
    assert project.planned() == {"sweep": 1, "report": 1}
