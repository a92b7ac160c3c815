"""Stands before the real one, which the tests use as an oracle: hsisr's users do not have it, and fabric loads it."""

raise ModuleNotFoundError("No module named 'torchmetrics'", name="torchmetrics")
