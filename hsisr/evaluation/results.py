"""Results files: what they hold, checked when written and when read.

Only `timing` and `environment` may differ between two runs of the same configuration on the same machine.
"""

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hsisr.errors import HsisrError
from hsisr.files import read_json, write_json

#: Score -> value; none for the PSNR of identical images, which is infinite and has no place in JSON.
Scores = dict[str, float | None]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelResult(_Block):
    """Scores of one model on the test part."""

    base: str = Field(description="Registered model.")
    options: dict[str, Any] = Field(description="The model's options.")
    mean: Scores = Field(description="Mean over test scenes and seeds.")
    std: Scores = Field(description="Standard deviation over test scenes, 0 for one.")
    scenes: dict[str, Scores] = Field(description="Scene or region -> mean over seeds.")
    seeds: dict[str, Scores] = Field(description="Seed -> mean over test scenes; empty where nothing is trained.")
    seed_std: Scores = Field(description="Standard deviation over seeds, 0 for one.")
    parameters: int = Field(description="Trainable numbers; 0 for classical methods.")
    training_steps: int = Field(description="Optimiser steps of one run; 0 for classical methods.")
    timing: dict[str, float] = Field(description="Seconds: of super-resolving the test part, of training.")


class _Header(_Block):
    schema_: str = Field(alias="schema")
    hsisr_version: str
    config_hash: str
    dataset: str
    scale: int
    protocol: str
    convention: str | None = Field(description="Metric convention; none without a reference.")
    command: str = Field(description="What makes this file again.")


class Results(_Header):
    """results/<benchmark>.json: every model of a benchmark."""

    parts: dict[str, list[str]] = Field(description="Part -> scenes or regions that were used.")
    response: str | None = Field(description="Spectral response of the simulated guide.")
    models: dict[str, ModelResult]
    environment: dict[str, Any]


class ModelScores(_Header):
    """results/<benchmark>/<model>.json: one model of a benchmark."""

    model: str
    result: ModelResult
    environment: dict[str, Any]


def write(path: str | os.PathLike, content: Results | ModelScores) -> None:
    """Write a results file."""
    write_json(path, content.model_dump(by_alias=True))


def read(path: str | os.PathLike, kind: type[Results] | type[ModelScores]) -> Any:
    """Read a results file. Raises HsisrError if it is absent, not JSON, or does not follow its schema."""
    name = {Results: "results", ModelScores: "scores"}[kind]
    try:
        return kind.model_validate(read_json(Path(path), name))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise HsisrError(f"{path}: not a valid {name} file ({key}: {first['msg']}); make it again") from None


def json_schema() -> dict:
    """JSON schema of results/<benchmark>.json, for `workflow/schemas`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Results.model_json_schema()}
