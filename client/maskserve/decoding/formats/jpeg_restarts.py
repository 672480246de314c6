"""Whether all restart intervals of a JPEG image are there.

libjpeg says only its first warning. Where that is a harmless one, of bytes too many in front of a restart marker (as
many cameras write them), it hides that an interval is missing behind it: the markers are counted then.
"""

from __future__ import annotations

import numpy as np

from maskserve.decoding.formats.jpeg import body_of, end_of_scan, next_marker

_EOI, _SOS, _DRI = 0xD9, 0xDA, 0xDD
_BASELINE = range(0xC0, 0xC2)


def complete(content: bytes) -> bool:
    """Return whether the restart markers of a baseline image have the order and the number that its header says.

    Args:
        content: a JPEG file whose segments `jpeg.walk` has found in order.
    """
    position, interval, frame = 2, 0, b""
    while True:
        marker, position = next_marker(content, position)
        if marker is None or marker == _EOI:
            return True
        body = body_of(content, position)
        if body is None:
            return True
        position += 2 + len(body)
        if marker == _DRI:
            interval = int.from_bytes(body[:2], "big")
        elif marker in _BASELINE and not frame:  # which the walk has looked at
            frame = body
        elif marker == _SOS:
            end = end_of_scan(content, position)
            if interval and frame and not _in_order(content[position:end], _intervals(frame, body, interval)):
                return False
            position = end


def _in_order(data: bytes, intervals: int | None) -> bool:
    """Return whether the markers in entropy-coded data count from 0 to 7 and again, one between two intervals."""
    coded = np.frombuffer(data, np.uint8)
    numbers = coded[1:][(coded[:-1] == 0xFF) & ((coded[1:] & 0xF8) == 0xD0)] & 7
    if intervals is not None and numbers.size != intervals - 1:
        return False
    return bool(np.array_equal(numbers, np.arange(numbers.size) % 8))


def _intervals(frame: bytes, scan: bytes, interval: int) -> int | None:
    """Return how many intervals a scan has; None for a scan of some of the components, which has other blocks."""
    height, width, count = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"), frame[5]
    if not scan or scan[0] != count:
        return None
    factors = frame[7 : 6 + 3 * count : 3]
    across, down = (1, 1) if count == 1 else (max(f >> 4 for f in factors), max(f & 15 for f in factors))
    blocks = -(-width // (8 * across)) * -(-height // (8 * down))
    return -(-blocks // interval)
