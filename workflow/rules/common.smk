# What the rules share: the checked configuration, the Python that runs, and the hashes that decide reruns.
import functools
import hashlib
import os
import shlex
import sys
from pathlib import Path

from hsisr.config import Config
from hsisr.errors import HsisrError
from hsisr.files import settings_hash, write_text
from hsisr.models import registry
from hsisr.pipeline import benchmark as benchmarks, paths

#: The interpreter that runs Snakemake: the one where hsisr is installed, whatever `python` is on PATH.
PY = shlex.quote(sys.executable)


def fail(error):
    """End with the one line that the user needs; Snakemake would print a traceback around it."""
    print(f"hsisr: error: {error}", file=sys.stderr)
    sys.exit(1)


try:
    CONFIG = Config.parse(config, " + ".join(["config.yaml", *map(str, workflow.config_settings.configfiles)]))
    benchmarks.check(CONFIG)
except HsisrError as error:
    fail(error)


def resolved_config():
    """Path of the merged configuration, for the jobs: named by its content, so it never changes under one."""
    import yaml

    content = CONFIG.model_dump(exclude_unset=True)
    path = Path(f"logs/config/{settings_hash(content)}.yaml")
    if not path.exists():
        write_text(path, yaml.safe_dump(content, sort_keys=False))
    return path


#: Sources of what super-resolves with a finished model; untrained methods estimate the sensor in hsisr/degrade.
INFERENCE = (
    "hsisr/inference/*.py",
    "hsisr/models/**/*.py",
    "hsisr/degrade/*.py",
    "hsisr/ops/*.py",
    "csrc/**/*",
)
#: How every rule calls a step.
HSISR = f"{PY} -m hsisr"
CONFIG_FILE = resolved_config()


def bench(wildcards):
    """The benchmark that a job belongs to."""
    return resolved(wildcards.benchmark)


@functools.cache  # every input, parameter and resource of every job asks for its benchmark
def resolved(name):
    """The benchmark of a name."""
    try:
        return benchmarks.resolve(CONFIG, name)
    except HsisrError as error:
        fail(error)


def code(*globs):
    """Hash of package sources: Snakemake does not see edits inside a package, a parameter it does."""
    digest = hashlib.sha256()
    for pattern in globs:
        for file in sorted(Path(workflow.basedir).glob(pattern)):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def command(target):
    """The command that makes a results file again, with what the command line said of the configuration."""
    given = workflow.config_settings
    words = ["snakemake", target, "--cores", "all"]
    if given.configfiles:
        words += ["--configfile", *(os.path.relpath(file) for file in given.configfiles)]
    if given.config_args:
        words += ["--config", *given.config_args]
    return shlex.join(words)


wildcard_constraints:
    dataset="[a-z][a-z0-9_]*?",
    scene="[A-Za-z0-9_-]+",
    item="[A-Za-z0-9_-]+",
    benchmark=r"[a-z][a-z0-9_]*?_x\d+(_[a-z][a-z-]*)?",
    model="[a-z0-9-]+",
    seed=r"\d+",
