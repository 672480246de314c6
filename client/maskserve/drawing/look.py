"""The numbers and colours of the look, which the page shares, and what a caller may change of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np

from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
    from typing_extensions import Self

Part = Literal["masks", "boxes", "labels"]
By = Literal["instance", "class"]
Colour = tuple[int, int, int]
ColourLike = str | Sequence[int]
Colours = ColourLike | Sequence[ColourLike] | Mapping[str, ColourLike] | Mapping[int, ColourLike]

PARTS: tuple[Part, ...] = ("masks", "boxes", "labels")
DEFAULT_PARTS: frozenset[Part] = frozenset({"masks", "labels"})


class DrawOptions(TypedDict, total=False):
    """What `draw` and the methods that save what it draws take, beside the style.

    Attributes:
        show: which of "masks", "boxes" and "labels"; one name or several. Masks and labels by default.
        by: "instance" gives each instance its own colour, "class" gives the instances of a class one.
        colors: one colour or several that are used in turn, or a dict from class names or class ids to colours. A
            colour is a name or "#rrggbb", as in CSS, or red, green and blue from 0 to 255.
        opacity: of the masks' fill, from 0 to 1. Outlines are always opaque.
        ids: a whole number for each instance, such as a tracker's. The colour follows it, from image to image.
    """

    show: Part | Iterable[Part]
    by: By
    colors: Colours | None
    opacity: float | None
    ids: Sequence[int] | None


@cache
def look() -> dict[str, Any]:
    """Return the numbers and colours that the page draws by, too."""
    content: dict[str, Any] = json.loads(Path(__file__).with_name("look.json").read_text(encoding="utf-8"))
    return content


def unit(width: int, height: int) -> float:
    """Return how many pixels of an image of this size are one of the look's: of lines, and of text."""
    side, numbers = max(width, height), look()
    small = max(min(side / numbers["smallSide"], 1.0), numbers["smallestUnit"])
    return float(max(side / numbers["unitSide"], small))


@dataclass(frozen=True, slots=True)
class Look:
    """How instances are drawn; what it means is said at `DrawOptions`.

    Attributes:
        show: the parts.
        by_class: whether the instances of a class share a colour.
        palette: colours that are used in turn.
        named: colours of some classes, by name or by id.
        opacity: of the masks' fill.
        ids: of the instances; None for their rank by score.
    """

    show: frozenset[Part]
    by_class: bool
    palette: tuple[Colour, ...]
    named: Mapping[str | int, Colour]
    opacity: float
    ids: tuple[int, ...] | None

    @classmethod
    def checked(
        cls,
        *,
        show: Part | Iterable[Part] = DEFAULT_PARTS,
        by: By = "instance",
        colors: Colours | None = None,
        opacity: float | None = None,
        ids: Sequence[int] | None = None,
    ) -> Self:
        """Return the look that `DrawOptions` describe.

        Raises:
            InvalidParameter: an option makes no sense.
        """
        if by not in ("instance", "class"):
            raise InvalidParameter(f"by={by!r}: colours are by instance or by class")
        palette, named = _checked_colours(colors)
        return cls(_checked_parts(show), by == "class", palette, named, _checked_opacity(opacity), _checked_ids(ids))


def _checked_parts(show: Any) -> frozenset[Part]:
    try:
        found = frozenset([show] if isinstance(show, str) else show)
    except TypeError:  # neither a name nor several
        found = frozenset({"nothing of this kind"})
    if not found <= frozenset(PARTS):
        raise InvalidParameter(f"show={show!r}: what can be shown are masks, boxes and labels, one or several")
    return found


def _checked_opacity(opacity: Any) -> float:
    if opacity is None:
        return float(look()["opacity"])
    is_number = isinstance(opacity, int | float | np.integer | np.floating) and not isinstance(opacity, bool)
    if not is_number or not 0 <= opacity <= 1:  # not a number is neither
        raise InvalidParameter(f"opacity={opacity!r}: give a number from 0 to 1")
    return float(opacity)


def _checked_ids(ids: Any) -> tuple[int, ...] | None:
    if ids is None:
        return None
    try:
        array = np.asarray(ids)
    except ValueError:
        array = np.empty((1, 1))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InvalidParameter(f"ids={ids!r}: give a list of whole numbers, one for each instance")
    return tuple(int(number) for number in array)


def _checked_colours(colours: Any) -> tuple[tuple[Colour, ...], Mapping[str | int, Colour]]:
    own = tuple(colour(code) for code in look()["palette"])
    if colours is None:
        return own, {}
    if isinstance(colours, Mapping):
        wrong = [key for key in colours if isinstance(key, bool) or not isinstance(key, str | int | np.integer)]
        if wrong:
            raise InvalidParameter(f"colors: {wrong[0]!r} is neither the name of a class nor its id")
        return own, {key if isinstance(key, str) else int(key): colour(value) for key, value in colours.items()}
    if isinstance(colours, str) or _is_triple(colours):
        return (colour(colours),), {}
    try:
        several = tuple(colour(value) for value in colours)
    except TypeError:
        raise InvalidParameter(
            f"colors={colours!r}: give a colour, several, or a dict from classes to colours"
        ) from None
    if not several:
        raise InvalidParameter("colors: there is none in it; leave it out for the product's own")
    return several, {}


def colour(value: Any) -> Colour:
    """Return red, green and blue of a colour: a name or code as in CSS, or the three numbers.

    Raises:
        InvalidParameter: it is none.
    """
    from PIL import ImageColor

    if isinstance(value, str):
        try:
            red, green, blue = ImageColor.getrgb(value)[:3]
        except ValueError:
            raise InvalidParameter(f"colors: {value!r} is no colour: give a name such as red, or #rrggbb") from None
        return red, green, blue
    if _is_triple(value) and all(0 <= number <= 255 for number in value):
        red, green, blue = (int(number) for number in value)
        return red, green, blue
    raise InvalidParameter(f"colors: {value!r} is no colour: give three whole numbers from 0 to 255, or #rrggbb")


def _is_triple(value: Any) -> bool:
    if not isinstance(value, list | tuple | np.ndarray) or len(value) != 3:
        return False
    return all(isinstance(number, int | np.integer) and not isinstance(number, bool) for number in value)
