"""JPEG files of every kind, made by code."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SIZE = (176, 120)


@cache
def scene() -> Image.Image:
    """An image with structure everywhere: no part of it is grey by itself."""
    width, height = SIZE
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    image = Image.fromarray(np.dstack([x, y, 255 - x]).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for step in range(0, width, 11):
        draw.ellipse([step, step * height // width, step + 40, step + 30], outline=(step, 255 - step, 90), width=3)
    return image


def encoded(mode: str = "RGB", **options: Any) -> bytes:
    """The scene as a JPEG file, with the options of PIL's `save`."""
    file = io.BytesIO()
    scene().convert(mode).save(file, "JPEG", **{"quality": 88, **options})
    return file.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    """A segment with its length."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(file: bytes, *segments: bytes) -> bytes:
    """A JPEG file with further segments at its beginning."""
    return file[:2] + b"".join(segments) + file[2:]


def thumbnail() -> bytes:
    """An EXIF segment with a whole JPEG file in it."""
    small = io.BytesIO()
    scene().resize((32, 24)).save(small, "JPEG")
    entries = [(0x0201, 4, 1, 8 + 2 + 6 + 2 * 12 + 4), (0x0202, 4, 1, len(small.getvalue()))]
    table = struct.pack("<H", 2) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + table + struct.pack("<I", 0) + b"\0" * 6 + small.getvalue()
    return segment(0xE1, exif)


def scans(file: bytes) -> list[tuple[int, int, int]]:
    """For each scan the positions of its marker, of its data, and of the marker that ends these."""
    found: list[Any] = []
    position = 2
    while True:
        while file[position + 1] == 0xFF:
            position += 1
        if file[position + 1] == 0xD9:
            return found
        (length,) = struct.unpack(">H", file[position + 2 : position + 4])
        behind = position + 2 + length
        if file[position + 1] == 0xDA:
            end = behind
            while not (file[end] == 0xFF and file[end + 1] not in (0, 0xFF, *range(0xD0, 0xD8))):
                end += 1
            found.append((position, behind, end))
            behind = end
        position = behind


def mpo() -> bytes:
    """Two images in one file, as 3D cameras and phones write them."""
    file = io.BytesIO()
    scene().save(file, "MPO", save_all=True, append_images=[scene().transpose(Image.Transpose.ROTATE_180)])
    return file.getvalue()


# Made by cjpeg of libjpeg-turbo: PIL cannot.
THREE_TO_ONE = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV02>k%7Zed27Zw*D92+1gLMtdGB`8rkJupIGRb^yfRb5+Zc$tA}agcLcU4^xVke;Kft*d8%yve$z$C;"
    "?Br2pFhLjfEf9w;LyPAe-;q;6eqq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@@4A01*fP7yu{(0Wkmq5"
    "di}c0sq7R9{>OW1pxs80RaI300000000010s{mE1_uZU3Jd?l0JRVR0s#X90t5pE1q1{D00Dgg0s{a95d{(<F+m0sQDFxnaTGFvk)a49Lb1U"
    "WQqk}vGh%Xr2?`b$7#SKRCMPH<Dl|1VH#j*uLqtVJM@UIZQ&d$}S6EqEV`OD!XJ~0^b98lfcX)YvgM@{Khlq)al9QB`mY0~BnxdnmrKYE-sj"
    "9NGw6(UkxVgH*!^FkL$H>Xb($mz{*4NnC+Tr5k<mKk)=;`Y5^7Hid_V@Vt`v1fL9{~UZ0RaI40RaI40RR91000010s{mE1_uZU3Jd?l0JRYS"
    "0s#U91Oo&I1q1{D0Rndb0RjUN1O*{61`<J02Vrp&A~Jyp6he`qvB3!=Gg9ysVsg<679=#`CGi&+85$-hC@Cs6Ha9pqIzvQ7Mn_0VN>fx-R##"
    "YAT4Q8oW@l(=YIAgTc6WGrdV+(5g@%WSiHeewl$Dm3n3<ZQqok##r>Lo_va__cwzs&sy28W6#m2|T$;#5x)YaD4*xB0R<K*S$=jiF`^7Hid_"
    "V@Vt`v2Mh3<CiG0ucid06zezh;g|a3+d_YiXPP%<wnEl+L`1PI3otS=Q}ox@U<-LI797D5c^SHRcUH_)Tf~;MpWc*YEYRSF;3Z@qP+}H#dGE"
    "<JwQe?PZ0Z2UOj1Qdz5E*k_dgN;vZ^8gs9FkE7ZhD`PwoKfr0Pz`ruN9WH<wG$r$`-uO_XfyFGeRvOoXX"
)

# Made by cjpeg of libjpeg-turbo: PIL cannot.
ARITHMETIC = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV02>k%7Zed27Zw*D92+1gLMtdGB`8rkJupIGRb^yfRb5+Zc$tA}agcLcU4^xVke;Kft*d8%yve$z$C;"
    "?Br2pFhLjfEf9w;LyPAe-;q;6eqq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@<*zq@@4J01*fP7yu{(0U`hb5"
    "di}c0sqVZ3IGrg1pyEd1^?Or3<CiG0ucid06zfz*Eo)ZG6OjB1?1-d9YM9H9gQly64P5_k2VwfR&v#uaJQ}lOz0_1SRdV6M{6Lvk8z*4<o^I"
    "Um3)0}7<sF$oIKyozi{e|N1YFF$GrX(^1fz|u54GZty;)Dd}03p2`EfS!#WxXMM%-=`=_@oO_otKM6Jp0g7s+e^%vzl|Je"
)

KINDS: dict[str, Callable[[], bytes]] = {
    "baseline": encoded,
    "grey": lambda: encoded("L"),
    "CMYK": lambda: encoded("CMYK"),
    "4:4:4": lambda: encoded(subsampling=0),
    "4:2:2": lambda: encoded(subsampling=1),
    "optimized": lambda: encoded(optimize=True),
    "RGB inside": lambda: encoded(keep_rgb=True),
    "restarts": lambda: encoded(restart_marker_rows=1),
    "many restarts": lambda: encoded(restart_marker_blocks=3),
    "progressive": lambda: encoded(progressive=True),
    "progressive grey": lambda: encoded("L", progressive=True),
    "progressive CMYK": lambda: encoded("CMYK", progressive=True),
    "progressive restarts": lambda: encoded(progressive=True, restart_marker_rows=1),
    "thumbnail": lambda: with_segments(encoded(), thumbnail()),
    "end marker in a segment": lambda: with_segments(encoded(), segment(0xED, b"\xff\xd9" * 40)),
    "long comment": lambda: with_segments(encoded(), segment(0xFE, b"\xff\xda\0\x02" + b"\xff\xd9" * 9)),
    "fill bytes": lambda: encoded()[:2] + b"\xff" * 7 + encoded()[2:-2] + b"\xff" * 5 + encoded()[-2:],
    "MPO": mpo,
}
