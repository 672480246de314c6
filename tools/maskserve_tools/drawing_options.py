"""Options that say how the saved images and videos are drawn."""

from __future__ import annotations

import argparse
from typing import Any

from maskserve_tools.options import score

_NAMES = ("show", "by", "opacity", "colors")


def add_drawing_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `drawing_of`."""
    group = parser.add_argument_group("what saved images and videos look like")
    add = group.add_argument
    add("--style", choices=("maskserve", "paddlex"), default="maskserve", help="paddlex draws as PaddleX does")
    add(
        "--show",
        nargs="+",
        choices=("masks", "boxes", "labels"),
        metavar="PART",
        help="masks, boxes, labels (default: masks labels)",
    )
    add("--by", choices=("instance", "class"), help="what has its own colour (default instance)")
    add("--colors", nargs="+", metavar="COLOR", help="used in turn, such as red or #ff6b6b")
    add("--opacity", type=score, metavar="A", help="of the masks, from 0 to 1")


def drawing_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `draw` that the options make.

    Raises:
        InvalidParameter: an option makes no sense, or is not for this style.
    """
    from maskserve.drawing.draw import chosen_look

    options = {name: value for name in _NAMES if (value := getattr(args, name)) is not None}
    chosen_look(args.style, options)
    return {"style": args.style, **options}
