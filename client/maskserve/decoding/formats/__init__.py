"""The structure of image files, walked before a decoder sees them: one module for each format.

Each module has a function of bytes that raises `InvalidImage` where a file is cut or makes no sense, and says what a
decoder has to know. None of them decodes pixels.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outline:
    """What the structure of a file says.

    Attributes:
        width: of the stored pixels, in front of any turning.
        height: likewise.
        content: the file as the decoder is to see it: what is missing at its end and holds no pixels is put there,
            and what no decoder needs is left out.
    """

    width: int
    height: int
    content: bytes
