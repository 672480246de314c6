"""How large an image may be, and what decoding it may cost."""

from __future__ import annotations

import sys
from dataclasses import dataclass

DEFAULT_MAX_BYTES = 64 << 20
DEFAULT_MAX_PIXELS = 100_000_000
DEFAULT_DECODE_SECONDS = 5.0
DEFAULT_DECODE_BYTES = 360 << 20  # with what a decoder has from the start, 500 MB


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for.

    Attributes:
        max_bytes: of the encoded image.
        max_pixels: that it decodes to.
        decode_seconds: of a processor's time, for decoding one image. Only where decoders are processes of their own,
            as is `decode_bytes`.
        decode_bytes: of memory that a decoder may take, the pixels among it, beside the image's file.
    """

    max_bytes: int = DEFAULT_MAX_BYTES
    max_pixels: int = DEFAULT_MAX_PIXELS
    decode_seconds: float = DEFAULT_DECODE_SECONDS
    decode_bytes: int = DEFAULT_DECODE_BYTES


UNLIMITED = Limits(sys.maxsize, sys.maxsize)
