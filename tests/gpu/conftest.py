"""Fixtures of the unit tests, also for the tests on a GPU."""

from tests.unit.conftest import small as small
