"""Costs: what is counted, how it is measured, and what of it a results file holds."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from hsisr.evaluation.analysis import runtime
from hsisr.ops import scan
from hsisr.pipeline.pair_files import PairFile


def program(values: int, seconds: float = 0.0, megabytes: int = 0):
    def run() -> np.ndarray:
        np.ones(megabytes << 17)
        time.sleep(seconds)
        return np.zeros((1, 1, values), np.float32)

    return run


def test_time_is_per_million_values():
    slow, fast = program(1000, 0.02), program(2000, 0.01)
    costs = runtime.measure({"slow": slow, "fast": fast})
    assert costs["slow"].seconds_per_megapixel_band == pytest.approx(20, rel=0.5)
    assert costs["fast"].seconds_per_megapixel_band == pytest.approx(5, rel=0.5)
    assert costs["slow"].flops_per_value is None


def test_programs_take_turns():
    order = []

    def remember(name):
        return lambda: order.append(name) or np.zeros(1, np.float32)

    runtime.measure({"a": remember("a"), "b": remember("b")})
    assert order[-4:] == ["a", "b", "a", "b"] and len(order) == 2 * (1 + runtime.ROUNDS)


def test_no_round_begins_after_the_budget():
    order = []
    runtime.measure({"a": lambda: order.append(time.sleep(0.02)) or np.zeros(1)}, budget_s=0.01)
    assert len(order) == 2  # counted, timed once


def test_peak_memory_is_what_the_program_adds():
    peak = runtime.measure({"small": program(1), "large": program(1, megabytes=80)})
    if peak["large"].peak_memory_mb is None:
        pytest.skip("this system does not reset a process's peak memory")
    assert peak["large"].peak_memory_mb == pytest.approx(80, abs=8)
    assert peak["small"].peak_memory_mb < 8


def test_operations_of_a_convolution_and_of_the_scan():
    convolution = nn.Conv2d(3, 8, 3, padding=1)
    image = torch.zeros(1, 3, 16, 16)

    def convolve() -> np.ndarray:
        with torch.inference_mode():
            return convolution(image).numpy()

    assert runtime.measure({"conv": convolve})["conv"].flops_per_value == 2 * 3 * 9
    weight, bias, slope = torch.zeros(4, 4, 1, 9), torch.zeros(4), torch.zeros(1)
    count = runtime._more_operations()[torch.ops.hsisr.conv_scan]
    assert count((1, 4, 6, 5), weight.shape, bias.shape, slope.shape) == 2 * 4 * 4 * 9 * 30
    assert scan.directional_aggregation  # what registers the operation


def test_crop_takes_the_middle_of_everything():
    rng = np.random.default_rng(0)
    lr, guide, mask = rng.random((2, 20, 10)), rng.random((3, 80, 40)), rng.random((80, 40)) > 0.5
    pair = PairFile("scene", lr, guide, rng.random((2, 80, 40)), mask, None, None, {})
    found = runtime.crop(pair, 4)
    np.testing.assert_array_equal(found.lr, lr[:, 2:18])
    np.testing.assert_array_equal(found.guide, guide[:, 8:72])
    np.testing.assert_array_equal(found.mask, mask[8:72])
    assert found.hr is None
