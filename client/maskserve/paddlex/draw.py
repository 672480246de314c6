"""Instances drawn into their image, as PaddleX draws them: tinted masks, boxes, and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from maskserve.paddlex import fonts as _fonts

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from numpy.typing import NDArray

    from maskserve.instances import Instances
    from maskserve.paddlex.fonts import Run
    from maskserve.paddlex.generations import Generation

Colour = tuple[int, int, int]

_ALPHA = 0.7
_PALETTE: tuple[Colour, ...] = tuple(
    (code >> 16, code >> 8 & 255, code & 255)
    for code in (
        *(0xFF0000, 0xCCFF00, 0x00FF66, 0x0066FF, 0xCC00FF, 0xFF4D00, 0x80FF00, 0x00FFB2, 0x001AFF, 0xFF00E5),
        *(0xFF9900, 0x33FF00, 0x00FFFF, 0x3300FF, 0xFF0099, 0xFFE500, 0x00FF1A, 0x00B2FF, 0x8000FF, 0xFF004D),
    )
)
_WHITE_TEXT_ON = frozenset({0, 3, 4, 8, 9, 13, 14, 18, 19})
_LIGHT, _DARK = (255, 255, 255), (0x14, 0x0E, 0x35)


def draw(rgb: NDArray[np.uint8], instances: Instances, habits: Generation) -> Image.Image:
    """Return the image with its instances: the second of a class is paler than the first, later labels cover earlier.

    Args:
        rgb: [height, width, 3] uint8; drawn upon.
        instances: what was found in it.
        habits: whose widths of lines and sizes of text.
    """
    _draw_masks(rgb, instances)
    image = Image.fromarray(rgb)
    _draw_boxes(image, instances, habits)
    return image


def _first_seen(keys: Iterable[Hashable]) -> list[int]:
    """Return for each key the position where it first occurred: PaddleX's choice of a class's colour."""
    first: dict[Hashable, int] = {}
    return [first.setdefault(key, position) for position, key in enumerate(keys)]


def _draw_masks(rgb: NDArray[np.uint8], instances: Instances) -> None:
    colours = list(_PALETTE)
    for seen, mask in zip(_first_seen(instances.class_ids.tolist()), instances.masks, strict=True):
        index = seen % len(colours)
        colours[index] = _whitened(colours[index])
        x, y, width, height = mask.box
        _tint(rgb[y : y + height, x : x + width], mask.crop(), colours[index])


def _whitened(colour: Colour) -> Colour:
    red, green, blue = (int(value * 0.6 + 102) for value in colour)
    return red, green, blue


def _tint(region: NDArray[np.uint8], inside: NDArray[np.uint8], colour: Colour) -> None:
    """Blend `colour` into a [h, w, 3] region, in place, by a table: there are only 256 values to blend."""
    import cv2

    if not inside.size:
        return
    table = np.arange(256, dtype=np.float32)[:, None] * np.float32(1.0 - _ALPHA) + _ALPHA * np.array(colour)
    blended = cv2.LUT(np.ascontiguousarray(region), table.astype(np.uint8)[None])
    cv2.copyTo(blended, np.ascontiguousarray(inside), region)


def _draw_boxes(image: Image.Image, instances: Instances, habits: Generation) -> None:
    canvas = ImageDraw.Draw(image)
    thickness = max(int(max(image.size) * habits.line_width), 1)  # Pillow draws nothing at all with a width of 0
    size = int(habits.font_size * image.width) + 2
    seen = _first_seen(instances.labels)
    for first, instance in zip(seen, instances, strict=True):
        index = first % len(_PALETTE)
        x0, y0, x1, y1 = instance.box
        outline = [(x0, y0), (x0, y1), (x1, y1), (x1, y0), (x0, y0)]
        canvas.line(outline, width=thickness, fill=_PALETTE[index])
        ink = _LIGHT if index in _WHITE_TEXT_ON else _DARK
        label = _fonts.runs(instance.label, size, otherwise=f"class {instance.class_id}")
        _draw_label(canvas, _with_score(label, instance.score, size), (x0, y0), (_PALETTE[index], ink))


def _with_score(label: list[Run], score: float, size: int) -> list[Run]:
    text, font = f" {score:.2f}", _fonts.font(size)
    if label and label[-1][1] is font:
        return [*label[:-1], (label[-1][0] + text, font)]
    return [*label, (text, font)]


def _draw_label(
    canvas: ImageDraw.ImageDraw, runs: list[Run], corner: tuple[float, float], colours: tuple[Colour, Colour]
) -> None:
    """Write a text on a plate above the box's corner, or inside the box where there is no room above."""
    x, y = corner
    paper, ink = colours
    anchor = "la" if len(runs) == 1 else "ls"  # several fonts stand on one line
    starts = [0.0]
    for text, font in runs:
        starts.append(starts[-1] + font.getlength(text))
    boxes = [
        canvas.textbbox((start, 0), text, font=font, anchor=anchor)
        for start, (text, font) in zip(starts, runs, strict=False)
    ]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    width, height = right - left, bottom - top + 4
    x = max(0, min(x, canvas.im.size[0] - width - 5))
    plate = y - height if y >= height else y
    canvas.rectangle([(x, plate), (x + width + 4, plate + height + 1)], fill=paper)
    # from the glyphs' own extent, so that the text sits on its plate in any font and size
    for start, (text, font) in zip(starts, runs, strict=False):
        canvas.text((x + 2 - left + start, plate + 2 - top), text, fill=ink, font=font, anchor=anchor)
