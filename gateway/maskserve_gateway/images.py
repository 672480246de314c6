"""The field `image`: Base64, or a URL where those are allowed."""

from __future__ import annotations

import base64
import binascii
import re

from maskserve.errors import InputError, InvalidImage, UnsupportedFormat
from maskserve.inputs import tiff as _tiff
from maskserve.inputs.formats import READABLE, format_of, refusal_of

_DATA_URI = re.compile(r"data:[\w.+/-]*(;[\w.=+-]+)*;base64,", re.ASCII | re.IGNORECASE)
_SPACE = re.compile(r"\s")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)


def url_in(text: str) -> str | None:
    """Return `text` when it is the URL of an image, None when it must be Base64.

    Raises:
        InputError: it is a URL of a kind that is never fetched.
    """
    text = text.strip()
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    if scheme[0].lower() not in ("http://", "https://"):
        raise InputError("the image is a URL, but neither http nor https")
    return text


def decode_base64(text: str) -> bytes:
    """Return the bytes of an image file.

    Line breaks and other white space are ignored, as MIME has them, and so is the head of a data URI, as browsers
    write it. Anything else must be Base64 in the standard alphabet, with its padding.

    Raises:
        InputError: it is not Base64.
    """
    text = text.strip()
    head = _DATA_URI.match(text, 0, 200)
    compact = text[head.end() :] if head else text
    if _SPACE.search(compact):  # a copy of some 80 MB, which most need not
        compact = "".join(compact.split())
    try:
        content = base64.b64decode(compact.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InputError(f"the image is not Base64: {_what_is_wrong(compact)}") from None
    return content


def check_content(content: bytes) -> bytes:
    """Refuse at once what no server takes; the rest is for the server to look at.

    Returns:
        the file; of a TIFF of several pages the first one, as PaddleX's service takes it.

    Raises:
        InvalidImage: it is empty.
        UnsupportedFormat: it is a PDF file, or an image of a format that is not read.
    """
    if not content:
        raise InvalidImage("the image is empty (0 bytes)")
    kind = format_of(content)
    if kind is not None and kind not in READABLE:
        raise UnsupportedFormat(refusal_of(kind))
    return _tiff.load_page(content, 0) if kind == "TIFF" else content


def _what_is_wrong(text: str) -> str:
    wrong = re.search(r"[^A-Za-z0-9+/=]", text)
    if wrong and wrong[0] in "-_":
        return "this is its URL-safe alphabet; send the standard one, with + and /"
    if wrong:
        return f"there is {wrong[0]!a} at position {wrong.start()}"
    return "its length or its padding is wrong"
