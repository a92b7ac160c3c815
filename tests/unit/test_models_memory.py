"""Memory: what learning a scene, and making a part of it, is said to take, beside what it takes."""

import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from hsisr.degrade import Noise, Sensor, gaussian_footprint, interpolate
from hsisr.evaluation import preview
from hsisr.models import bicubic_ibp, glp_hs, gsa, sfim_hs

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own count of memory is Linux's")

MEASURED = """
import json, re, sys
import numpy as np, torch
from hsisr.degrade import Sensor, gaussian_footprint
from hsisr.models import registry
from hsisr.models.base import as_model
from hsisr.models.model_files import load_model
from hsisr.models.shipped import shipped_model
from hsisr.models.windows import HeldImages, Window
from hsisr.system import return_freed_memory

name, side, scale, bands, channels = json.loads(sys.argv[1])

def status(key):
    return 1024 * int(re.search(key + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1])

def peak(work):
    return_freed_memory()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = status("VmRSS")
    kept = work()
    return kept, status("VmHWM") - before

def images(side):
    down, across = np.mgrid[:side, :side].astype(np.float32)
    waves = [np.sin(across / (7 + 3 * k)) * np.cos(down / (9 + 2 * k)) for k in range(24)]
    share = 0.5 + 0.2 * np.stack(waves).astype(np.float32)
    mixed = [rng.random((count, 24), np.float32) / 24 for count in (bands, channels)]
    low = share.reshape(24, side // scale, scale, side // scale, scale).mean((2, 4))
    noise = 0.002 * rng.standard_normal((bands, *low.shape[1:]), np.float32)
    return np.tensordot(mixed[0], low, 1) + noise, np.tensordot(mixed[1], share, 1)

rng = np.random.default_rng(0)
torch.set_num_threads(1)
model = load_model(shipped_model(scale)) if name == "solo" else registry.build(name, scale, bands, channels)
if name == "hybrid":
    with torch.no_grad():
        model.filters.copy_(torch.from_numpy(0.02 * rng.standard_normal(model.filters.shape)))
        model.strength.fill_(0.01)
        model.response[:, :bands] = 1 / bands
contract, sensor = as_model(model), Sensor(footprint=gaussian_footprint(scale))
with torch.inference_mode():
    for side in (8 * scale, side):  # the first loads libraries
        low, guide = images(side)
        learnt, learning = peak(lambda: contract.estimate(HeldImages(low, guide, scale), sensor))
        window = Window(low, guide, None)
        _, making = peak(lambda: contract.super_resolve_part(learnt, window, (0, 0)))
said = contract.learning_bytes(low.shape[1:], bands, channels)
said_making = contract.bytes_per_pixel(bands, channels) * side**2
print(json.dumps([learning + guide.nbytes + low.nbytes, said, making + 3 * guide.nbytes + 60 * side**2, said_making]))
"""


@linux
@pytest.mark.parametrize(
    "case",
    [
        ("prior", 512, 8, 31, 3),
        pytest.param(("prior", 512, 4, 60, 60), marks=pytest.mark.slow),
        pytest.param(("prior", 512, 2, 100, 4), marks=pytest.mark.slow),
        ("hybrid", 384, 8, 31, 3),
        pytest.param(("hybrid", 320, 8, 31, 20), marks=pytest.mark.slow),
        pytest.param(("solo", 1024, 4, 31, 0), marks=pytest.mark.slow),
        ("solo", 1024, 8, 31, 0),
        pytest.param(("solo", 1024, 2, 100, 0), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_memory_is_what_a_model_says(case):
    words = [sys.executable, "-c", MEASURED, json.dumps(case)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    learning, said_learning, making, said_making = json.loads(done.stdout)
    assert 0.75 < said_learning / learning < 1.25, (said_learning, learning)
    assert 0.75 < said_making / making < 1.25, (said_making, making)


CUBE = np.random.default_rng(0).random((60, 64, 64), np.float32)
KNOWN = {"scale": 4, "sensor": Sensor(gaussian_footprint(4))}


@pytest.mark.parametrize(
    ("work", "most"),
    [
        (lambda: gsa(CUBE[:, ::4, ::4], CUBE[:3], **KNOWN), 2),
        (lambda: glp_hs(CUBE[:, ::4, ::4], CUBE[:3], **KNOWN), 2),
        (lambda: sfim_hs(CUBE[:, ::4, ::4], CUBE[:3], **KNOWN), 2),
        (lambda: bicubic_ibp(CUBE[:, ::4, ::4], **KNOWN), 2),
        (lambda: interpolate(CUBE, 1 / 4), 0.5),
        (lambda: preview.make(CUBE[:, ::4, ::4], CUBE, CUBE, None), 1.5),
        (lambda: Noise(snr_db=30).sigma_for(CUBE), 0.5),
    ],
    ids=["gsa", "glp-hs", "sfim-hs", "bicubic-ibp", "interpolate", "preview", "noise"],
)
def test_bands_are_worked_on_one_at_a_time(work, most):
    work()  # loads libraries
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most * CUBE.nbytes
