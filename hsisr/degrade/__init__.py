"""Degradation: scenes to pairs of a low-resolution image, a guide and the reference, under named protocols."""

from hsisr.degrade.alignment import Registration, measure_shift, registration, shift_of
from hsisr.degrade.custom import CustomProtocol
from hsisr.degrade.noise import Noise, scene_seed
from hsisr.degrade.pairs import Pair, degrade, pair, scene_response
from hsisr.degrade.protocols import PROTOCOLS, Protocol
from hsisr.degrade.psf import anisotropic_gaussian
from hsisr.degrade.response import RESPONSES, RGB_TO_EIGHT, apply_response, response, spectral_mixup_matrix
from hsisr.degrade.sampling import imresize, interpolate

__all__ = [
    "PROTOCOLS",
    "RESPONSES",
    "RGB_TO_EIGHT",
    "CustomProtocol",
    "Noise",
    "Pair",
    "Protocol",
    "Registration",
    "anisotropic_gaussian",
    "apply_response",
    "degrade",
    "imresize",
    "interpolate",
    "measure_shift",
    "pair",
    "registration",
    "response",
    "scene_response",
    "scene_seed",
    "shift_of",
    "spectral_mixup_matrix",
]
