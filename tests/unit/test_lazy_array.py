"""Lazy cubes are indexed as arrays are."""

import numpy as np
import pytest

from hsisr.lazy_array import ChosenBands, LazyArray

CUBE = np.arange(5 * 6 * 7).reshape(5, 6, 7)


class Read(LazyArray):
    """A cube that remembers what was read of it."""

    def __init__(self) -> None:
        self.shape, self.dtype, self.asked = CUBE.shape, CUBE.dtype, []

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        self.asked.append((bands, rows, columns))
        return CUBE[bands, rows, columns]


@pytest.mark.parametrize(
    "key",
    [
        ...,
        (slice(None),) * 3,
        (slice(1, -1), slice(-3, None), slice(0, 100)),
        (slice(None, None, 2), slice(2), slice(3, 3)),
    ],
)
def test_slices_are_those_of_an_array(key):
    cube = Read()
    np.testing.assert_array_equal(cube[key], CUBE[key])
    for part, size in zip(cube.asked[0], CUBE.shape, strict=True):
        assert 0 <= part.start <= size and 0 <= part.stop <= size and part.step >= 1
    assert cube.nbytes == CUBE.nbytes


def test_chosen_bands_read_no_more_than_lies_between_them():
    cube = Read()
    chosen = ChosenBands(cube, np.array([3, 1, 1]))
    assert chosen.shape == (3, 6, 7) and chosen.dtype == CUBE.dtype
    np.testing.assert_array_equal(chosen[:, 2:4, :], CUBE[[3, 1, 1], 2:4])
    assert cube.asked[0][0] == slice(1, 4, 1)
    np.testing.assert_array_equal(chosen[0:1, :, :], CUBE[[3]])
