"""The images that a quantisation measures the ranges of a network's values on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskserve.decoding.decode import decode
from maskserve.errors import InputError, ToolError, listed
from maskserve.inputs.folders import images_in
from maskserve.inputs.image import load_file
from maskserve_convert.paddle.folder import sha256

MOST_IMAGES = 64  # more take longer and change little: 24 and 100 images gave the demo model the same AP
_SHOWN = 5  # of a long list of names


@dataclass(frozen=True, slots=True)
class Calibration:
    """The chosen images.

    Attributes:
        images: their files, in the order in which they are used.
        seed: what they were drawn with.
        found: how many there were to choose from.
    """

    images: tuple[Path, ...]
    seed: int
    found: int

    def digests(self) -> list[str]:
        """Return the SHA-256 of each file, sorted: the names of a user's files are not written down."""
        return sorted(map(sha256, self.images))


def choose_images(paths: Sequence[Path], *, seed: int = 0, most: int = MOST_IMAGES) -> Calibration:
    """Take images, and check that each can be decoded.

    Args:
        paths: image files, and directories of them.
        seed: the same one chooses the same images.
        most: how many at most; of more some are drawn.

    Raises:
        ToolError: there are none, or one of them cannot be decoded; the message names it.
    """
    found = [image for path in paths for image in _images(path)]
    if not found:
        raise ToolError(f"there are no images in {listed(paths, _SHOWN)} (--calibration): int8 is calibrated on some")
    ordered = sorted(dict.fromkeys(found))
    chosen = ordered if len(ordered) <= most else random.Random(seed).sample(ordered, most)
    if broken := [f"{image} ({words})" for image in chosen if (words := _why_not(image))]:
        raise ToolError(
            f"{len(broken)} of {len(chosen)} images for the calibration cannot be decoded: {listed(broken, _SHOWN)}; "
            "remove them"
        )
    return Calibration(tuple(chosen), seed, len(ordered))


def _images(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise ToolError(f"there is no {path} (--calibration)")
        return [path]

    def refuse(_: str, error: InputError) -> None:
        raise ToolError(f"the images for the calibration: {error.message}")

    return [Path(image) for image in images_in(str(path), refuse)]


def _why_not(image: Path) -> str:
    """Return why an image cannot be decoded; "" if it can."""
    try:
        decode(load_file(str(image)))
    except InputError as error:
        return error.message
    return ""
