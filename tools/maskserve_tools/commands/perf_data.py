"""`maskserve perf-data`: images in the form that perf_analyzer sends."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskserve.inputs.image import InputImage

_EPILOG = """\
Every image is an entry of "data"; perf_analyzer sends one after the other and begins again. Tensors are in Base64 of
their bytes on the wire: in a BYTES tensor, four bytes of length, little-endian, stand in front of the file.

example:
  maskserve perf-data photos/ --output perf.json
  perf_analyzer -m Mask-RT-DETR-S -i grpc -u localhost:8001 --input-data perf.json --concurrency-range 1:4
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "perf-data",
        help="write images as perf_analyzer's input data",
        description="Write images as the JSON file that perf_analyzer takes with --input-data.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="image files or directories")
    add("--threshold", type=float, metavar="T", help="sent along (default: the model's own is left to it)")
    add("--output", type=Path, required=True, metavar="FILE", help="the JSON file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file.

    Raises:
        InputError: an image cannot be read or decoded, the threshold makes no sense, or the file cannot be written.
    """
    from maskserve.arguments import checked_threshold
    from maskserve.inputs.sources import images
    from maskserve.saving.files import replacing

    document = input_data(images(args.photos), checked_threshold(args.threshold))
    with replacing(args.output) as scratch:
        scratch.write_text(json.dumps(document), encoding="ascii")
    count = len(document["data"])
    print(f"{args.output}: {count} {'image' if count == 1 else 'images'}", file=sys.stderr)
    return 0


def input_data(images: Iterable[InputImage], threshold: float | None = None) -> dict[str, Any]:
    """Return the document that `perf_analyzer --input-data` reads: one entry for each image.

    Args:
        images: what to send.
        threshold: sent along; None to leave the model its own.

    Raises:
        InputError: an image cannot be read or decoded.
    """
    return {"data": [_entry(input_image, threshold) for input_image in images]}


def _entry(input_image: InputImage, threshold: float | None) -> dict[str, Any]:
    from maskserve.transport.wire import ImageRequest

    input_image.bgr()  # an image that the server refuses would end a measurement with a riddle
    tensors = ImageRequest(input_image.encoded(), threshold).tensors()
    return {
        tensor.name: {"b64": base64.b64encode(tensor.data).decode("ascii"), "shape": list(tensor.shape)}
        for tensor in tensors
    }
