"""Directories, searched for images."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.errors import InputError
from maskserve.saving.drawn import is_drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff"})
_log = logging.getLogger("maskserve")
_NAMED = 3  # of the images that are left out


def is_image(name: str) -> bool:
    """Return whether a file in a directory is taken for an image, by its name."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")  # such as macOS's ._photo.jpg


def images_in(directory: str, refuse: Callable[[str, InputError], None]) -> Iterator[str]:
    """Yield the image files in `directory` and below, sorted by their paths.

    What maskserve drew itself is left out, and a warning says so. Links to directories are not followed.

    Args:
        directory: where to search.
        refuse: told of each file or directory that cannot be read, with the reason.
    """

    def unreadable(error: OSError) -> None:
        refuse(os.fsdecode(error.filename or directory), unreadable_folder(error, directory))

    found = sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(directory, onerror=unreadable)
        for name in names
        if is_image(name)
    )
    drawn: list[str] = []
    try:
        for path in found:
            if not is_regular(path):
                refuse(path, InputError(f"{path!r} is not a file with an image, but a pipe, a socket or a device"))
            elif is_drawn(path):
                drawn.append(path)
            else:
                yield path
    finally:
        report_drawn(drawn)


def unreadable_folder(error: OSError, directory: str) -> InputError:
    """Return the error for a directory, `directory` or one below, whose files cannot be listed."""
    folder = os.fsdecode(error.filename or directory)
    return InputError(f"the directory {folder!r} cannot be read: {error.strerror}")


def report_drawn(paths: list[str]) -> None:
    """Warn that images are left out which maskserve drew."""
    if paths:
        some = ", ".join(map(repr, paths[:_NAMED])) + (", ..." if len(paths) > _NAMED else "")
        count = "1 image" if len(paths) == 1 else f"{len(paths)} images"
        _log.warning("left out %s that maskserve drew: %s; name one alone to segment it", count, some)


def is_regular(path: str) -> bool:
    """Return whether a path leads to a file; opening one that leads nowhere is an error later."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
