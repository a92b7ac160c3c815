"""Measured memory of a window, beside the models' own estimate (`Model.bytes_per_pixel`).

    python studies/memory.py [--models gsa mulsr-xs] [--side 384] [--bands 31] [--scale 4]

Every model runs in its own process, because the peak of a process never falls. Linux only. A band-wise network gets
three bands, because it takes them one after the other. `working` is the peak above the memory in use before, without
the result, in bytes per output pixel. `said` is the estimate of `working_bytes`. A small window needs more per pixel,
as a part of the memory does not grow with it. A model is left out if it cannot do the bands or the scale.
"""

import argparse
import json
import subprocess
import sys

from hsisr.models import registry

CHANNELS = 3

_PROGRAM = """
import json, re, sys, warnings
import numpy as np, torch
from hsisr.errors import HsisrError
from hsisr.inference import predict
from hsisr.models import registry
from hsisr.system import return_freed_memory

name, side, bands, scale, channels = json.loads(sys.argv[1])
warnings.simplefilter("ignore")

def status(key):
    return 1024 * int(re.search(key + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1])

torch.set_num_threads(1)
torch.manual_seed(0)
try:
    model = registry.build(name, scale, bands, channels)
except HsisrError:
    sys.exit("left out")
if model.band_wise:
    bands = 3
rng = np.random.default_rng(0)
smooth = np.kron(rng.random((bands + channels, 8, 8)), np.ones((side // 8, side // 8))).astype(np.float32)
smooth += 0.02 * rng.random(smooth.shape, dtype=np.float32)
low = smooth[:bands].reshape(bands, side // scale, scale, side // scale, scale).mean((2, 4))
guide = np.ascontiguousarray(smooth[bands:])
del smooth
predict(model, low[:, :16, :16], guide[:, : 16 * scale, : 16 * scale])
return_freed_memory()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
predict(model, low, guide)
pixels = side**2
working = (status("VmHWM") - before) / pixels - 4 * bands
print(json.dumps([working, model.working_bytes(bands)]))
"""


def main() -> None:
    """Print one row for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=registry.names())
    parser.add_argument("--side", type=int, default=384, help="of the output in pixels, a multiple of 32")
    parser.add_argument("--bands", type=int, default=31)
    parser.add_argument("--scale", type=int, default=4)
    options = parser.parse_args()
    print("| model | working, bytes a pixel | said |\n| --- | --- | --- |")
    for name in options.models:
        facts = json.dumps([name, options.side, options.bands, options.scale, CHANNELS])
        done = subprocess.run([sys.executable, "-c", _PROGRAM, facts], capture_output=True, text=True)
        if done.stderr.strip() == "left out":
            continue
        if done.returncode:
            sys.exit(f"{name}: {done.stderr}")
        working, said = json.loads(done.stdout)
        print(f"| {name} | {working:.0f} | {said} |", flush=True)


if __name__ == "__main__":
    main()
