"""Parts: several processes share one large run, on this or other machines with the same folder.

One process plans the run and learns the scene. Each process makes some tile rows. The command without a part joins
them. The result has the same bytes as that of one process.
"""

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hsisr.datasets import writers
from hsisr.errors import HsisrError
from hsisr.inference import run
from hsisr.inference.scenes import Options, begin, compute, environment, list_guides, model_file
from hsisr.outputs import check_outputs
from hsisr.screen import say

_PLAN = "plan"


@dataclass(frozen=True)
class Part:
    """A part of a run. number: from 1 to `count`; 0 means only the plan."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> "Part":
        """The part that a text names: `plan`, or number/count such as 3/8. Raises HsisrError for anything else."""
        if text == _PLAN:
            return cls(0, 1)
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise HsisrError(f"part {text!r}: expected `plan`, or number/count from 1/N to N/N such as 3/8")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}" if self.number else _PLAN

    def rows(self, count: int) -> range:
        """The part's rows among `count` tile rows."""
        if not self.number:
            return range(0)
        return range((self.number - 1) * count // self.count, self.number * count // self.count)


def super_resolve_part(
    lr: str | os.PathLike,
    guide: str | os.PathLike | Sequence[str | os.PathLike] | None,
    model: str | os.PathLike,
    out: str | os.PathLike,
    part: str,
    options: Options | None = None,
    overwrite: bool = False,
) -> None:
    """Make a part of the result that `super_resolve_file` writes to `out`. Calling that function later joins the parts.

    lr, guide, model, out, options, overwrite: as for `super_resolve_file`, the same for all parts. part: `plan`, or
    number/count such as 3/8. The first process plans the run; others wait for the plan. A stopped part resumes with the
    same call. Every process must see the folder of `out`, on a file system with locks.
    Raises HsisrError as `super_resolve_file`, for an invalid part, and while another process makes the same part.
    """
    chosen, out, options = Part.of(part), Path(out), options or Options()
    outs = list(writers.written_files(out, options.format))
    check_outputs(outs, [lr, *list_guides(guide), model_file(model)], overwrite or run.is_unfinished(out))
    with environment(), ExitStack() as held:
        with run.planning(out) as folder:
            prepared, _, staging = begin(lr, guide, model, options, outs, overwrite, folder, part=str(chosen))
            held.callback(run.take_part(folder, out, str(chosen)).release)
        rows = chosen.rows(len(staging.tiling.rows))
        say(f"{out}: {len(staging.tiling.rows)} tile rows are planned; this part makes {len(rows)} of them")
        if rows:
            compute(prepared, staging, rows)
