"""Files that are read when they are taken: whoever gives them may write the next image into the same file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskserve.errors import InputError
from maskserve.inputs.image import InputImage
from maskserve.inputs.urls import is_address

Content = bytes | NDArray[np.uint8]


class HeldContent:
    """Gives once what was read when it was made, and reads again whenever it is asked after that.

    Args:
        read: reads it.

    Raises:
        InputError: it cannot be read.
    """

    def __init__(self, read: Callable[[], Content]) -> None:
        self._read = read
        self._held: Content | None = read()

    def __call__(self) -> Content:
        """Return the content."""
        held, self._held = self._held, None  # a result keeps its image for drawing, but no second copy of the file
        return self._read() if held is None else held


def held(element: Any, images: Iterable[InputImage]) -> Iterator[InputImage]:
    """Yield `images`, those in `element`, which an iterator gave; of a file what is in it now.

    One after the other is read, as they are asked for: the iterator goes on only after the last of them. Addresses are
    fetched later, and frames of videos are in memory.
    """
    for image in images:
        yield image if image is element or not _is_file(image) else _read_now(image)


def _is_file(image: InputImage) -> bool:
    return image.input_path is not None and image.frame_index is None and not is_address(image.input_path)


def _read_now(image: InputImage) -> InputImage:
    try:
        return replace(image, load=HeldContent(image.load))
    except InputError:
        return image  # it says so when it is loaded
