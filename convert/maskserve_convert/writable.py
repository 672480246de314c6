"""Whether something can be written where a conversion is told to, asked before minutes are spent on it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

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


@contextmanager
def room_explained(what: str) -> Iterator[None]:
    """Say where there is no room for temporary files; what the system says names one that was to be copied.

    Args:
        what: who writes them, as the subject of a sentence.

    Raises:
        ToolError: there is none.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise ToolError(
            f"{what} writes temporary files below {gettempdir()}, which failed: {error.strerror or error}; make room "
            "there, or name another folder with the environment variable TMPDIR"
        ) from error
