"""Whether something can be written where a conversion is told to, asked before minutes are spent on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskserve.errors import ToolError


def check_writable(folder: Path) -> None:
    """Make sure that a folder can be written into, or made where it is not there yet. Nothing is made.

    Raises:
        ToolError: it cannot.
    """
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if _is_there(path))
        if not there.is_dir():
            raise ToolError(f"{folder} cannot be written: {there} is not a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise ToolError(f"{folder} cannot be written: {there} is read-only for this user")
    except OSError as error:  # a name that is too long, for instance
        raise ToolError(f"{folder} cannot be written: {error.strerror or error}") from error


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn what the file system raises into a sentence.

    Args:
        place: what is written.

    Raises:
        ToolError: something in the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ToolError(f"{place} cannot be written: {error.strerror or error}") from error
