# Shared by the rules: the checked configuration, the Python interpreter, and the reasons for a rerun.
import atexit
import functools
import gc
import os
import re
import shlex
import sys
from pathlib import Path

from hsisr.config import Config, check_files
from hsisr.errors import HsisrError, notice
from hsisr.files import settings_hash, write_text
from hsisr.pipeline import benchmark as benchmarks, paths, steps

# At its end, Python would look for circles among all that Snakemake has loaded. The system takes back memory anyway.
atexit.register(gc.freeze)


def fail(error):
    """End with one line for the user. Snakemake would print a traceback around an exception."""
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


def tell_of_lost_records():
    """Say so if Snakemake has no record of how the results here were made, as in a copy without hidden folders."""
    kept = [*Path(".snakemake").glob("metadata/*"), *Path(".snakemake").glob("metadata.db")]
    if workflow.is_main_process and not kept and any(Path("results").glob("*.json")):
        notice(
            "Snakemake has no record of how the results here were made (.snakemake/metadata), and does not see what has "
            "changed since; `snakemake --forceall` makes all again, `snakemake --touch --forceall` records them as they are"
        )


tell_of_lost_records()


def resolved_config():
    """Path of the merged configuration for the jobs. Its content gives its name, so it never changes during a job."""
    import yaml

    content = CONFIG.model_dump(exclude_unset=True)
    path = Path(f"logs/config/{settings_hash(content)}.yaml")
    if not path.exists():
        write_text(path, yaml.safe_dump(content, sort_keys=False))
    return path


def bench(wildcards):
    """The benchmark of a job."""
    return resolved(wildcards.benchmark)


@functools.cache  # every input, parameter and resource of every job asks for its benchmark
def resolved(name):
    """The benchmark with this name."""
    try:
        return benchmarks.resolve(CONFIG, name)
    except HsisrError as error:
        fail(error)


def told(make, wildcards):
    """The step that `hsisr.pipeline.steps` makes for a rule. A user's mistake ends with its line."""
    try:
        return make(wildcards)
    except HsisrError as error:
        fail(error)


def inputs(make):
    """The input files of a step that Snakemake can name. make: wildcards -> step."""
    return lambda wildcards: {
        label: [file for file in files if not WILDCARD.search(str(file))]
        for label, files in told(make, wildcards).inputs.items()
    }


# Snakemake reads this part of a name as a wildcard, and there is no way to escape it.
WILDCARD = re.compile(r"\{\s*\w+\s*(,.*)?\}")


def states(make):
    """Size and time of the input files that no rule makes.

    As a parameter, they make Snakemake rerun the step after any change of these files. By itself, it sees only files
    that are newer than the outputs, and `mv` and `cp -p` put older ones in their place.
    """

    def found(wildcards):
        every = [str(file) for files in told(make, wildcards).inputs.values() for file in files]
        every = [file for file in every if not os.path.isdir(file)]  # the files of a folder are among them
        given = [file for file in every if not any(rule.is_producer(file) for rule in workflow.rules)]
        try:
            return [[file, os.stat(file).st_size, os.stat(file).st_mtime_ns] for file in given]
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}")

    return found


def identity(make):
    """The identity of a step. As a parameter, it makes Snakemake rerun the step after changes of settings or code."""
    return lambda wildcards: told(make, wildcards).digest


def given():
    """The command line's words on the configuration, for the command in a results file that makes it again."""
    settings = workflow.config_settings
    words = []
    if settings.configfiles:
        words += ["--configfile", *(os.path.relpath(file) for file in settings.configfiles)]
    if settings.config_args:
        words += ["--config", *settings.config_args]
    return shlex.join(words)


# The environment of every rule's command. These values are not parameters of a rule, as they are no reason to make a
# file again: the interpreter, and the command that a file records. The configuration's keys that a step reads are
# already in the step's identity. They are not global names either: a rule does not see these if this workflow is a
# module.
os.environ.update(
    HSISR_PYTHON=sys.executable,  # the Python with hsisr, whatever `python` is on PATH
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
