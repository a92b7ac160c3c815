"""Damage that is guided by coverage, by atheris: what leads a reader to new lines is damaged further.

    pip install atheris
    python -m tests.hostile.guided x.tif -max_total_time=600

The first word is a seed of `tests.hostile.seeds`; the others are options of libFuzzer. Any exception but HsisrError,
more than 20 s or more than 1 GB ends the run and leaves the input in the current folder. C libraries are not
instrumented.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hsisr"]):
    from hsisr.datasets import readers
    from hsisr.errors import HsisrError
    from tests.hostile import seeds


def main() -> None:
    """Run atheris on one seed."""
    name, words = sys.argv[1], sys.argv[2:]
    top = Path(tempfile.mkdtemp())
    seeds.write(top / "seeds")
    file, corpus = top / "seeds" / name, top / "corpus"
    corpus.mkdir()
    (corpus / file.name).write_bytes(file.read_bytes())

    def read(data: bytes) -> None:
        file.write_bytes(data)
        for call, options in ((readers.describe, {}), (readers.read_scene, {}), (readers.read_scene, {"axes": "BHW"})):
            try:
                call(file, **options)
            except HsisrError:
                continue

    limits = ["-timeout=20", "-rss_limit_mb=1024", f"-max_len={2 * file.stat().st_size}"]
    atheris.Setup([sys.argv[0], str(corpus), *limits, *words], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
