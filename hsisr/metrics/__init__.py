"""Metrics: every score of the field under one definition each, and the named conventions of published tables.

`score` gives all scores of a table under a convention. Each function gives one score, of an image (B, H, W) or of a
batch (N, B, H, W). Everything is computed in float64, whatever type comes in. Torch is not needed.
"""

from hsisr.metrics.conventions import CONVENTIONS as CONVENTIONS
from hsisr.metrics.conventions import find_convention as find_convention
from hsisr.metrics.conventions.base import Convention as Convention
from hsisr.metrics.hypercomplex import q2n as q2n
from hsisr.metrics.noreference import consistency_guide as consistency_guide
from hsisr.metrics.noreference import consistency_lr as consistency_lr
from hsisr.metrics.noreference import d_lambda as d_lambda
from hsisr.metrics.noreference import d_lambda_alparone as d_lambda_alparone
from hsisr.metrics.noreference import d_s as d_s
from hsisr.metrics.noreference import qnr as qnr
from hsisr.metrics.pixel import cc as cc
from hsisr.metrics.pixel import mae as mae
from hsisr.metrics.pixel import psnr as psnr
from hsisr.metrics.pixel import psnr_per_band as psnr_per_band
from hsisr.metrics.pixel import rmse as rmse
from hsisr.metrics.pixel import rmse_per_band as rmse_per_band
from hsisr.metrics.scoring import Score as Score
from hsisr.metrics.scoring import json_ready as json_ready
from hsisr.metrics.scoring import score as score
from hsisr.metrics.spectral import ergas as ergas
from hsisr.metrics.spectral import sam as sam
from hsisr.metrics.spectral import sid as sid
from hsisr.metrics.structure import GAUSSIAN_11 as GAUSSIAN_11
from hsisr.metrics.structure import UNIFORM_7 as UNIFORM_7
from hsisr.metrics.structure import Window as Window
from hsisr.metrics.structure import gaussian_window as gaussian_window
from hsisr.metrics.structure import scc as scc
from hsisr.metrics.structure import ssim as ssim
from hsisr.metrics.structure import ssim_per_band as ssim_per_band
from hsisr.metrics.structure import uiqi as uiqi
from hsisr.metrics.structure import uiqi_per_band as uiqi_per_band
from hsisr.metrics.structure import uniform_window as uniform_window
