"""Snakemake super-resolves scenes of the user's own, as the section `predict` of the configuration says."""

import os

import rasterio
import yaml

from tests.unit import own_scene


def configure(project, **predict):
    path = project.folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(config | {"predict": predict}, sort_keys=False))


def test_a_scene_of_ones_own_is_a_target(project):
    own_scene.write_pair(project.folder, 24, 20)
    scene = {"lr": "lr.tif", "guide": "guide.tif", "model": "gsa", "tile": 16, "halo": 4, "device": "cpu"}
    scene |= {"preview": "field.png", "maps": "maps"}
    (project.folder / "config.yaml").write_text(yaml.safe_dump({"predict": {"field": scene}}))
    project.snakemake("all", "--cores", "1")  # predictions alone have no report
    with rasterio.open(project.folder / "predictions/field.tif") as image:
        assert image.shape == (96, 80) and image.crs.to_string() == own_scene.CRS
    assert project.planned("all") == {}
    (project.folder / "field.png").unlink()
    said = project.snakemake("--dry-run").stdout
    assert "predict.field: field.png: not there" in said and "delete that file" in said and "Nothing to be" in said
    os.utime(project.folder / "lr.tif", (0, 0))  # `mv` puts an older file in its place
    assert project.planned("all") == {"predict": 1}
    for command in ("table", "report"):
        assert "the configuration names no benchmarks" in project.hsisr(command, check=False).stdout


def test_parts_of_a_scene_are_jobs_and_give_the_same_bytes(project):
    own_scene.write_pair(project.folder, 32, 16)
    scene = {"lr": "lr.tif", "guide": "guide.tif", "model": "prior", "tile": 16, "device": "cpu"}
    configure(project, whole=scene, shared=scene | {"parts": 2})
    jobs = project.planned("predictions/shared.tif")
    assert jobs["predict_plan"] == 1 and jobs["predict_part"] == 2 and jobs["predict"] == 1
    project.snakemake("predictions/whole.tif", "predictions/shared.tif", "--cores", "2")
    whole, shared = (project.folder / f"predictions/{name}.tif" for name in ("whole", "shared"))
    assert shared.read_bytes() == whole.read_bytes()
    assert not (project.folder / "predictions/.shared.tif.work").exists()
    assert not list((project.folder / "predictions").rglob("*.done"))
    assert project.planned("predictions/shared.tif") == {}


def test_names_with_signs_that_mean_something_to_snakemake_or_the_shell(project):
    own_scene.write_pair(project.folder, 24, 20)
    for name in ("lr", "guide"):
        (project.folder / f"{name}.tif").rename(project.folder / f"{{{name}}} of $HOME's; %s {{.tif")
    scene = {
        "lr": "{lr} of $HOME's; %s {.tif",
        "guide": "{guide} of $HOME's; %s {.tif",
        "model": "gsa",
        "device": "cpu",
    }
    configure(project, field=scene)
    project.snakemake("predictions/field.tif", "--cores", "1")
    assert (project.folder / "predictions/field.tif").is_file()


def test_its_model_is_trained_first(untrained):
    own_scene.write_pair(untrained.folder, 24, 20)
    run = "runs/indian_pines_x4/mulsr-demo/seed0"
    configure(untrained, field={"lr": "lr.tif", "guide": "guide.tif", "model": run})
    jobs = untrained.planned("predictions/field.tif")
    assert jobs["train"] == 1 and jobs["predict"] == 1


def test_an_unknown_scene_is_named(project):
    done = project.snakemake("predictions/none.tif", "--cores", "1", check=False)
    assert done.returncode != 0 and "no scene 'none'" in done.stdout
