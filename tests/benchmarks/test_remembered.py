"""What `make bench` concludes and keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.remembered import ratios, remember, slower


def test_the_ratio_is_of_the_same_turns() -> None:
    new = [{"core": 10.0, "paint": 1.0, "new part": 3.0}, {"core": 100.0, "paint": 1.2, "new part": 3.0}]
    old = [{"core": 20.0, "paint": 1.0}, {"core": 200.0, "paint": 1.0}]  # a machine that is ten times slower now
    assert ratios(new, old) == {"core": pytest.approx(0.5), "paint": pytest.approx(1.1)}


def test_what_is_slower_is_said() -> None:
    assert slower({"core": 1.04, "paint": 1.06, "import": 0.5}) == ["paint became slower: +6%"]


def test_entries_are_appended(tmp_path: Path) -> None:
    history = tmp_path / "history.json"
    for number in (1, 2):
        remember(history, {"commit": str(number)})
    assert json.loads(history.read_text()) == [{"commit": "1"}, {"commit": "2"}]
    assert [path.name for path in tmp_path.iterdir()] == ["history.json"]
