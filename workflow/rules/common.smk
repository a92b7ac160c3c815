# What the rules share: the checked configuration, the Python that runs, and what decides reruns.
import functools
import os
import re
import shlex
import sys
from pathlib import Path

from hsisr.config import Config, check_files
from hsisr.errors import HsisrError
from hsisr.files import settings_hash, write_text
from hsisr.pipeline import benchmark as benchmarks, paths, steps


def fail(error):
    """End with the one line that the user needs; Snakemake would print a traceback around it."""
    print(f"hsisr: error: {error}", file=sys.stderr)
    sys.exit(1)


def configuration_files():
    """The files of the configuration. The last one has priority."""
    laid_over = workflow.config_settings.configfiles
    return [*(file for file in workflow.configfiles if file not in laid_over), *laid_over]


try:
    check_files(configuration_files())
    CONFIG = Config.parse(config, " + ".join(map(str, configuration_files())) or "config")
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


def told(make, wildcards):
    """The step that a rule asks `hsisr.pipeline.steps` for; a mistake of the user ends with its line."""
    try:
        return make(wildcards)
    except HsisrError as error:
        fail(error)


def inputs(make):
    """The input files of a step, less those of `unnamed`. make: wildcards -> step."""
    return lambda wildcards: {
        label: [file for file in files if not WILDCARD.search(str(file))]
        for label, files in told(make, wildcards).inputs.items()
    }


# What Snakemake takes for a wildcard in a name, without a way to say that it is none.
WILDCARD = re.compile(r"\{\s*\w+\s*(,.*)?\}")


def unnamed(make):
    """Size and time of the input files whose names Snakemake would read as patterns: a parameter in their place."""

    def states(wildcards):
        every = [str(file) for files in told(make, wildcards).inputs.values() for file in files]
        try:
            return [[file, os.stat(file).st_size, os.stat(file).st_mtime_ns] for file in every if WILDCARD.search(file)]
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}")

    return states


def identity(make):
    """The identity of a step: a parameter, so that Snakemake reruns it when its settings or its code change."""
    return lambda wildcards: told(make, wildcards).digest


def given():
    """What the command line said of the configuration, as it stands in the command that makes a results file again."""
    settings = workflow.config_settings
    words = []
    if settings.configfiles:
        words += ["--configfile", *(os.path.relpath(file) for file in settings.configfiles)]
    if settings.config_args:
        words += ["--config", *settings.config_args]
    return shlex.join(words)


# What every command of a rule needs, in its environment. It is no parameter of a rule: another interpreter, or what a
# file says of the command that made it, is no reason to make it again, and of the configuration the keys that a step
# reads are in its identity. Nor is it a global name, which a rule would not see when this workflow is a module.
os.environ.update(
    HSISR_PYTHON=sys.executable,  # the one where hsisr is installed, whatever `python` is on PATH
    HSISR_CONFIG=str(resolved_config()),
    HSISR_GIVEN=given(),
)


wildcard_constraints:
    dataset="[a-z][a-z0-9_]*?",
    scene="[A-Za-z0-9_-]+",
    item="[A-Za-z0-9_-]+",
    benchmark=r"[a-z][a-z0-9_]*?_x\d+(_[a-z][a-z-]*?)?(-fold\d+)?",
    model="[a-z0-9-]+",
    sweep="[a-z0-9-]+",
    seed=r"\d+",
    part=r"\d+",
    parts=r"\d+",
