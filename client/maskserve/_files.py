"""Where saved results go."""

from __future__ import annotations

import os
import random
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from maskserve.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maskserve._generations import Generation
    from maskserve._pictures import Picture


def own_name(picture: Picture) -> Path:
    """The file name that a picture brings with it; for one in memory the time and four random digits, as PaddleX."""
    source = picture.input_path
    if source is None:
        return Path(f"{int(time.time())}_{random.randint(0, 9999):04d}")
    return Path(unquote(urlsplit(source).path) if "://" in source else source)


def stem(picture: Picture, name: Path, generation: Generation) -> str:
    """What the saved files of a picture are called, without a suffix, if its own name is `name`."""
    page = "" if picture.page_index is None else f"_{picture.page_index}"
    return f"{name.stem}{page}{generation.stem_suffix}"


def target(save_path: str | os.PathLike[str], name: str, is_file: Callable[[str], bool]) -> Path:
    """The file to write: `save_path` itself where its suffix says so, else `name` in the directory `save_path`."""
    path = Path(save_path)
    return path if is_file(path.suffix.lower()) and not path.is_dir() else path / name


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when all went well: no half-written file is ever seen.

    Raises:
        InputError: the file cannot be written.
    """
    scratch = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        scratch.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            scratch.unlink()
