"""Fixtures for every test, and the line about checks that this run could not make."""

import os
import sys
from pathlib import Path

import pytest

# Tests share the cores as processes, and more threads would only wait for one another. If a test needs threads, waiting
# ones must sleep: by default, they keep a core busy. Set this before numpy and torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "14")
# Tests start hundreds of programs. They need not compile the package each time, whatever is set for other programs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: Real scenes and reference vectors, outside the repository. Tests that need them skip if they are absent.
EXTRA_DATA = Path(os.environ.get("HSISR_EXTRA_DATA", Path(__file__).parents[1] / "../shared")).resolve()
#: Modules that cannot be imported. They hide packages that only the tests need, so programs run as for a user.
NOT_INSTALLED = Path(__file__).parent / "not_installed"
_NO_EXTRA_DATA = "needs real scenes and reference vectors: set HSISR_EXTRA_DATA to the folder that holds them"


@pytest.fixture(scope="session")
def extra_data() -> Path:
    """Folder with `data/` (real scenes) and `reference/` (vectors from the papers' programs)."""
    if not (EXTRA_DATA / "reference").is_dir():
        pytest.skip(_NO_EXTRA_DATA)
    return EXTRA_DATA


@pytest.fixture(autouse=True)
def _threads_as_before():
    """No test changes the number of threads for the next one."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_addoption(parser) -> None:
    parser.addoption(
        "--cpu-durations",
        type=int,
        default=0,
        metavar="N",
        help="show the N tests that took most CPU time, that of the processes they started included",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs of the whole workflow come first: at the end, short tests share the cores better than long ones."""
    items.sort(key=lambda item: item.path.parent.name != "workflow")


def _cpu_seconds() -> float:
    """CPU time so far of this process, and of the finished processes that it started."""
    return sum(os.times()[:4])


_measured = _cpu_seconds()


def pytest_collection_finish() -> None:
    """Do not count the time for the modules imported so far."""
    global _measured
    _measured = _cpu_seconds()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Record the time of each phase at its end. The first test that uses a fixture pays for it."""
    global _measured
    before, _measured = _measured, _cpu_seconds()
    outcome = yield
    outcome.get_result().user_properties.append(("cpu_s", _measured - before))


def _show_cpu_durations(terminalreporter, count: int) -> None:
    """Show the most expensive tests, as `--durations` does for wall time."""
    costs = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds = dict(report.user_properties)["cpu_s"]
                costs[report.nodeid] = costs.get(report.nodeid, 0.0) + seconds
    terminalreporter.section(f"{count} dearest tests of {sum(costs.values()):.0f} CPU seconds")
    for name in sorted(costs, key=costs.get, reverse=True)[:count]:
        terminalreporter.write_line(f"{costs[name]:8.2f} s {name}")


def pytest_terminal_summary(terminalreporter) -> None:
    count = terminalreporter.config.getoption("--cpu-durations")
    if count:
        _show_cpu_durations(terminalreporter, count)
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if _NO_EXTRA_DATA in str(r.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped: {_NO_EXTRA_DATA}")
