"""Pages of PDF files as images, where pypdfium2 is installed."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.errors import InvalidImage, UnsupportedFormat
from maskserve.inputs.image import load_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SCALE = 2.0  # PaddleX's: 144 dots per inch
_MAX_SIDE = 10_000
_lock = threading.Lock()  # PDFium is not thread-safe


def load_page(document: str | bytes, index: int) -> NDArray[np.uint8]:
    """Return page `index` (from 0) of a PDF file, [height, width, 3] BGR, two pixels per point.

    Raises:
        InputError: it cannot be read or rendered.
    """
    with _open(document) as opened:
        page = opened[index]
        scale = min(_SCALE, _MAX_SIDE / max(*page.get_size(), 1.0))
        return np.array(page.render(scale=scale, rev_byteorder=False).to_numpy()[:, :, :3])


def count_pages(document: str | bytes) -> int:
    """Return the number of pages of a PDF file, given by path or content.

    Raises:
        InputError: it cannot be read, or pypdfium2 is not installed.
    """
    with _open(document) as opened:
        return len(opened)


@contextmanager
def _open(document: str | bytes) -> Iterator[Any]:
    try:
        import pypdfium2  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise UnsupportedFormat("PDF files need pypdfium2: pip install 'maskserve[pdf]'") from None
    content = load_file(document) if isinstance(document, str) else document
    with _lock:
        try:
            opened = pypdfium2.PdfDocument(content)
        except pypdfium2.PdfiumError as error:
            raise InvalidImage(f"the PDF file cannot be read: {error}") from None
        try:
            yield opened
        finally:
            opened.close()
