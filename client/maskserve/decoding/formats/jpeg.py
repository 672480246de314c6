"""The structure of JPEG files (ITU T.81, annex B): segments, scans, and where the first image ends.

A file may go on behind the end of its first image: a video (motion images), more images (MPO), zeros. Nothing of that
counts. Whether the entropy-coded data of a scan are all there is for the decoder to say (`jpeg_pixels`); whether all
scans are there it does not say, so that is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from maskserve.errors import InvalidImage

_SOI, _EOI, _SOS, _DNL = 0xD8, 0xD9, 0xDA, 0xDC
_STANDALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_TRUNCATED = "the JPEG is truncated"

# A decoder visits all pixels for each scan, also where the scan is a few bytes: 3 ms for 9 megapixels. Encoders write
# about ten scans.
MAX_SCANS = 100
_USUAL_SCANS = 16
_MAX_VISITS = 2_000_000_000  # pixels times scans: about a second

_FIRST_BLOCK, _LARGEST_BLOCK = 1 << 12, 1 << 17  # bytes searched at once: they stay in the processor's cache


@dataclass(frozen=True, slots=True)
class _Scan:
    components: tuple[int, ...]
    first: int = 0
    last: int = 63
    low: int = 0


@dataclass(slots=True)
class _Coded:
    """For each component the lowest bit that was coded, of each of its 64 coefficients; 255 for none."""

    bits: dict[int, list[int]] = field(default_factory=dict)

    def add(self, scan: _Scan) -> None:
        for component in scan.components:
            bits = self.bits.setdefault(component, [255] * 64)
            bits[scan.first : scan.last + 1] = [scan.low] * (scan.last + 1 - scan.first)

    def complete(self, components: tuple[int, ...]) -> bool:
        return all(not any(self.bits.get(component, [255])) for component in components)


@dataclass(slots=True)
class Jpeg:
    """The first image of a JPEG file.

    Attributes:
        width: of its frame.
        height: likewise.
        components: the identifiers of its components: one is grey, four are CMYK.
        marker: of the frame: 0xc0 baseline, 0xc2 progressive, ...
        scans: how many were walked. Of an image that one scan holds, what follows the header of that scan is not.
        end: the position of the end marker; -1 where there is none, None where it was not looked for.
    """

    width: int = 0
    height: int = 0
    components: tuple[int, ...] = ()
    marker: int = 0
    scans: int = 0
    end: int | None = -1
    _coded: _Coded = field(default_factory=_Coded)

    @property
    def progressive(self) -> bool:
        """Whether its scans refine one another."""
        return self.marker in _PROGRESSIVE

    @property
    def arithmetic(self) -> bool:
        """Whether its data are coded arithmetically, not with Huffman's codes."""
        return self.marker in _ARITHMETIC


def walk(content: bytes, *, to_the_end: bool = False) -> Jpeg:
    """Walk the segments and scans of the first image in a JPEG file.

    Args:
        content: the file.
        to_the_end: also where all of the image is in one scan, as in most files. Else the walk ends in front of the
            data of that scan: the decoder reads them anyway, and tells whether they go on to an end marker.

    Returns:
        what it is.

    Raises:
        InvalidImage: it has no frame, is cut in front of its pixels, lacks scans, or has so many that decoding takes
            too long.
    """
    jpeg = Jpeg()
    position = 2
    while jpeg.end == -1:
        marker, position = next_marker(content, position)
        if marker is None:
            break
        if marker == _EOI:
            jpeg.end = position - 2
        elif marker == _SOI:
            raise InvalidImage(f"{_TRUNCATED}: another image begins inside it")
        elif marker not in _STANDALONE:
            body = body_of(content, position)
            if body is None:
                break
            position += 2 + len(body)
            _take(jpeg, marker, body)
            if marker == _SOS:
                if (
                    not to_the_end
                    and jpeg.scans == 1
                    and not jpeg.progressive
                    and jpeg._coded.complete(jpeg.components)
                ):
                    jpeg.end = None
                    return jpeg
                position = end_of_scan(content, position)
    _check(jpeg)
    return jpeg


def with_end(content: bytes) -> tuple[bytes, ...]:
    """Return a JPEG file that has lost its end marker with one, in the ways in which its end can be read.

    Zeros behind it are padding, as a rule. But the data themselves may end with a byte that is zero, and those of an
    even image with many of them. A decoder finds out: no byte is missing then, and none too many. The last is the rule.
    """
    data = content.rstrip(b"\0")
    zeros = len(content) - len(data)
    if (len(data) - len(data.rstrip(b"\xff"))) % 2 and zeros:
        data, zeros = data + b"\0", zeros - 1  # 0xff00 is a byte of the data
    ends = (b"\0" * zeros, b"\0", b"") if zeros else (b"",)
    return tuple(data + end + b"\xff\xd9" for end in ends)


def next_marker(content: bytes, position: int) -> tuple[int | None, int]:
    """Return the next marker and the position behind it; None at the end of the file."""
    position = content.find(b"\xff", position)
    while position >= 0 and content[position : position + 1] == b"\xff":  # fill bytes
        position += 1
    return (content[position], position + 1) if 0 <= position < len(content) else (None, len(content))


def body_of(content: bytes, position: int) -> bytes | None:
    """Return what is in a segment behind its length; None where the file ends in it."""
    length = int.from_bytes(content[position : position + 2], "big")
    if position + max(length, 2) > len(content):
        return None
    if length < 2:
        raise InvalidImage("the JPEG is damaged: a segment has no length")
    return content[position + 2 : position + length]


def _take(jpeg: Jpeg, marker: int, body: bytes) -> None:
    if marker in _FRAMES:
        if jpeg.marker:
            raise InvalidImage("the JPEG is damaged: it has two frames")
        if len(body) < 6 or len(body) < 6 + 3 * body[5]:
            raise InvalidImage("the JPEG is damaged: the header of its frame is too short")
        jpeg.marker = marker
        jpeg.height, jpeg.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        jpeg.components = tuple(body[6 : 6 + 3 * body[5] : 3])
        if not (jpeg.width and jpeg.height and jpeg.components):
            raise InvalidImage(
                "the JPEG has no height or width in its header (some scanners write it behind the pixels); "
                "open it in an image editor and save it again"
            )
    elif marker == _SOS:
        if not jpeg.marker:
            raise InvalidImage("the JPEG is damaged: its pixels come before the header of their frame")
        jpeg.scans += 1
        _check_scans(jpeg)
        jpeg._coded.add(_scan(jpeg, body))


def _check_scans(jpeg: Jpeg) -> None:
    allowed = min(MAX_SCANS, max(_USUAL_SCANS, _MAX_VISITS // (jpeg.width * jpeg.height)))
    if jpeg.scans > allowed:
        raise InvalidImage(
            f"the JPEG has more than {allowed} scans, so that decoding its {jpeg.width}x{jpeg.height} pixels takes too "
            "long; open it in an image editor and save it again"
        )


def _scan(jpeg: Jpeg, body: bytes) -> _Scan:
    count = body[0] if body else 0
    if not count or len(body) < 4 + 2 * count:
        raise InvalidImage("the JPEG is damaged: the header of a scan is too short")
    components = tuple(body[1 : 1 + 2 * count : 2])
    if not jpeg.progressive:  # some cameras write nonsense into the rest, which decoders do not read
        return _Scan(components)
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    return _Scan(components, first, min(last, 63), bits & 15)


def end_of_scan(content: bytes, position: int) -> int:
    """Return the position of the marker that ends the entropy-coded data at `position`, or that of the file's end.

    0xff00 is a byte of data, 0xffff fills, 0xffd0 to 0xffd7 are restarts in the data; 0xff and anything else ends them.
    """
    data = np.frombuffer(content, np.uint8)
    number, ends, other = (np.empty(_LARGEST_BLOCK, kind) for kind in (np.uint8, bool, bool))
    size = _FIRST_BLOCK
    while position + 1 < data.size:
        this, after = data[position : position + size - 1], data[position + 1 : position + size]
        this = this[: after.size]
        at = slice(after.size)
        np.equal(this, 0xFF, out=ends[at])
        np.not_equal(np.bitwise_and(after, 0xF8, out=number[at]), 0xD0, out=other[at])
        ends[at] &= other[at]
        np.less(np.subtract(after, 1, out=number[at]), 0xFE, out=other[at])  # neither 0x00 nor 0xff
        ends[at] &= other[at]
        first = int(ends[at].argmax())
        if ends[first]:
            return position + first
        position += after.size
        size = min(2 * size, _LARGEST_BLOCK)
    return len(content)


def _check(jpeg: Jpeg) -> None:
    if not jpeg.marker:
        raise InvalidImage(f"{_TRUNCATED}: it ends before the header of its pixels")
    if not jpeg.scans:
        raise InvalidImage(f"{_TRUNCATED}: it has no pixels")
    if not jpeg._coded.complete(jpeg.components):
        raise InvalidImage(f"{_TRUNCATED}: scans are missing")
