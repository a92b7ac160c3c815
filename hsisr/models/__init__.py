"""Models: networks, classical methods, and the papers' own checkpoints.

A name loads its module at the first use. So listing models, or running a classical one, needs no torch.
"""

from typing import TYPE_CHECKING

from hsisr.lazy_names import loader

#: Public name -> module that defines it.
_PUBLIC = {
    "DeepShare": "hsisr.models.deepshare",
    "FusionTransformer": "hsisr.models.transformer",
    "Hybrid": "hsisr.models.hybrid",
    "MulSR": "hsisr.models.mulsr",
    "Solo": "hsisr.models.solo",
    "Sspsr": "hsisr.models.deepshare",
    "TwoStream": "hsisr.models.two_stream",
    "bicubic": "hsisr.models.classical.bicubic",
    "bicubic_ibp": "hsisr.models.classical.back_projection",
    "cnmf": "hsisr.models.classical.cnmf",
    "glp_hs": "hsisr.models.classical.hypersharpening",
    "gsa": "hsisr.models.classical.gsa",
    "hysure": "hsisr.models.classical.hysure",
    "load_official": "hsisr.models.checkpoints.official",
    "nearest": "hsisr.models.classical.nearest",
    "sfim_hs": "hsisr.models.classical.hypersharpening",
}

__all__ = list(_PUBLIC)

if TYPE_CHECKING:
    from hsisr.models.checkpoints.official import load_official as load_official
    from hsisr.models.classical.back_projection import bicubic_ibp as bicubic_ibp
    from hsisr.models.classical.bicubic import bicubic as bicubic
    from hsisr.models.classical.cnmf import cnmf as cnmf
    from hsisr.models.classical.gsa import gsa as gsa
    from hsisr.models.classical.hypersharpening import glp_hs as glp_hs
    from hsisr.models.classical.hypersharpening import sfim_hs as sfim_hs
    from hsisr.models.classical.hysure import hysure as hysure
    from hsisr.models.classical.nearest import nearest as nearest
    from hsisr.models.deepshare import DeepShare as DeepShare
    from hsisr.models.deepshare import Sspsr as Sspsr
    from hsisr.models.hybrid import Hybrid as Hybrid
    from hsisr.models.mulsr import MulSR as MulSR
    from hsisr.models.solo import Solo as Solo
    from hsisr.models.transformer import FusionTransformer as FusionTransformer
    from hsisr.models.two_stream import TwoStream as TwoStream


__getattr__, __dir__ = loader(__name__, _PUBLIC)
