"""The documentation as a site: it is built without a warning, and shows what the packages export."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_site_is_built_without_warnings(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install 'hsisr[docs]'")
    pytest.importorskip("mkdocstrings", reason="pip install 'hsisr[docs]'")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert built.returncode == 0, built.stdout + built.stderr
    page = (tmp_path / "site/api/hsisr.metrics.html").read_text()
    assert 'id="hsisr.metrics.pixel.psnr"' in page and "Peak signal-to-noise ratio" in page
    assert (tmp_path / "site/gallery-1.png").stat().st_size > 10000
    assert 'src="gallery-1.png"' in (tmp_path / "site/gallery.html").read_text()
    assert (tmp_path / "site/notebooks/my-first-cube.ipynb").is_file()
    assert 'href="tutorial.html"' in (tmp_path / "site/start.html").read_text()
