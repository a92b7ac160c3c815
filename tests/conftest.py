"""Fixtures that every test may use, and the line that says what the run could not check."""

import os
from pathlib import Path

import pytest

# Tests share the cores as processes; threads on top of them would only wait for one another. Before numpy is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

#: Real scenes and reference vectors, outside the repository; tests that need them skip where they are absent.
EXTRA_DATA = Path(os.environ.get("HSISR_EXTRA_DATA", Path(__file__).parents[1] / "../shared")).resolve()
_NO_EXTRA_DATA = "needs real scenes and reference vectors: set HSISR_EXTRA_DATA to the folder that holds them"


@pytest.fixture(scope="session")
def extra_data() -> Path:
    """Folder with `data/` (real scenes) and `reference/` (vectors from the papers' programs)."""
    if not (EXTRA_DATA / "reference").is_dir():
        pytest.skip(_NO_EXTRA_DATA)
    return EXTRA_DATA


def pytest_terminal_summary(terminalreporter) -> None:
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if _NO_EXTRA_DATA in str(r.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped: {_NO_EXTRA_DATA}")
