"""Fixtures: a fleet of three for the tests that leave it as usable as it was."""

import pytest

from fleet import Fleet


@pytest.fixture
def fleet():
    with Fleet() as fleet:
        yield fleet
