"""The summary of a run beside its weights (train.json): its identity and its end."""

import time
from typing import TYPE_CHECKING, Any

from hsisr.files import stamp, write_json
from hsisr.training.fitting import Outcome

if TYPE_CHECKING:
    from torch import nn


def write(path: str, outcome: Outcome, network: "nn.Module", identity: dict[str, Any], **source: str) -> None:
    """Write the summary of a run.

    path: of train.json. outcome: of the run. network: the trained one. identity: of its step
    (`hsisr.pipeline.steps.Step.identity`), with the content of its files under `data`. source: the origin of the
    weights, if no training made them.
    """
    summary = {
        **stamp("training", {key: identity[key] for key in ("step", "settings", "code")}),
        **{key: identity[key] for key in ("settings", "code", "data")},
        **source,
        "steps": outcome.steps,
        "epochs": outcome.epochs,
        "kept_step": outcome.kept_step,
        "validation_psnr": outcome.validation_psnr,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "timing": {"seconds": outcome.seconds, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
    }
    write_json(path, summary)
