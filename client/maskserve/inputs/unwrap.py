"""Kinds of input that stand for an array or for a file's bytes: tensors, open files, buffers."""

from __future__ import annotations

import inspect
import numbers
from contextlib import suppress
from io import TextIOBase, UnsupportedOperation
from typing import Any

import numpy as np

from maskserve.errors import InputError, InvalidImage
from maskserve.inputs.pil import is_pil

_ARRAY_PROTOCOLS = ("__array__", "__array_interface__", "__cuda_array_interface__", "__dlpack__")


def unwrapped(source: Any) -> Any:
    """Return what `source` stands for, read at once: the bytes of an open file, the array of a tensor, or itself.

    An open file is read from where it stands; one that stands at its end, as it does after writing, from its start.

    Args:
        source: anything. Arrays of texts or objects become lists.

    Raises:
        InputError: it cannot be read, or is numbers without a shape.
    """
    if isinstance(source, str | bytes | bytearray | np.generic | type) or is_pil(source):
        return source
    if isinstance(source, np.ndarray):
        return unwrapped(source.tolist()) if source.dtype.kind in "OU" else source
    if callable(getattr(source, "read", None)):
        return _read(source)
    if any(hasattr(source, name) for name in _ARRAY_PROTOCOLS):
        return unwrapped(_array(source))
    if isinstance(source, list | tuple) and _holds_numbers(source):
        raise InputError("a list of numbers is not an image: give numpy.array(..., dtype='uint8') of [h, w, 3]")
    return _buffer(source)


def _read(file: Any) -> bytes:
    name = f"the open file {str(getattr(file, 'name', type(file).__name__))!r}"
    if isinstance(file, TextIOBase):
        raise InputError(f"{name} is in text mode: open it with mode 'rb'")
    try:
        content = file.read()
        if inspect.iscoroutine(content):
            content.close()
            raise InputError(f"{name} is read asynchronously: give the bytes, as await file.read() has them")
        if isinstance(content, bytes) and not content:
            with suppress(OSError, ValueError, AttributeError):  # a stream, which has no start to go back to
                file.seek(0)
                content = file.read()
    except UnsupportedOperation:
        raise InputError(f"{name} is open for writing only: open it with mode 'rb'") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read: {error}") from None
    if isinstance(content, str):
        raise InputError(f"{name} is in text mode: open it with mode 'rb'")
    if isinstance(content, tuple):
        raise InputError(
            f"{type(file).__name__} gives tuple instead of bytes: of a cv2.VideoCapture, give what it was opened with, "
            "or its frames, as a generator"
        )
    if not isinstance(content, bytes | bytearray | memoryview):
        raise InputError(f"{name} gives {type(content).__name__} instead of bytes")
    return bytes(content)


def _array(source: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the array behind a tensor.

    Raises:
        InvalidImage: it has none that can be read here, as on a GPU.
    """
    try:
        here = hasattr(source, "__array__") or hasattr(source, "__array_interface__")
        return np.asarray(source) if here else np.from_dlpack(source)
    except Exception as error:  # whatever a library raises: there is no common class
        remedy = "give a uint8 array of [h, w, 3]; a tensor of PyTorch as tensor.detach().cpu().numpy()"
        raise InvalidImage(f"{type(source).__name__} cannot be read as an array ({error}); {remedy}") from None


def _buffer(source: Any) -> Any:
    """Return the bytes or the array of an object with a buffer, such as an `mmap`; anything else as it is."""
    try:
        view = memoryview(source)
    except TypeError:
        return source
    except ValueError as error:
        raise InputError(f"{type(source).__name__} cannot be read: {error}") from None
    return bytes(view) if view.ndim == 1 and view.itemsize == 1 else np.array(view)


def _holds_numbers(source: Any) -> bool:
    """Return whether nested lists hold numbers only: an array that was not made one."""
    while source and all(isinstance(element, list | tuple) for element in source):
        source = source[0]
    return len(source) > 0 and all(isinstance(element, numbers.Number) for element in source)
