"""Text that comes from file names and other programs, made safe for files and for lines of a report."""

from __future__ import annotations

import re

# Surrogates stand for bytes of a file name that are not UTF-8. What only looks like their escape is escaped, too.
_NO_UTF8 = re.compile(r"[\ud800-\udfff]|\\x(?:[89a-f][0-9a-f]|5c)|\\ud[89a-f][0-9a-f]{2}")
_BYTES = range(0xDC80, 0xDD00)
# Control characters, line separators, and marks that change the direction of writing: a line stays a line.
_NO_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return `text` in characters that UTF-8 holds: the byte 0xE9 of a file name becomes ``\xe9``.

    Text without such bytes is returned as it is. Two different texts never become the same one.
    """
    return "".join(map(_escaped, text)) if _NO_UTF8.search(text) else text


def _escaped(character: str) -> str:
    code = ord(character)
    if code in _BYTES:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if 0xD800 <= code <= 0xDFFF else character.replace("\\", "\\x5c")


def one_line(text: str) -> str:
    """Return `text` as one line for a terminal: control characters and surrogates are escaped."""
    return _NO_LINE.sub(lambda match: repr(match[0])[1:-1] if match[0] < "\ud800" else _escaped(match[0]), text)
