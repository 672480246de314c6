"""An image with its instances, in the product's own look or in PaddleX's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from maskserve import rle as _rle
from maskserve.drawing.colours import colours_of
from maskserve.drawing.labels import draw_labels
from maskserve.drawing.look import Look, look, unit
from maskserve.drawing.painting import paint_box, paint_mask
from maskserve.errors import InvalidImage, InvalidParameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskserve.instances import Instances
    from maskserve.paddlex.generations import Generation

Style = Literal["maskserve", "paddlex"]


def chosen_look(style: Style, options: dict[str, Any]) -> Look | None:
    """Return the look that a caller asks for; None for PaddleX's.

    Raises:
        InvalidParameter: there is no such style, an option makes no sense, or it is not for this style.
        TypeError: there is no option of this name.
    """
    how = Look.checked(**options)
    if style not in ("maskserve", "paddlex"):
        raise InvalidParameter(f"no style {style!r}: maskserve and paddlex are known")
    if style == "maskserve":
        return how
    if options:
        raise InvalidParameter(f"style='paddlex' draws as PaddleX does: leave out {', '.join(sorted(options))}")
    return None


def draw(rgb: NDArray[np.uint8], instances: Instances, how: Look | None, habits: Generation) -> Image.Image:
    """Return the image with its instances.

    Args:
        rgb: [height, width, 3] uint8; drawn upon.
        instances: what was found in it.
        how: the look; None for PaddleX's.
        habits: whose widths of lines and sizes of text PaddleX's look has.

    Raises:
        InvalidImage: the image has another size than the one that was segmented.
        InvalidParameter: the ids are not one for each instance.
    """
    check_size(rgb, instances)
    if how is None:
        from maskserve.paddlex.draw import draw as draw_as_paddlex

        return draw_as_paddlex(rgb, instances, habits)
    return _draw(rgb, instances, how)


def check_size(pixels: NDArray[np.uint8], instances: Instances) -> None:
    """Make sure that the image has the size that it had when it was segmented.

    Raises:
        InvalidImage: it has another one.
    """
    if pixels.shape[:2] != instances.image_size:
        was, now = instances.image_size, pixels.shape
        raise InvalidImage(f"the image was {was[0]}x{was[1]} when it was segmented, now it is {now[0]}x{now[1]}")


def _draw(rgb: NDArray[np.uint8], instances: Instances, how: Look) -> Image.Image:
    colours = colours_of(instances, how)
    size = unit(rgb.shape[1], rgb.shape[0])
    ends = [_rle.edges(mask.counts) for mask in instances.masks]  # once: a mask may have thousands of runs
    areas = [_rle.area(own) for own in ends]
    largest_first = sorted(range(len(areas)), key=lambda position: -areas[position])
    line, box_line = max(look()["outline"] * size, 1.0), max(round(look()["box"] * size), 1)
    if "masks" in how.show:
        for position in largest_first:
            mask, colour = instances.masks[position], colours[position]
            paint_mask(rgb, mask, ends[position], colour, opacity=how.opacity, line=line)
    for position in largest_first:
        if "boxes" in how.show or ("masks" in how.show and not areas[position]):  # else nothing of it would be seen
            paint_box(rgb, instances[position].box, colours[position], box_line)
    image = Image.fromarray(rgb)
    if "labels" in how.show:
        draw_labels(image, instances, colours, size, ends)
    return image
