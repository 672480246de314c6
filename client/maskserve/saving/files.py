"""Where saved results go."""

from __future__ import annotations

import os
import re
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from maskserve.errors import InputError, InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maskserve.inputs.image import InputImage
    from maskserve.paddlex.generations import Generation

_URL = re.compile(r"https?://", re.IGNORECASE)
# What a file must not be called on one system or another, where a stranger's server chooses the name.
_NO_NAME = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*]')
_RESERVED = re.compile(r"(?i)[-.]|(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)")
_LONGEST_SUFFIX = 16
_random = SystemRandom()  # not the program's own generator, which may be seeded alike in many processes


class NameTaken(InputError):
    """A file that was to be a new one is there already."""


class _MemoryNames:
    """Names for images in memory; no two in this process are the same."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._second = 0
        self._given: set[str] = set()

    def new(self) -> str:
        """Return the time and four random digits, as PaddleX; more digits where four are used up."""
        with self._lock:
            second = int(time.time())
            if second != self._second:
                self._second, self._given = second, set()
            digits = 4
            while (name := f"{second}_{_random.randrange(10**digits):0{digits}d}") in self._given:
                digits += len(self._given) > 10 ** (digits - 1)
            self._given.add(name)
            return name


_memory_names = _MemoryNames()


def is_url(source: str) -> bool:
    """Return whether `source` is an address rather than a path."""
    return _URL.match(source) is not None


def own_name(input_image: InputImage) -> Path:
    """Return the file name that an image brings with it; for one in memory the time and four digits, as PaddleX."""
    source = input_image.input_path
    if not source:
        return Path(_memory_names.new())
    return Path(_url_name(source)) if is_url(source) else Path(source)


def _url_name(url: str) -> str:
    """Return the last part of a URL's path as a file name, or its host, where the path is empty."""
    try:
        address = urlsplit(url)
        path, host = address.path, address.hostname or ""
    except ValueError:  # such as half an IPv6 address
        path, host = url.partition("://")[2].partition("?")[0], ""
    name = _NO_NAME.sub("_", unquote(path).rstrip("/").rpartition("/")[2].strip(" "))
    if not name.strip(". "):  # the host gets a suffix, so that its own dots are none
        name = f"{_NO_NAME.sub('_', host).strip('. ') or 'url'}.png"
    name = name.rstrip(". ")
    return f"_{name}" if _RESERVED.match(name) else name


def allowed_name(text: str) -> str:
    """Return `text` with what a file must not be called on one system or another replaced."""
    return _NO_NAME.sub("_", text).strip(" .")


def stem(input_image: InputImage, name: Path, generation: Generation) -> str:
    """Return what the saved files of an image are called, without a suffix, if its own name is `name`."""
    part = "" if input_image.part is None else f"_{input_image.part}"
    return f"{name.stem}{part}{generation.stem_suffix}"


def target(save_path: str | os.PathLike[str], is_file: Callable[[str], bool]) -> tuple[Path, bool]:
    """Return `save_path`, and whether it is the file to write, as its suffix says, rather than a directory.

    Raises:
        InvalidParameter: it is no path.
    """
    try:
        path = Path(os.fsdecode(save_path))
    except TypeError:
        raise InvalidParameter(f"save_path={save_path!r} is no path: give a file or a directory") from None
    return path, is_file(path.suffix.lower()) and not os.path.isdir(path)


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a path to write to, which takes the place of `path` when all went well: no half-written file is ever seen.

    Args:
        path: the file.
        overwrite: whether a file that is there already is replaced.

    Raises:
        InputError: the file cannot be written.
        NameTaken: it is there already.
    """
    suffix = path.suffix if len(path.suffix) <= _LONGEST_SUFFIX else ""
    try:
        scratch = path.with_name(f".{uuid.uuid4().hex}{suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _refused(path, error) from None
    try:
        yield scratch
        _put(scratch, path, overwrite)
    except OSError as error:
        raise _refused(path, error) from None
    finally:
        with suppress(OSError, ValueError):
            scratch.unlink()


def _put(scratch: Path, path: Path, overwrite: bool) -> None:
    try:
        if overwrite:
            scratch.replace(path)
        else:
            _put_new(scratch, path)
    except ValueError as error:  # a name that no system has
        raise _refused(path, error) from None


def _put_new(scratch: Path, path: Path) -> None:
    try:
        os.link(scratch, path)  # unlike a renaming, it never replaces what another process put there a moment ago
    except FileExistsError:
        raise NameTaken(f"{path} is there already") from None
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise NameTaken(f"{path} is there already") from None
        scratch.replace(path)


def _refused(path: Path, error: OSError | ValueError) -> InputError:
    return InputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}")
