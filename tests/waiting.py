"""Waiting for something that happens elsewhere, never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Look until `condition` gives something true; fail with `what` was waited for after `seconds`.

    A test that waits without an end is killed with everything beside it, and says nothing of why.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.005)
