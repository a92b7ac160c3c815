"""hsisr.degrade.sharpness: the blur of an image from its spectrum alone."""

import numpy as np
import pytest

from hsisr.degrade.sharpness import EXPECTED_PX, blur_px


def natural(seed: int, size: int = 512) -> np.ndarray:
    """An image with the spectrum f^-3 that natural images have."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    frequency[0, 0] = 1
    return np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) * frequency**-1.5).real


def reduced(image: np.ndarray, sigma_px: float, scale: int = 4) -> np.ndarray:
    """Blurred by a Gaussian of so many LR pixels, and sampled."""
    frequency = np.hypot(np.fft.fftfreq(len(image))[:, None], np.fft.fftfreq(len(image)))
    seen = np.exp(-2 * (np.pi * sigma_px * scale * frequency) ** 2)
    return np.fft.ifft2(np.fft.fft2(image) * seen).real[::scale, ::scale]


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.7])
def test_the_gaussian_is_found(sigma):
    found = [blur_px(reduced(natural(seed), sigma)[None]) for seed in range(3)]
    assert np.abs(np.array(found) - sigma).max() < 0.12


def test_brightness_and_turns_change_nothing():
    image = reduced(natural(0), 0.5)
    found = blur_px(image[None])
    for other in (7 * image + 3, image.T, image[::-1], np.rot90(image)):
        assert blur_px(np.ascontiguousarray(other)[None]) == pytest.approx(found, abs=0.02)


def test_pixels_without_data_say_nothing():
    image = reduced(natural(0), 0.5)
    spoilt, valid = image.copy(), np.ones(image.shape, bool)
    spoilt[:, :16] = np.random.default_rng(0).standard_normal((128, 16)) * 100
    valid[:, :16] = False
    assert blur_px(spoilt[None], valid) == pytest.approx(blur_px(image[None, :, 16:]), abs=1e-9)
    assert abs(blur_px(spoilt[None]) - blur_px(image[None])) > 0.2


@pytest.mark.parametrize("image", [np.zeros((1, 32, 32)), np.ones((1, 32, 32)), np.random.rand(1, 7, 40)])
def test_flat_and_tiny_images_say_nothing(image):
    assert blur_px(image) is None


def test_one_block_says_little():
    bar = np.zeros((1, 12, 12))
    bar[:, 4:7] = 1
    found = blur_px(bar + np.linspace(0, 0.1, 12), cautious=True)
    assert found == pytest.approx(EXPECTED_PX, abs=0.04)


def test_patches_of_one_sensor_together_say_what_the_image_does():
    image = reduced(natural(1), 0.6)
    patches = np.stack([image[row : row + 16, row : row + 16] for row in range(0, 112, 8)])
    assert blur_px(patches) == pytest.approx(blur_px(image[None]), abs=0.1)
