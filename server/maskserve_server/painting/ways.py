"""Which masks are computed along their outlines, and which are evaluated in full: what costs less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Outline = TypeVar("Outline")


@dataclass(frozen=True, slots=True)
class Costs:
    """What things cost, in nanoseconds. The ratios matter, and they differ little between processors.

    Attributes:
        window: a window that is evaluated in full.
        sample: an enlarged sample in it.
        pixel: a pixel in it.
        look: finding out where an outline is.
        cell: a cell, or a group of cells, of an outline.
        cell_pixel: a pixel in it.
        outlines: outlines at all, however many there are.
    """

    window: float
    sample: float
    pixel: float
    look: float
    cell: float
    cell_pixel: float
    outlines: float

    def full(self, pixels: int, samples: int = 0) -> float:
        """Return the cost of a window with so many pixels, and enlarged samples."""
        return self.window + self.pixel * pixels + self.sample * samples

    def along(self, found: int, cells: int, pixels: int) -> float:
        """Return the cost of an outline through some of the cells of a window with so many pixels."""
        return self.cell * found + self.cell_pixel * pixels * found / cells

    def chosen(self, full: dict[int, float], outline: Callable[[int], tuple[Outline, float]]) -> dict[int, Outline]:
        """Return the outlines of those instances that are better computed along them.

        Args:
            full: what each instance costs in full, by its number.
            outline: what finds an instance's outline, and says what it costs.
        """
        if sum(full.values()) < self.outlines + self.look * len(full):
            return {}
        found, saved = {}, 0.0
        for number, cost in full.items():
            if cost > self.window + self.look:
                line, needed = outline(number)
                if needed < cost:
                    found[number] = line
                    saved += cost - needed
        return found if saved > self.outlines else {}
