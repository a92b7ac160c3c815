"""Protocols: the named rules under which a benchmark makes low-resolution images out of scenes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from hsisr.degrade.noise import NO_NOISE, Noise
from hsisr.degrade.psf import (
    FWHM_PER_SIGMA,
    AnisotropicPsf,
    ArrayPsf,
    BlockShiftedPsf,
    GaussianPsf,
    Psf,
    WindowedGaussianPsf,
    sampled_gaussian,
)
from hsisr.degrade.sampling import CropSampler, Sampler, build_crop_sampler, build_sampler
from hsisr.errors import HsisrError, did_you_mean


@dataclass(frozen=True, eq=False)
class Degradation:
    """One way from HR to LR: kernel (None: no blur), sampling, border and phase as in `build_sampler`, then noise.

    clips: whether LR is clipped to [0, 1], if the protocol clips.
    """

    kernel: np.ndarray | None
    sampling: str
    border: str = "reflect"
    phase: int = 0
    noise: Noise = NO_NOISE
    clips: bool = True

    def sampler(self, scale: int, shape: tuple[int, int]) -> Sampler:
        """The linear part, for images of `shape` = (H, W)."""
        return build_sampler(self.kernel, self.sampling, scale, shape, self.border, self.phase)

    def crop_sampler(self, scale: int, shape: tuple[int, int]) -> Sampler | CropSampler:
        """The linear part for a single image; quicker to make if the image is small."""
        if max(shape) > _LARGEST_CROP_PX:
            return self.sampler(scale, shape)
        return build_crop_sampler(self.kernel, self.sampling, scale, shape, self.border, self.phase)


#: Conventions by which a protocol may be scored. They are the names of `hsisr.metrics.CONVENTIONS`, which this package
#: may not import.
CONVENTIONS = ("mulsr", "mixup", "plain", "uestc", "dhif", "mogdcn", "dian", "ual")

#: If an image has a longer side than this, in HR pixels, full matrices take longer than sparse ones.
_LARGEST_CROP_PX = 256


@dataclass(frozen=True)
class Protocol:
    """A named rule from scene to pair.

    name: as used in paths, `[a-z][a-z-]*`. description: one line. psf: None if the sampling needs no blur.
    sampling, border: see `hsisr.degrade.sampling`. phase: of `strided`, in HR pixels, or a function of the scale.
    noise: on the LR image. clips: whether LR is clipped to [0, 1].
    needs_guide: whether a guide is simulated for a scene that has none. response: the default response, or None.
    real_guide: whether a scene's own guide replaces a simulated one. convention: of the scores; None: no reference.
    cuts_back: for scenes whose size is no multiple of the scale. True: the LR image gets one pixel more, and the
    super-resolved image is cut back to the reference. False: the scene is cropped first, at the bottom and right.
    patch_first: whether a training patch is cut out of the HR scene and then degraded. Its border then differs from the
    border of a patch of the degraded scene.
    training: function (rng, scale) that draws a random degradation for training patches; None: training is as the test.
    """

    name: str
    description: str
    psf: Psf | None
    sampling: str | None
    phase: int | Callable[[int], int] = 0
    border: str = "reflect"
    noise: Noise = NO_NOISE
    clips: bool = False
    needs_guide: bool = True
    response: str | None = None
    real_guide: bool = False
    convention: str | None = "mulsr"
    cuts_back: bool = False
    patch_first: bool = False
    training: Callable[[np.random.Generator, int], Degradation] | None = None

    @property
    def random_training(self) -> bool:
        """Whether training patches are degraded at random when they are read."""
        return self.training is not None

    def with_psf(self, weights: np.ndarray) -> "Protocol":
        """Return this protocol with a PSF of the user's own, under the name `<name>-own-psf`.

        weights: (rows, columns), finite, with a sum above 0.
        Raises HsisrError for a protocol without a blur of its own.

        Example:

            >>> degrade.PROTOCOLS["wald"].with_psf(np.ones((4, 4))).name
            'wald-own-psf'
        """
        if self.psf is None:
            raise HsisrError(f"protocol {self.name}: blurs by no PSF that could be another; choose one such as wald")
        return replace(self, name=f"{self.name}-own-psf", psf=ArrayPsf(weights))

    def turns_with_scene(self, scale: int) -> bool:
        """Whether a turned or mirrored scene gives the LR image turned or mirrored. scale: HR pixels per LR pixel."""
        return _turns(self, scale)

    def degradation(self, scale: int) -> Degradation:
        """The fixed degradation of the test, at a scale in HR pixels per LR pixel.

        Raises HsisrError for a protocol that degrades nothing.
        """
        if self.sampling is None:
            raise HsisrError(f"protocol {self.name} degrades nothing: its LR image is the scene itself")
        phase = self.phase(scale) if callable(self.phase) else self.phase
        if phase >= scale:
            raise HsisrError(f"protocol {self.name}: phase {phase} must be smaller than the scale {scale}")
        even = self.sampling == "centre" and scale % 2 == 0
        kernel = None if self.psf is None else self.psf.kernel(scale, even)
        return Degradation(kernel, self.sampling, self.border, phase, self.noise)


#: MulSR's noise: the program's value; the README of the paper says variance 0.001.
_MULSR_NOISE = Noise(sigma=3 / 255)
_MULSR_SIZES = (7, 9, 13, 15, 21)
_MULSR_SAMPLINGS = ("bicubic", "bilinear", "strided")


def _mulsr_training(rng: np.random.Generator, scale: int) -> Degradation:
    """MulSR's random training degradation.

    As published, except for the isotropic kernel. The program puts its peak at index (0, 0); here the kernel is
    centred. Its peak lies at k // 2 before an interpolating sampler, and at k // 2 + (scale - 1) / 2 before the strided
    one.
    """
    size, l1, l2, theta, isotropic, sampling, noise = _draw(rng, scale)
    if isotropic and sampling != "strided":
        kernel = AnisotropicPsf(l1, l2, theta, size).kernel(scale, even=False)
    else:
        kernel = BlockShiftedPsf(l1, l2, theta, size).kernel(scale, even=False)
    return Degradation(kernel, sampling, border="nearest" if sampling == "strided" else "reflect", noise=noise)


def _literal_training(rng: np.random.Generator, scale: int) -> Degradation:
    """MulSR's random training degradation exactly as published: the same draws as `_mulsr_training`.

    An isotropic kernel is a quarter of a Gaussian, with its peak at index (0, 0). So it moves the image by up to half
    the kernel towards the upper left. LR images without noise are not clipped.
    """
    size, l1, l2, theta, isotropic, sampling, noise = _draw(rng, scale)
    if isotropic:
        kernel = sampled_gaussian(np.arange(size), np.arange(size), l1, l2, theta)
    else:
        kernel = BlockShiftedPsf(l1, l2, theta, size).kernel(scale, even=False)
    border = "nearest" if sampling == "strided" else "reflect"
    return Degradation(kernel, sampling, border, noise=noise, clips=(noise.sigma or 0) > 0)


def _aligned_training(rng: np.random.Generator, scale: int) -> Degradation:
    """The same draws as `_mulsr_training`, with every kernel centred on the LR pixel."""
    size, l1, l2, theta, _, sampling, noise = _draw(rng, scale)
    psf = AnisotropicPsf(l1, l2, theta, size)
    if sampling == "strided":
        return Degradation(psf.kernel(scale, even=scale % 2 == 0), "centre", border="nearest", noise=noise)
    return Degradation(psf.kernel(scale, even=False), sampling, noise=noise)


def _draw(rng: np.random.Generator, scale: int) -> tuple[int, float, float, float, bool, str, Noise]:
    """Draw kernel size, variances, angle, whether isotropic, sampling and noise, uniformly over MulSR's ranges.

    Half of the kernels are isotropic: for them, a standard deviation is drawn, not a variance. Four patches out of five
    get noise.
    """
    size = _MULSR_SIZES[rng.integers(len(_MULSR_SIZES))]
    isotropic = bool(rng.random() < 0.5)
    if isotropic:
        l1 = l2 = float(rng.uniform(0.2, scale)) ** 2
        theta = 0.0
    else:
        l1, l2 = (float(value) for value in rng.uniform(0.2, scale, 2))
        theta = float(rng.uniform(0, math.pi))
    sampling = _MULSR_SAMPLINGS[rng.integers(len(_MULSR_SAMPLINGS))]
    noisy = rng.random() < 0.8
    level = int(rng.integers(1, 5)) / 255
    return size, l1, l2, theta, isotropic, sampling, Noise(sigma=level if noisy else 0.0)


_MULSR = Protocol(
    "mulsr",
    "MulSR as published: anisotropic Gaussian 13 x 13, bicubic by 1/s, noise 3/255; LR is shifted against HR",
    psf=BlockShiftedPsf(l1=2.0, l2=10.0, theta=math.pi / 2, taps=13),
    sampling="bicubic",
    noise=_MULSR_NOISE,
    clips=True,
    response="nikon_d700",
    training=_mulsr_training,
)

#: UAL's five kernels: suffix of the protocol's name, taps along an axis, sigma in HR pixels. The sigma is twice the
#: stated one, because the program halves the distances. Kernels with an even number of taps lie on the LR pixel, the
#: others on the block's first HR pixel.
_UAL_KERNELS = (("", 8, 6.0), ("-seven", 7, 1.0), ("-nine", 9, 4.0), ("-thirteen", 13, 8.0), ("-fifteen", 15, 3.0))


def _ual_training(rng: np.random.Generator, scale: int) -> Degradation:
    """One of UAL's five kernels, each as likely as the others."""
    _, taps, sigma = _UAL_KERNELS[rng.integers(len(_UAL_KERNELS))]
    kernel = WindowedGaussianPsf(sigma, taps).kernel(scale, even=taps % 2 == 0)
    return Degradation(kernel, "strided", border="nearest", phase=0 if taps % 2 else _middle(scale))


def _middle(scale: int) -> int:
    """The HR pixel behind the middle of an LR pixel."""
    return scale // 2


def _behind_middle(scale: int) -> int:
    return scale // 2 + 1


#: Protocols of tables that other groups print for CAVE: docs/leagues.md.
_LEAGUES = (
    Protocol(
        "uestc",
        "UESTC group (HSRnet, PSRT, LE-Mamba): Gaussian 3 x 3, sigma 0.5, every s-th pixel from s/2; no noise",
        psf=WindowedGaussianPsf(sigma_px=0.5, taps=3),
        sampling="strided",
        phase=_middle,
        response="nikon_d700",
        convention="uestc",
    ),
    Protocol(
        "dhif",
        "DHIF-Net: Gaussian s x s, sigma 2, around the image's ends, at LR pixel centres; no noise",
        psf=WindowedGaussianPsf(sigma_px=2.0),
        sampling="centre",
        border="wrap",
        response="nikon_d700",
        convention="dhif",
    ),
    Protocol(
        "mogdcn",
        "MoG-DCN: the blur of dhif, read one pixel behind each LR pixel's centre; LR is shifted against HR",
        psf=WindowedGaussianPsf(sigma_px=2.0),
        sampling="strided",
        phase=_behind_middle,
        border="wrap",
        response="nikon_d700",
        convention="mogdcn",
    ),
    Protocol(
        "dian",
        "Dian's group: Gaussian 8 x 8, sigma 3, around the corner of each LR pixel; LR is shifted against HR",
        psf=WindowedGaussianPsf(sigma_px=3.0, taps=8),
        sampling="strided",
        response="nikon_d700",
        convention="dian",
    ),
    *(
        Protocol(
            f"ual{suffix}",
            f"UAL: Gaussian {taps} x {taps}, sigma {sigma:g}, edges repeated; trained on five kernels",
            psf=WindowedGaussianPsf(sigma, taps),
            sampling="strided",
            phase=0 if taps % 2 else _middle,
            border="nearest",
            response="nikon_d700",
            convention="ual",
            training=_ual_training,
        )
        for suffix, taps, sigma in _UAL_KERNELS
    ),
)

#: Every protocol by name. To add a protocol, add an entry here.
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        _MULSR,
        replace(
            _MULSR,
            name="mulsr-literal",
            description="mulsr, with the program's isotropic training kernels, which are a quarter Gaussian; tests are "
            "the same",
            training=_literal_training,
        ),
        Protocol(
            "mulsr-aligned",
            "MulSR's blur and noise, sampled at the centre of each LR pixel: no shift",
            psf=AnisotropicPsf(l1=2.0, l2=10.0, theta=math.pi / 2, taps=13),
            sampling="centre",
            noise=_MULSR_NOISE,
            clips=True,
            response="nikon_d700",
            training=_aligned_training,
        ),
        Protocol(
            "mixup",
            "Spectral Mixup: MATLAB imresize, bicubic, antialiased; no noise, no guide",
            psf=None,
            sampling="imresize",
            needs_guide=False,
            convention="mixup",
            cuts_back=True,
            patch_first=True,
        ),
        Protocol(
            "wald",
            "Wald: Gaussian PSF with FWHM of one LR pixel, at LR pixel centres; real guides at reduced resolution",
            psf=GaussianPsf(sigma_lr=1 / FWHM_PER_SIGMA),
            sampling="centre",
            response="nikon_d700",
            real_guide=True,
        ),
        Protocol(
            "full",
            "full resolution: the scene is the LR image, its own guide the guide; there is no reference",
            psf=None,
            sampling=None,
            needs_guide=False,
            real_guide=True,
            convention=None,
        ),
        *_LEAGUES,
    )
}


def find_protocol(protocol: str | Protocol) -> Protocol:
    """Find a protocol by name; a Protocol is returned as it is. Raises HsisrError for an unknown name.

    Example:

        >>> degrade.find_protocol("mulsr").convention
        'mulsr'
    """
    if isinstance(protocol, Protocol):
        return protocol
    if not isinstance(protocol, str) or protocol not in PROTOCOLS:
        raise HsisrError(
            f"unknown protocol {protocol!r}; {did_you_mean(protocol, PROTOCOLS)}choose one of {', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[protocol]


@lru_cache(maxsize=8)
def _turns(protocol: Protocol, scale: int) -> bool:
    degradation = protocol.degradation(scale)
    reach = 1 if degradation.kernel is None else max(degradation.kernel.shape)
    size = scale * (2 * math.ceil(reach / scale) + 7)
    inner = degradation.sampler(scale, (size, size)).impulse_response(size // scale // 2, size // scale // 2)
    largest = np.abs(inner).max()
    turned = (inner[::-1], inner[:, ::-1], inner.T)
    return all(float(np.abs(image - inner).max()) < _SAME * largest for image in turned)


#: Two weights are equal up to rounding if they differ by less than this part of the largest weight.
_SAME = 1e-9


@lru_cache(maxsize=8)
def fixed_sampler(protocol: Protocol, scale: int, shape: tuple[int, int]) -> Sampler:
    """The linear part of a protocol's test degradation; cached, because a benchmark asks for it many times."""
    return protocol.degradation(scale).sampler(scale, shape)
