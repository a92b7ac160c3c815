#!/usr/bin/env bash
# For whoever first has a GPU: runs all that hsisr has for it, and writes one Markdown page for the maintainers.
#
#   studies/first_gpu_run.sh [python] [folder]        about half an hour; default: python3, first-gpu-run
#
# The page, folder/report.md, holds the machine, what each step said, and the times for docs/gpu-op.md; send it whole.
# Steps: the op's self-check, the tests marked `gpu`, studies/dsca.py, the demo with one minute of training, `hsisr
# finetune` and `hsisr predict`. A step that fails does not keep the next ones from running; the status is 1 then.
# Python needs hsisr's dependencies with a CUDA build of torch, and pytest; nvcc of the same CUDA major version and a
# C++ compiler let the kernels be built. Without a GPU it says so and ends at once with status 2.
set -uo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=$(command -v "${1:-python3}") || { echo "first_gpu_run: no ${1:-python3} here; name a Python" >&2; exit 2; }
OUT=$(realpath -m "${2:-first-gpu-run}")
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
cd "$ROOT" || exit 2

# HSISR_REHEARSE_GPU_TESTS=1: the same steps on a CPU, as short as can be, to see that this script works
DEVICE=cuda MINUTES=1 TESTS=() DSCA=()
if [ "${HSISR_REHEARSE_GPU_TESTS:-}" = 1 ]; then
    DEVICE=cpu MINUTES=0.05 TESTS=(-k "opcheck or ops_line") DSCA=(--shapes 1x8 --repeats 1 --seconds 0)
else
    WHY=$("$PYTHON" -c "import torch
print('' if torch.cuda.is_available() else 'torch sees no GPU' if torch.version.cuda else 'its torch is built without CUDA')") ||
        WHY="torch cannot be imported"
    [ -z "$WHY" ] || { echo "first_gpu_run: no GPU for $PYTHON: $WHY; nothing was run" >&2; exit 2; }
fi

mkdir -p "$OUT/logs" && cd "$OUT" || exit 2
: > table.md
: > details.md
FAILED=0

step() { # name, command
    local log="logs/$1.log" started=$SECONDS status outcome=passed
    echo "== $1: ${*:2}"
    "${@:2}" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    [ "$status" = 0 ] || { outcome="FAILED, status $status" FAILED=1; }
    echo "| $1 | $outcome | $((SECONDS - started)) |" >> table.md
    {
        printf '\n## %s: %s\n\n    %s\n\n```\n' "$1" "$outcome" "${*:2}"
        tail -n 150 "$log"
        printf '```\n'
    } >> details.md
    page
}

page() { # written again after each step, so that a run that is stopped leaves what it had
    {
        echo "# First run of hsisr on a GPU"
        echo
        [ "$DEVICE" = cuda ] || printf 'A rehearsal on a CPU: **nothing here is from a GPU**.\n\n'
        echo "$(date -u +%Y-%m-%dT%H:%MZ), commit $(git -C "$ROOT" rev-parse --short HEAD 2> /dev/null || echo unknown)"
        echo
        echo "| step | outcome | seconds |"
        echo "| --- | --- | --- |"
        cat table.md
        cat details.md
    } > report.md
}

machine() {
    uname -srm
    "$PYTHON" - << 'EOF'
import os, platform, torch
from hsisr.evaluation.environment import processor
from hsisr.ops import build, describe_backend

print(f"Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}, "
      f"cuDNN {torch.backends.cudnn.version()}, {os.cpu_count()} cores, {processor()}")
for index in range(torch.cuda.device_count()):
    facts = torch.cuda.get_device_properties(index)
    print(f"cuda:{index} {facts.name}, sm_{facts.major}{facts.minor}, {facts.total_memory / 2**30:.1f} GiB, "
          f"{facts.multi_processor_count} multiprocessors")
try:
    build.check_toolkit()
    print(f"toolkit {build.cuda_root()}")
except (build.Unavailable, AttributeError) as error:
    print(f"toolkit: {error}")
print(describe_backend())
EOF
    command -v nvidia-smi > /dev/null && nvidia-smi
    command -v nvcc > /dev/null && nvcc --version
    c++ --version | head -1
    df -h /dev/shm | tail -1
    "$PYTHON" -m hsisr doctor || true
    "$PYTHON" -m pip freeze
}

train() { # the demo's network on the GPU: from the embedded scene to its scores
    mkdir -p demo
    cat > demo/gpu.yaml << EOF
benchmarks:
  indian_pines_x4:
    models: [bicubic, gsa, mulsr-demo]
models:
  mulsr-demo:
    training: {device: $DEVICE, threads: null, max_steps: 1000000, max_minutes: $MINUTES}
EOF
    "$PYTHON" -m snakemake results/indian_pines_x4.json --snakefile "$ROOT/Snakefile" --directory demo \
        --configfile "$ROOT/config.yaml" demo/gpu.yaml --cores all --quiet all &&
        "$PYTHON" -m json.tool demo/results/indian_pines_x4.json | grep -vE '^ {12}' &&
        tail -n 3 demo/runs/indian_pines_x4/mulsr-demo/seed0/history.csv
}

adapt() { # a synthetic scene of one's own
    "$PYTHON" -c "
from pathlib import Path
from tests.unit.own_scene import write_pair
Path('own').mkdir(exist_ok=True)
write_pair(Path('own'), 128, 96)" &&
        "$PYTHON" -m hsisr finetune own/lr.tif own/guide.tif --minutes "$MINUTES" --device "$DEVICE" -o own/run &&
        grep -E '"steps"|"seconds"' own/run/finetune.json &&
        "$PYTHON" -m hsisr predict own/lr.tif --guide own/guide.tif --model own/run --device "$DEVICE" -o own/sr.tif &&
        "$PYTHON" -m hsisr predict own/lr.tif --guide own/guide.tif --model own/run --device cpu -o own/cpu.tif &&
        "$PYTHON" -c "
import numpy as np
from hsisr.datasets import read_scene
one, other = (read_scene(f'own/{name}.tif').cube for name in ('sr', 'cpu'))
print(f'largest difference between the images of GPU and CPU: {np.abs(one - other).max():.1e}, in steps of 1e-4')"
}

step machine machine
step self-check "$PYTHON" -m hsisr ops --build
step tests "$PYTHON" -m pytest --rootdir "$ROOT" -c "$ROOT/pyproject.toml" -p no:cacheprovider "$ROOT/tests/gpu" -m gpu \
    --durations=10 "${TESTS[@]}"
step dsca "$PYTHON" "$ROOT/studies/dsca.py" --device "$DEVICE" --out dsca.json "${DSCA[@]}"
step training train
step finetune adapt
echo "== $OUT/report.md"
exit $FAILED
