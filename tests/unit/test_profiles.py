"""What the profiles for clusters ask for, told by the executor plugins themselves where they are installed."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake.resources import Resources

REPOSITORY = Path(__file__).parents[2]
NO_PLUGIN = "needs Snakemake's executor plugin: pip install 'hsisr[{}]'"


class Evaluated(dict):
    """Resources of a job as plugins see them: by name, or as attributes."""

    __getattr__ = dict.__getitem__


def profile(name: str) -> dict:
    return yaml.safe_load((REPOSITORY / "profiles" / name / "config.yaml").read_text())


def job(name: str, **of_rule) -> SimpleNamespace:
    """A job with the profile's default resources, read as Snakemake reads them, and those of its rule."""
    words = [f"{key}={value}" for key, value in profile(name)["default-resources"].items()]
    parsed = Resources.parse(words, allow_expressions=True)
    known = {"input": [], "attempt": 1, "threads": 8, "rulename": "train", "async_run": None}
    defaults = {resource.name: resource.evaluate({}, **known).value for resource in parsed.values()}
    return SimpleNamespace(
        resources=Evaluated(defaults | {"_cores": 8} | of_rule), threads=8, jobid=1, attempt=1, is_containerized=False
    )


@pytest.mark.parametrize("gpu", [0, 1, 4])
def test_a_slurm_job_is_one_task_whatever_its_gpus(gpu):
    submit = pytest.importorskip("snakemake_executor_plugin_slurm.submit_string", reason=NO_PLUGIN.format("slurm"))
    utils = pytest.importorskip("snakemake_executor_plugin_slurm.utils")
    names = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    asked = job("slurm", gpu=gpu)
    call = submit.get_submit_command(asked, dict.fromkeys(names, "x")) + utils.set_gres_string(asked)
    assert "--ntasks-per-gpu" not in call and "--nodes" not in call
    assert (f" --gpus={gpu}" in call) == bool(gpu)
    assert "--cpus-per-task=8" in call and "--mem 4000" in call


def test_older_slurm_plugins_which_start_a_job_for_every_gpu_are_told_so_too():
    assert job("slurm", gpu=2).resources["tasks_per_gpu"] == 0


def test_no_rule_asks_for_nodes_that_its_one_task_would_leave_idle():
    for rule in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        assert "nodes=" not in rule.read_text(), rule.name


@pytest.mark.parametrize("gpu", [0, 2])
def test_a_kubernetes_job_gets_its_gpus_and_no_error(gpu):
    plugin = pytest.importorskip("snakemake_executor_plugin_kubernetes", reason=NO_PLUGIN.format("kubernetes"))

    made = []
    silent = SimpleNamespace(debug=lambda text: None, info=lambda text: None)
    executor = object.__new__(plugin.Executor)
    facts = {
        "workflow": SimpleNamespace(deployment_settings=SimpleNamespace(deployment_method=set())),
        "logger": silent, "run_namespace": "x", "container_image": "image", "persistent_volumes": [],
        "k8s_service_account_name": None, "k8s_cpu_scalar": 1, "secret_envvars": {}, "privileged": False,
        "namespace": "default", "format_job_exec": lambda job: "true", "report_job_submission": lambda info: None,
        "batchapi": SimpleNamespace(create_namespaced_job=lambda namespace, body: made.append(body)),
        "_kubernetes_retry": lambda call: call(),
    }  # fmt: skip
    for key, value in facts.items():
        object.__setattr__(executor, key, value)
    executor.run_job(job("kubernetes", gpu=gpu))
    asked = made[0].spec.template.spec.containers[0].resources
    assert asked.requests["nvidia.com/gpu"] == asked.limits["nvidia.com/gpu"] == str(gpu)
    assert asked.requests["memory"] == asked.limits["memory"] == "4000M"
