"""HEIC files, as phones write them, where pillow-heif is installed."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from maskserve.errors import InvalidImage, UnsupportedFormat
from maskserve.inputs.pil import load_pil

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def load_heic(content: bytes) -> NDArray[np.uint8]:
    """Return the BGR pixels, upright, of the main image of a HEIC file.

    Raises:
        UnsupportedFormat: pillow-heif is not installed.
        InvalidImage: the file is damaged.
    """
    try:
        import pillow_heif  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise UnsupportedFormat(
            "HEIC images are not supported; save it as JPEG, or let it be read here: pip install 'maskserve[heic]'"
        ) from None
    try:
        image = pillow_heif.open_heif(BytesIO(content)).to_pillow()
    except (OSError, ValueError, SyntaxError, RuntimeError, EOFError) as error:
        raise InvalidImage(f"the HEIC file is damaged and cannot be decoded: {error}") from None
    return load_pil(image)
