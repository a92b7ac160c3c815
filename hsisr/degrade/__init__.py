"""Degradation: scenes to pairs of a low-resolution image, a guide and the reference, under named protocols."""

from hsisr.degrade.custom import CustomProtocol, own_paths, without_files
from hsisr.degrade.displacement import Displacement, measure_displacement
from hsisr.degrade.estimation import Subspace, estimate_footprint, estimate_sensor, noise_level, spectral_subspace
from hsisr.degrade.families import FAMILIES, FamilyPsf
from hsisr.degrade.noise import Noise, scene_seed
from hsisr.degrade.own_files import is_file_name, read_psf
from hsisr.degrade.protocols import CONVENTIONS, PROTOCOLS, Protocol, find_protocol
from hsisr.degrade.psf import ArrayPsf, anisotropic_gaussian
from hsisr.degrade.registration import Registration, measure_shift, registration, shift_of
from hsisr.degrade.response import (
    BY_INDEX,
    MIXUP_RESPONSE,
    MIXUP_WAVELENGTHS_NM,
    RESPONSES,
    RGB_TO_EIGHT,
    apply_response,
    check_response,
    load_response,
    response,
    spectral_mixup_matrix,
)
from hsisr.degrade.sampling import imresize, interpolate
from hsisr.degrade.sensor import Footprint, Sensor, gaussian_footprint, sensor_of
from hsisr.degrade.simulate import AnyPair, Pair, degrade, degrade_crop, pair, scene_response

__all__ = [
    "BY_INDEX",
    "CONVENTIONS",
    "FAMILIES",
    "FamilyPsf",
    "MIXUP_RESPONSE",
    "MIXUP_WAVELENGTHS_NM",
    "PROTOCOLS",
    "RESPONSES",
    "RGB_TO_EIGHT",
    "AnyPair",
    "ArrayPsf",
    "CustomProtocol",
    "Displacement",
    "Footprint",
    "Noise",
    "Pair",
    "Protocol",
    "Registration",
    "Sensor",
    "Subspace",
    "anisotropic_gaussian",
    "apply_response",
    "check_response",
    "degrade",
    "degrade_crop",
    "estimate_footprint",
    "estimate_sensor",
    "find_protocol",
    "gaussian_footprint",
    "imresize",
    "interpolate",
    "is_file_name",
    "load_response",
    "measure_displacement",
    "measure_shift",
    "noise_level",
    "own_paths",
    "pair",
    "read_psf",
    "registration",
    "response",
    "scene_response",
    "scene_seed",
    "sensor_of",
    "shift_of",
    "spectral_mixup_matrix",
    "spectral_subspace",
    "without_files",
]
