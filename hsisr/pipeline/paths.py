"""Paths of every file between steps, relative to the folder in which the pipeline runs.

The rules of the workflow and the sub-commands use these paths. {fields} are the wildcards.
"""

from hsisr.datasets.layout import RAW as RAW
from hsisr.datasets.layout import SCENE as SCENE

SPLIT = "data/splits/{dataset}.json"
PAIR = "data/pairs/{benchmark}/{item}.h5"
PATCHES = "data/patches/{benchmark}/train.h5"
UNLABELLED = "data/patches/{benchmark}/unlabelled.h5"
RUN = "runs/{benchmark}/{model}/seed{seed}"
WEIGHTS = f"{RUN}/model.safetensors"
TRAINING = f"{RUN}/train.json"
HISTORY = f"{RUN}/history.csv"
SCORES = "results/{benchmark}/{model}.json"
PREVIEW = "results/{benchmark}/{model}.h5"
CLASSIFICATION = "results/{benchmark}/_classification.json"  # no model's name begins with _
RUNTIME = "results/{benchmark}/_runtime.json"
RESULTS = "results/{benchmark}.json"
PREDICTION = "predictions/{scene}.tif"
PREDICTION_PLAN = "predictions/parts/{scene}/plan.done"
PREDICTION_PART = "predictions/parts/{scene}/{part}-of-{parts}.done"
SWEEP = "results/sweeps/{sweep}.json"
SWEEP_MAP = "results/sweeps/{sweep}.png"
REPORT = "results/report/index.html"
SCORES_CSV = "results/report/scores.csv"
FIGURES = "results/figures"
