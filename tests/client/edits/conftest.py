"""A result to edit."""

import pytest
from tests.client.edits.forms import make


@pytest.fixture
def result():
    return make()
