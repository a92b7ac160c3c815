"""How many threads this process may use."""

import os


def available_threads() -> int:
    """What the process was given: OMP_NUM_THREADS, which Snakemake sets for its jobs, or else its cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))
