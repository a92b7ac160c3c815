"""Fixtures of the unit tests that the GPU's tests use as well."""

from tests.unit.conftest import small as small
