"""The oracle of the tests of operators."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def paddle() -> Any:
    return pytest.importorskip("paddle", reason="the oracle is Paddle's operators", exc_type=ImportError)
