#!/usr/bin/env bash
# Run the demo through a real Slurm of one node, on loopback, and compare its results with those of a local run. MulSR
# trains in two processes (gloo); a file is super-resolved by one process locally, and by three jobs through Slurm.
#
#   sudo tests/cluster/one_node_slurm.sh [python] [training steps]
#
# For Debian and Ubuntu, as root (slurmd starts jobs of users): installs Debian's slurm-wlm, starts munged, slurmctld
# and slurmd with files of their own in a temporary folder, and ends them again, whatever happens. It refuses to run
# where a Slurm is configured. python: one that has hsisr's dependencies and snakemake-executor-plugin-slurm.
set -euo pipefail

PYTHON=${1:-python3}
STEPS=${2:-20}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
WORK=$(mktemp -d /tmp/hsisr-slurm.XXXXXX)
# the place where jobs look, in whose environment nothing of ours is left
SLURM_CONF=/etc/slurm/slurm.conf
export OMP_NUM_THREADS=1

started=()
finish() {
    status=$?
    squeue --noheader --format=%i 2> /dev/null | xargs --no-run-if-empty scancel 2> /dev/null || true
    for _ in $(seq 100); do # the daemons end their jobs before they end
        [ -n "$(squeue --noheader --states=RUNNING,COMPLETING 2> /dev/null)" ] || break
        sleep 0.2
    done
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        kill "${started[i]}" 2> /dev/null && tail --pid="${started[i]}" -f /dev/null || true
    done
    [ "$(readlink "$SLURM_CONF")" != "$WORK/slurm.conf" ] || rm "$SLURM_CONF"
    [ $status = 0 ] && rm -rf "$WORK" || echo "logs and configuration are in $WORK"
}
trap finish EXIT

install() {
    [ ! -e "$SLURM_CONF" ] || { echo "$SLURM_CONF: there is a Slurm here; this test wants a machine without"; exit 1; }
    command -v slurmctld slurmd munged > /dev/null && return
    apt-get update -qq
    # RUNLEVEL=1: the packages are not to start services of their own
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
}

configure() {
    chmod 755 "$WORK" # munge refuses folders that others may write to
    mkdir -p "$WORK"/{munge,state,spool}
    head -c 1024 /dev/urandom > "$WORK/munge/key"
    chmod 400 "$WORK/munge/key"
    mkdir -p /etc/slurm
    ln -s "$WORK/slurm.conf" "$SLURM_CONF"
    cat > "$WORK/slurm.conf" << EOF
ClusterName=loopback
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthInfo=socket=$WORK/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$WORK/state
SlurmdSpoolDir=$WORK/spool
SlurmctldPidFile=$WORK/slurmctld.pid
SlurmdPidFile=$WORK/slurmd.pid
SlurmctldLogFile=$WORK/slurmctld.log
SlurmdLogFile=$WORK/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# no slurmdbd and no database: squeue shows finished jobs for MinJobAge seconds, jobs.txt lists all of them
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc=$WORK/jobs.txt
MinJobAge=600
ReturnToService=2
KillWait=30
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(free -m | awk '/^Mem:/ {print $2 - 1000}') State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
}

launch() { # name of the log, command
    "${@:2}" > "$WORK/$1.out" 2>&1 &
    started+=($!)
}

start() {
    launch munged munged --foreground --key-file="$WORK/munge/key" --socket="$WORK/munge/socket" \
        --pid-file="$WORK/munge/pid" --log-file="$WORK/munge/log" --seed-file="$WORK/munge/seed"
    until [ -S "$WORK/munge/socket" ]; do sleep 0.2; done
    launch slurmctld slurmctld -D
    launch slurmd slurmd -D -N "$(hostname -s)"
    for _ in $(seq 100); do
        sinfo --noheader --format=%t 2> /dev/null | grep -q idle && return
        sleep 0.2
    done
    echo "the node did not come up:" && tail "$WORK"/slurm*.log && exit 1
}

copy() { # folder: what the pipeline consists of; the demo's networks take a few steps. parts of the prediction
    mkdir "$1"
    (cd "$ROOT" && tar c --exclude=__pycache__ hsisr snakemake_logger_plugin_hsisr csrc workflow profiles Snakefile \
        config.yaml) | tar x -C "$1"
    sed -i -E "s/max_steps: [0-9]+/max_steps: $STEPS/; s/validate_every_steps: [0-9]+/validate_every_steps: 10/;
        s/warmup_steps: [0-9]+/warmup_steps: 5/; s/^( *)device: cpu # the same numbers.*/&\n\1devices: 2/" "$1/config.yaml"
    # the cost of models is measured, and would differ
    printf 'evaluation: {runtime: false, classification: false}\n' >> "$1/config.yaml"
    printf 'predict: {field: {lr: LR.tif, guide: GUIDE.tif, model: prior, parts: %s, tile: 16}}\n' "$2" >> "$1/config.yaml"
    (cd "$1" && "$PYTHON" - << 'EOF'
import numpy as np, rasterio

rng = np.random.default_rng(0)
sharp = np.kron(rng.random((5, 48, 48)), np.ones((8, 8))).astype("float32")
for path, image, pixel in ("GUIDE.tif", sharp[:3], 1), ("LR.tif", sharp.reshape(5, 96, 4, 96, 4).mean((2, 4)), 4):
    place = rasterio.Affine(pixel, 0, 0, 0, -pixel, 0)
    facts = dict(count=len(image), height=image.shape[1], width=image.shape[2], dtype="float32", crs="EPSG:32633")
    with rasterio.open(path, "w", driver="GTiff", transform=place, **facts) as file:
        file.write(image)
EOF
    )
}

run() { # folder, options of snakemake
    (cd "$1" && "$PYTHON" -m snakemake results/indian_pines_x4.json predictions/field.tif "${@:2}") 2>&1 | tee "$1.log"
}

compare() {
    cmp "$WORK"/{local,slurm}/predictions/field.tif && echo "equal bytes of the prediction: one process, three jobs"
    "$PYTHON" - "$WORK"/{local,slurm}/results/indian_pines_x4.json << 'EOF'
import json, sys

def comparable(path):
    results = json.load(open(path))
    del results["environment"], results["command"]
    for model in results["models"].values():
        del model["timing"]
    return results

one, other = map(comparable, sys.argv[1:])
assert one == other, "the results of Slurm and of the local run differ"
print("equal results:", {name: round(model["mean"]["psnr"], 6) for name, model in one["models"].items()})
EOF
}

install
configure
start
echo "== $(sinfo --version), node $(sinfo --noheader --Node --long)"
copy "$WORK/local" 1
copy "$WORK/slurm" 3
echo "== local"
run "$WORK/local" --cores 1 --quiet all
echo "== through profiles/slurm"
run "$WORK/slurm" --workflow-profile profiles/slurm --cores "$(nproc)" --slurm-status-command squeue --slurm-no-account \
    --slurm-init-seconds-before-status-checks 2 --seconds-between-status-checks 2 --default-resources mem_mb=2000 \
    runtime=60 slurm_partition=main
echo "== squeue"
squeue --states=all --format="%.6i %.9T %.10M %.40k"
echo "== job completion records"
cut -d' ' -f1,4-6,8-10 "$WORK/jobs.txt"
echo "== comparison"
compare
