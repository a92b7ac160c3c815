"""`solo`: one image alone, super-resolved component by component by a network that photographs can teach.

A scene's spectra lie in a small subspace of its own. Its strongest component is a grey image like any photograph; a
deep network finds its detail. The weaker ones have their edges where the first has them; a light network sees each of
them beside the first and what the deep one saw; or, at a higher price, the deep one sees each of them too. So the cost
does not grow with the number of bands, any number of bands will do, and what is learnt from one sensor, or from
photographs, holds for another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pixel_shuffle, relu

from hsisr.degrade import Sensor
from hsisr.degrade.estimation import noise_level, spectral_subspace, valid_lr_pixels
from hsisr.degrade.sensor import Footprint
from hsisr.degrade.sharpness import EXPECTED_PX, blur_px
from hsisr.models.base import part_bytes
from hsisr.models.network import Network
from hsisr.models.prior.blocks import LEARNT_LR_PX, cells, is_one_block, judged_lr_px, judging_windows, window_valid
from hsisr.models.resize import upsample_keys
from hsisr.models.solo.errors import Errors, learn_errors
from hsisr.models.windows import Effort, HeldImages, Images, Window

#: Features and residual blocks of the network of the weaker components.
_LIGHT_WIDTH, _LIGHT_BLOCKS = 24, 2
#: Components that get detail at least: with few bands there is no telling noise from signal by eigenvalues.
_LEAST = 3
#: Components beside the first that a training step takes.
_TRAINED = 3
#: Weight that the blocks' residuals start with, so that a deep network starts near the identity.
_START = 0.3
#: Side, in LR pixels, of the middle part of an image on which the network's answer to noise is measured.
_PROBE_PX = 64
#: Noise of a component that counts, at most, over its own size: one without variance has endless noise.
_MOST_NOISE = 1e6
#: Median of |x| for a standard normal x.
_NORMAL_MEDIAN = 0.6745
#: Blur (`blur_px`) of a middling PSF and half of the range of usual ones, and how far beyond it a network is steered.
_BLUR_PX, _BLUR_RANGE_PX, _BLUR_MOST = 0.6, 0.2, 1.5
#: Side of the window, in LR pixels, over which a component follows the first; variance below which it follows less.
_WINDOW_PX, _EVEN = 3, 1e-3
#: Part of its brightness that a pixel may lose where little change of colour is believed.
_LOSS = 0.9
#: Share of the sum of absolute values that negative ones may have in an image of intensities.
_NEGATIVE = 0.05
#: Rounds of back-projection; more follow the LR image's noise.
_ROUNDS = 2
#: LR pixels that bicubic interpolation and regression on neighbours reach.
_INTERPOLATED_LR_PX = 2
#: Bytes for a sample of the windows that a scene is learnt from, while its spectra show the components, and later.
_SPECTRA, _SHOWN = 65, 20
#: Maps of a network's width that are in memory at once: while a part is made, and while a scene is learnt. Measured, as
#: the next ones.
_MAPS, _MAPS_LEARNT = 4, 6
#: Copies of the components' details: while a part is made, the same with turns, while a scene is learnt, and while its
#: noise is probed.
_COPIES, _COPIES_TURNED, _COPIES_LEARNT, _COPIES_PROBED = 2.5, 5.5, 5, 6
#: Rows of the result that get their detail at a time.
_STRIP_PX = 32
#: Multiplications of a usual core in a second of convolutions.
_MULTIPLIED = 2e10


@dataclass(frozen=True, eq=False)
class LearntScene:
    """What is learnt once of a scene.

    mean: (B,), of its spectra. basis: (B, K), sizes: (K,), its components above the noise, and their standard
    deviations. blur: as `_blur` has it. noise: its standard deviation. gains: (K,), what is believed of each
    component's detail, 0 to 1. least: of the result's values.
    """

    mean: np.ndarray
    basis: np.ndarray
    sizes: np.ndarray
    blur: np.ndarray
    noise: float
    gains: np.ndarray
    least: float


#: A window of an image (1, B, h, w), and its valid LR pixels (h, w).
_Piece = tuple[Tensor, np.ndarray]


class Solo(Network):
    """Detail of an image's components, added to its bicubic enlargement.

    scale: any whole number >= 2. width, blocks: of the network of the first component. components: those of an image
    that get detail, at most; fewer where noise hides the rest. turns: flips and rotations (1 to 8) over which the
    detail is averaged in `super_resolve`; each costs the whole time again.
    colour: change of a pixel's spectrum, relative to the pixel, of which half is believed; None: any is.
    light: whether a light network sees the weaker components; False: the first one's network sees each of them alone.
    No convolution has a bias, so that an image k times as bright gets k times the detail, whatever its noise (Mohan et
    al., Robust and interpretable blind image denoising via bias-free convolutional neural networks, ICLR 2020). The
    last convolutions start at zero: untrained, it is bicubic. How blurred the image is, which its spectrum shows,
    steers the networks: it scales their features.
    """

    guide_channels = 0
    rgb_path = True
    takes_sensor = True
    learns_scenes = True
    tells_errors = True
    useful_untrained = True
    width: int

    def __init__(
        self,
        scale: int,
        width: int = 48,
        blocks: int = 5,
        components: int = 12,
        turns: int = 1,
        colour: float | None = None,
        light: bool = True,
    ) -> None:
        super().__init__()
        scale = self.check_scale(scale)
        self.scale, self.width, self.components, self.turns = scale, width, components, turns
        self.colour = colour
        self.deep = _Residual(1, width, blocks, scale)
        self.light: _Residual | None = None
        if light:
            self.seen = _convolution(width, _LIGHT_WIDTH, 1)
            self.light = _Residual(2, _LIGHT_WIDTH, _LIGHT_BLOCKS, scale)

    def forward(self, lr: Tensor, modality: Literal["spectral", "rgb"] = "spectral") -> Tensor:
        """lr (N, B, h, w), any B -> (N, B, scale h, scale w); the N images share a subspace.

        modality: photographs take the same way as spectra; the argument is for the objectives that name one.
        In training only the first component and a few others, drawn at random, get detail, each with a sign drawn at
        random, as signs mean nothing.
        """
        mean, basis, sizes = self._subspace(lr.detach().transpose(0, 1).flatten(1).double().numpy(force=True))
        components = _scaled(lr, mean, basis, sizes)
        spectra = torch.from_numpy(basis * sizes).to(components)
        if self.training:
            kept = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(len(sizes) - 1)[:_TRAINED]])
            signs = (2 * torch.randint(0, 2, (len(kept),)) - 1).to(spectra)
            kept = kept.to(lr.device)
            spectra, components = spectra[:, kept] * signs, components[:, kept] * signs[:, None, None]
        detail = self.details(components, _blur([(components, None)], cautious=not self.training).to(components))
        return self._enlarged(lr) + _mixed(detail, spectra)

    def details(self, components: Tensor, blur: Tensor) -> Tensor:
        """What bicubic interpolation of the components (N, K, h, w), strongest first, lacks: (N, K, H, W).

        blur: as `_blur` has it.
        """
        if self.light is None:  # one after the other, which takes the memory of one
            maps = (self.deep.features(self.deep.first(alone), blur) for alone in components.split(1, dim=1))
            return torch.cat([self.deep.enlarged(seen) for seen in maps], dim=1).float()
        count, most, height, width = components.shape
        first, others = components[:, :1], components[:, 1:]
        seen = self.deep.features(self.deep.first(first), blur)
        details = [self.deep.enlarged(seen)]
        if most > 1:
            beside = torch.stack([others, first.expand_as(others)], dim=2).flatten(0, 1)
            start = self.light.first(beside).view(count, most - 1, -1, height, width) + self.seen(seen)[:, None]
            light = self.light.enlarged(self.light.features(start.flatten(0, 1), blur))
            details.append(light.view(count, most - 1, *details[0].shape[2:]) + self._followed(components) * details[0])
        return torch.cat(details, dim=1).float()

    def _followed(self, components: Tensor) -> Tensor:
        """How much each other component (N, K - 1, H, W) changes where the first does, by regression on neighbours.

        Where two materials meet, all components change in the proportions in which the materials differ.
        """
        with torch.autocast(components.device.type, enabled=False):
            first, others = components[:, :1].float(), components[:, 1:].float()
            mean = _averaged(first)
            slopes = (_averaged(first * others) - mean * _averaged(others)) / (_averaged(first**2) - mean**2 + _EVEN)
            return interpolate(slopes, scale_factor=self.scale, mode="bilinear", align_corners=False)

    def super_resolve(self, lr: Tensor, guide: Tensor | None = None, sensor: Sensor | None = None) -> Tensor:
        """lr (N, B, h, w) -> (N, B, H, W), each image for itself. guide: not used; every network takes one.

        sensor: of what is known, the mask of valid pixels and the PSF are used. With a PSF, what the LR image and the
        result reduced by it disagree on, beyond the noise, is projected back.
        Where the LR image is an image of intensities, no value of the result is negative.
        The detail of a component is scaled down where the image's noise, as the network enlarges it, would cost more
        than the detail gains.
        """
        return torch.cat([self._alone(image[None], sensor or Sensor()) for image in lr])

    def estimate(self, images: Images, sensor: Sensor) -> LearntScene:
        """What it has to know of a scene. sensor: not read; a scene in parts is not back-projected."""
        return self._learn(images)[0]

    def reach_lr_px(self, estimate: LearntScene) -> int:
        """LR pixels that the networks reach, one after the other. estimate: not read; it is the same for all scenes."""
        light = 0 if self.light is None else self.light.reach_px
        return self.deep.reach_px + light + _INTERPOLATED_LR_PX

    def super_resolve_part(self, estimate: LearntScene, window: Window, corner: tuple[int, int]) -> np.ndarray:
        """A part of a learnt scene (B, n, m)."""
        return self._made(self._tensor(window.lr), estimate)[0].clamp_min_(estimate.least).numpy(force=True)

    def errors(self, estimate: LearntScene, images: Images) -> Errors:
        """What tells the errors of a learnt scene's image."""
        return learn_errors(
            images, self.scale, estimate.noise, partial(self.super_resolve_part, estimate), self._of_its_own
        )

    def bytes_per_pixel(self, bands: int, guide_channels: int) -> int:
        """A part of the result, and what it takes to make it."""
        return part_bytes(self, bands, guide_channels)

    def working_bytes(self, bands: int) -> int:
        """Memory, measured, for the networks' maps, or, later, for the details and what the enlargement takes.

        bands: of the images.
        """
        detail = 4 * min(self.components, bands)
        copies = _COPIES if self.turns == 1 else _COPIES_TURNED
        enlarging = 4 * bands * (1 / self.scale + 3 / self.scale**2)  # along one axis, and copies of the LR image
        maps = _MAPS * self._map_bytes(bands) + detail
        return int(max(maps - 4 * bands, enlarging + copies * detail))  # the maps are gone when the result is made

    def learning_bytes(self, size: tuple[int, int], bands: int, guide_channels: int) -> int:
        """Memory, measured, for the spectra of the windows that show the scene, or, later, for the networks on one."""
        shown = judged_lr_px(*size)
        largest = shown if is_one_block(*size) else LEARNT_LR_PX**2
        maps, detail = _MAPS_LEARNT * self._map_bytes(bands), 4 * min(self.components, bands)
        details = largest * max(maps + detail, _COPIES_LEARNT * detail)
        probe = largest * detail + min(largest, _PROBE_PX**2) * (maps + _COPIES_PROBED * detail)
        return int(max(_SPECTRA * shown * bands, _SHOWN * shown * bands + self.scale**2 * max(details, probe)))

    def effort(self, size: tuple[int, int], bands: int, guide_channels: int) -> Effort:
        """The networks' multiplications, on the windows that show the scene, with its noise, and on all of it."""
        deep = sum(weight.numel() for weight in self.deep.parameters())
        if self.light is None:
            weights = deep * self.components
        else:
            weights = deep + sum(weight.numel() for weight in self.light.parameters()) * self.components
        shown = judged_lr_px(*size)
        probed = min(shown, _PROBE_PX**2) if is_one_block(*size) else shown
        seconds = weights / _MULTIPLIED
        return Effort((shown * self.turns + 2 * probed) * seconds, size[0] * size[1] * self.turns * seconds)

    def _map_bytes(self, bands: int) -> float:
        """Memory for one map of each network's width, which is of LR size, for one pixel of the result."""
        light = 0 if self.light is None else _LIGHT_WIDTH * (min(self.components, bands) - 1)
        return 4 * (self.width + light) / self.scale**2

    def _of_its_own(self, lr: np.ndarray) -> np.ndarray:
        """An image (B, H, W) of one (B, h, w) that is a scene of its own."""
        return self.super_resolve(self._tensor(lr))[0].numpy(force=True)

    def _alone(self, lr: Tensor, sensor: Sensor) -> Tensor:
        low = lr[0].float().numpy(force=True)
        no_guide = np.empty((0, *(self.scale * size for size in low.shape[1:])), np.float32)
        scene, detail = self._learn(HeldImages(low, no_guide, self.scale, sensor.mask))
        image = self._made(lr, scene, detail)
        if sensor.footprint is not None:
            valid = valid_lr_pixels(low, self.scale, sensor.mask)
            image = self._consistent(image, lr, sensor.footprint, scene.noise, valid)
        return image.clamp_min_(scene.least)

    def _learn(self, images: Images) -> tuple[LearntScene, Tensor | None]:
        """What is learnt of a scene; and the detail (1, K, H, W) of its components, if it had to be made for that."""
        pieces = self._pieces(images)
        spectra = np.concatenate([lr[0].double().numpy(force=True)[:, valid] for lr, valid in pieces], axis=1)
        mean, basis, sizes = self._subspace(spectra)
        basis = _signed(basis)
        views = [_scaled(lr, mean, basis, sizes) for lr, _ in pieces]
        blur = _blur([(view, valid) for view, (_, valid) in zip(views, pieces, strict=True)], cautious=True)
        noise = _noise(spectra, pieces)
        gains, details = np.ones(len(sizes), np.float32), None
        if noise > 0:
            steered = blur.to(views[0])
            noises = torch.from_numpy(noise / np.maximum(sizes, noise / _MOST_NOISE)).to(views[0])
            lost, power = torch.zeros_like(noises), torch.zeros_like(noises)
            expected = self.effort(images.size, len(mean), 0).learning
            for number, view in enumerate(views):
                images.tell(expected * number / len(views), expected)
                details = None  # the memory of those of the window before
                details = self._turned(view, steered)
                power += (details**2).mean(dim=(0, 2, 3))
                lost += self._lost(view, steered, noises)
            gains = (1 - lost / power.clamp_min(torch.finfo(torch.float32).tiny)).clamp(0, 1).numpy(force=True)
        scene = LearntScene(mean, basis, sizes, blur.numpy(force=True), noise, gains, _least(spectra))
        return scene, details if len(pieces) == 1 else None

    def _pieces(self, images: Images) -> list[_Piece]:
        """A small scene as a whole; of a large one some windows. Raises HsisrError where no LR pixel is valid."""
        windows, pieces = judging_windows(images, self.scale), []
        for rows, columns in windows:
            lr, _, mask = images.window(rows, columns)
            pieces.append((self._tensor(lr), window_valid(lr, self.scale, mask, len(windows) == 1)))
        return pieces

    def _tensor(self, lr: np.ndarray) -> Tensor:
        """lr (B, h, w) -> (1, B, h, w), where the network is."""
        return torch.from_numpy(np.ascontiguousarray(lr, np.float32))[None].to(self.deep.last.weight.device)

    def _made(self, lr: Tensor, scene: LearntScene, detail: Tensor | None = None) -> Tensor:
        """The image (1, B, H, W). detail: of its components, where that is known."""
        if detail is None:
            components = _scaled(lr, scene.mean, scene.basis, scene.sizes)
            detail = self._turned(components, torch.from_numpy(scene.blur).to(components))
        spectra = torch.from_numpy(scene.basis * scene.sizes * scene.gains).to(detail)
        image = self._enlarged(lr)
        for rows in cells(image.shape[2], _STRIP_PX):  # no second image of all bands in memory
            strip = slice(*rows)
            added = _mixed(detail[:, :, strip], spectra)
            if self.colour is not None:
                added = _believed(added, image[:, :, strip].clamp_min(scene.least), self.colour)
            image[:, :, strip] += added
        return image

    def _subspace(self, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean (B,), basis (B, K) and sizes (K,), float32, of the components of spectra (B, n) above the noise."""
        found = spectral_subspace(spectra, margin=0, least=_LEAST, most=self.components)
        sizes = found.coefficients(spectra).std(axis=1)
        mean, basis, sizes = (np.asarray(part, np.float32) for part in (found.mean.ravel(), found.basis, sizes))
        return mean, basis, sizes

    def _turned(self, components: Tensor, blur: Tensor) -> Tensor:
        """The detail, as the mean over `turns` flips and rotations."""
        total = torch.zeros((), device=components.device)
        for turn in range(self.turns):
            view = components.rot90(turn % 4, (2, 3))
            if turn < 4:
                total = total + self.details(view, blur).rot90(-(turn % 4), (2, 3))
            else:
                total = total + self.details(view.flip(3), blur).flip(3).rot90(-(turn % 4), (2, 3))
        return total / self.turns

    def _lost(self, components: Tensor, blur: Tensor, noise: Tensor) -> Tensor:
        """How much (K,) of the power of each component's detail is no gain, because of the image's noise.

        noise: (K,), its standard deviation in each component. With b the bicubic component, d the detail, b_n and d_n
        what they make of the noise, and d without noise taken to be right, |g d - (x - b)|^2 is least at
        g = (|d|^2 - |d_n|^2 - <b_n, d_n>) / |d|^2. d_n is measured: the network's answer to a little more noise
        (Ramani et al., Monte-Carlo SURE, IEEE TIP 2008).
        """
        rows, columns = ((max(0, size - _PROBE_PX) // 2, min(size, _PROBE_PX)) for size in components.shape[2:])
        part = components.narrow(2, *rows).narrow(3, *columns)
        rng = np.random.default_rng(0)
        drawn = torch.from_numpy(rng.standard_normal(part.shape)).to(part) * noise[:, None, None]
        answer = self.details(part + drawn, blur) - self.details(part, blur)
        return (answer**2 + self._enlarged(drawn) * answer).mean(dim=(0, 2, 3))

    def _consistent(self, image: Tensor, lr: Tensor, footprint: Footprint, noise: float, valid: np.ndarray) -> Tensor:
        """Back-projection: add the enlarged difference to the LR image, as `bicubic-ibp` does, but for its noise."""
        low, estimate = lr[0].numpy(force=True), image[0]
        _, height, width = estimate.shape
        sampler = footprint.sampler(self.scale, (height, width))
        for _ in range(_ROUNDS):
            missing = _above_noise(low - sampler(estimate.numpy(force=True)), noise, valid).astype(np.float32)
            estimate = estimate + self._enlarged(torch.from_numpy(missing)[None].to(estimate))[0]
        return estimate[None]

    def _enlarged(self, images: Tensor) -> Tensor:
        """The method `bicubic`, on tensors."""
        return upsample_keys(images.float(), self.scale)


def _signed(basis: np.ndarray) -> np.ndarray:
    """A basis (B, K) with signs that follow from the spectra alone, not from the order of bands or the machine.

    Components have no sign of their own, and the network enlarges an image and its negative differently: scores of a
    scene differed by up to 0.4 dB. More light is less of a component: the better of the two, by a little, on pieces of
    training scenes of CAVE and of four scenes of other sensors.
    """
    return np.where(basis.sum(axis=0, dtype=np.float64) > 0, -basis, basis)


def _scaled(lr: Tensor, mean: np.ndarray, basis: np.ndarray, sizes: np.ndarray) -> Tensor:
    """The components of lr (N, B, h, w), of unit variance: (N, K, h, w)."""
    # a component without variance, of an even image, stays as it is
    scaled = basis.T / np.where(sizes > 0, sizes, 1)[:, None]
    with torch.autocast(lr.device.type, enabled=False):
        centred = lr.float() - torch.from_numpy(mean).to(lr).float()[:, None, None]
        return torch.einsum("nbhw,kb->nkhw", centred, torch.from_numpy(scaled).to(centred))


def _noise(spectra: np.ndarray, pieces: Sequence[_Piece]) -> float:
    """Standard deviation of the noise of an image, the same in all bands. spectra: (B, n), of its valid pixels.

    Spectra outside the signal's subspace show it, and what differs between neighbours both along and across. Both show
    some signal too, the one in few bands, the other in fine texture; the lower one is the better.
    """
    spectral, differences = noise_level(spectra), []
    for image, valid in pieces:
        lr = image[0].double().numpy(force=True)
        corners = lr[:, 1:, 1:] - lr[:, :-1, 1:] - lr[:, 1:, :-1] + lr[:, :-1, :-1]
        flat = valid[1:, 1:] & valid[:-1, 1:] & valid[1:, :-1] & valid[:-1, :-1]
        differences.append(np.abs(corners[:, flat]).ravel())
    every = np.concatenate(differences)
    return min(spectral, float(np.median(every)) / 2 / _NORMAL_MEDIAN) if every.size else spectral


def _above_noise(images: np.ndarray, noise: float, valid: np.ndarray) -> np.ndarray:
    """Images (B, h, w) less what may be noise: a Wiener filter along the principal directions of their spectra."""
    spectra = images[:, valid].astype(np.float64)
    power, directions = np.linalg.eigh(spectra @ spectra.T / spectra.shape[1])
    kept = 1 - noise**2 / power.clip(max(noise**2, np.finfo(float).tiny))
    return np.tensordot((directions * kept) @ directions.T, images, 1)


def _mixed(detail: Tensor, spectra: Tensor) -> Tensor:
    """detail (N, K, H, W), spectra (B, K) -> (N, B, H, W), in float32 even under autocast."""
    with torch.autocast(detail.device.type, enabled=False):
        return torch.einsum("nkhw,bk->nbhw", detail, spectra)


def _blur(images: Sequence[tuple[Tensor, np.ndarray | None]], cautious: bool) -> Tensor:
    """What the first of the components (N, K, h, w) of images of one sensor say of their blur: 0 if middling, (2,).

    With each image come its valid pixels (h, w), or None for all. cautious: as for `blur_px`; in training, the patches
    are all that a network will ever know of a sensor.
    """
    found = [blur_px(components[:, 0].float().numpy(force=True), valid, cautious) for components, valid in images]
    known = [blur for blur in found if blur is not None] or [EXPECTED_PX]
    steer = (float(np.median(known)) - _BLUR_PX) / _BLUR_RANGE_PX
    steer = max(-_BLUR_MOST, min(steer, _BLUR_MOST))
    return torch.tensor([steer, steer**2])


def _averaged(maps: Tensor) -> Tensor:
    return avg_pool2d(maps, _WINDOW_PX, 1, _WINDOW_PX // 2, count_include_pad=False)


def _least(values: np.ndarray) -> float:
    """0 for intensities, of which noise makes few negative; else the least value."""
    negative = -float(np.minimum(values, 0).sum())
    return 0.0 if negative <= _NEGATIVE * float(np.abs(values).sum()) else float(values.min())


def _believed(detail: Tensor, image: Tensor, colour: float) -> Tensor:
    """Detail (N, B, H, W) with less of what changes the colour of the image's pixels, the less the more it changes it.

    In a dark pixel beside a bright one a small error is another colour. Along the pixel's spectrum b all is kept, so
    long as something of the pixel is left; of the rest r, r / (1 + (|r| / (c |b|))^2), at most c / 2 of the pixel.
    """
    tiny = torch.finfo(torch.float32).tiny
    power = (image**2).sum(dim=1, keepdim=True).clamp_min(tiny)
    along = (detail * image).sum(dim=1, keepdim=True) / power
    across = detail - along * image
    lessened = across / (1 + (across**2).sum(dim=1, keepdim=True) / (colour**2 * power))
    return along.clamp_min(-_LOSS) * image + lessened


class _Residual(nn.Module):
    """Convolutions at LR, residual blocks, and a pixel shuffle to one channel; the last one starts at zero.

    How much each feature counts follows from the image's blur.
    """

    def __init__(self, channels: int, width: int, blocks: int, scale: int) -> None:
        super().__init__()
        self.scale, self.reach_px = scale, 2 * blocks + 2
        self.first = _convolution(channels, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.last = _convolution(width, scale**2)
        nn.init.zeros_(self.last.weight)
        self.steered = nn.Linear(2, (blocks + 1) * width, bias=False)
        nn.init.zeros_(self.steered.weight)

    def features(self, maps: Tensor, blur: Tensor) -> Tensor:
        """After the blocks."""
        maps = maps.contiguous(memory_format=torch.channels_last)  # faster on a CPU in bf16
        *within, after = 1 + self.steered(blur).view(len(self.blocks) + 1, -1, 1, 1)
        for block, factors in zip(self.blocks, within, strict=True):
            maps = block(maps, factors)
        return maps * after

    def enlarged(self, maps: Tensor) -> Tensor:
        """(N, width, h, w) -> (N, 1, H, W)."""
        return pixel_shuffle(self.last(maps), self.scale)


class _Block(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = _convolution(width, width), _convolution(width, width)
        with torch.no_grad():
            self.two.weight.mul_(_START)

    def forward(self, maps: Tensor, factors: Tensor) -> Tensor:
        return maps + self.two(relu(self.one(maps)) * factors)


def _convolution(channels: int, width: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels, width, size, padding=size // 2, bias=False)
