"""Evaluation: super-resolve the test part, score it by the protocol's convention, and write the results."""

from typing import TYPE_CHECKING

from hsisr.lazy_names import loader

#: Public name -> module that defines it; loaded when a name is first used.
_PUBLIC = {
    "classify": "hsisr.evaluation.land_cover",
    "evaluate": "hsisr.evaluation.benchmarks",
    "evaluate_benchmark": "hsisr.evaluation.benchmarks",
    "evaluate_model": "hsisr.evaluation.scoring",
    "measure_runtime": "hsisr.evaluation.costs",
    "merge": "hsisr.evaluation.merging",
    "score": "hsisr.metrics",
    "validate": "hsisr.evaluation.withheld",
}

__all__ = list(_PUBLIC)

if TYPE_CHECKING:
    from hsisr.evaluation.benchmarks import evaluate as evaluate
    from hsisr.evaluation.benchmarks import evaluate_benchmark as evaluate_benchmark
    from hsisr.evaluation.costs import measure_runtime as measure_runtime
    from hsisr.evaluation.land_cover import classify as classify
    from hsisr.evaluation.merging import merge as merge
    from hsisr.evaluation.scoring import evaluate_model as evaluate_model
    from hsisr.evaluation.withheld import validate as validate
    from hsisr.metrics import score as score


__getattr__, __dir__ = loader(__name__, _PUBLIC)
