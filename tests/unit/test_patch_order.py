"""Training patches are augmented before sensor and guide see them: a protocol's blur and shift are never turned."""

import h5py
import numpy as np
import pytest

from hsisr import degrade
from hsisr.files import stamp
from hsisr.pipeline.patch_files import PatchFile

SCALE, SIZE, SIDE, COPIES = 8, 8, 160, 12


@pytest.fixture
def ramps(tmp_path):
    """A patch file of one scene whose values are the row and the column of a pixel, each in COPIES bands."""
    row, column = np.mgrid[:SIDE, :SIDE] / SIDE * 0.8 + 0.1
    cube = np.repeat(np.stack([row, column]), COPIES, axis=0).astype(np.float32)
    path = tmp_path / "ramps.h5"

    def write(protocol: str):
        with h5py.File(path, "w") as file:
            file.attrs.update(stamp("patches"))
            file.attrs.update(scale=SCALE, protocol=protocol, names=["ramps"], labelled=True)
            file.attrs.update(per_epoch=1000, size_lr_px=SIZE, bands=len(cube), guide_channels=0)
            group = file.create_group("scenes/0")
            group["cube"] = cube
            group.attrs.update(scale=1.0, offset=0.0)
        return path

    return write


def shifts(file: PatchFile, count: int) -> np.ndarray:
    """(count, 2): HR pixels, along rows and columns of the sample as the network sees it, from where an LR pixel lies
    to where it reads. The borders of a patch, and the seam of the roll, are left out by the median."""
    found = []
    for sample in (file[k] for k in range(count)):
        hr, lr = (np.stack([image[:COPIES].mean(0), image[COPIES:].mean(0)]) for image in (sample.hr, sample.lr))
        slopes = np.stack([np.median(np.diff(hr, axis=axis), axis=(1, 2)) for axis in (1, 2)], axis=1)
        centres = hr.reshape(2, SIZE, SCALE, SIZE, SCALE).mean((2, 4))
        found.append(np.linalg.solve(slopes, np.median((lr - centres)[:, 1:-1, 1:-1], axis=(1, 2))))
    return np.array(found)


@pytest.mark.parametrize("augment", [True, "dihedral"])
def test_shifts_of_augmented_patches_are_those_of_the_protocol(ramps, augment):
    path = ramps("mulsr")
    own, turned = (shifts(PatchFile(path, 3, augment=how), 400) for how in (False, augment))
    steps = np.linspace(0.05, 0.95, 19)
    for axis in (0, 1):
        assert own[:, axis].mean() > 0.5  # mostly forward, as the test is, and not around 0
        assert turned[:, axis].mean() == pytest.approx(own[:, axis].mean(), abs=0.05)
        np.testing.assert_allclose(np.quantile(turned[:, axis], steps), np.quantile(own[:, axis], steps), atol=0.25)


def test_test_image_is_shifted_as_training_patches_are(ramps):
    """The direction that training must teach is that of the test."""
    with h5py.File(ramps("mulsr"), "r") as file:
        cube = file["scenes/0/cube"][...].astype(float)
    lr = degrade.degrade(cube, "mulsr", SCALE, noise=0)
    centres = cube.reshape(len(cube), SIDE // SCALE, SCALE, SIDE // SCALE, SCALE).mean((2, 4))
    moved = np.median((lr - centres)[:, 4:-4, 4:-4], axis=(1, 2)) * SIDE / 0.8
    np.testing.assert_allclose(moved[[0, COPIES]], [3.44, 2.54], atol=0.01)


def test_aligned_patches_stay_aligned(ramps):
    found = shifts(PatchFile(ramps("mulsr-aligned"), 3), 200)
    assert np.abs(found.mean(axis=0)).max() < 0.05
