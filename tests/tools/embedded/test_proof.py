"""How often models get test images, with a clock and a server of the test's own."""

from __future__ import annotations

import json
import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_tools.embedded import proof
from maskserve_tools.embedded.proof import Prober


class Slow:
    """A model that computes all the time, and takes `seconds` for a test image."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now, self.count = seconds, math.ceil(time.monotonic()) + 0.0, 0
        self.asked: list[tuple[float, float]] = []  # when, and for how long at most
        self.broken: list[str] = []

    def send(self, _: Any, __: Any, *, timeout: float) -> None:
        self.asked.append((self.now, timeout))
        self.now += min(self.seconds, timeout)
        if self.seconds > timeout:
            raise ToolError("it did not answer a test image")
        self.count += 1

    def request(self, *_: Any, **__: Any) -> tuple[int, bytes]:
        return 200, json.dumps({"model_stats": [{"inference_stats": {"success": {"count": self.count}}}]}).encode()

    def watch(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        monkeypatch.setattr(proof, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(proof, "send_test_image", self.send)
        prober = Prober(
            self,  # type: ignore[arg-type]
            entries=lambda: [SimpleNamespace(name="model", takes_images=True)],  # type: ignore[list-item]
            computes=lambda _: self.now,
            broken=lambda _, why, __: self.broken.append(why),
            well=lambda _: None,
            awaited=lambda _: False,
        )
        end = self.now + seconds
        while self.now < end:
            prober.look()
            self.now += 1.0


def test_a_model_that_is_slow_gets_more_time_and_fewer_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would compute test images alone, which nobody waits for any more, and no request of a user."""
    slow = Slow(12.0)
    slow.watch(monkeypatch, 110.0)
    assert [allowed for _, allowed in slow.asked] == [5.0, 10.0, 20.0]
    times = [when for when, _ in slow.asked]
    assert times[1] - times[0] > 3 * 5.0
    assert times[2] - times[1] > 3 * 10.0
    assert slow.broken == []


def test_what_it_really_takes_counts_after_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(12.0)
    slow.watch(monkeypatch, 2000.0)
    assert [allowed for _, allowed in slow.asked][:5] == [5.0, 10.0, 20.0, 240.0, 240.0]


def test_a_quick_model_is_asked_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Slow(0.05)
    quick.watch(monkeypatch, 60.0)
    assert 8 < len(quick.asked) < 20
    assert {allowed for _, allowed in quick.asked} == {5.0}
