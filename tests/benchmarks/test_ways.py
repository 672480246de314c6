"""What benchmarks conclude from turns."""

from __future__ import annotations

import pytest
from benchmarks.served_overhead import table, verdict
from benchmarks.ways import BARE, ENSEMBLE, SINGLE, Found, best_ratio, in_turns, rate

from maskserve_tools.tune.load import Turn


def found(rates: dict[str, tuple[float, float]], *, slow: float = 1.0) -> Found:
    """Two turns, the second on a machine that is `slow` times as fast."""
    return {
        (way, callers): [Turn(value * speed, (0.1,) * 19 + (0.2,)) for speed in (1.0, slow)]
        for way, pair in rates.items()
        for callers, value in zip((1, 4), pair, strict=True)
    }


def test_the_share_is_of_the_best_in_the_same_turn() -> None:
    turns = found({BARE: (10.0, 8.0), SINGLE: (6.0, 9.0)}, slow=0.1)
    assert best_ratio(turns, SINGLE, BARE, [1, 4]) == pytest.approx(0.9)
    assert rate(turns, BARE, 1) == pytest.approx(5.5)


@pytest.mark.parametrize(
    ("single", "ensemble", "words"),
    [
        ((9.0, 9.8), (5.0, 9.0), "embedded, single answers more images a second. At least 97 % of the bare core: met"),
        (
            (9.0, 9.0),
            (5.0, 9.6),
            "embedded, ensemble answers more images a second. At least 97 % of the bare core: not",
        ),
        ((9.0, 9.6), (5.0, 9.6), "the layouts answer equally many images; embedded, single is quicker"),
    ],
)
def test_the_verdict(single: tuple[float, float], ensemble: tuple[float, float], words: str) -> None:
    turns = found({BARE: (10.0, 10.0), SINGLE: single, ENSEMBLE: ensemble})
    assert verdict(turns, [1, 4]).startswith(words)
    assert verdict(turns, [1, 4]).endswith("within 1.3 of the median: not met.")


def test_the_table() -> None:
    turns = found({BARE: (10.0, 8.0), SINGLE: (6.0, 9.0)})
    row = table(turns, [1, 4]).splitlines()[-1]
    assert row == "| embedded, single | 6.00 | 9.00 | 90% | 100 | 195 | 1.95 |"


def test_all_ways_take_turns_and_change_their_order() -> None:
    calls: list[str] = []
    asks = {name: lambda _, name=name: calls.append(name) for name in ("a", "b")}
    turns = in_turns(asks, [b""], callers=[1], seconds=0.0, turns=2)
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert {key: len(value) for key, value in turns.items()} == {("a", 1): 2, ("b", 1): 2}
