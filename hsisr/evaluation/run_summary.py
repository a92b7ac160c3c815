"""A training run's train.json, for scoring. `hsisr.training.summary` writes it beside the weights."""

import os
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hsisr.config import check_section
from hsisr.files import read_json


class _Timing(BaseModel):
    model_config = ConfigDict(extra="allow")

    seconds: float = Field(ge=0, allow_inf_nan=False)


class _Summary(BaseModel):
    """The required keys of a summary. Other keys are kept."""

    model_config = ConfigDict(extra="allow", strict=True)

    settings: dict[str, Any]
    code: dict[str, Any]
    data: dict[str, dict[str, str]]
    steps: int = Field(ge=0)
    parameters: int = Field(ge=0)
    timing: _Timing
    source: str = ""
    source_sha256: str = ""


def read(path: str | os.PathLike) -> dict[str, Any]:
    """The summary of a run. Raises HsisrError if it is missing, damaged, or lacks a required key."""
    content = read_json(path, "training")
    check_section(_Summary, content, str(path))
    return content
