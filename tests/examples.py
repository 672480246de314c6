"""How much the tests by chance try: all of it in `make test`, a part of it in `make quick`.

`make quick` asks for Hypothesis's profile `quick`. `tests/conftest.py` loads this module before any test.
"""

from __future__ import annotations

from hypothesis import settings

_QUICK, _SHARE = "quick", 5

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.register_profile(_QUICK, settings.get_profile("patient"), max_examples=100 // _SHARE)
settings.load_profile("patient")


def examples(number: int) -> int:
    """Return how many examples a test tries that tries `number` of them in `make test`."""
    return max(1, number // _SHARE) if settings.get_current_profile_name() == _QUICK else number
