"""MulSR: the published network in a form that runs fast, and its form for images too large for memory."""

from hsisr.models.mulsr.network import MulSR as MulSR
