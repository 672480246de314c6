"""Names of file formats, by content: the name and the suffix of a file decide nothing."""

from __future__ import annotations

import re

READABLE = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
HEAD_BYTES = 1024  # of a file, which are enough to name its format

_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_SIGNATURES = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"II\*\0....CR\x02|IIU\0|IIRO|FUJIFILMCCD-RAW", "camera raw"),
    (rb"II\*\0|MM\0\*|II\+\0\x08\0\0\0|MM\0\+\0\x08\0\0", "TIFF"),
    (rb"BM", "BMP"),
    (rb"GIF8[79]a", "GIF"),
    (rb"....ftypavi[fs]", "AVIF"),
    (rb"....ftyp(" + rb"|".join(_HEIC_BRANDS) + rb")", "HEIC"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", "JPEG XL"),
    (rb"8BPS\0[\x01\x02]", "Photoshop"),
    (rb"\0\0[\x01\x02]\0[^\0]\0", "ICO"),
    (rb"P[1-7]\s|P[Ff]\n", "PPM"),
    (rb"\x76\x2f\x31\x01", "OpenEXR"),
    (rb"#\?RADIANCE|#\?RGBE", "Radiance HDR"),
    (rb"DDS ", "DDS"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.{0,500}-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg[\s>]", "SVG"),
)
_KINDS = tuple((re.compile(pattern, re.DOTALL), name) for pattern, name in _SIGNATURES)
_PDF = re.compile(rb"%PDF-\d")


def format_of(head: bytes) -> str | None:
    """Return the name of the format that a file's first bytes show, or None for what is no image that is known.

    Args:
        head: the file, or at least its first `HEAD_BYTES` bytes.

    Returns:
        one of `READABLE`, "PDF", or the name of a format that is not read, such as "GIF" or "HEIC".
    """
    head = bytes(head[:HEAD_BYTES])
    for pattern, name in _KINDS:
        if pattern.match(head):
            return "AVIF" if name == "HEIC" and _is_avif(head) else name
    return "PDF" if _PDF.search(head) else None  # readers of PDF allow for other bytes in front of it


def refusal_of(name: str) -> str:
    """Return the sentence that refuses an image of a format that is not read."""
    what = "files" if name == "PDF" else "images"
    return f"{name} {what} are not supported; save it as JPEG, or send one of {', '.join(READABLE)}"


def _is_avif(head: bytes) -> bool:
    """Tell AVIF that names itself "mif1" by its compatible brands."""
    size = int.from_bytes(head[:4], "big")
    brands = head[16:size]
    return b"avif" in brands and not any(brand in brands for brand in (b"heic", b"heix"))
