"""Results files: their content, checked at writing and at reading.

Only `timing` and `environment` may differ between two runs of the same configuration on the same machine.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hsisr.errors import HsisrError
from hsisr.evaluation.analysis.classification import Accuracies
from hsisr.files import file_hash, read_json, write_json
from hsisr.pipeline.benchmark import Benchmark
from hsisr.pipeline.steps import Step

#: Score -> value. The PSNR of identical images is None: it is infinite, which JSON cannot hold.
Scores = dict[str, float | None]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _with_test(parts: dict[str, list[str]]) -> dict[str, list[str]]:
    if "test" not in parts:
        raise ValueError("must name the part test")
    return parts


class BandChoice(_Block):
    """Bands that a selection method recommends for a model's result, compared with the reference's."""

    bands: list[int] = Field(description="Recommended bands, 0-based, rising.")
    overlap: float = Field(description="Share of the reference's bands among them, 0 to 1.")
    distance: float = Field(
        description="Mean distance to the reference's bands, paired in order: nm; bands where wavelengths are unknown."
    )


class Classification(_Block):
    """The settings of the land-cover classification, and the scores of the reference and the interpolated LR image."""

    classes: dict[str, int] = Field(description="Class -> its labelled pixels in the test part.")
    dropped: dict[str, str] = Field(description="Class that was left out -> why.")
    splits: int = Field(description="Random divisions into training and test pixels.")
    block_px: int = Field(description="Side of the blocks that train or test as a whole, HR pixels.")
    reference: Accuracies = Field(description="Accuracies on the reference; empty if fewer than two classes remain.")
    lr: Accuracies = Field(description="Accuracies on the LR image, interpolated bicubically.")


class ModelResult(_Block):
    """Scores of one model on the test part."""

    base: str = Field(description="Registered model.")
    options: dict[str, Any] = Field(description="The model's options.")
    mean: Scores = Field(description="Mean over test scenes and seeds; of a cross-validation, of its folds' means.")
    std: Scores = Field(description="Standard deviation over test scenes (n - 1 in the denominator), 0 for one.")
    scenes: dict[str, Scores] = Field(description="Scene or region -> mean over seeds.")
    seeds: dict[str, Scores] = Field(description="Seed -> mean over test scenes; empty where nothing is trained.")
    seed_std: Scores = Field(description="Standard deviation over seeds (n - 1 in the denominator), 0 for one.")
    folds: dict[str, Scores] = Field({}, description="Fold of a cross-validation -> its mean.")
    fold_std: Scores = Field({}, description="Standard deviation over folds (n - 1 in the denominator).")
    parameters: int = Field(description="Trainable numbers; 0 for classical methods.")
    training_steps: int = Field(description="Optimiser steps of one run; 0 for classical methods and imported weights.")
    weights: dict[str, str] | None = Field(
        None, description="File and SHA-256 of weights that were imported; none where they were trained here."
    )
    flops_per_value: float | None = Field(
        None, description="Floating-point operations per value of the result, counted; none for classical methods."
    )
    timing: dict[str, float] = Field(
        description="seconds: of super-resolving the test part; training_seconds; and of `hsisr runtime`, all models "
        "in turns on one crop: seconds_per_megapixel_band, peak_memory_mb."
    )
    bands: dict[str, BandChoice] = Field({}, description="Selection method -> recommended bands; first seed.")
    classification: Accuracies | None = Field(
        None,
        description="Classifier -> blocks or random division -> oa, aa, kappa, 0 to 1, and their spread; first seed.",
    )


class _Header(_Block):
    schema_: str = Field(alias="schema")
    hsisr_version: str
    config_hash: str = Field(description="Identity of the step: its settings and its code.")
    inputs: dict[str, str] = Field({}, description="File that the step read -> SHA-256 of what it held.")
    dataset: str
    scale: int
    protocol: str
    convention: str | None = Field(description="Metric convention; none without a reference.")
    command: str = Field(description="What makes this file again.")


class Results(_Header):
    """results/<benchmark>.json: every model of a benchmark."""

    parts: Annotated[dict[str, list[str]], AfterValidator(_with_test)] = Field(
        description="Part -> scenes or regions that were used."
    )
    folds: dict[str, dict[str, list[str]]] = Field(
        {}, description="Fold of a cross-validation -> part -> its scenes or regions; `parts` then names all tested."
    )
    response: str | None = Field(description="Spectral response of the simulated guide.")
    reference_bands: dict[str, list[int]] = Field({}, description="Selection method -> bands of the reference.")
    classification: Classification | None = Field(None, description="Where the data set has labels.")
    models: dict[str, ModelResult]
    environment: dict[str, Any]


class ModelScores(_Header):
    """results/<benchmark>/<model>.json: one model of a benchmark."""

    model: str
    result: ModelResult
    reference_bands: dict[str, list[int]] = {}
    environment: dict[str, Any]


class ClassificationScores(_Header):
    """results/<benchmark>/_classification.json: accuracies on the reference and on every model's result."""

    setup: Classification
    models: dict[str, Accuracies]


class RuntimeScores(_Header):
    """results/<benchmark>/_runtime.json: costs of every model; see `hsisr.evaluation.analysis.runtime.Cost`."""

    flops_per_value: dict[str, float | None]
    timing: dict[str, dict[str, float]]
    environment: dict[str, Any]


#: Class of a file -> kind in its stamp.
_KINDS: dict[type[_Header], str] = {
    Results: "results",
    ModelScores: "scores",
    ClassificationScores: "classification",
    RuntimeScores: "runtime",
}


def header(benchmark: Benchmark, command: str, inputs: Iterable[str | os.PathLike]) -> dict[str, Any]:
    """The facts on its benchmark in every results file. inputs: files that made it; they are hashed."""
    return {
        "inputs": {os.fspath(file): file_hash(file) for file in inputs},
        "dataset": benchmark.dataset,
        "scale": benchmark.scale,
        "protocol": benchmark.protocol,
        "convention": benchmark.convention,
        "command": command,
    }


def check_current(path: str | os.PathLike, found: _Header, step: Step) -> None:
    """Raise HsisrError if a results file was made by other code, settings or files than the present ones."""
    if found.config_hash != step.digest:
        raise HsisrError(
            f"{path}: made with other settings or by another version of the program ({found.config_hash}, now "
            f"{step.digest}); make it again with the step {step.name}"
        )
    for file, before in found.inputs.items():
        if Path(file).is_file() and file_hash(file) != before:
            raise HsisrError(f"{path}: made before {file} changed; make it again with the step {step.name}")


def write(path: str | os.PathLike, content: _Header) -> None:
    """Write a results file."""
    write_json(path, content.model_dump(by_alias=True))


def read(path: str | os.PathLike, kind: type[_Header]) -> Any:
    """Read a results file. Raises HsisrError if it is missing, not JSON, or does not follow its schema."""
    name = _KINDS[kind]
    try:
        return kind.model_validate(read_json(Path(path), name))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise HsisrError(f"{path}: not a valid {name} file ({key}: {first['msg']}); make it again") from None


def json_schema() -> dict:
    """JSON schema of results/<benchmark>.json, for `workflow/schemas`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Results.model_json_schema()}
