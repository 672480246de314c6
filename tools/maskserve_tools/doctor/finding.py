"""What a check answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from maskserve.errors import printable


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: ok; a warning (may fail); a problem (will fail); or unknown (could not be checked).
        what: what was found.
        why: what comes of it; empty where all is well.
        fix: what to do about it; likewise.
    """

    level: Level
    what: str
    why: str = ""
    fix: str = ""

    def __post_init__(self) -> None:
        for name in ("what", "why", "fix"):  # servers are quoted in them
            object.__setattr__(self, name, printable(getattr(self, name)))


def ok(what: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, what)


def warning(what: str, why: str, fix: str) -> Finding:
    """Return a finding that something may fail."""
    return Finding(Level.WARNING, what, why, fix)


def problem(what: str, why: str, fix: str) -> Finding:
    """Return a finding that something will fail."""
    return Finding(Level.PROBLEM, what, why, fix)


def unknown(what: str, why: str, fix: str) -> Finding:
    """Return a finding that something could not be checked."""
    return Finding(Level.UNKNOWN, what, why, fix)


def exit_status(findings: Sequence[Finding], *, strict: bool) -> int:
    """Return what scripts get: 2 if something could not be checked, else 1 if something will fail, else 0.

    Args:
        findings: all of them.
        strict: whether a warning counts as a problem.
    """
    levels = {finding.level for finding in findings}
    if Level.UNKNOWN in levels:
        return 2
    return int(Level.PROBLEM in levels or (strict and Level.WARNING in levels))
