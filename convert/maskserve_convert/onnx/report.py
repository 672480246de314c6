"""What a pass says of a model: how many places it rewrote, and why it left the places that nearly fitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PassReport:
    """One pass over one model.

    Attributes:
        name: the pass, as its module in `maskserve_convert.onnx.passes` is called.
        found: how many places were rewritten.
        reasons: why the pass did not run, or why places that nearly fit were left as they are; a sentence each, with
            the number of places where there are several.
    """

    name: str
    found: int
    reasons: tuple[str, ...] = ()

    def as_json(self) -> Mapping[str, Any]:
        """Return the report for `provenance.json`."""
        return {"name": self.name, "found": self.found, "reasons": list(self.reasons)}


class NearMisses:
    """Collects why places nearly fit."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, reason: str) -> None:
        """Note one place, and why it was left as it is."""
        self._counts[reason] += 1

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons in the order in which they came up, each once."""
        return tuple(f"{reason} ({n} places)" if n > 1 else reason for reason, n in self._counts.items())
