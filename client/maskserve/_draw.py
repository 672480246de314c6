"""Instances drawn into their picture, as PaddleX draws them: tinted masks, boxes, and labels."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskserve.errors import InvalidImage, InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from numpy.typing import NDArray

    from maskserve._generations import Generation
    from maskserve.instances import Instances

Style = Literal["maskserve", "paddlex"]
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


def draw(rgb: NDArray[np.uint8], instances: Instances, look: Generation, style: Style = "maskserve") -> Image.Image:
    """The picture with its instances.

    Args:
        rgb: [height, width, 3] uint8; drawn upon.
        instances: what was found in it.
        look: whose widths of lines and sizes of text.
        style: "maskserve" gives every instance of a class the same colour, and keeps the labels of the best legible
            where labels meet; in "paddlex" the second of a class is paler than the first, and so on, and later
            labels cover earlier ones, as in PaddleX's pictures.

    Raises:
        InvalidImage: the picture has another size than the one that was segmented.
        InvalidParameter: there is no such style.
    """
    if style not in ("maskserve", "paddlex"):
        raise InvalidParameter(f"no style {style!r}: maskserve and paddlex are known")
    if rgb.shape[:2] != instances.image_size:
        was, now = instances.image_size, rgb.shape
        raise InvalidImage(f"the picture was {was[0]}x{was[1]} when it was segmented, now it is {now[0]}x{now[1]}")
    _draw_masks(rgb, instances, fading=style == "paddlex")
    image = Image.fromarray(rgb)
    order = range(len(instances)) if style == "paddlex" else np.argsort(instances.scores, kind="stable").tolist()
    _draw_boxes(image, instances, look, order)
    return image


def _first_seen(keys: Iterable[Hashable]) -> list[int]:
    """For each key the position where it first occurred: PaddleX's choice of a class's colour."""
    first: dict[Hashable, int] = {}
    return [first.setdefault(key, position) for position, key in enumerate(keys)]


def _draw_masks(rgb: NDArray[np.uint8], instances: Instances, *, fading: bool) -> None:
    colours = list(_PALETTE)
    pale = [False] * len(colours)
    for seen, mask in zip(_first_seen(instances.class_ids.tolist()), instances.masks, strict=True):
        index = seen % len(colours)
        if fading or not pale[index]:
            colours[index], pale[index] = _whitened(colours[index]), True
        x, y, width, height = mask.box
        _tint(rgb[y : y + height, x : x + width], mask.crop().astype(bool), colours[index])


def _whitened(colour: Colour) -> Colour:
    red, green, blue = (int(value * 0.6 + 102) for value in colour)
    return red, green, blue


def _tint(region: NDArray[np.uint8], inside: NDArray[np.bool_], colour: Colour) -> None:
    """Blend `colour` into a [h, w, 3] region, in place, by a table: there are only 256 values to blend."""
    table = np.arange(256, dtype=np.float32)[:, None] * np.float32(1.0 - _ALPHA) + _ALPHA * np.array(colour)
    blended = table.astype(np.uint8)
    for channel in range(3):
        plane = region[:, :, channel]
        plane[inside] = blended[plane[inside], channel]


def _draw_boxes(image: Image.Image, instances: Instances, look: Generation, order: Iterable[int]) -> None:
    canvas = ImageDraw.Draw(image)
    thickness = max(int(max(image.size) * look.line_width), 1)  # Pillow draws nothing at all with a width of 0
    font = _font(int(look.font_size * image.width) + 2)
    seen = _first_seen(instances.labels)
    for position in order:
        index, instance = seen[position] % len(_PALETTE), instances[position]
        x0, y0, x1, y1 = instance.box
        outline = [(x0, y0), (x0, y1), (x1, y1), (x1, y0), (x0, y0)]
        canvas.line(outline, width=thickness, fill=_PALETTE[index])
        ink = _LIGHT if index in _WHITE_TEXT_ON else _DARK
        text = f"{instance.label} {instance.score:.2f}"
        _draw_label(canvas, text, (x0, y0), font, (_PALETTE[index], ink))


def _draw_label(
    canvas: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    font: ImageFont.FreeTypeFont,
    colours: tuple[Colour, Colour],
) -> None:
    """Write `text` on a plate above the box's corner, or inside the box where there is no room above."""
    x, y = corner
    paper, ink = colours
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    width, height = right - left, bottom - top + 4
    x = max(0, min(x, canvas.im.size[0] - width - 5))
    plate = y - height if y >= height else y
    canvas.rectangle([(x, plate), (x + width + 4, plate + height + 1)], fill=paper)
    # from the glyphs' own extent, so that the text sits on its plate in any font and size
    canvas.text((x + 2 - left, plate + 2 - top), text, fill=ink, font=font)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The bundled font, or the one that PADDLE_PDX_LOCAL_FONT_FILE_PATH names (for labels in other scripts)."""
    path = os.environ.get("PADDLE_PDX_LOCAL_FONT_FILE_PATH") or Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
    try:
        return ImageFont.truetype(path, max(size, 1))
    except OSError as error:
        raise InvalidParameter(f"the font file {path} cannot be read ({error})") from None
