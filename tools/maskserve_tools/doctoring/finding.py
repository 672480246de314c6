"""What a check answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: ok; a warning (it may hurt); a problem (it will hurt); or unseen (it could not be looked at).
        what: what was found.
        why: what comes of it; empty where all is well.
        mend: what to do about it; likewise.
    """

    level: Level
    what: str
    why: str = ""
    mend: str = ""


def ok(what: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, what)


def warning(what: str, why: str, mend: str) -> Finding:
    """It may hurt."""
    return Finding(Level.WARNING, what, why, mend)


def problem(what: str, why: str, mend: str) -> Finding:
    """It will hurt."""
    return Finding(Level.PROBLEM, what, why, mend)


def unseen(what: str, why: str, mend: str) -> Finding:
    """It could not be looked at."""
    return Finding(Level.UNSEEN, what, why, mend)


def exit_status(findings: Sequence[Finding], *, strict: bool) -> int:
    """What scripts get: 2 where something could not be looked at, else 1 where something will hurt, else 0.

    Args:
        findings: all of them.
        strict: whether a warning counts as a problem.
    """
    levels = {finding.level for finding in findings}
    if Level.UNSEEN in levels:
        return 2
    return int(Level.PROBLEM in levels or (strict and Level.WARNING in levels))
