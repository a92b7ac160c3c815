"""hsisr.models.registry: what can be named, what is refused, and that nothing loads torch before a network is built."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from hsisr.degrade import Sensor, gaussian_footprint
from hsisr.errors import HsisrError
from hsisr.models import registry


def test_names_kinds_and_guides():
    kinds = {name: (registry.entry(name).kind, registry.entry(name).needs_guide) for name in registry.names()}
    assert kinds["bicubic"] == ("classical", False)
    assert kinds["gsa"] == ("classical", True)
    assert {kinds[name] for name in ("mulsr", "mulsr-s", "mulsr-xs")} == {("network", True)}


def test_torch_is_not_loaded_for_listing_checking_or_classical_methods():
    program = """
import sys
import numpy as np
import hsisr.models
from hsisr.models import registry
registry.entry("mulsr").options(width=28)
registry.entry("mulsr").check_scale(4)
for name in registry.names():
    if registry.entry(name).kind == "classical":
        registry.build(name, 2, 3, 1)
registry.build("gsa", 2, 3, 1).super_resolve(np.ones((3, 4, 4)), np.ones((1, 8, 8)))
hsisr.models.bicubic
print("torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_every_option_has_a_default_and_a_description():
    for name in registry.names():
        for key, field in registry.entry(name).options.model_fields.items():
            assert not field.is_required(), (name, key)
            assert field.description, (name, key)


@pytest.mark.parametrize("base", [name for name in registry.names() if registry.entry(name).kind == "classical"])
@pytest.mark.parametrize("channels", [0, 1, 4])
def test_classical_methods_super_resolve_arrays(base, channels):
    if registry.entry(base).needs_guide and not channels:
        return
    sensor = Sensor(footprint=gaussian_footprint(2))
    method = registry.build(base, 2, 5, channels, sensor=sensor)
    guide = np.random.default_rng(0).random((channels, 36, 32)).astype(np.float32) if channels else None
    lr = np.random.default_rng(1).random((5, 18, 16)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noise has no PSF to measure
        estimate = method.super_resolve(lr, guide)
    assert estimate.shape == (5, 36, 32) and estimate.dtype == np.float32 and np.isfinite(estimate).all()


def test_the_sensor_reaches_a_method_as_its_option_says():
    mask = np.ones((8, 8), bool)
    sensor = Sensor(footprint=gaussian_footprint(2), noise_sigma=0.1, mask=mask)
    assert registry.build("gsa", 2, 4, 1, {"sensor": "known"}, sensor).options["sensor"] is sensor
    told = registry.build("gsa", 2, 4, 1, {}, sensor).options["sensor"]
    assert told.mask is mask and told.footprint is None and told.noise_sigma is None
    assert registry.build("gsa", 2, 4, 1).options["sensor"] is None


def test_options_reach_the_network():
    network = registry.build("mulsr", 4, 31, 1, {"width": 16, "blocks": 2, "lfcc": False})
    assert (network.scale, network.width, network.guide_channels, network.lfcc) == (4, 16, 1, False)
    assert len(network.inter_body) == 2


def test_presets_are_mulsr_with_other_defaults():
    small, tiny = (registry.build(name, 4, 31, 3) for name in ("mulsr-s", "mulsr-xs"))
    sizes = [sum(p.numel() for p in network.parameters()) for network in (tiny, small)]
    assert sizes[0] < sizes[1] < 4_635_548 / 5
    assert tiny.skip and small.skip
    assert registry.build("mulsr-xs", 4, 31, 3, {"width": 28}).width == 28


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("unknown", 4, 31, 3), "unknown model 'unknown'; known models: nearest, bicubic, "),
        (("mulsr", 3, 31, 3), "scale 3 is not allowed; expected an even number"),
        (("bicubic", 1, 31, 0), "scale 1 is not allowed; expected a whole number"),
        (("mulsr", 4, 31, 3, {"width": 32}), r"mulsr\.width: 32 is not allowed; .*16, 28, 40, 52, 64"),
        (("mulsr", 4, 31, 3, {"block": 2}), "mulsr.block: unknown key; did you mean blocks"),
        (("gsa", 4, 31, 3, {"sensor": "guessed"}), "gsa.sensor: 'guessed' is not allowed"),
        (("gsa", 4, 31, 3, {"sensor": "known"}), "gsa.sensor: nothing is known of how these images were taken"),
        (("gsa", 4, 31, 0), "gsa: needs a guide"),
        (("mulsr", 4, 31, 0), "mulsr: needs a guide"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(call, message):
    with pytest.raises(HsisrError, match=message) as error:
        registry.build(*call)
    assert "\n" not in str(error.value)
