"""Pictures as they are handed in: how they travel, and how they look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.errors import InputError, InvalidImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture, not read yet.

    Attributes:
        load: gives the bytes of an image file, or a BGR array; raises `InputError`.
        input_path: the path or URL that it came from; None for a picture in memory.
        page_index: page of a document, from 0; None for what has no pages.
    """

    load: Callable[[], bytes | NDArray[np.uint8]]
    input_path: str | None = None
    page_index: int | None = None

    def encoded(self) -> bytes:
        """The bytes to send: files as they are, arrays as BMP, which loses nothing and takes no time.

        Raises:
            InputError: the picture cannot be had.
        """
        content = self.load()
        return content if isinstance(content, bytes) else encode_bmp(content)

    def bgr(self) -> NDArray[np.uint8]:
        """[height, width, 3] uint8, BGR, upright: exactly the pixels that the server sees.

        Raises:
            InputError: the picture cannot be had, or not be decoded.
        """
        import cv2

        content = self.load()
        if not isinstance(content, bytes):
            return np.repeat(content[:, :, None], 3, axis=2) if content.ndim == 2 else content
        pixels: NDArray[np.uint8] | None = None
        if content:
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise InvalidImage(f"{self.input_path or 'the picture'} cannot be decoded")
        return pixels


def encode_bmp(pixels: NDArray[np.uint8]) -> bytes:
    """A BMP file of [height, width, 3] BGR or [height, width] grey pixels."""
    import cv2

    done, file = cv2.imencode(".bmp", pixels)
    if not done:
        raise InvalidImage(f"an array of shape {list(pixels.shape)} cannot be written as BMP")
    return bytes(file)


def as_bgr(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Check an array that is to be a picture.

    Args:
        array: uint8, [h, w] grey, [h, w, 1] grey, [h, w, 3] BGR or [h, w, 4] BGRA, whose alpha is dropped.

    Returns:
        [h, w] or [h, w, 3].

    Raises:
        InvalidImage: it is something else.
    """
    if array.dtype != np.uint8:
        mend = "pictures are uint8 from 0 to 255; convert it with numpy.clip(...).astype('uint8')"
        raise InvalidImage(f"an array of {array.dtype} is not a picture: {mend}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InvalidImage(f"an array of shape {list(array.shape)} is not a picture: give [h, w, 3] in BGR, or [h, w]")
    if array.size == 0:
        raise InvalidImage(f"an array of shape {list(array.shape)} has no pixels")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return np.ascontiguousarray(array[:, :, :3] if array.ndim == 3 else array)


def load_pil(image: Any) -> NDArray[np.uint8]:
    """The BGR pixels of a PIL image, turned upright as its EXIF orientation says."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits a pixel, of which cv2 keeps the upper eight, too
        return as_bgr((np.asarray(upright) >> 8).clip(0, 255).astype(np.uint8))
    return as_bgr(np.asarray(upright.convert("RGB"))[:, :, ::-1])


def load_file(path: str) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        hint = "; patterns are not expanded, pass the directory or a list" if set(path) & set("*?[") else ""
        raise InputError(f"no such file or directory: {path!r}{hint}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None
