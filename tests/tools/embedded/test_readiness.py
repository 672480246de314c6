"""What a broken entry took to load is not taken from the time that its neighbours have to answer."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from maskserve_tools.embedded.readiness import StartingServer


@pytest.mark.parametrize(("failures", "least"), [({"bad": "it was not ready in time"}, 100.0), ({}, 1.0)])
def test_a_good_model_has_its_own_time_beside_a_late_one(
    failures: dict[str, str], least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: Any = None
    starting = StartingServer(nothing, nothing, nothing, "it", timeout=120.0, deadline=time.monotonic() - 1)
    given: list[float] = []
    monkeypatch.setattr(StartingServer, "_is_up", lambda self: True)
    monkeypatch.setattr(StartingServer, "_not_loaded", lambda self, entries: dict(failures))
    monkeypatch.setattr(StartingServer, "_try_out", lambda self, entry, timeout: given.append(timeout))
    entries: Any = [SimpleNamespace(name=name, steps=(), takes_images=True) for name in ("bad", "good")]
    assert starting.find_broken(entries) == failures
    assert len(given) == 2 - len(failures)
    assert least <= given[-1] <= 120
