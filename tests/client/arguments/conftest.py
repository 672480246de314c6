"""A result to choose from."""

import pytest

FOUND = [(0, 0.9, (0.0, 0.0, 4.0, 4.0)), (2, 0.5, (0.0, 0.0, 2.0, 2.0)), (0, 0.3, (1.0, 1.0, 3.0, 3.0))]


@pytest.fixture
def result(result_of, grey, transport):
    """A person, a car and another person."""
    found = result_of(grey(), FOUND, (6, 8))
    transport.requests.clear()
    return found
