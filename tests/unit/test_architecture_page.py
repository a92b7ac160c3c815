"""The page on the architecture: its drawing and its tables are those of today's code."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_page_is_of_todays_code():
    check = subprocess.run([sys.executable, ".ci/architecture", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr


def test_drawing_shows_steps_and_layers():
    drawing = (ROOT / "docs/pictures/architecture.svg").read_text()
    assert all(f">{name}  (" in drawing for name in ("fetch", "train", "merge", "report"))
    assert all(f">{layer}</text>" in drawing for layer in ("cli", "models", "errors"))
