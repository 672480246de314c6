"""Standard output and error that can write any text, whatever encoding the terminal or the pipe has."""

from __future__ import annotations

import codecs
import contextlib
import sys
from typing import TextIO

_HANDLER = "maskserve.escape"


def write_anything() -> None:
    """Let what a stream's encoding does not have be written as an escape: an ASCII terminal must not end a command."""
    codecs.register_error(_HANDLER, _escape)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # what a program put in their place may have none
        if reconfigure is not None:
            with contextlib.suppress(OSError, ValueError):  # it was closed
                reconfigure(errors=_HANDLER)


def is_unicode(stream: TextIO) -> bool:
    """Return whether a stream has every character: then JSON need not escape them."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return bytes of a file name that the locale could not decode as they were; anything else as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return character.encode("ascii", "backslashreplace"), error.start + 1
