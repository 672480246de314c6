"""Packages that a test module needs, found without importing them."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def need(package: str, reason: str) -> None:
    """Skip the module that calls this where a package is not installed.

    `pytest.importorskip` would import it at once: Paddle takes seconds, also where none of the tests are run.
    """
    if find_spec(package) is None:
        pytest.skip(reason, allow_module_level=True)
