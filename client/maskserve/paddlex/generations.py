"""PaddleX's habits by generation: what results are called, how they are wrapped and drawn."""

from __future__ import annotations

from dataclasses import dataclass

from maskserve.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation's habits.

    Attributes:
        stem_suffix: appended to the image's name for saved files.
        wrapped: `print`, `.json`, `.str` and `.img` put everything under the key "res".
        paged: results have a "page_index".
        line_width: of boxes, relative to the longer side of the image.
        font_size: relative to the width of the image, before 2 is added.
    """

    stem_suffix: str
    wrapped: bool
    paged: bool
    line_width: float
    font_size: float


GENERATIONS = {
    "3.0b2": Generation(stem_suffix="", wrapped=False, paged=False, line_width=0.005, font_size=0.024),
    "3.x": Generation(stem_suffix="_res", wrapped=True, paged=True, line_width=0.002, font_size=0.018),
}
DEFAULT = "3.0b2"


def generation_named(name: str) -> Generation:
    """Return the generation of that name.

    Raises:
        InvalidParameter: there is none.
    """
    if not isinstance(name, str) or name not in GENERATIONS:
        raise InvalidParameter(f"no generation {name!r}: {' and '.join(GENERATIONS)} are known")
    return GENERATIONS[name]
