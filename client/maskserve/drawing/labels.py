"""Labels: a class name and a score on a plate of the instance's colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from maskserve.drawing.colours import ink_on
from maskserve.drawing.look import look
from maskserve.drawing.placing import place_labels
from maskserve.paddlex import fonts as _fonts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskserve.drawing.look import Colour
    from maskserve.drawing.placing import Plate
    from maskserve.instances import Instance, Instances
    from maskserve.paddlex.fonts import Run
    from maskserve.rle import Runs

_SMOOTH = 4  # times as large is a plate drawn whose corners become smooth
_BASELINE = 0.365  # of the text's size below the middle of the plate: half the height of a capital letter


@dataclass(frozen=True, slots=True)
class _Text:
    runs: list[Run]
    size: tuple[int, int]


def draw_labels(
    image: Image.Image, instances: Instances, colours: Sequence[Colour], unit: float, ends: Sequence[Runs]
) -> None:
    """Write a label for each instance where there is a place for it, in place.

    Args:
        image: RGB.
        instances: in it.
        colours: of each.
        unit: pixels of one unit of the look.
        ends: of each instance's mask, see `maskserve.rle.edges`.
    """
    texts = [_texts(instance, unit) for instance in instances]
    plates = place_labels(instances, [[text.size for text in choices] for choices in texts], ends)
    canvas = ImageDraw.Draw(image)
    for plate in plates:
        _draw_leader(canvas, plate, texts[plate.position][plate.choice].size, colours[plate.position], unit)
    for plate in reversed(plates):  # none is under another, but a line may be
        text = texts[plate.position][plate.choice]
        _draw_plate(image, (plate.x, plate.y), text.size, colours[plate.position], unit)
        _write(canvas, text, plate, ink_on(colours[plate.position]), unit)


def _texts(instance: Instance, unit: float) -> list[_Text]:
    """Return the label with its score, and without it, which is for places where there is little room."""
    size = max(round(look()["text"] * unit), 1)
    padding = look()["platePadding"] * unit
    name = _fonts.runs(instance.label, size, otherwise=f"class {instance.class_id}")
    texts = []
    for runs in ([*name, (f" {instance.score:.2f}", _fonts.font(size))], name):
        width = sum(font.getlength(text) for text, font in runs) + 2 * padding
        texts.append(_Text(runs, (max(int(np.ceil(width)), 1), max(round(look()["plateHeight"] * unit), 1))))
    return texts


def _draw_leader(canvas: ImageDraw.ImageDraw, plate: Plate, size: tuple[int, int], colour: Colour, unit: float) -> None:
    if plate.towards is not None:
        middle = plate.x + size[0] // 2, plate.y + size[1] // 2
        canvas.line([middle, plate.towards], fill=colour, width=max(round(look()["leader"] * unit), 1))


def _draw_plate(
    image: Image.Image, corner: tuple[int, int], size: tuple[int, int], colour: Colour, unit: float
) -> None:
    large = Image.new("L", (size[0] * _SMOOTH, size[1] * _SMOOTH))
    radius = look()["plateRadius"] * unit * _SMOOTH
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), radius, fill=255)
    image.paste(colour, corner, large.resize(size, Image.Resampling.BOX))


def _write(canvas: ImageDraw.ImageDraw, text: _Text, plate: Plate, ink: Colour, unit: float) -> None:
    x = plate.x + look()["platePadding"] * unit
    baseline = round(plate.y + text.size[1] / 2 + _BASELINE * look()["text"] * unit)
    for letters, font in text.runs:
        canvas.text((round(x), baseline), letters, fill=ink, font=font, anchor="ls")
        x += font.getlength(letters)
