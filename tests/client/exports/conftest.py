"""Results to export."""

import numpy as np
import pytest
from tests.client.exports.made_results import FOUND, SIZE


@pytest.fixture
def result(result_of):
    return result_of(np.zeros((*SIZE, 3), np.uint8), FOUND, SIZE)


@pytest.fixture
def empty(result_of):
    return result_of(np.zeros((*SIZE, 3), np.uint8), [], SIZE)
