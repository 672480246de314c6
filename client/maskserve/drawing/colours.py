"""Which instance has which colour, and which ink is legible on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskserve.drawing.look import Colour, colour, look
from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
    from maskserve.drawing.look import Look
    from maskserve.instances import Instances


def colours_of(instances: Instances, how: Look) -> list[Colour]:
    """Return a colour for each instance: by its class, its id, or its rank by score.

    The rank does not change when a threshold leaves out those with lower scores.

    Raises:
        InvalidParameter: there are ids, but not one for each instance.
    """
    if how.ids is not None and len(how.ids) != len(instances):
        raise InvalidParameter(f"ids: there are {len(how.ids)} of them for {len(instances)} instances")
    classes = instances.class_ids.tolist()
    numbers = classes if how.by_class else how.ids if how.ids is not None else ranks(instances)
    palette = how.palette
    own = [palette[number % len(palette)] for number in numbers]
    return [
        how.named.get(label, how.named.get(class_id, plain))
        for label, class_id, plain in zip(instances.labels, classes, own, strict=True)
    ]


def ranks(instances: Instances) -> list[int]:
    """Return each instance's place among those with higher scores; of equal ones the first comes first."""
    found = [0] * len(instances)
    for rank, position in enumerate(by_score(instances)):
        found[position] = rank
    return found


def by_score(instances: Instances) -> list[int]:
    """Return the positions of the instances, the surest first."""
    scores = instances.scores.tolist()
    return sorted(range(len(scores)), key=lambda position: -scores[position])


def ink_on(paper: Colour) -> Colour:
    """Return the one of the look's two inks that is more legible on a colour."""
    dark, light = (colour(look()[name]) for name in ("darkInk", "lightInk"))
    return dark if contrast(dark, paper) >= contrast(light, paper) else light


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast of two colours as WCAG 2 defines it, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(code: Colour) -> float:
    parts = [value / 255 for value in code]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
