"""Makes `maskserve_demo` importable: it is not part of the wheel, so nothing installs it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "demo"))


@pytest.fixture(scope="session")
def needs() -> Callable[[str], ModuleType]:
    """Imports a library that only the demo model's own environment has, or skips the test.

    Paddle warns on import (about a compiler cache that is not there), which is no fault of the tests.
    """

    def load(name: str) -> ModuleType:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pytest.importorskip(name)

    return load
