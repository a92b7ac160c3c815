"""The page on products: every command runs on products in their layout, prints what the page shows, and keeps masks."""

import re
from pathlib import Path

import numpy as np

from hsisr.datasets import read_scene
from tests.workflow import sensor_products

#: Relative and absolute difference that numbers of a block may have: the order of sums is the machine's.
RELATIVE, ABSOLUTE = 0.02, 0.003
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")


def numbers(text: str) -> list[float]:
    return [float(number) for number in NUMBER.findall(text)]


def words(text: str) -> list[str]:
    return NUMBER.sub("#", text).split()


def test_the_page(tmp_path):
    """One test, so that one worker makes the products and runs the commands once."""
    sensor_products.write(tmp_path)
    steps = [
        (command, shown, sensor_products.run(command, tmp_path))
        for command, shown in sensor_products.STEP.findall(sensor_products.PAGE.read_text())
    ]
    commands_print_what_the_page_shows(steps)
    every_product_of_the_table_has_its_example(steps)
    results_have_no_data_where_masks_say_so_and_repeat_bad_bands(tmp_path)
    dark_bands_of_prisma_hold_no_data_and_flagged_samples_are_filled(tmp_path)


def commands_print_what_the_page_shows(steps: list[tuple[str, str, str]]) -> None:
    assert len(steps) >= 30 and sum(bool(shown) for _, shown, _ in steps) >= 20
    for command, shown, printed in steps:
        if shown:
            assert words(printed) == words(shown), command
            np.testing.assert_allclose(numbers(printed), numbers(shown), RELATIVE, ABSOLUTE, err_msg=command)


def every_product_of_the_table_has_its_example(steps: list[tuple[str, str, str]]) -> None:
    said = "\n".join(printed for *_, printed in steps)
    for product in (
        "PRISMA L2D",
        "EnMAP L2A",
        "EMIT L2A",
        "DESIS L2A",
        "Sentinel-2 L2A",
        "Hyperion L1T",
        "AVIRIS L2A",
        "Landsat 8/9 L2",
        "NEON reflectance",
        "Tanager surface reflectance",
        "Planet surface reflectance",
    ):
        assert f" {product}\n" in said  # fmt: skip


def results_have_no_data_where_masks_say_so_and_repeat_bad_bands(folder: Path) -> None:
    cloudy, guide = read_scene(next(folder.glob("ENMAP*.ZIP"))), read_scene(next(folder.glob("S2B*.SAFE")))
    scene = read_scene(folder / "enmap.tif")
    assert np.array_equal(scene.mask, cloudy.mask.repeat(3, 0).repeat(3, 1) & guide.mask)
    assert not guide.mask.all() and not cloudy.mask.all()
    bad = int(np.flatnonzero(cloudy.bad_bands)[0])
    repeated = cloudy.stored[bad].repeat(3, 0).repeat(3, 1)
    assert np.array_equal(scene.stored[bad][scene.mask], repeated[scene.mask])
    askew = read_scene(next(folder.glob("EO1H*")))
    swath = read_scene(folder / "hyperion.tif")
    assert np.array_equal(swath.mask, askew.mask.repeat(3, 0).repeat(3, 1)) and 0.5 < askew.mask.mean() < 0.8


def dark_bands_of_prisma_hold_no_data_and_flagged_samples_are_filled(folder: Path) -> None:
    scene, result = read_scene(next(folder.glob("PRS_L2D*.he5"))), read_scene(folder / "prisma.tif")
    dark = (scene.stored == 0).all(axis=(1, 2))
    assert dark.sum() == 4 and np.array_equal(result.bad_bands, dark)
    flagged = (scene.stored == 0) & ~dark[:, None, None] & scene.mask
    assert flagged.sum() == 4 and result.mask[scene.mask.repeat(6, 0).repeat(6, 1)].all()
    assert (result.stored[flagged.repeat(6, 1).repeat(6, 2)] > 0).all()
