"""What `make quick` leaves out, and how much its tests try."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.examples import examples
from tests.markers import leaves_out

TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    ("expression", "path", "left"),
    [
        ("not server and not slow", "end_to_end/test_decoders.py", True),
        ("not server and not slow", "end_to_end", True),
        ("not server and not slow", "docs", True),
        ("not server and not slow", "client", False),
        ("not browser", "end_to_end", False),
        ("server", "docs", False),
        ("not (not server and not slow)", "docs", False),
        ("not server or slow", "docs", False),
        ("", "docs", False),
    ],
)
def test_files_without_a_test_that_fits_are_not_imported(expression: str, path: str, left: bool) -> None:
    assert leaves_out(expression, TESTS / path) is left


@pytest.mark.parametrize(("profile", "number", "by_default"), [("patient", 150, 100), ("quick", 30, 20)])
def test_the_quick_profile_tries_fewer_examples(profile: str, number: int, by_default: int) -> None:
    before = settings.get_current_profile_name()
    settings.load_profile(profile)
    try:
        assert examples(150) == number
        assert settings().max_examples == by_default
    finally:
        settings.load_profile(before)
