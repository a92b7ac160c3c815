"""The version number, in a file of its own: the build reads it, and the package shows it."""

__version__ = "0.1.0"
