"""Images as they are handed in: how they travel, and how they look."""

from __future__ import annotations

import os
import stat
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.errors import InputError, InvalidImage
from maskserve.inputs import tiff as _tiff
from maskserve.inputs.formats import format_of
from maskserve.inputs.urls import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from maskserve.saving.outputs import Outputs


class FirstContent:
    """Remembers by its checksum what was read first."""

    __slots__ = ("_checksum",)

    def __init__(self) -> None:
        self._checksum: tuple[int, int] | None = None

    def is_still(self, content: bytes | NDArray[np.uint8]) -> bool:
        """Return whether `content` is what was read first; the first time it is."""
        data = content if isinstance(content, bytes) else content.data
        checksum = zlib.crc32(data), len(data)  # a millisecond for 7 MB, and nobody is to be outwitted
        if self._checksum is None:
            self._checksum = checksum
        return checksum == self._checksum


def _decode(content: bytes) -> NDArray[np.uint8]:
    from maskserve.decoding.decode import decode

    return decode(content)


@dataclass(frozen=True, slots=True, eq=False)
class InputImage:
    """One image: in memory as it was when it was taken, or in a file or at an address, and not read yet.

    Attributes:
        load: gives the bytes of an image file, or a BGR array; raises `InputError`.
        input_path: the path or URL that it came from; None for an image in memory.
        page_index: page of a document, from 0; None for what has no pages.
        frame_index: frame of a video, from 0; None for what is none.
        time: of that frame, in seconds; None where it is not known.
        first_content: the bytes of the file when it was read first; reading another image later is an error.
        outputs: the files that the results of its `predict` have taken; None for an image on its own.
        decoder: gives the pixels of an image file, uint8 [height, width, 3] BGR; raises `InputError`.
    """

    load: Callable[[], bytes | NDArray[np.uint8]]
    input_path: str | None = None
    page_index: int | None = None
    frame_index: int | None = None
    time: float | None = None
    first_content: FirstContent = field(default_factory=FirstContent, repr=False)

    @property
    def name(self) -> str:
        """What it is called in messages, which tell no password."""
        return "the image" if self.input_path is None else shown(self.input_path)

    @property
    def part(self) -> int | None:
        """Page or frame; None for an image that is no part of a file."""
        return self.frame_index if self.page_index is None else self.page_index

    outputs: Outputs | None = field(default=None, repr=False)
    decoder: Callable[[bytes], NDArray[np.uint8]] = field(default=_decode, repr=False)

    def encoded(self) -> bytes:
        """Return the bytes to send: files as they are, arrays as BMP, which loses nothing and takes no time.

        Raises:
            InputError: the image cannot be had.
        """
        content = self.load()
        if not self._is_still(content):
            raise self._changed()
        content = self._readable(content)
        return content if isinstance(content, bytes) else encode_bmp(content)

    def bgr(self) -> NDArray[np.uint8]:
        """Return [height, width, 3] uint8, BGR, upright: exactly the pixels that the server sees.

        Raises:
            InputError: the image cannot be had, or not be decoded, or its file has changed since it was segmented.
        """
        loaded = self.load()
        still = self._is_still(loaded)
        content = self._readable(loaded)
        if isinstance(content, bytes):
            try:
                pixels = self.decoder(content)
            except InputError as error:
                raise type(error)(f"{self.name} cannot be decoded: {error.message}") from None
        else:  # a copy, which the caller may draw on
            pixels = np.repeat(content[:, :, None], 3, axis=2) if content.ndim == 2 else content.copy()
        if not still:
            raise self._changed(f"; now it is {pixels.shape[0]}x{pixels.shape[1]}")
        return pixels

    def _readable(self, content: bytes | NDArray[np.uint8]) -> bytes | NDArray[np.uint8]:
        """Return `content` ready for the server, which reads neither HEIC nor documents."""
        if not isinstance(content, bytes):
            return content
        kind = format_of(content)
        if kind == "HEIC":
            from maskserve.inputs.heic import load_heic

            return load_heic(content)
        if kind == "PDF" or (kind == "TIFF" and _tiff.count_pages(content) > 1):
            raise InvalidImage(f"{self.name} is a {kind} document, whatever its name says; give its bytes")
        return content

    def _is_still(self, content: bytes | NDArray[np.uint8]) -> bool:
        return self.input_path is None or self.frame_index is not None or self.first_content.is_still(content)

    def _changed(self, detail: str = "") -> InvalidImage:
        return InvalidImage(f"{self.name} has changed since it was read first{detail}; segment it again")


def encode_bmp(pixels: NDArray[np.uint8]) -> bytes:
    """Return a BMP file of [height, width, 3] BGR or [height, width] grey pixels."""
    import cv2

    done, file = cv2.imencode(".bmp", pixels)
    if not done:
        raise InvalidImage(f"an array of shape {list(pixels.shape)} cannot be written as BMP")
    return bytes(file)


def smaller(image: bytes) -> bytes:
    """Return the PNG of a BMP file that `encode_bmp` wrote, where it has fewer bytes; anything else as it is."""
    import cv2

    if not image.startswith(b"BM"):
        return image
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED)
    done, file = (False, b"") if pixels is None else cv2.imencode(".png", pixels)
    return bytes(file) if done and len(file) < len(image) else image


def as_bgr(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Check an array that is to be an image.

    Args:
        array: uint8, [h, w] grey, [h, w, 1] grey, [h, w, 3] BGR or [h, w, 4] BGRA, whose alpha is dropped.

    Returns:
        [h, w] or [h, w, 3].

    Raises:
        InvalidImage: it is something else.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InvalidImage(f"an array of shape {list(array.shape)} is not an image: {_shape_remedy(array.shape)}")
    if array.size == 0:
        raise InvalidImage(f"an array of shape {list(array.shape)} has no pixels")
    if array.dtype != np.uint8:
        raise InvalidImage(f"an array of {array.dtype} is not an image: {_type_remedy(array.dtype)}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return np.ascontiguousarray(array[:, :, :3] if array.ndim == 3 else array)


def _shape_remedy(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return "give [h, w, 3] in BGR, or [h, w]; of the bytes of a file, give array.tobytes()"
    if len(shape) == 4:
        return "this is a batch, give list(array)"
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "channels come last, and in the order BGR: give numpy.moveaxis(array, 0, -1), with [..., ::-1] for RGB"
    if len(shape) == 3 and shape[2] == 2:
        return "give [h, w, 3] in BGR, or [h, w], such as array[:, :, 0]"
    return "give [h, w, 3] in BGR, or [h, w]"


def _type_remedy(kind: np.dtype[Any]) -> str:
    if kind == np.bool_:
        return "images are uint8 from 0 to 255; give array.astype('uint8') * 255"
    if kind.kind in "iu" and kind.itemsize == 2:
        return "images are uint8 from 0 to 255; give (array >> 8).astype('uint8') if it uses 16 bits"
    scale = ", multiplied by 255 if it is from 0 to 1" if kind.kind == "f" else ""
    return f"images are uint8 from 0 to 255; convert it with numpy.clip(...).astype('uint8'){scale}"


def load_file(path: str, name: str | None = None) -> bytes:
    """Return the bytes of a file, or of a pipe.

    Args:
        path: of the file.
        name: what it is called in messages, where that is not its path.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    shown = name or path
    try:
        if _is_device(path):  # which may have no end
            raise InputError(f"{shown!r} is a device and not a file with an image; a camera is given by its number")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such file or directory: {shown!r}{_hint(shown)}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{shown!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _is_device(path: str) -> bool:
    mode = os.stat(path).st_mode
    return stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and os.path.realpath(path) != os.devnull)


def _hint(path: str) -> str:
    if set(path) & set("*?["):
        return "; patterns are not expanded, pass the directory or a list"
    return "; ~ is not expanded, pass os.path.expanduser(...)" if path.startswith("~") else ""
