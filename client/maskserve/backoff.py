"""When something that keeps dying may be started again, and when nobody should try any more."""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 4.0  # a caller who waits for it gives up sooner or later
_QUIET = 5.0  # seconds of health after which earlier deaths are forgotten
_MOST_FAILURES = 5


@dataclass(slots=True)
class Backoff:
    """The deaths and the starts of one process or entry. It has just been started, and answers.

    Attributes:
        answered: when it was last seen to have started, on the caller's clock; None while no start has succeeded since
            the last death.
        deaths: the deaths since it was quiet.
        failures: how many starts in a row have failed.
    """

    answered: float | None
    deaths: int = 0
    failures: int = 0

    def died(self, now: float) -> float | None:
        """Take note of a death, or of a start that failed.

        Returns:
            How many seconds to wait before the next start; None where there should be none: five starts in a row have
            failed.
        """
        if self.answered is None:
            self.failures += 1
        elif now - self.answered > _QUIET:
            self.deaths = 0
        self.answered = None
        pause = 0.0 if self.deaths == 0 else min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (self.deaths - 1))
        self.deaths += 1
        return None if self.failures >= _MOST_FAILURES else pause

    def started(self, now: float) -> None:
        """Take note of a start that succeeded."""
        self.answered = now
        self.failures = 0
