"""Pages of TIFF files as pictures."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING

from maskserve._pictures import load_file, load_pil
from maskserve.errors import InvalidImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIGNATURES = (b"II*\0", b"MM\0*")


def load_page(document: str | bytes, index: int) -> NDArray[np.uint8]:
    """Page `index` (from 0) of a TIFF file in BGR.

    Raises:
        InputError: it cannot be read.
    """
    from PIL import Image

    content = load_file(document) if isinstance(document, str) else document
    try:
        with Image.open(BytesIO(content)) as image:
            image.seek(index)
            return load_pil(image)
    except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidImage(f"page {index} of the TIFF file cannot be read: {error}") from None


def count_pages(content: bytes) -> int:
    """Number of pages of a TIFF file; 1 for what is damaged, about which the server has its say.

    Pages are a chain of directories: the number of entries, 12 bytes for each, and the offset of the next directory
    (TIFF 6.0, section 2).
    """
    order = "<" if content.startswith(b"II") else ">"
    seen: set[int] = set()
    try:
        (offset,) = struct.unpack_from(f"{order}I", content, 4)
        while offset and offset not in seen:
            seen.add(offset)
            (entries,) = struct.unpack_from(f"{order}H", content, offset)
            (offset,) = struct.unpack_from(f"{order}I", content, offset + 2 + 12 * entries)
    except struct.error:
        return 1
    return max(len(seen), 1)
