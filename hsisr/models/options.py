"""Options of every model as the configuration gives them, and the rules for their values; needs no torch."""

from collections.abc import Callable
from numbers import Integral
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from hsisr.config import Section
from hsisr.errors import HsisrError
from hsisr.models.windows import Effort


class Options(Section):
    """A model's options. Unknown keys are errors; values cannot be changed."""

    def working_bytes(self, bands: int, scale: int) -> int:
        """Working memory of an untrained method for a pixel of its output: eight copies in float64.

        Measured (`studies/memory.py`), rounded up.
        """
        return 64 * bands

    def learning_bytes(self, size: tuple[int, int], bands: int, guide_channels: int, scale: int) -> int:
        """Memory for learning a scene of `size` LR rows and columns."""
        return 0

    def effort(self, size: tuple[int, int], bands: int, guide_channels: int, scale: int) -> Effort:
        """Seconds that a usual core takes to learn a scene of `size` LR rows and columns, and to make it."""
        return Effort(0.0, 0.0)


class NearestOptions(Options):
    """Nearest neighbour has no options."""


class BicubicOptions(Options):
    """Bicubic interpolation has no options."""


class SensorOptions(Options):
    """Options of a method that works with the sensor's PSF, shift, response and noise."""

    sensor: Literal["estimated", "known"] = Field(
        "estimated",
        description="PSF, shift, response and noise: measured from LR image and guide, or, in a benchmark, those that "
        "the pairs were made with.",
    )


class CnmfOptions(SensorOptions):
    """Options of `hsisr.models.cnmf`."""

    endmembers: int = Field(10, ge=2, description="Pure spectra that a scene is mixed of.")
    rounds: int = Field(2, ge=1, description="Times that guide and LR image are unmixed in turn.")


class HysureOptions(SensorOptions):
    """Options of `hsisr.models.hysure`."""

    components: int = Field(10, ge=1, description="Dimension of the spectral subspace.")
    guide_weight: float = Field(1.0, gt=0, description="Weight of agreeing with the guide.")
    smoothness: float = Field(5e-4, ge=0, description="Weight of the vector total variation.")
    iterations: int = Field(40, ge=1, description="Of the alternating direction method.")


class PriorOptions(SensorOptions):
    """Options of `hsisr.models.prior`."""

    waves: int = Field(
        512,
        ge=1,
        description="Features of colour and place in a scene of up to 64 x 64 LR pixels; "
        "larger ones have up to half as many more. More are finer and slower.",
    )

    def working_bytes(self, bands: int, scale: int) -> int:
        """A second copy of the part of the scene, and two copies of its coefficients, about 20."""
        return 4 * bands + 160

    def learning_bytes(self, size: tuple[int, int], bands: int, guide_channels: int, scale: int) -> int:
        """Memory as `hsisr.models.prior.memory` counts it."""
        from hsisr.models.prior.memory import learning_bytes

        return learning_bytes(size, bands, guide_channels, scale, self.waves)

    def effort(self, size: tuple[int, int], bands: int, guide_channels: int, scale: int) -> Effort:
        """Seconds as `hsisr.models.prior.effort` counts them."""
        from hsisr.models.prior.effort import Costs

        return Costs(size, bands, guide_channels, scale, self.waves).effort


def _three_equal_groups(width: int) -> int:
    if width < 1 or (width + 8) % 3:
        raise ValueError("width + 8 must be a multiple of 3, to cut into three groups: 16, 28, 40, 52, 64, ...")
    return width


Width = Annotated[
    int,
    AfterValidator(_three_equal_groups),
    Field(description="Features of every layer; width + 8 is a multiple of 3: 16, 28, 40, 52, 64, ..."),
]
Blocks = Annotated[int, Field(ge=1, description="Symmetrical guided encoder blocks in each branch.")]
Skip = Annotated[bool, Field(description="Add the upsampled band to the output; off in the published network.")]


class MulsrOptions(Options):
    """Options of `hsisr.models.MulSR`; the defaults are the published network."""

    width: Width = 64
    blocks: Blocks = 4
    dsca: bool = Field(True, description="Directional aggregation inside the multiscale interaction.")
    lfcc: bool = Field(True, description="Feedback compensation from the full to the half scale.")
    mii: bool = Field(True, description="Multiscale information interaction; without it there is no dsca either.")
    skip: Skip = False
    alpha_weight: float = Field(
        0,
        ge=0,
        description="Weight in training of the L1 distance at half the scale, between a head of its own and HR reduced "
        "by 2 as the protocol does; 0: no such head, the published network.",
    )

    @model_validator(mode="after")
    def _alpha_needs_lfcc(self) -> "MulsrOptions":
        if self.alpha_weight and not self.lfcc:
            raise ValueError("alpha_weight needs lfcc, whose features of the half scale it supervises")
        return self


class MulsrSmallOptions(MulsrOptions):
    """MulSR for a small GPU or a patient CPU: a tenth of the parameters, a skip connection."""

    width: Width = 28
    blocks: Blocks = 2
    skip: Skip = True


class MulsrTinyOptions(MulsrOptions):
    """MulSR that trains on a CPU in minutes: the network of the demo."""

    width: Width = 16
    blocks: Blocks = 1
    skip: Skip = True


class HybridOptions(Options):
    """Options of `hsisr.models.Hybrid`."""

    width: int = Field(32, ge=2, multiple_of=2, description="Features of every layer, an even number.")
    blocks: int = Field(3, ge=0, description="Residual blocks, at half the image's size.")
    components: int = Field(12, ge=1, description="Spectral coefficients that are corrected, at most the bands.")


class SoloOptions(Options):
    """Options of `hsisr.models.Solo`."""

    width: int = Field(48, ge=1, description="Features of the first component's network.")
    blocks: int = Field(5, ge=0, description="Its residual blocks.")
    components: int = Field(12, ge=1, description="Components of an image that get detail, at most.")
    turns: int = Field(
        1, ge=1, le=8, description="Flips and rotations that the result is averaged over; each takes the time again."
    )
    colour: float | None = Field(
        None,
        gt=0,
        description="Change of a pixel's spectrum, relative to it, of which half is believed; none: any.",
    )
    light: bool = Field(
        True,
        description="A light network sees the weaker components; false: the first one's sees each of them alone.",
    )


class TwoStreamOptions(Options):
    """Options of `hsisr.models.TwoStream`."""

    width: int = Field(64, ge=2, multiple_of=2, description="Features of a stream at half the size, an even number.")
    skip: bool = Field(True, description="Add the upsampled image to the output; off in the paper's network.")


class TransformerOptions(Options):
    """Options of `hsisr.models.FusionTransformer`."""

    width: int = Field(64, ge=2, multiple_of=2, description="Features of every layer, even, a multiple of `heads`.")
    blocks: int = Field(6, ge=1, description="Blocks of window attention; every second one has its windows shifted.")
    heads: int = Field(4, ge=1, description="Attention heads.")
    window: int = Field(8, ge=2, multiple_of=2, description="Side of a window in tokens of 2 x 2 pixels, even.")
    skip: bool = Field(True, description="Add the upsampled image to the output.")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "TransformerOptions":
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, and {self.width} is not one of {self.heads}")
        return self


#: Number of channels into which RGB is mixed for DeepShare's RGB path (`hsisr.degrade.RGB_TO_EIGHT`), as published.
RGB_CHANNELS = 8


def _sixteenths(width: int) -> int:
    if width < 16 or width % 16:
        raise ValueError("width must be a multiple of 16, as channel attention narrows to a sixteenth")
    return width


class DeepshareOptions(Options):
    """Options of `hsisr.models.DeepShare` and of `hsisr.models.Sspsr`; the defaults are the published network."""

    width: Annotated[int, AfterValidator(_sixteenths)] = Field(
        256, description="Features of every layer, a multiple of 16."
    )
    group: int = Field(RGB_CHANNELS, ge=1, description="Bands that go through the branches together.")
    overlap: int = Field(2, ge=0, description="Bands that neighbouring groups share; less than `group`.")
    skip: bool = Field(False, description="Add the bicubic image to the output; off in the published network.")

    @model_validator(mode="after")
    def _groups_advance(self) -> "DeepshareOptions":
        if self.overlap >= self.group:
            raise ValueError(f"overlap must be less than group, and {self.overlap} is not less than {self.group}")
        return self


class DeepshareSmallOptions(DeepshareOptions):
    """DeepShare that trains on a CPU in minutes: a sixtieth of the parameters, the bicubic image added."""

    width: Annotated[int, AfterValidator(_sixteenths)] = Field(
        32, description="Features of every layer, a multiple of 16."
    )
    skip: bool = Field(True, description="Add the bicubic image to the output; off in the published network.")


#: Returns a scale as Python's int. Raises HsisrError unless a model can work at it.
ScaleRule = Callable[[int], int]


def whole_scale(scale: int) -> int:
    """Any whole number >= 2."""
    return _check(scale, lambda whole: whole >= 2, "a whole number >= 2")


def even_scale(scale: int) -> int:
    """Any even number >= 2: MulSR also works at half the scale."""
    even = "an even number >= 2, as MulSR works at half the scale too"
    return _check(scale, lambda whole: whole % 2 == 0 and whole >= 2, even)


def deepshare_scale(scale: int) -> int:
    """Return the scale, HR over LR size. DeepShare's pixel shuffles make 3, 6 and powers of two.

    Raises HsisrError for any other scale.
    """

    def allowed(whole: int) -> bool:
        return whole in (3, 6) or (whole >= 2 and whole & (whole - 1) == 0)

    return _check(scale, allowed, "2, 3, 4, 6, 8, 16 or a higher power of two")


def _check(scale: int, allowed: Callable[[int], bool], expected: str) -> int:
    whole = isinstance(scale, Integral) and not isinstance(scale, bool)
    if not (whole and allowed(int(scale))):
        raise HsisrError(f"scale {scale!r} is not allowed; expected {expected}")
    return int(scale)
