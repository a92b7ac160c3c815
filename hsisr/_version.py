"""The version, alone in its file: what the build reads and what the package says."""

__version__ = "0.1.0"
