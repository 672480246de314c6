"""When something that dies is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maskserve.backoff import Backoff


def test_the_first_death_is_answered_at_once() -> None:
    assert Backoff(answered=0.0).died(1.0) == 0


def test_one_that_dies_again_and_again_is_waited_for_longer_and_longer() -> None:
    backoff, pauses = Backoff(answered=0.0), list[float | None]()
    for now in range(7):
        pauses.append(backoff.died(now))
        backoff.started(now)
    assert pauses == [0, 0.5, 1, 2, 4, 4, 4]


def test_health_makes_earlier_deaths_forgotten() -> None:
    backoff = Backoff(answered=0.0)
    for now in range(4):
        backoff.died(now)
        backoff.started(now)
    assert backoff.died(3 + 5.1) == 0


def test_five_starts_in_a_row_that_fail_are_enough() -> None:
    backoff = Backoff(answered=0.0)
    pauses = [backoff.died(now) for now in range(6)]
    assert pauses == [0, 0.5, 1, 2, 4, None]


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=40))
def test_it_gives_up_only_after_five_failures_and_never_waits_long(events: list[tuple[float, bool]]) -> None:
    backoff, now, failures, answers = Backoff(answered=0.0), 0.0, 0, True
    for seconds, succeeds in events:
        now += seconds
        failures = 0 if answers else failures + 1
        pause = backoff.died(now)
        assert (pause is None) == (failures >= 5)
        assert pause is None or 0 <= pause <= 4
        answers = succeeds
        if succeeds:
            backoff.started(now)
