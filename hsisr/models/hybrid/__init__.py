"""`hybrid`: the prior, and a small network that learns what it leaves.

docs/model-hybrid.md derives it. What is linear in the pixels around is learnt first and in closed form, as filters of
every band. The network sees the guide, the filtered result and the prior's own errors in coordinates of smooth spectra,
and says what to add there, so that its cost does not grow with the number of bands.
"""

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, relu

from hsisr.degrade import Sensor
from hsisr.degrade.estimation import estimate_footprint
from hsisr.errors import HsisrError
from hsisr.models.base import part_bytes
from hsisr.models.fusion import check_shapes, pad
from hsisr.models.hybrid.agreement import Agreement, agreed
from hsisr.models.hybrid.channels import channel_order, remarks_on
from hsisr.models.hybrid.filters import (
    Details,
    Learnt,
    Light,
    believed_share,
    strength_of_parts,
)
from hsisr.models.hybrid.maps import Stack, cosines, stack
from hsisr.models.hybrid.pieces import Ground, Piece, from_middle
from hsisr.models.network import Network
from hsisr.models.prior import EDITION, Estimate, estimate, solve
from hsisr.models.prior.blocks import WINDOW_PX, learning_windows, reach, shown_lr_px
from hsisr.models.prior.effort import Costs
from hsisr.models.prior.errors import Errors, learn_errors
from hsisr.models.prior.memory import learning_bytes
from hsisr.models.windows import Effort, HeldImages, Images, Span, Told, Window, lr_span

if TYPE_CHECKING:
    from hsisr.degrade import Pair
    from hsisr.models.hybrid.held import HeldOut
    from hsisr.models.hybrid.samples import PriorPatches

#: Typical size of a correction, by which the network's output is multiplied.
_CORRECTION = 0.02
#: HR pixels, about, on which it is seen what filters and network do to a scene.
_LOOKED_AT_PX = 1 << 19
#: Seconds that a core of 2020 takes for an HR pixel, measured: filters, for each band; network and all else.
_FILTERED, _MADE = 50e-9, 1.2e-6
#: Solved pairs that are kept, as validation asks for the same ones again and again.
_KEPT = 8
#: LR pixels around one that its remainder's interpolation reads, with a shift of up to one.
_INTERPOLATED_LR_PX = 4


@dataclass(frozen=True, eq=False)
class LearntScene:
    """What is learnt once of a scene.

    light: of its guide. share: (B,), of what filters add, that is believed. order: of the guide's channels
    (`channel_order`).
    """

    prior: Estimate
    light: Light
    share: np.ndarray
    agreement: Agreement
    order: tuple[int, ...]


class Hybrid(Network):
    """Correction of the prior's coefficients.

    scale: any whole number >= 2. bands: of the images. guide_channels: G. width: features. blocks: residual blocks at
    half the size. components: K, coefficients that are corrected. Filters and last layer start at zero: untrained, it
    is the prior.
    """

    period_px = 2
    takes_sensor = True
    learns_scenes = True
    works_anywhere = True
    tells_errors = True
    useful_untrained = True
    adapts_at_once = True
    bands: int
    width: int
    #: Of `maps_in_memory`: the network's, and what filters see of a guide's channel.
    _MAPS, _MAPS_PER_CHANNEL = 7, 0.5
    images_in_memory = 2

    def __init__(
        self, scale: int, bands: int, guide_channels: int, width: int = 32, blocks: int = 3, components: int = 12
    ) -> None:
        super().__init__()
        scale = self.check_scale(scale)
        self.scale, self.bands, self.guide_channels, self.width = scale, bands, guide_channels, width
        count = min(components, bands)
        self.basis = cosines(count, bands)
        self.maps_in_memory = self._MAPS + self._MAPS_PER_CHANNEL * guide_channels
        maps = guide_channels + 3 * count
        self.first = nn.Conv2d(4 * maps, width, 1)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.up = nn.Conv2d(width, 2 * width, 1)
        self.fine = nn.Conv2d(maps + width // 2, width, 3, padding=1)
        self.last = nn.Conv2d(width, count, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)
        for name, values in vars(Learnt.nothing(bands, guide_channels)).items():
            self.register_buffer(name, torch.from_numpy(values))
        # weights that learnt on another edition of the prior have another name here, and do not fit
        self.register_buffer(f"learnt_on_prior_{EDITION}", torch.zeros(()))
        self._solved: dict[str, Stack] = {}

    def forward(self, lr: Tensor, maps: Tensor) -> Tensor:
        """What to add to the prior's coefficients (N, K, H, W).

        lr: not read; it stands in the place where every network gets the LR image. maps: (N, G + 3 K, H, W), as
        `hsisr.models.hybrid.maps` lays them out; H and W even. Raises HsisrError for other maps, such as a guide.
        """
        if 4 * maps.shape[1] != self.first.in_channels:
            raise HsisrError("hybrid: learns from what its prepare_training(pairs) returns, not from patches of images")
        coarse = self.first(pixel_unshuffle(maps, 2))
        for block in self.blocks:
            coarse = block(coarse)
        fine = torch.cat([maps, relu(pixel_shuffle(self.up(coarse), 2))], dim=1)
        return _CORRECTION * self.last(relu(self.fine(fine)))

    def super_resolve(self, lr: Tensor, guide: Tensor, sensor: Sensor | None = None) -> Tensor:
        """lr (N, B, h, w) and guide (N, G, H, W) to (N, B, H, W): solved, filtered, corrected.

        sensor: what is known of how they were taken; the rest is estimated. Raises HsisrError for images of other
        bands, channels or sizes.
        """
        check_shapes(self, lr, guide)
        images = [self._corrected(*pair, sensor) for pair in zip(lr, guide, strict=True)]
        return torch.stack(images).to(lr)

    def estimate(self, images: Images, sensor: Sensor) -> LearntScene:
        """What the prior learns of a scene, and what filters, network and agreement go by, from the same pixels."""
        learning, _ = Costs(images.size, self.bands, self.guide_channels, self.scale).effort
        more = self.effort(images.size, self.bands, self.guide_channels).learning - learning
        found, learnt = estimate(Told(images, more), self.scale, sensor), self._learnt()
        pieces = []
        for rows, columns in _looked_at(learning_windows(images, self.scale), self.scale):
            corner = rows[0] * self.scale, columns[0] * self.scale
            pieces.append(self._piece(found, images.window(rows, columns), corner))
        light = Light.of(pieces, self.scale, learnt.response)
        nothing_moved = Agreement(found.subspace, learnt.response, None)
        share = np.ones(self.bands)
        if learnt.filters.any():
            added = (self._added(piece, light) for piece in pieces)
            share = believed_share(strength_of_parts(added), learnt.strength)
        order = channel_order(pieces, self.scale, learnt.response)
        scene = LearntScene(found, light, share, nothing_moved, order)
        parts = ((*self._network(piece, scene), piece.solution) for piece in pieces)
        agreement = Agreement.of(parts, learnt.response, found.subspace, float(learnt.contradiction))
        return replace(scene, agreement=agreement)

    def reach_lr_px(self, estimate: LearntScene) -> int:
        """LR pixels that filters or the remainder's interpolation reach, the network after them, the prior before.

        estimate: what `estimate` returned.
        """
        footprint = estimate.prior.sensor.footprint
        filtered = max(reach(footprint, self.scale)) + _INTERPOLATED_LR_PX + estimate.prior.cleaned_lr_px
        return filtered + -(-(4 * len(self.blocks) + 7) // self.scale)

    def remarks(self, estimate: LearntScene, guide_bands: Sequence[int]) -> list[str]:
        """What the prior says of it, and whether the guide's channels come in another order, or from another camera."""
        found = remarks_on(estimate.order, guide_bands)
        if not found and estimate.light.camera is not None:
            found = [
                "is not what the camera that the weights learnt from would take here: another one took it, or it shows "
                "other ground; filters and network go by what that camera would see of prior's image"
            ]
        return [*estimate.prior.remarks, *found]

    def super_resolve_part(self, estimate: LearntScene, window: Window, corner: tuple[int, int]) -> np.ndarray:
        """A part of a learnt scene (B, n, m)."""
        return estimate.agreement.moved(*self._network(self._piece(estimate.prior, window, corner), estimate))

    def super_resolve_at(
        self,
        estimate: LearntScene,
        images: Images,
        guide: np.ndarray,
        places: np.ndarray,
        mask: np.ndarray | None = None,
    ) -> np.ndarray:
        """A learnt scene at any places (B, n, m): filters and network see the neighbours in the arrays.

        What the LR image has beyond the prior's image comes from the HR grid around the places.
        """
        piece = self._piece_at(estimate.prior, images, guide, places, mask)
        return estimate.agreement.moved(*self._network(piece, estimate))

    def errors(self, estimate: LearntScene, images: Images) -> Errors:
        """What tells the errors of a learnt scene's image: as of the prior's, with the detail that this image has."""
        return learn_errors(estimate.prior, images, partial(self.super_resolve_part, estimate))

    def prepare_training(self, pairs: "Iterable[tuple[str, Pair]]", seed: int = 0) -> "PriorPatches":
        """Learn what is learnt in closed form, from named pairs with HR image, and cut what is left into samples.

        That is: filters, drawn to those that it has, and how much they add; how much a true image contradicts its
        guide; and, at first, the response of the camera that took the guides. The samples are patches of what prior
        and filters leave of the pairs, of which `seed` draws places and turns.
        """
        from hsisr.models.hybrid.samples import solved

        patches, learnt = solved(pairs, self.scale, self.basis, self._learnt(), seed=seed)
        for name, values in vars(learnt).items():
            getattr(self, name).copy_(torch.from_numpy(values))
        return patches

    def hold_out(self, samples: "PriorPatches") -> "tuple[PriorPatches, HeldOut] | None":  # type: ignore[override]
        """Part what `prepare_training` returned; None where there are too few scenes to hold one out."""
        from hsisr.models.hybrid.samples import PriorPatches, held_out

        return held_out(samples, self.bands) if isinstance(samples, PriorPatches) else None

    def bytes_per_pixel(self, bands: int, guide_channels: int) -> int:
        """Of a part of a learnt scene."""
        return part_bytes(self, bands, guide_channels)

    def learning_bytes(self, size: tuple[int, int], bands: int, guide_channels: int) -> int:
        """What the prior takes; or filters and network on a window of what it was learnt from."""
        by_prior = learning_bytes(size, bands, guide_channels, self.scale)
        window = min(size[0] * size[1] * self.scale**2, WINDOW_PX**2)
        return max(by_prior, window * self.bytes_per_pixel(bands, guide_channels))

    def effort(self, size: tuple[int, int], bands: int, guide_channels: int) -> Effort:
        """What the prior takes, and filters and network: first on the pixels that say what they do to a scene."""
        costs, pixels = Costs(size, bands, guide_channels, self.scale), size[0] * size[1] * self.scale**2
        learning, making = costs.effort
        added = bands * _FILTERED + _MADE
        looked_at = min(1.0, _LOOKED_AT_PX / pixels)
        return Effort(learning + looked_at * (making + added * pixels), making + added * pixels)

    def forget(self) -> None:
        """Drop the solved pairs that are kept for the next call with the same images."""
        self._solved.clear()

    def _corrected(self, lr: Tensor, guide: Tensor, sensor: Sensor | None) -> Tensor:
        low, sharp = (image.float().numpy(force=True) for image in (lr, guide))
        known = sensor or Sensor()
        images = HeldImages(low, sharp, self.scale, known.mask)
        if len(learning_windows(images, self.scale)) > 1:
            footprint = known.footprint or estimate_footprint(low.astype(np.float64), sharp, self.scale, known.mask)
            scene = self.estimate(images, replace(known, footprint=footprint))
            return torch.from_numpy(self.super_resolve_part(scene, Window(low, sharp, known.mask), (0, 0)))
        found = self._solve(low, sharp, sensor)
        image, by_camera = self._with_network(found)
        learnt = self._learnt()
        return torch.from_numpy(agreed(image, by_camera, learnt.response, found.solution, float(learnt.contradiction)))

    def _with_network(self, found: Stack) -> tuple[np.ndarray, np.ndarray]:
        """The image (B, H, W) with the network's correction, and the guide as by the camera of training (G, H, W)."""
        maps = torch.from_numpy(found.maps)[None].to(self.first.weight.device)
        height, width = maps.shape[2:]
        correction = self(maps[:, :1], pad(maps, self.period_px))[0, :, :height, :width].float().numpy(force=True)
        if not np.isfinite(correction).all():
            raise HsisrError("hybrid: its network makes NaN or infinity: its training diverged, or its file is damaged")
        image = found.image + (self.basis.T @ correction.reshape(len(correction), -1)).reshape(found.image.shape)
        return image, found.maps[: self.guide_channels]

    def _piece(self, prior: Estimate, window: Window, corner: tuple[int, int]) -> Piece:
        """A part of a learnt scene, solved. corner: row and column of its first HR pixel."""
        start = from_middle(corner, tuple(count * self.scale for count in prior.size))
        solution = prior.solution(window.guide, corner, window.mask)
        return Piece(window.lr, solution.guide, solution, start)

    def _piece_at(
        self, prior: Estimate, images: Images, guide: np.ndarray, places: np.ndarray, mask: np.ndarray | None
    ) -> Piece:
        """A learnt scene at any places, solved; arguments as for `super_resolve_at`."""
        margin = max(shown_lr_px(prior.sensor.footprint, self.scale)) + _INTERPOLATED_LR_PX + prior.cleaned_lr_px
        rows, columns = (lr_span(*axis, self.scale, margin) for axis in zip(places, images.size, strict=True))
        window, corner = images.window(rows, columns), (rows[0] * self.scale, columns[0] * self.scale)
        around = prior.solution(window.guide, corner, mask=window.mask)
        ground = Ground.at(places, window, corner, around, prior.hr_size)
        solution = prior.solution_at(guide, places, mask)
        return Piece(window.lr, solution.guide, solution, ground=ground)

    def _network(self, piece: Piece, scene: LearntScene) -> tuple[np.ndarray, np.ndarray]:
        """A part of a learnt scene, filtered and corrected, and its guide as by the camera of training."""
        facts = self.scale, self.basis, self._learnt(), scene.light, scene.share
        return self._with_network(stack(piece, *facts))

    def _added(self, piece: Piece, light: Light) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """What filters add to a piece, its image, and its valid pixels."""
        learnt = self._learnt()
        details = Details(piece, self.scale, learnt.response, light)
        return details.filtered(learnt.filters), details.image, piece.solution.sensor.mask

    def _solve(self, lr: np.ndarray, guide: np.ndarray, sensor: Sensor | None) -> Stack:
        learnt = self._learnt()
        key = hashlib.sha256(pickle.dumps((lr, guide, sensor, learnt))).hexdigest()
        if key not in self._solved:
            if len(self._solved) >= _KEPT:
                del self._solved[next(iter(self._solved))]
            solution = solve(lr, guide, self.scale, sensor)
            self._solved[key] = stack(Piece(lr, solution.guide, solution), self.scale, self.basis, learnt)
        return self._solved[key]

    def _learnt(self) -> Learnt:
        return Learnt(*(getattr(self, field.name).cpu().numpy() for field in fields(Learnt)))


def _looked_at(windows: list[tuple[Span, Span]], scale: int) -> list[tuple[Span, Span]]:
    """Some of the windows, evenly spread and at least one, of about `_LOOKED_AT_PX` HR pixels in all.

    Filters and network take long: a part of a large scene says enough of how strongly they work on it.
    """
    pixels = sum((rows[1] - rows[0]) * (columns[1] - columns[0]) for rows, columns in windows) * scale**2
    every = min(len(windows), max(1, -(-pixels // _LOOKED_AT_PX)))
    return windows[every // 2 :: every]


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(relu(self.one(x)))
