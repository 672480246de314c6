"""Files that are read when they are taken: whoever gives them may write the next image into the same file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskserve.errors import InputError
from maskserve.inputs.image import InputImage

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
    """Yield `images`, those in `element`; where that is the path of a file, what is in the file now.

    Pages of documents, frames of videos and the files of a directory are left to be read later.
    """
    path = next(iter(element.values()), None) if isinstance(element, Mapping) else element
    is_file = isinstance(path, str | os.PathLike) and os.path.isfile(path)
    for image in images:
        yield _read_now(image) if is_file and image.part is None else image


def _read_now(image: InputImage) -> InputImage:
    try:
        return replace(image, load=HeldContent(image.load))
    except InputError:
        return image  # it says so when it is loaded
