"""When somebody who was refused should come back."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from maskserve.pace import come_back_in


@given(st.floats(0, 1e6))
def test_it_is_between_a_half_of_the_wait_and_all_of_it(wait: float) -> None:
    seconds = come_back_in(wait)
    assert max(1, wait / 2) <= seconds <= max(1, wait + 1)


def test_those_who_are_refused_at_once_do_not_all_come_back_at_once() -> None:
    """With 64 clients at a model that needs 8 s for those in front: no second gets half of them."""
    told = Counter(come_back_in(8.0) for _ in range(64))
    assert set(told) <= {4, 5, 6, 7, 8}
    assert len(told) >= 3
    assert max(told.values()) < 40
