"""The images that a command is given: a file, or a directory of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from maskserve.errors import InputError, ToolError
from maskserve.inputs.folders import images_in


def given_images(path: Path) -> list[Path]:
    """Return an image file, or those in a directory and below, sorted; see `maskserve.inputs.folders.images_in`.

    Raises:
        ToolError: there are none, or the directory or one below it cannot be read.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ToolError(f"there are no images at {path}: it is not there") from error
    except OSError as error:
        raise ToolError(f"{path} cannot be read: {error.strerror}") from error
    if stat.S_ISREG(mode):
        return [path]
    found = [Path(name) for name in images_in(str(path), _refuse)] if stat.S_ISDIR(mode) else []
    if not found:
        raise ToolError(f"there are no images at {path}")
    return found


def _refuse(_: str, error: InputError) -> None:
    raise ToolError(error.message)
