"""How fast answers follow one another, learned from the answers: what a queue needs to say how long it will take."""

from __future__ import annotations

import math
import random

_SHARE = 0.2  # of the newest answer in the mean
_OUTLIER = 5.0  # an answer counts as at most so many times the mean: one slow image says little of the next


class Pace:
    """Seconds from one answer to the next while more wait. Not locked: who shares it has a lock.

    Args:
        seconds: what is known beforehand; 0 where nothing is.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._last = float("-inf")

    @property
    def seconds(self) -> float:
        """The mean; 0 where there was no answer yet and nothing is known beforehand."""
        return self._seconds

    def answered(self, begun: float, now: float) -> None:
        """Take an answer into the mean.

        Args:
            begun: when the work on it began, in monotonic seconds.
            now: when it was there.
        """
        took = max(now - max(begun, self._last), 0.0)
        self._last = now
        if self._seconds > 0:
            took = self._seconds + _SHARE * (min(took, _OUTLIER * self._seconds) - self._seconds)
        self._seconds = took


def come_back_in(wait: float) -> int:
    """Return after how many whole seconds somebody who is refused should come back.

    Those who are refused in the same moment get different numbers, from a half of the wait to the whole of it: if they
    came back in the same moment, too, they would wait for each other only to be refused again.

    Args:
        wait: how many seconds those take who are taken in now.
    """
    return max(1, math.ceil(random.uniform(wait / 2, wait)))
